//! A copy of a base from within which the distribution's mirror is reached: what is fetched there leaves the base as it was.

use crate::base::{self, Base};
use crate::sh;
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
