//! What NVIDIA's own pages say to type, for scenarios that need a driver or the toolkit without rprov.

use super::{by_hand, by_hand_dnf};
use crate::Host;
use crate::keys::Key;
use crate::mirror::Variant;
use crate::nvidia_mirror::{cuda_directory, cuda_key};
use crate::toolkit::PACKAGES;
use anyhow::{Result, ensure};
use std::time::Duration;

/// The names of NVIDIA's two repositories.
pub const NVIDIA: &str = "nvidia.github.io";
pub const CUDA: &str = "developer.download.nvidia.com";
pub const LONG: Duration = Duration::from_secs(300);

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

/// Installs the four packages of one version.
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
pub fn engine(host: &Host) -> Result<()> {
    if host.identity().dnf().is_some() {
        // Amazon Linux has an engine of its own, and Docker none for it.
        if !host.identity().family().is_empty() {
            by_hand_dnf::source(host)?;
        }
        by_hand_dnf::install(host)?.ok()?;
        host.run(&["systemctl", "enable", "--now", "docker"])?.ok()?;
    } else {
        by_hand::source(host)?;
        by_hand::install(host)?;
    }
    by_hand::import(host)
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

/// Refreshes the lists, and installs.
pub fn install(host: &Host, packages: &[&str]) -> Result<()> {
    if host.identity().dnf().is_some() {
        return host.run_within(LONG, &[&["dnf", "install", "-y"], packages].concat())?.ok().map(drop);
    }
    host.run(&["apt-get", "update"])?.ok()?;
    let argv = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"];
    host.run_within(LONG, &[&argv, packages].concat())?.ok().map(drop)
}

/// The lab's image with the directories that NVIDIA's hooks write into, as `card`.
pub fn image(host: &Host) -> Result<()> {
    let argv = [
        "docker", "run", "--name", "made", "lab", "busybox", "mkdir", "-p", "/etc", "/tmp", "/usr/lib",
        "/usr/bin",
    ];
    host.run(&argv)?.ok()?;
    host.run(&["docker", "commit", "made", "card"])?.ok()?;
    host.run(&["docker", "rm", "made"])?.ok().map(drop)
}

/// Nodes and libraries are in a container that is run so.
pub fn sees_the_card(host: &Host, how: &[&str]) -> Result<()> {
    let look = "ls /dev/nvidia0 /dev/nvidiactl /usr/bin/nvidia-smi /usr/lib*/libcuda.so.1 /usr/lib/*/libcuda.so.1; sleep 0.3; true";
    let said = host.run(&[&["docker", "run", "--rm"], how, &["card", "sh", "-c", look]].concat())?.ok()?;
    for word in ["/dev/nvidia0", "/dev/nvidiactl", "/usr/bin/nvidia-smi", "libcuda.so.1"] {
        ensure!(said.stdout.contains(word), "{how:?}: no {word}: {}", said.text());
    }
    Ok(())
}

/// What apt and dnf say to each variant of one repository of NVIDIA's; all others are right throughout.
pub fn refusals_of(host: &mut Host, name: &'static str, package: &str) -> Result<()> {
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
