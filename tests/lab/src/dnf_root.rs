//! The root filesystem of a host of the dnf family: its names and repositories, and a system in rpm's database.

use crate::dnf_identity::Dnf;
use crate::keys::Keys;
use crate::rpm::{self, Rpm};
use crate::sh;
use anyhow::{Context, Result};
use std::path::Path;

/// The system's packages, of whose files rpm knows nothing here: name, version, and what they provide.
const SYSTEM: &[(&str, &str, &str)] = &[
    ("bash", "5.1.8", "/bin/sh /usr/bin/sh /bin/bash"),
    ("coreutils", "8.32", ""),
    ("glibc", "2.34", "libc.so.6()(64bit) libc.so.6(GLIBC_2.34)(64bit)"),
    ("libseccomp", "2.5.2", "libseccomp.so.2()(64bit)"),
    ("systemd", "252", "systemd-units libsystemd.so.0()(64bit)"),
    ("shadow-utils", "4.9", "/usr/sbin/groupadd /usr/sbin/useradd"),
    ("util-linux", "2.37.4", ""),
    ("iproute", "6.2.0", ""),
    ("kmod", "28", ""),
    ("ca-certificates", "2024.2.69", ""),
    ("tar", "1.34", ""),
    ("xz", "5.2.5", ""),
    ("rpm", "4.16.1.3", ""),
    ("dnf", "4.14.0", "yum"),
];

/// As systemd's package does: after a transaction that touched units, systemd reads them again.
const TRIGGERS: &str = "%transfiletriggerin -- /usr/lib/systemd/system /etc/systemd/system
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi

%transfiletriggerpostun -- /usr/lib/systemd/system /etc/systemd/system
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
";

/// Lays who it is, and installs into rpm's database what the system is.
pub fn lay(dnf: &Dnf, root: &Path, keys: &Keys) -> Result<()> {
    dnf.lay(root, keys)?;
    let work = root.join("tmp/lab");
    rpm::build(&system(dnf), &work.join("work"), &work.join("rpms"))?;
    let at = root.to_string_lossy();
    sh::run(&["chroot", &at, "sh", "-c", "rpm -i --nodeps /tmp/lab/rpms/*.rpm"])
        .context("installing the system's rpms")?;
    if dnf.imported {
        sh::run(&["chroot", &at, "rpm", "--import", &dnf.key_file()])?;
    }
    sh::remove_tree(&work)
}

pub fn system(dnf: &Dnf) -> Vec<Rpm> {
    let provide = |names: &str| -> String {
        names.split_whitespace().map(|name| format!("Provides: {name}\n")).collect()
    };
    let rpm = |name: &str, version: &str, fields: String| Rpm {
        name: name.to_string(),
        version: version.to_string(),
        release: format!("1.{}", dnf.tag),
        fields,
        ..Rpm::default()
    };
    let mut all: Vec<Rpm> =
        SYSTEM.iter().map(|(name, version, provides)| rpm(name, version, provide(provides))).collect();
    for systemd in all.iter_mut().filter(|rpm| rpm.name == "systemd") {
        systemd.scripts = TRIGGERS.to_string();
    }
    let platform = if dnf.tag == "amzn2023" { "al2023" } else { dnf.tag };
    let platform = platform.replace("fc", "f");
    let (name, version) = dnf.package;
    let mut release = rpm(
        name,
        version,
        format!(
            "Provides: system-release = {version}\nProvides: system-release(releasever) = {}\n\
             Provides: base-module(platform:{platform})\n{}",
            dnf.releasever,
            if name == "redhat-release" { "" } else { "Provides: redhat-release\n" }
        ),
    );
    release.noarch = true;
    all.push(release);
    all
}

/// Fetches the repositories' indexes, and lets dnf make what it makes at its first question.
pub const FETCH: &str =
    "dnf -q makecache && dnf -q -C repoquery --installed >/dev/null && rm -f /var/log/dnf* /var/log/hawkey*";
