//! A copy of a base from within which the distribution's mirror is reached: what is fetched there leaves the base as it was.

use crate::base::{self, Base};
use crate::{Host, cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes it as `root` below `dir`. Whoever asks for it removes it.
pub fn of(base: Base, root: &Path, dir: &Path) -> Result<PathBuf> {
    let scratch = dir.join("root");
    sh::run(&["cp", "-a", &root.to_string_lossy(), &scratch.to_string_lossy()])?;
    if Path::new("/etc/resolv.conf").exists() {
        fs::copy("/etc/resolv.conf", scratch.join("etc/resolv.conf")).context("copying resolv.conf")?;
    }
    let line = format!("deb {} {} main\n", base::mirror()?, base.suite());
    sh::write(&scratch.join("etc/apt/sources.list"), line)?;
    sh::run(&["chroot", &scratch.to_string_lossy(), "apt-get", "update"])?;
    Ok(scratch)
}

/// A package of the distribution, and what it needs that the base lacks; fetched once.
pub fn packages(base: Base, package: &str) -> Result<PathBuf> {
    let _building = cache::lock()?;
    let root = base::ensure(base)?;
    let parts = [include_str!("scratch.rs"), &root.to_string_lossy()];
    cache::ensure(&format!("packages-{package}-{}", base.suite()), &parts, |dir| {
        let scratch = of(base, &root, dir)?;
        let at = scratch.to_string_lossy();
        let install = ["apt-get", "install", "-y", "--no-install-recommends", "--download-only", package];
        sh::run(&[&["chroot", &at], install.as_slice()].concat())?;
        let archives = scratch.join("var/cache/apt/archives");
        for deb in fs::read_dir(archives).context("listing what was fetched")?.flatten() {
            if deb.path().extension().is_some_and(|e| e == "deb") {
                fs::rename(deb.path(), dir.join(deb.file_name())).context("keeping a package")?;
            }
        }
        sh::remove_tree(&scratch)
    })
}

/// Installs one of these on a host, as somebody would who has a network.
pub fn install(host: &Host, package: &str) -> Result<()> {
    let from = packages(host.identity().base(), package)?;
    for deb in fs::read_dir(&from).context("listing packages")?.flatten() {
        host.copy_in(&deb.path(), &format!("/var/tmp/lab-debs/{}", deb.file_name().to_string_lossy()))?;
    }
    let install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends /var/tmp/lab-debs/*.deb";
    host.sh(&format!("{install} && rm -r /var/tmp/lab-debs"))?.ok().map(drop)
}
