//! The lab's card: what NVIDIA's own pages say to type, without rprov. It shows that the pretended card is one.

use super::{by_hand, by_hand_dnf};
use crate::Host;
use crate::card::{Card, Firmware};
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::nvidia_mirror::{cuda_directory, cuda_key};
use crate::scenario::Scenario;
use crate::toolkit::{PACKAGES, VERSIONS};
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "card-shown",
        about: "every card of the table is shown by the host, with its firmware and its kernel, over a reboot",
        on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9],
        run: shown,
    },
    Scenario {
        name: "card-driver",
        about: "NVIDIA's driver comes from its own repository as its guide says, and a container sees the card",
        on: &[
            Identity::Ubuntu2404,
            Identity::Debian12,
            Identity::Rhel9,
            Identity::Rhel10,
            Identity::Debian13,
            Identity::Fedora44,
        ],
        run: driver,
    },
    Scenario {
        name: "card-choices",
        about: "which modules the kernel takes depends on card, flavour, branch and signature, as upstream's do",
        on: &[Identity::Ubuntu2404, Identity::Ubuntu2204],
        run: choices,
    },
    Scenario {
        name: "card-legacy",
        about: "a host of nvidia-docker2's time: three lines without a key, and daemon.json as a conffile",
        on: &[Identity::Ubuntu2204, Identity::Rhel9],
        run: legacy,
    },
    Scenario {
        name: "card-cuda-faults",
        about: "each wrong variant of the CUDA repository is refused, and so is its old key where apt is new",
        on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9],
        run: cuda_faults,
    },
    Scenario {
        name: "card-toolkit",
        about: "the container toolkit comes as its page says, and each wrong variant of its repository is refused",
        on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9, Identity::Rhel10],
        run: toolkit,
    },
];

const LONG: Duration = Duration::from_secs(300);
const NVIDIA: &str = "nvidia.github.io";
const CUDA: &str = "developer.download.nvidia.com";

/// Key and source of the toolkit, as its page has it; the page's key is the real one.
pub fn toolkit_source(host: &Host) -> Result<()> {
    let key = host.lab().public(Key::Toolkit)?;
    if host.identity().dnf().is_some() {
        host.write("/etc/pki/rpm-gpg/nvidia.asc", key)?;
        let repo = crate::toolkit::repo().replace(
            "https://nvidia.github.io/libnvidia-container/gpgkey",
            "file:///etc/pki/rpm-gpg/nvidia.asc",
        );
        return host.write("/etc/yum.repos.d/nvidia-container-toolkit.repo", repo);
    }
    let keyring = "/usr/share/keyrings/nvidia-container-toolkit-keyring.asc";
    host.write(keyring, key)?;
    let list = crate::toolkit::LIST.replace("deb https", &format!("deb [signed-by={keyring}] https"));
    host.write("/etc/apt/sources.list.d/nvidia-container-toolkit.list", list)
}

/// The four packages of one version.
pub fn toolkit_install(host: &Host, version: &str) -> Result<()> {
    if host.identity().dnf().is_some() {
        let packages = PACKAGES.map(|name| format!("{name}-{version}-1"));
        let argv: Vec<&str> =
            ["dnf", "install", "-y"].into_iter().chain(packages.iter().map(String::as_str)).collect();
        return host.run_within(LONG, &argv)?.ok().map(drop);
    }
    host.run(&["apt-get", "update"])?.ok()?;
    let packages = PACKAGES.map(|name| format!("{name}={version}-1"));
    let argv = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"];
    let argv: Vec<&str> = argv.into_iter().chain(packages.iter().map(String::as_str)).collect();
    host.run_within(LONG, &argv)?.ok().map(drop)
}

/// An engine, by hand, that runs.
fn engine(host: &Host) -> Result<()> {
    if host.identity().dnf().is_some() {
        by_hand_dnf::source(host)?;
        by_hand_dnf::install(host)?.ok()?;
        host.run(&["systemctl", "enable", "--now", "docker"])?.ok()?;
    } else {
        by_hand::source(host)?;
        by_hand::install(host)?;
    }
    by_hand::import(host)
}

