//! Whether systemd runs this host, and whether this process sees the host or a chroot on it.

use super::{any_exists, text, trimmed};
use crate::host::Look;
use serde::{Deserialize, Serialize};

/// Who starts units here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    Systemd,
    /// systemd may run, but on the host outside: nothing here can be started.
    Chroot,
    Other,
}

/// The installed `systemctl` says nothing: both the runtime directory and process 1 have to agree.
pub(super) fn init(host: &dyn Look) -> Init {
    if chrooted(&text(host, "/proc/1/mountinfo"), &text(host, "/proc/self/mountinfo")) {
        return Init::Chroot;
    }
    let runs = any_exists(host, &["/run/systemd/system"]) && trimmed(host, "/proc/1/comm") == "systemd";
    if runs { Init::Systemd } else { Init::Other }
}

/// Whether this process has another root than process 1, by what both have mounted on `/`.
///
/// The file system and the directory in it are compared, not the number of the mount: a service with a mount
/// namespace of its own has other numbers and the same root. A chroot into a plain directory has no mount on `/`.
pub fn chrooted(first: &str, own: &str) -> bool {
    match (root_mount(first), root_mount(own)) {
        (None, _) => false,
        (Some(_), None) => !own.is_empty(),
        (Some(first), Some(own)) => first != own,
    }
}

/// Device and directory of what is mounted on `/`; of several, the last lies on top.
fn root_mount(mountinfo: &str) -> Option<(&str, &str)> {
    mountinfo.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (device, directory, point) = (fields.next()?, fields.next()?, fields.next()?);
        (point == "/").then_some((device, directory))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const FIRST: &str = "1 1 0:2 / / rw - rootfs rootfs rw\n29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                         30 29 0:22 / /proc rw - proc proc rw\n";

    #[test]
    fn a_chroot_is_told_by_what_is_mounted_on_its_root() {
        let cases = [
            ("the same", FIRST, FIRST, false),
            ("a service with mounts of its own", FIRST, "512 400 8:1 / / ro - ext4 /dev/sda1 rw\n", false),
            ("a plain directory", FIRST, "30 29 0:22 / /proc rw - proc proc rw\n", true),
            ("a directory mounted on itself", FIRST, "77 29 8:1 /srv/c / rw - ext4 /dev/sda1 rw\n", true),
            ("another file system", FIRST, "77 29 8:2 / / rw - ext4 /dev/sdb1 rw\n", true),
            ("what cannot be read says nothing", "", FIRST, false),
            ("no /proc", FIRST, "", false),
        ];
        for (name, first, own, expected) in cases {
            assert_eq!(chrooted(first, own), expected, "{name}");
        }
    }

    #[test]
    fn systemd_needs_its_directory_and_process_1() {
        let both = || FakeHost::new().directory("/run/systemd/system").file("/proc/1/comm", "systemd\n");
        let chroot = both()
            .file("/proc/1/mountinfo", FIRST)
            .file("/proc/self/mountinfo", "30 29 0:22 / /proc rw - proc proc rw\n");
        let cases = [
            (both(), Init::Systemd),
            (both().file("/proc/1/comm", "sleep\n"), Init::Other),
            (both().without("/run/systemd"), Init::Other),
            (chroot, Init::Chroot),
        ];
        for (host, expected) in cases {
            assert_eq!(init(&host), expected);
        }
    }
}
