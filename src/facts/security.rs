//! What confines processes here: AppArmor and SELinux.

use super::{any_exists, trimmed};
use crate::host::Look;
use serde::{Deserialize, Serialize};

/// AppArmor in the kernel, and the program that an engine needs to load its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppArmor {
    pub enabled: bool,
    pub parser: bool,
}

/// What SELinux does with a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeLinux {
    Off,
    Permissive,
    Enforcing,
}

pub(super) fn apparmor(host: &dyn Look) -> AppArmor {
    AppArmor {
        enabled: trimmed(host, "/sys/module/apparmor/parameters/enabled") == "Y",
        parser: any_exists(host, &["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"]),
    }
}

pub(super) fn selinux(host: &dyn Look) -> SeLinux {
    match trimmed(host, "/sys/fs/selinux/enforce").as_str() {
        "1" => SeLinux::Enforcing,
        "0" => SeLinux::Permissive,
        _ => SeLinux::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn selinux_is_off_unless_the_kernel_says_otherwise() {
        for (enforce, expected) in [("1", SeLinux::Enforcing), ("0", SeLinux::Permissive), ("", SeLinux::Off)]
        {
            let host = FakeHost::new().file("/sys/fs/selinux/enforce", enforce);
            assert_eq!(selinux(&host), expected);
        }
        assert_eq!(selinux(&FakeHost::new()), SeLinux::Off);
    }
}