fn toolkit(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    engine(&host)?;
    toolkit_source(&host)?;
    refusals_of(&mut host, NVIDIA, PACKAGES[3])?;
    toolkit_install(&host, VERSIONS[2])?;
    let packages = host.packages()?;
    for name in PACKAGES {
        let found = packages.iter().find(|(package, _)| package.split(':').next() == Some(name));
        ensure!(found.is_some_and(|(_, version)| version.starts_with("1.20.0-1")), "{name}: {found:?}");
    }
    ensure!(host.read("/etc/nvidia-container-runtime/config.toml")?.contains("mode = \"auto\""));
    let unit = host.units()?.get("nvidia-cdi-refresh.path").cloned().unwrap_or_default();
    ensure!(unit == "enabled active", "nvidia-cdi-refresh.path is {unit}");
    // Without a driver there is nothing to write, and that is no failure.
    let list = host.run(&["nvidia-ctk", "cdi", "list"])?.ok()?;
    ensure!(list.stdout.is_empty() && list.stderr.contains("Found 0 CDI devices"), "{}", list.text());
    ensure!(host.run(&["nvidia-ctk", "cdi", "generate"])?.code == 1, "a specification without a driver");
    host.run(&["nvidia-ctk", "runtime", "configure", "--runtime=docker"])?.ok()?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    let run = ["docker", "run", "--rm", "--runtime", "nvidia"];
    host.run(&[run.as_slice(), &["lab", "true"]].concat())?.ok()?;
    ensure!(
        host.read("/var/log/nvidia-container-runtime.log")?.contains(" create "),
        "the runtime did not run"
    );
    let wants = host.run(&[run.as_slice(), &["-e", "NVIDIA_VISIBLE_DEVICES=all", "lab", "true"]].concat())?;
    ensure!(wants.code != 0 && wants.stderr.contains("load library failed"), "{}", wants.text());
    Ok(())
}

fn shown(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::fresh(lab, identity)?;
    host.cards(&[Card::L4, Card::V100])?;
    host.firmware(Firmware::SecureBoot)?;
    host.nouveau()?;
    host.boot()?;
    let device = "/sys/bus/pci/devices/0000:01:00.0";
    let check = |host: &Host| -> Result<()> {
        ensure!(host.read(&format!("{device}/device"))? == "0x27b8\n");
        ensure!(host.sh(&format!("readlink {device}/driver"))?.stdout.ends_with("/nouveau\n"));
        ensure!(host.sh("lsmod")?.stdout.contains("nouveau"), "lsmod does not know nouveau");
        ensure!(host.run(&["uname", "-r"])?.stdout.trim() == host.kernel());
        ensure!(host.read("/proc/sys/kernel/osrelease")?.trim() == host.kernel());
        ensure!(host.run(&["systemd-detect-virt"])?.stdout == "xen\n");
        ensure!(!host.exists("/run/systemd/container"), "it says that it is a container");
        let efi = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
        ensure!(host.read_bytes(efi)? == [6, 0, 0, 0, 1]);
        ensure!(host.sh("systemctl --failed --no-legend")?.stdout.is_empty(), "a unit has failed");
        Ok(())
    };
    check(&host)?;
    host.reboot()?;
    check(&host)?;
    let missing = host.run(&["modprobe", "nvidia"])?.code_is(1)?;
    ensure!(missing.stderr.contains("Module nvidia not found in directory"), "{}", missing.text());
    for card in Card::ALL {
        host.card(card)?;
        let said = host.sh("cat /sys/bus/pci/devices/*/modalias")?.ok()?.stdout;
        ensure!(said.lines().any(|line| line.contains("v000010DEd0000")), "{}: {said}", card.name());
        ensure!(said.contains("bc06sc80") == (card == Card::H100), "{}: {said}", card.name());
    }
    host.cards(&[])?;
    ensure!(host.sh("grep -l 10de /sys/bus/pci/devices/*/vendor")?.stdout.is_empty(), "a card is left");
    Ok(())
}

/// Source and key of the CUDA repository, as NVIDIA's guide has it.
pub fn cuda_source(host: &Host) -> Result<()> {
    let directory = cuda_directory(host.identity());
    let url = format!("https://developer.download.nvidia.com/compute/cuda/repos/{directory}/x86_64");
    let key = host.lab().public(cuda_key(host.identity()))?;
    if host.identity().dnf().is_some() {
        host.write("/etc/pki/rpm-gpg/cuda.asc", key)?;
        return host.write(
            "/etc/yum.repos.d/cuda.repo",
            format!("[cuda]\nname=cuda\nbaseurl={url}\nenabled=1\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/cuda.asc\n"),
        );
    }
    let keyring = "/usr/share/keyrings/cuda-archive-keyring.asc";
    host.write(keyring, key)?;
    host.write("/etc/apt/sources.list.d/cuda.list", format!("deb [signed-by={keyring}] {url}/ /\n"))
}

