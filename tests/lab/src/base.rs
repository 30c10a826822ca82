//! Makes the two base root filesystems that every host is a copy of, with debootstrap.

use crate::{cache, sh};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The two generations of userland: apt 2.6 with gpgv, and apt 3 with sqv.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    Bookworm,
    Trixie,
}

impl Base {
    pub const ALL: [Base; 2] = [Base::Bookworm, Base::Trixie];

    pub fn suite(self) -> &'static str {
        match self {
            Base::Bookworm => "bookworm",
            Base::Trixie => "trixie",
        }
    }
}

const INCLUDE: &str =
    "systemd,systemd-sysv,dbus,sudo,iproute2,ca-certificates,openssl,procps,kmod,login,passwd,util-linux";

/// Where the cgroup controllers of version 1 arrive read-only, docker needs them writable.
const CGROUP_UNIT: &str = "[Unit]
Description=Control groups of the lab's host, writable
DefaultDependencies=no
Before=sysinit.target
ConditionPathExists=!/sys/fs/cgroup/cgroup.controllers

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mountpoint -q $d && mount -o remount,rw,bind $d; done; true'
";

/// Timers that would change a host by themselves in the middle of a scenario.
const TIMERS: &str = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
                      e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer";

/// The base root filesystem, made where it is not there yet.
pub fn ensure(base: Base) -> Result<PathBuf> {
    let mirror = mirror()?;
    let parts = [include_str!("base.rs"), &mirror, base.suite()];
    cache::ensure(&format!("base-{}", base.suite()), &parts, |root| build(base, &mirror, root))
}

fn build(base: Base, mirror: &str, root: &Path) -> Result<()> {
    println!("lab: debootstrap {}", base.suite());
    let dir = root.to_string_lossy();
    let include = format!("--include={INCLUDE}");
    sh::run(&["debootstrap", "--variant=minbase", &include, base.suite(), &dir, mirror])?;
    sh::write(&root.join("usr/lib/systemd/system/lab-cgroup.service"), CGROUP_UNIT)?;
    let wants = root.join("usr/lib/systemd/system/sysinit.target.wants");
    fs::create_dir_all(&wants).context("making sysinit.target.wants")?;
    std::os::unix::fs::symlink("../lab-cgroup.service", wants.join("lab-cgroup.service"))
        .context("linking lab-cgroup.service")?;
    for timer in TIMERS.split_whitespace() {
        // Not every base has every one of them.
        let _ = sh::run(&["chroot", &dir, "systemctl", "disable", timer]);
    }
    fs::create_dir_all(root.join("var/log/journal")).context("making the journal's directory")?;
    sh::run(&[
        "sh",
        "-c",
        "cd \"$1\" && rm -rf var/lib/apt/lists/* var/cache/apt/archives/*.deb var/cache/apt/*.bin \
         var/log/bootstrap.log etc/resolv.conf && : > etc/machine-id && rm -f var/lib/dbus/machine-id",
        "sh",
        &dir,
    ])?;
    Ok(())
}

/// The Debian mirror: `DEBIAN_MIRROR`, or what this machine's own apt reads.
pub fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var("DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.flatten().map(|entry| entry.path()));
    }
    let texts = files.iter().filter_map(|path| fs::read_to_string(path).ok());
    match texts.filter_map(|text| mirror_of(&text)).next() {
        Some(mirror) => Ok(mirror),
        None => bail!("this machine's apt reads no Debian mirror: set DEBIAN_MIRROR"),
    }
}

/// The first source of a sources file, in either style, that carries a release of Debian.
fn mirror_of(text: &str) -> Option<String> {
    let debian = |suite: &str| ["bullseye", "bookworm", "trixie", "stable", "oldstable"].contains(&suite);
    for stanza in text.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let suites = field("Suites:").unwrap_or_default();
        if let Some(uri) = field("URIs:").and_then(|uris| uris.split_whitespace().next())
            && suites.split_whitespace().any(debian)
        {
            return Some(uri.to_string());
        }
    }
    text.lines().find_map(|line| {
        let mut words = line.strip_prefix("deb ")?.split_whitespace().filter(|w| !w.starts_with('['));
        let words = (words.find(|w| w.contains("://"))?, words.next()?);
        debian(words.1).then(|| words.0.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::mirror_of;

    #[test]
    fn the_mirror_is_found_in_both_styles() {
        let deb822 = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror_of(deb822).as_deref(), Some("http://mirror.example/debian"));
        let line = "# x\ndeb [arch=amd64 signed-by=/a] http://mirror.example/debian trixie main\n";
        assert_eq!(mirror_of(line).as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(mirror_of("deb http://other.example/apt tool main\n"), None);
    }
}
