//! dnf's versionlock plugin, which the distributions have in a package of its own and Debian has among others.

use crate::base::{self, Base};
use crate::{Host, cache, scratch, sh};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const PYTHON: &str = "usr/lib/python3/dist-packages";

/// Lays the plugin on a host, as the package of that name does.
pub fn lay(host: &Host) -> Result<()> {
    let from = ensure(host.identity().base())?;
    for name in ["etc/dnf/plugins/versionlock.conf", "etc/dnf/plugins/versionlock.list"] {
        host.copy_in(&from.join(name), &format!("/{name}"))?;
    }
    host.run(&["mkdir", "-p", &format!("/{PYTHON}/dnf-plugins"), &format!("/{PYTHON}/dnfpluginscore")])?
        .ok()?;
    for name in ["dnf-plugins/versionlock.py", "dnfpluginscore/__init__.py"] {
        host.copy_in(&from.join(PYTHON).join(name), &format!("/{PYTHON}/{name}"))?;
    }
    host.run(&["dnf", "-q", "--disablerepo=*", "versionlock", "list"])?.ok().map(drop)
}

fn ensure(base: Base) -> Result<PathBuf> {
    let root = base::ensure(base)?;
    let parts = [include_str!("versionlock.rs"), &root.to_string_lossy()];
    cache::ensure(&format!("versionlock-{}", base.suite()), &parts, |dir| fetch(base, &root, dir))
}

fn fetch(base: Base, root: &Path, dir: &Path) -> Result<()> {
    let scratch = scratch::of(base, root, dir)?;
    let at = scratch.to_string_lossy().into_owned();
    sh::run(&["chroot", &at, "sh", "-c", "cd /tmp && apt-get download dnf-plugins-core"])?;
    let files = fs::read_dir(scratch.join("tmp")).context("listing what was fetched")?.flatten();
    let Some(deb) = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "deb"))
    else {
        bail!("the mirror has no dnf-plugins-core");
    };
    sh::run(&["dpkg-deb", "-x", &deb.to_string_lossy(), &dir.to_string_lossy()])?;
    sh::remove_tree(&scratch)
}