fn install(host: &Host, packages: &[&str]) -> Result<()> {
    if host.identity().dnf().is_some() {
        return host.run_within(LONG, &[&["dnf", "install", "-y"], packages].concat())?.ok().map(drop);
    }
    host.run(&["apt-get", "update"])?.ok()?;
    let argv = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"];
    host.run_within(LONG, &[&argv, packages].concat())?.ok().map(drop)
}

fn driver(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::fresh(lab, identity)?;
    host.card(Card::L4)?;
    host.nouveau()?;
    host.boot()?;
    cuda_source(&host)?;
    host.epel()?;
    let headers = match identity.dnf() {
        Some(_) => format!("kernel-devel-{}", host.kernel().trim_end_matches(".x86_64")),
        None => format!("linux-headers-{}", host.kernel()),
    };
    let release = identity.dnf().map(|dnf| dnf.tag).unwrap_or_default();
    if release == "el9" {
        host.run_within(LONG, &["dnf", "module", "enable", "-y", "nvidia-driver:580-open"])?.ok()?;
        install(&host, &[&headers, "nvidia-open"])?;
    } else if identity.dnf().is_some() {
        install(&host, &[&headers, "nvidia-open-3:580.159.04"])?;
    } else {
        install(&host, &[&headers, "nvidia-driver-pinning-580"])?;
        install(&host, &["nvidia-open"])?;
    }
    // The card is nouveau's until the next boot.
    let taken = host.run(&["modprobe", "nvidia"])?.code_is(1)?;
    ensure!(taken.stderr.contains("No such device"), "{}", taken.text());
    ensure!(host.run(&["nvidia-smi"])?.code == 9, "nvidia-smi finds a driver");
    host.reboot()?;
    ensure!(!host.exists("/sys/module/nouveau"), "nouveau is there again");
    let version = "580.159.04";
    ensure!(host.read("/sys/module/nvidia/version")?.trim() == version);
    ensure!(host.read("/proc/driver/nvidia/version")?.contains("Open Kernel Module"));
    let said = host.run(&["nvidia-smi", "-L"])?.ok()?.stdout;
    ensure!(said.starts_with("GPU 0: NVIDIA L4 (UUID: GPU-"), "{said}");
    ensure!(host.sh("ls /dev/nvidia0 /dev/nvidiactl")?.code == 0, "there are no nodes");
    engine(&host)?;
    toolkit_source(&host)?;
    toolkit_install(&host, VERSIONS[2])?;
    host.run(&["nvidia-ctk", "runtime", "configure", "--runtime=docker"])?.ok()?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    image(&host)?;
    sees_the_card(&host, &["--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all"])?;
    ensure!(
        host.read("/var/log/nvidia-container-runtime.log")?.contains(" create "),
        "the runtime did not run"
    );
    sees_the_card(&host, &["--gpus", "all"])?;
    host.run(&["modprobe", "nvidia-uvm"])?.ok()?;
    host.run(&["systemctl", "restart", "nvidia-cdi-refresh.service"])?.ok()?;
    ensure!(host.run(&["nvidia-ctk", "cdi", "list"])?.stdout.contains("nvidia.com/gpu=all"));
    if identity.base() == crate::base::Base::Trixie {
        // Of the lab's two engines only the newer has CDI, and there it is behind a feature.
        host.write("/etc/docker/daemon.json", "{\"features\":{\"cdi\":true}}")?;
        host.run(&["systemctl", "restart", "docker"])?.ok()?;
        sees_the_card(&host, &["--device", "nvidia.com/gpu=all"])?;
    }
    let fabric = host.read("/proc/driver/nvidia/gpus/0000:01:00.0/information")?;
    ensure!(fabric.contains("GPU Firmware: \t 580.159.04"), "{fabric}");
    host.reboot()?;
    ensure!(host.read("/sys/module/nvidia/version")?.trim() == version, "the driver is not loaded at boot");
    Ok(())
}

/// The lab's image with the directories that NVIDIA's hooks write into, as `card`.
fn image(host: &Host) -> Result<()> {
    let argv = [
        "docker", "run", "--name", "made", "lab", "busybox", "mkdir", "-p", "/etc", "/tmp", "/usr/lib",
        "/usr/bin",
    ];
    host.run(&argv)?.ok()?;
    host.run(&["docker", "commit", "made", "card"])?.ok()?;
    host.run(&["docker", "rm", "made"])?.ok().map(drop)
}

