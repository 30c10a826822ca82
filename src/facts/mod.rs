//! What kind of host this is: small, fixed facts, read from files wherever a file tells.

pub mod gpu;
mod init;
mod os_release;
mod security;
mod virt;

pub use gpu::{Card, Family, Flavour, Gpu};
pub use init::Init;
pub use os_release::Distribution;
pub use security::{AppArmor, SeLinux};
pub use virt::{Cgroup, Virtualisation};

use crate::error::Result;
use crate::host::{Look, Question};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything that a profile is chosen by and a plan depends on. As JSON it only ever gains fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub distribution: Distribution,
    /// In dpkg's words on every distribution: `amd64`, `arm64`, `armhf`.
    pub architecture: String,
    /// The kernel's release, as `uname -r` gives it.
    pub kernel: String,
    pub init: Init,
    /// The command of process 1: what to name where it is not systemd.
    pub first_process: String,
    pub virtualisation: Virtualisation,
    pub cgroup: Cgroup,
    pub apparmor: AppArmor,
    pub selinux: SeLinux,
    /// Whether this process may change the host.
    pub root: bool,
    /// An engine that a package brought, whichever.
    #[serde(default)]
    pub engine: bool,
    /// An engine from a snap: it and ours do not live together.
    pub snap_docker: bool,
    /// A bundle of trusted certificates, without which no registry can be reached.
    pub certificates: bool,
    pub clock: Clock,
    /// An ARMv6 processor, as in the first Raspberry Pi: dpkg says `armhf` there too, which others mean for ARMv7.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub armv6: bool,
    /// NVIDIA's cards and driver, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

impl Facts {
    /// Whether these are the files of a machine that does not run: a chroot, or a container without a systemd.
    pub fn is_image(&self) -> bool {
        let contained = matches!(self.virtualisation, Virtualisation::Container(_));
        self.init == Init::Chroot || (self.init == Init::Other && contained)
    }
}

/// Whether the clock is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    Synchronised,
    /// Not yet, or by something that leaves no mark.
    Unknown,
}

/// Looks at the host.
pub fn gather(host: &dyn Look) -> Result<Facts> {
    let kernel = trimmed(host, "/proc/sys/kernel/osrelease");
    Ok(Facts {
        distribution: os_release::distribution(host),
        architecture: architecture(host)?,
        init: init::init(host),
        first_process: trimmed(host, "/proc/1/comm"),
        virtualisation: virt::virtualisation(host, &kernel),
        cgroup: virt::cgroup(host),
        apparmor: security::apparmor(host),
        selinux: security::selinux(host),
        root: root(host),
        engine: any_exists(host, &["/usr/bin/dockerd", "/usr/sbin/dockerd"]),
        snap_docker: any_exists(host, &["/snap/bin/docker", "/var/snap/docker"]),
        certificates: any_exists(host, CERTIFICATES),
        clock: clock(host),
        armv6: armv6(&text(host, "/proc/cpuinfo")),
        gpu: gpu::gpu(host, &kernel),
        kernel,
    })
}

/// Where the families keep the bundle of trusted certificates.
const CERTIFICATES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// dpkg's own word where there is dpkg: a 32-bit userland may run on a 64-bit kernel.
fn architecture(host: &dyn Look) -> Result<String> {
    if any_exists(host, &["/usr/bin/dpkg"]) {
        let answer = host.query(&Question::DpkgArchitecture)?;
        if answer.ok() && !answer.stdout.trim().is_empty() {
            return Ok(answer.stdout.trim().to_owned());
        }
    }
    Ok(dpkg_word(std::env::consts::ARCH).to_owned())
}

/// By the model's name: the line `CPU architecture` says 7 of these processors too.
fn armv6(cpuinfo: &str) -> bool {
    let model = |line: &&str| line.starts_with("model name") || line.starts_with("Processor");
    cpuinfo.lines().filter(model).any(|line| line.contains("ARMv6"))
}

