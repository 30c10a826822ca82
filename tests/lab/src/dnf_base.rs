//! The bases of the hosts that have dnf: one of the two with the real rpm and dnf in it, and nothing of apt.

use crate::base::{self, Base};
use crate::{cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's rpm would keep a database a home directory.
const MACROS: &str = "%_dbpath /var/lib/rpm\n";

/// As systemd's package has it on these distributions: what is installed is not enabled by that.
const PRESET: &str = "disable *\n";

/// What makes the userland Debian's to who asks for a package manager.
const APT: &str = "usr/bin/apt* usr/bin/dpkg* usr/sbin/dpkg* etc/apt etc/dpkg var/lib/apt var/lib/dpkg var/cache/apt \
                   var/cache/debconf usr/lib/apt usr/lib/dpkg usr/share/dpkg etc/cron.daily/apt* etc/cron.daily/dpkg \
                   etc/logrotate.d/apt etc/logrotate.d/dpkg etc/logrotate.d/alternatives var/log/apt var/log/dpkg.log \
                   usr/lib/systemd/system/apt-* usr/lib/systemd/system/dpkg-* etc/dnf/aliases.d/* etc/debian_version";

/// Large, and of no use to a host: a host is a copy.
const BALLAST: &str = "usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/perl \
                       usr/lib/x86_64-linux-gnu/perl usr/lib/x86_64-linux-gnu/perl-base/unicore";

/// rpm 4.18 and dnf 4.14 with bookworm, rpm 4.20 and dnf 4.23 with trixie.
pub fn ensure(base: Base) -> Result<PathBuf> {
    let from = base::ensure(base)?;
    let parts = [include_str!("dnf_base.rs"), &from.to_string_lossy()];
    cache::ensure(&format!("base-dnf-{}", base.suite()), &parts, |root| build(base, &from, root))
}

fn build(base: Base, from: &Path, root: &Path) -> Result<()> {
    println!("lab: {} with dnf", base.suite());
    let at = root.to_string_lossy();
    sh::run(&["cp", "-a", &format!("{}/.", from.display()), &at])?;
    if Path::new("/etc/resolv.conf").exists() {
        fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).context("copying resolv.conf")?;
    }
    let line = format!("deb {} {} main\n", base::mirror()?, base.suite());
    sh::write(&root.join("etc/apt/sources.list"), line)?;
    sh::run(&["chroot", &at, "apt-get", "update"])?;
    sh::run(&["chroot", &at, "apt-get", "install", "-y", "--no-install-recommends", "rpm", "dnf"])?;
    sh::write(&root.join("etc/rpm/macros"), MACROS)?;
    sh::write(&root.join("usr/lib/systemd/system-preset/99-default-disable.preset"), PRESET)?;
    for dir in ["etc/yum.repos.d", "etc/pki/rpm-gpg", "etc/pki/tls/certs", "etc/sysconfig", "var/lib/rpm"] {
        fs::create_dir_all(root.join(dir)).with_context(|| format!("making /{dir}"))?;
    }
    let links =
        [("dnf", "usr/bin/yum"), ("/etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt")];
    for (target, link) in links {
        std::os::unix::fs::symlink(target, root.join(link)).with_context(|| format!("linking /{link}"))?;
    }
    sh::run(&["chroot", &at, "rpm", "--initdb"])?;
    let script = "cd \"$1\" && rm -rf $2 etc/resolv.conf var/lib/dbus/machine-id && : > etc/machine-id";
    sh::run(&["sh", "-c", script, "sh", &at, &format!("{APT} {BALLAST}")]).map(drop)
}