/// Nodes and libraries are in a container that is run so.
fn sees_the_card(host: &Host, how: &[&str]) -> Result<()> {
    let look = "ls /dev/nvidia0 /dev/nvidiactl /usr/bin/nvidia-smi /usr/lib*/libcuda.so.1 /usr/lib/*/libcuda.so.1; sleep 0.3; true";
    let said = host.run(&[&["docker", "run", "--rm"], how, &["card", "sh", "-c", look]].concat())?.ok()?;
    for word in ["/dev/nvidia0", "/dev/nvidiactl", "/usr/bin/nvidia-smi", "libcuda.so.1"] {
        ensure!(said.stdout.contains(word), "{how:?}: no {word}: {}", said.text());
    }
    Ok(())
}

fn choices(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::fresh(lab, identity)?;
    host.card(Card::L4)?;
    host.firmware(Firmware::SecureBoot)?;
    host.boot()?;
    cuda_source(&host)?;
    let headers = format!("linux-headers-{}", host.kernel());
    // The metapackage follows another kernel than the one that runs.
    install(&host, &["linux-headers-generic", "nvidia-open"])?;
    ensure!(host.run(&["modprobe", "nvidia"])?.stderr.contains("not found in directory"));
    install(&host, &[&headers])?;
    let rejected = host.run(&["modprobe", "nvidia"])?.code_is(1)?;
    ensure!(rejected.stderr.contains("Key was rejected by service"), "{}", rejected.text());
    host.run_within(LONG, &["apt-get", "purge", "-y", "--autoremove", "nvidia-open", "nvidia-dkms-open"])?
        .ok()?;
    ensure!(
        host.read(&format!("/lib/modules/{}/modules.dep", host.kernel()))?.is_empty(),
        "a module is left"
    );
    host.remove("/etc/apt/sources.list.d/cuda.list")?;
    let signed = ["linux-modules-nvidia-580-server-open-generic", "nvidia-headless-no-dkms-580-server-open"];
    install(&host, &[signed.as_slice(), &["nvidia-utils-580-server"]].concat())?;
    host.run(&["modprobe", "nvidia"])?.ok()?;
    ensure!(host.run(&["nvidia-smi", "-L"])?.ok()?.stdout.contains("NVIDIA L4"));
    ensure!(host.run(&["modinfo", "-F", "signer", "nvidia"])?.stdout.contains("Canonical"));
    host.run(&["systemctl", "restart", "nvidia-persistenced"])?.ok()?;
    host.firmware(Firmware::Bios)?;
    cuda_source(&host)?;
    install(&host, &["nvidia-driver-pinning-580"])?;
    host.run_within(
        LONG,
        &[
            "apt-get",
            "purge",
            "-y",
            "--autoremove",
            "nvidia*580-server*",
            "libnvidia*",
            "linux-modules-nvidia*",
        ],
    )?
    .ok()?;
    install(&host, &["cuda-drivers"])?;
    let loads = |card: Card| -> Result<bool> {
        host.card(card)?;
        Ok(host.exists("/sys/module/nvidia"))
    };
    for (card, proprietary) in [
        (Card::V100, true),
        (Card::P100, true),
        (Card::L4, true),
        (Card::A100, true),
        (Card::H100, true),
        (Card::Gtx1650, true),
        (Card::B200, false),
        (Card::K80, false),
    ] {
        ensure!(loads(card)? == proprietary, "580 with proprietary modules and {}", card.name());
    }
    install(&host, &["nvidia-open"])?;
    for (card, open) in [
        (Card::V100, false),
        (Card::P100, false),
        (Card::L4, true),
        (Card::H100, true),
        (Card::Gtx1650, true),
        (Card::B200, true),
    ] {
        ensure!(loads(card)? == open, "580 with open modules and {}", card.name());
    }
    // The library alone is upgraded: the module that is loaded is another.
    host.remove("/etc/apt/preferences.d/nvidia-driver-pinning")?;
    host.sh("cd /tmp && apt-get download libnvidia-compute=595.84-1ubuntu1 && dpkg --force-depends -i libnvidia-compute_595*")?
        .ok()?;
    let mismatch = host.run(&["nvidia-smi"])?.code_is(18)?;
    ensure!(mismatch.stdout.contains("Driver/library version mismatch"), "{}", mismatch.text());
    Ok(())
}

