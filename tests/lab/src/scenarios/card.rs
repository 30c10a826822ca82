//! The lab's card: what NVIDIA's own pages say to type, without rprov. It shows that the pretended card is one.

use super::card_by_hand::{
    CUDA, LONG, NVIDIA, cuda_source, engine, image, install, refusals_of, sees_the_card, toolkit_install,
    toolkit_source,
};
use crate::Host;
use crate::card::{Card, Firmware};
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::nvidia_mirror::cuda_key;
use crate::scenario::Scenario;
use crate::toolkit::{PACKAGES, VERSIONS};
use anyhow::{Result, ensure};

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
            Identity::Mint22,
            Identity::Ubuntu2604,
            Identity::Amazon2023,
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
        name: "card-leaves",
        about: "driver and toolkit go again by hand, over a reboot, but for the toolkit's configuration",
        on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9, Identity::Mint22],
        run: leaves,
    },
    Scenario {
        name: "card-toolkit",
        about: "the container toolkit comes as its page says, and each wrong variant of its repository is refused",
        on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9, Identity::Rhel10],
        run: toolkit,
    },
];

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
    if ["el9", "amzn2023"].contains(&release) {
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

/// What is left of driver and toolkit, where key files and sources were removed, too.
const LEFT: &[(&str, &str)] = &[
    ("/etc/nvidia-container-runtime*", "written by the toolkit's own script, which does not take it back"),
    ("/etc/nvidia-container-toolkit*", "a conffile's directory, that rpm does not own"),
    ("/etc/dnf/modules.d*", "dnf's own note that the stream is no longer wanted"),
];

fn leaves(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::fresh(lab, identity)?;
    host.card(Card::L4)?;
    host.nouveau()?;
    host.boot()?;
    host.epel()?;
    let before = host.state()?;
    cuda_source(&host)?;
    toolkit_source(&host)?;
    let dnf = identity.dnf().is_some();
    if dnf {
        host.run_within(LONG, &["dnf", "module", "enable", "-y", "nvidia-driver:580-open"])?.ok()?;
    }
    let headers = if dnf { "kernel-devel" } else { "linux-headers" };
    let headers = format!("{headers}-{}", host.kernel().trim_end_matches(".x86_64"));
    install(&host, &[&headers, "nvidia-open", "dkms"])?;
    toolkit_install(&host, VERSIONS[2])?;
    host.reboot()?;
    host.run(&["nvidia-smi", "-L"])?.ok()?;
    ensure!(
        host.run(&["nvidia-ctk", "cdi", "list"])?.stdout.contains("nvidia.com/gpu=0"),
        "no specification at boot"
    );
    if dnf {
        let names = ["nvidia-*", "kmod-nvidia*", "libnvidia*", "dkms", "kernel-devel"];
        host.run_within(LONG, &[["dnf", "remove", "-y"].as_slice(), &names].concat())?.ok()?;
        host.run(&["dnf", "module", "reset", "-y", "nvidia-driver"])?.ok()?;
    } else {
        let names = ["nvidia-*", "libnvidia-*", "dkms", "linux-headers-*"];
        let argv = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "-y", "--autoremove"];
        host.run_within(LONG, &[argv.as_slice(), &names].concat())?.ok()?;
    }
    for path in ["cuda.list", "nvidia-container-toolkit.list"] {
        host.remove(&format!("/etc/apt/sources.list.d/{path}"))?;
    }
    for path in ["cuda.repo", "nvidia-container-toolkit.repo"] {
        host.remove(&format!("/etc/yum.repos.d/{path}"))?;
    }
    host.sh("rm -f /usr/share/keyrings/cuda-archive-keyring.asc \
             /usr/share/keyrings/nvidia-container-toolkit-keyring.asc /etc/pki/rpm-gpg/cuda.asc /etc/pki/rpm-gpg/nvidia.asc")?
        .ok()?;
    host.reboot()?;
    ensure!(host.exists("/sys/module/nouveau"), "nouveau does not have the card again");
    let lines = before.diff(&host.state()?, &[crate::tree::BY_ITSELF, LEFT].concat());
    let known = |line: &String| line.starts_with("package gpg-pubkey:");
    ensure!(lines.iter().all(known), "more is left:\n{}", lines.join("\n"));
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
