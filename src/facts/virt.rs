//! What this host runs in: metal, a virtual machine, a container or WSL; and how it counts resources.

use super::{any_exists, trimmed};
use crate::host::Look;
use serde::{Deserialize, Serialize};

/// What lies below this system; the names are those of `systemd-detect-virt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Virtualisation {
    None,
    Vm(String),
    Container(String),
    Wsl1,
    Wsl2,
}

/// How the kernel's control groups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cgroup {
    V1,
    V2,
    /// The controllers are those of version 1, with an empty version 2 beside them.
    Hybrid,
    None,
}

pub(super) fn virtualisation(host: &dyn Look, kernel: &str) -> Virtualisation {
    if let Some(wsl) = wsl(kernel) {
        return wsl;
    }
    if let Some(kind) = container(host) {
        return Virtualisation::Container(kind);
    }
    machine(host).map_or(Virtualisation::None, |kind| Virtualisation::Vm(kind.to_owned()))
}

/// Microsoft's kernels tell themselves apart by a capital.
fn wsl(kernel: &str) -> Option<Virtualisation> {
    if kernel.contains("Microsoft") {
        Some(Virtualisation::Wsl1)
    } else if kernel.contains("microsoft") {
        Some(Virtualisation::Wsl2)
    } else {
        None
    }
}

/// By the mark that systemd leaves for everyone, or, without systemd, by those of the engines.
fn container(host: &dyn Look) -> Option<String> {
    let marked = trimmed(host, "/run/systemd/container");
    if !marked.is_empty() {
        return Some(marked);
    }
    for (mark, kind) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if any_exists(host, &[mark]) {
            return Some(kind.to_owned());
        }
    }
    let openvz = any_exists(host, &["/proc/vz"]) && !any_exists(host, &["/proc/bc"]);
    openvz.then(|| "openvz".to_owned())
}

/// By what the firmware says of itself; machines without DMI have a device tree or Xen's own file.
fn machine(host: &dyn Look) -> Option<&'static str> {
    // Amazon's firmware names its maker on bare metal too.
    if trimmed(host, "/sys/class/dmi/id/product_name").ends_with(".metal") {
        return None;
    }
    for field in ["product_name", "sys_vendor", "board_vendor", "bios_vendor"] {
        let value = trimmed(host, &format!("/sys/class/dmi/id/{field}"));
        if let Some(kind) = machine_by_firmware(&value) {
            return Some(kind);
        }
    }
    if trimmed(host, "/proc/device-tree/hypervisor/compatible").trim_end_matches('\0') == "linux,kvm" {
        return Some("kvm");
    }
    (trimmed(host, "/sys/hypervisor/type") == "xen").then_some("xen")
}

/// The table of systemd-detect-virt, and `Virtual Machine`, the product name of Hyper-V.
fn machine_by_firmware(value: &str) -> Option<&'static str> {
    const TABLE: &[(&str, &str)] = &[
        ("KVM", "kvm"),
        ("OpenStack", "kvm"),
        ("KubeVirt", "kvm"),
        ("Amazon EC2", "amazon"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VMW", "vmware"),
        ("innotek GmbH", "oracle"),
        ("VirtualBox", "oracle"),
        ("Xen", "xen"),
        ("Bochs", "bochs"),
        ("Parallels", "parallels"),
        ("BHYVE", "bhyve"),
        ("Hyper-V", "microsoft"),
        ("Virtual Machine", "microsoft"),
        ("Apple Virtualization", "apple"),
        ("Google Compute Engine", "google"),
    ];
    TABLE.iter().find(|(start, _)| value.starts_with(start)).map(|(_, kind)| *kind)
}

pub(super) fn cgroup(host: &dyn Look) -> Cgroup {
    let table: [(&[&str], Cgroup); 3] = [
        (&["/sys/fs/cgroup/cgroup.controllers"], Cgroup::V2),
        (&["/sys/fs/cgroup/unified"], Cgroup::Hybrid),
        (&["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/systemd"], Cgroup::V1),
    ];
    for (marks, kind) in table {
        if any_exists(host, marks) {
            return kind;
        }
    }
    Cgroup::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn what_lies_below_is_told_by_files_alone() {
        let metal = || FakeHost::new().file("/sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
        let vm = |kind: &str| Virtualisation::Vm(kind.to_owned());
        let container = |kind: &str| Virtualisation::Container(kind.to_owned());
        let product = |name: &str| metal().file("/sys/class/dmi/id/product_name", name);
        let cases = [
            (metal(), "6.8.0-45-generic", Virtualisation::None),
            (metal(), "4.4.0-19041-Microsoft", Virtualisation::Wsl1),
            (metal(), "5.15.153.1-microsoft-standard-WSL2", Virtualisation::Wsl2),
            (metal().file("/run/systemd/container", "systemd-nspawn\n"), "", container("systemd-nspawn")),
            (metal().file("/.dockerenv", ""), "", container("docker")),
            (metal().directory("/proc/vz"), "", container("openvz")),
            (metal().directory("/proc/vz").directory("/proc/bc"), "", Virtualisation::None),
            (product("Virtual Machine\n"), "", vm("microsoft")),
            (product("KVM\n"), "", vm("kvm")),
            (FakeHost::new().file("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n"), "", vm("amazon")),
            (
                product("c5.metal").file("/sys/class/dmi/id/sys_vendor", "Amazon EC2"),
                "",
                Virtualisation::None,
            ),
            (FakeHost::new().file("/proc/device-tree/hypervisor/compatible", "linux,kvm\0"), "", vm("kvm")),
            (FakeHost::new().file("/sys/hypervisor/type", "xen\n"), "", vm("xen")),
        ];
        for (host, kernel, expected) in cases {
            assert_eq!(virtualisation(&host, kernel), expected);
        }
    }

    #[test]
    fn control_groups_are_told_by_what_is_mounted() {
        let cases = [
            (FakeHost::new().file("/sys/fs/cgroup/cgroup.controllers", ""), Cgroup::V2),
            (
                FakeHost::new().directory("/sys/fs/cgroup/unified").directory("/sys/fs/cgroup/memory"),
                Cgroup::Hybrid,
            ),
            (FakeHost::new().directory("/sys/fs/cgroup/memory"), Cgroup::V1),
            (FakeHost::new(), Cgroup::None),
        ];
        for (host, expected) in cases {
            assert_eq!(cgroup(&host), expected);
        }
    }
}