fn legacy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = Host::booted(lab, identity)?;
    engine(&host)?;
    host.remove("/etc/docker/daemon.json")?;
    let key = lab.public(Key::Toolkit)?;
    if identity.dnf().is_some() {
        host.write("/etc/yum.repos.d/nvidia-docker.repo", crate::toolkit::legacy_repo())?;
    } else {
        host.write("/etc/apt/trusted.gpg.d/nvidia.asc", key)?;
        host.write("/etc/apt/sources.list.d/nvidia-docker.list", crate::toolkit::LEGACY_LIST)?;
    }
    install(&host, &["nvidia-docker2"])?;
    ensure!(host.read("/etc/docker/daemon.json")? == crate::toolkit::LEGACY_DAEMON_JSON);
    ensure!(host.exists("/usr/bin/nvidia-docker") && host.exists("/usr/bin/nvidia-container-runtime"));
    if identity.dnf().is_none() {
        // As NVIDIA's own page tells it.
        let list = "deb [signed-by=/usr/share/keyrings/nvidia-container-toolkit-keyring.asc] \
                    https://nvidia.github.io/libnvidia-container/stable/ubuntu18.04/$(ARCH) /\n";
        toolkit_source(&host)?;
        host.write("/etc/apt/sources.list.d/again.list", list)?;
        let said = host.run(&["apt-get", "update"])?.code_is(100)?;
        ensure!(said.stderr.contains("Conflicting values set for option Signed-By"), "{}", said.text());
        host.remove("/etc/apt/sources.list.d/again.list")?;
        host.run_within(LONG, &["apt-get", "purge", "-y", "nvidia-docker2"])?.ok()?;
        ensure!(!host.exists("/etc/docker/daemon.json"), "the purge leaves daemon.json");
    }
    Ok(())
}

fn cuda_faults(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    cuda_source(&host)?;
    let package = if identity.dnf().is_some() { "nvidia-driver-cuda" } else { "libnvidia-compute" };
    refusals_of(&mut host, CUDA, package)?;
    if identity.base() == crate::base::Base::Trixie && identity.dnf().is_none() {
        host.write("/usr/share/keyrings/cuda-archive-keyring.asc", lab.public(Key::CudaSha1)?)?;
        let said = host.run(&["apt-get", "update"])?;
        ensure!(said.text().contains("SHA1"), "apt takes a key that SHA-1 binds together: {}", said.text());
    }
    // The toolkit is there, too, in versions that its own repository has not.
    toolkit_source(&host)?;
    let both = if identity.dnf().is_some() {
        host.run(&["dnf", "-y", "-q", "repoquery", "nvidia-container-toolkit"])?.ok()?.stdout
    } else {
        host.write("/usr/share/keyrings/cuda-archive-keyring.asc", lab.public(cuda_key(identity))?)?;
        host.run(&["apt-get", "update"])?.ok()?;
        host.run(&["apt-cache", "madison", "nvidia-container-toolkit"])?.ok()?.stdout
    };
    ensure!(both.contains("1.20.0") && both.contains("1.20.1"), "{both}");
    Ok(())
}

/// What apt and dnf say to each variant of one repository of NVIDIA's; all others are right throughout.
fn refusals_of(host: &mut Host, name: &'static str, package: &str) -> Result<()> {
    let dnf = host.identity().dnf().is_some();
    for variant in crate::flat::VARIANTS {
        host.mirror_of(name, variant)?;
        let said = if dnf {
            host.sh("rm -rf /var/cache/dnf/nvidia-* /var/cache/dnf/cuda-*")?.ok()?;
            let argv = ["dnf", "-y", "install", "--downloadonly", "--setopt=skip_if_unavailable=False"];
            host.run(
                &[argv.as_slice(), &["--setopt=retries=1", "--setopt=*.module_hotfixes=1", package]].concat(),
            )?
        } else {
            host.sh("rm -f /var/lib/apt/lists/nvidia* /var/lib/apt/lists/developer*")?.ok()?;
            let line = format!(
                "rm -f /tmp/*.deb; apt-get update -o Acquire::Retries=0 && cd /tmp && apt-get download -o Acquire::Retries=0 {package}"
            );
            host.sh(&line)?
        };
        let warned =
            ["W: ", "E: "].iter().any(|word| said.stderr.replace("W: Download is", "").contains(word));
        let good = said.code == 0 && (dnf || !warned);
        let right = match variant {
            Variant::Good | Variant::Older | Variant::Newer | Variant::OnlyOld => true,
            // An index of rpms is not dated by its signature, and CUDA's has none.
            Variant::Future => dnf,
            Variant::TamperedInRelease => dnf && name == CUDA,
            _ => false,
        };
        ensure!(good == right, "{}: {} {}", variant.name(), said.code, said.text());
    }
    host.mirror_of(name, Variant::Good)?;
    host.sh("rm -rf /var/cache/dnf/nvidia-* /var/cache/dnf/cuda-* /var/lib/apt/lists/nvidia* /var/lib/apt/lists/developer*")?.ok().map(drop)
}
