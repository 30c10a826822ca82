//! Debian's unattended-upgrades in a host, which its own timer starts early in each boot, and a package that it upgrades.

use crate::keys::Key;
use crate::release::{self, Release};
use crate::stub::Stub;
use crate::{Host, scratch, sh};
use anyhow::{Context, Result};
use std::fs;

/// Version 1 is installed, version 2 in a repository of the host's own.
pub const PACKAGE: &str = "lab-upgraded";

const ORIGIN: &str = "lab-upgrades";
const KEY: &str = "/usr/share/keyrings/lab-upgrades.asc";
const PLACE: &str = "/srv/upgrades";

/// Nothing but the package: what else the archive has newer is not this host's matter.
const ALLOWED: &str = "#clear Unattended-Upgrade::Origins-Pattern;\n\
    Unattended-Upgrade::Origins-Pattern { \"origin=lab-upgrades\"; };\n";
const EARLY: &str = "[Timer]\nOnCalendar=\nOnBootSec=1\nAccuracySec=1\nRandomizedDelaySec=0\n";

/// Into a booted host; `meanwhile` is shell that the package's new version runs, while dpkg waits for it.
pub fn lay(host: &Host, meanwhile: &str) -> Result<()> {
    let lab = host.lab();
    let work = lab.dir().join(format!("upgrades-{}", lab.number()));
    let repository = work.join("repository");
    fs::create_dir_all(&repository).context("making a repository")?;
    let older = Stub::new(PACKAGE, "1", "1").deb(&work, &work)?;
    Stub::new(PACKAGE, "2", "1").after(meanwhile).deb(&work, &repository)?;
    release::packages(&repository, &sh::run_in(&repository, &["apt-ftparchive", "packages", "."])?)?;
    let (date, valid_until) = (release::now(), None);
    let about = Release { origin: ORIGIN, label: ORIGIN, suite: "", components: "", date, valid_until };
    release::write(&repository, &about, Key::Archive, &lab.keys().signer()?)?;
    sh::run(&["cp", "-r", &repository.to_string_lossy(), &host.at(PLACE).to_string_lossy()])?;

    scratch::install(host, "unattended-upgrades")?;
    host.copy_in(&older, "/srv/older.deb")?;
    host.write(KEY, lab.public(Key::Archive)?)?;
    let source = format!("deb [signed-by={KEY}] file:{PLACE} ./\n");
    host.write("/etc/apt/sources.list.d/lab-upgrades.list", source)?;
    host.write("/etc/apt/apt.conf.d/51lab-upgrades", ALLOWED)?;
    host.write("/etc/systemd/system/apt-daily-upgrade.timer.d/lab.conf", EARLY)?;
    let script = "set -e; dpkg -i /srv/older.deb; rm /srv/older.deb; apt-get update; \
                  systemctl enable apt-daily-upgrade.timer";
    host.sh(script)?.ok().map(drop)
}