/// What dpkg calls an architecture that Rust calls so.
fn dpkg_word(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "x86" => "i386",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// By `/proc/self/status`; a host without `/proc` is asked by the system call.
fn root(host: &dyn Look) -> bool {
    let status = text(host, "/proc/self/status");
    effective_uid(&status).unwrap_or_else(|| rustix::process::geteuid().as_raw()) == 0
}

/// The second number of `Uid:` in `/proc/PID/status`.
fn effective_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// systemd-timesyncd leaves a mark; chrony and ntpd leave none that can be read without asking them.
fn clock(host: &dyn Look) -> Clock {
    let marked = any_exists(host, &["/run/systemd/timesync/synchronized"]);
    if marked { Clock::Synchronised } else { Clock::Unknown }
}

/// Whether any of these is there, as far as this user can see.
fn any_exists(host: &dyn Look, paths: &[&str]) -> bool {
    paths.iter().any(|path| host.exists(Path::new(path)).unwrap_or(false))
}

/// A file's text. What is absent, or hidden from this user, or refuses to be read as some files of the kernel do,
/// is empty: each fact has a word for what it cannot see.
fn text(host: &dyn Look, path: &str) -> String {
    let bytes = host.read(Path::new(path)).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn trimmed(host: &dyn Look, path: &str) -> String {
    text(host, path).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const NOBLE: &str = "NAME=\"Ubuntu\"\nPRETTY_NAME=\"Ubuntu 24.04.2 LTS\"\nID=ubuntu\nID_LIKE=debian\n\
                         VERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n";

    fn noble() -> FakeHost {
        FakeHost::new()
            .file("/usr/lib/os-release", NOBLE)
            .link("/etc/os-release", "../usr/lib/os-release")
            .file("/usr/bin/dpkg", "")
            .answer(Question::DpkgArchitecture, "amd64\n")
            .file("/proc/sys/kernel/osrelease", "6.8.0-45-generic\n")
            .file("/proc/1/comm", "systemd\n")
            .directory("/run/systemd/system")
            .file("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
            .file("/sys/class/dmi/id/sys_vendor", "QEMU\n")
            .file("/sys/module/apparmor/parameters/enabled", "Y\n")
            .file("/proc/self/status", "Name:\trprov\nUid:\t0\t0\t0\t0\n")
            .file("/etc/ssl/certs/ca-certificates.crt", "")
            .file("/run/systemd/timesync/synchronized", "")
    }

    #[test]
    fn the_facts_of_a_fresh_ubuntu_are_gathered_and_come_back_from_json() {
        let facts = gather(&noble()).expect("gathers");
        let json = serde_json::to_string_pretty(&facts).expect("writes");
        let expected = r#"{
  "distribution": {
    "id": "ubuntu",
    "id_like": [
      "debian"
    ],
    "version_id": "24.04",
    "codename": "noble",
    "ubuntu_codename": "noble",
    "name": "Ubuntu 24.04.2 LTS"
  },
  "architecture": "amd64",
  "kernel": "6.8.0-45-generic",
  "init": "systemd",
  "first_process": "systemd",
  "virtualisation": {
    "vm": "qemu"
  },
  "cgroup": "v2",
  "apparmor": {
    "enabled": true,
    "parser": false
  },
  "selinux": "off",
  "root": true,
  "engine": false,
  "snap_docker": false,
  "certificates": true,
  "clock": "synchronised"
}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Facts>(&json).expect("reads"), facts);
    }

    #[test]
    fn an_empty_root_gives_facts_and_no_error() {
        let facts = gather(&FakeHost::new()).expect("gathers");
        assert_eq!(facts.distribution.id, "linux");
        assert_eq!(facts.architecture, dpkg_word(std::env::consts::ARCH));
        assert_eq!(facts.init, Init::Other);
        assert_eq!(facts.virtualisation, Virtualisation::None);
        assert_eq!(facts.cgroup, Cgroup::None);
    }

    #[test]
    fn an_armv6_is_told_by_the_name_of_its_model() {
        let zero =
            "processor\t: 0\nmodel name\t: ARMv6-compatible processor rev 7 (v6l)\nCPU architecture: 7\n";
        let old_kernel = "Processor\t: ARMv6-compatible processor rev 7 (v6l)\n";
        let two = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 5 (v7l)\nCPU architecture: 7\n";
        for (cpuinfo, expected) in [(zero, true), (old_kernel, true), (two, false), ("", false)] {
            let facts = gather(&noble().file("/proc/cpuinfo", cpuinfo)).expect("gathers");
            assert_eq!(facts.armv6, expected, "{cpuinfo:?}");
        }
    }

    #[test]
    fn the_effective_user_counts() {
        for (status, uid) in
            [("Uid:\t1000\t0\t0\t0\n", Some(0)), ("Uid:\t0\t1000\t0\t0", Some(1000)), ("", None)]
        {
            assert_eq!(effective_uid(status), uid, "{status:?}");
        }
    }

    #[test]
    fn a_docker_snap_is_seen_by_its_program_or_its_data() {
        for path in ["/snap/bin/docker", "/var/snap/docker/common/x"] {
            assert!(gather(&noble().file(path, "")).expect("gathers").snap_docker, "{path}");
        }
    }
}
