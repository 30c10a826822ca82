//! The distribution's own archive: what an engine needs, engines that must go, and things that need what came along.

use crate::base::{self, Base};
use crate::identity::{Identity, pockets};
use crate::keys::{Key, Keys, Signer};
use crate::release::{self, Release};
use crate::{cache, scratch, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Each line is one transaction on a fresh base, fetched with all that comes with it.
const WANTED: &[&str] = &[
    "iptables nftables apparmor pigz dbus-user-session xz-utils procps",
    "docker.io containerd runc tini",
    "docker.io docker-compose",
    "podman podman-docker",
    "ufw",
    "busybox-static",
    "cloud-init",
];
const WANTED_TRIXIE: &[&str] = &["docker-cli docker-buildx"];

/// The packages of a base's archive, as files.
pub fn pool(base: Base) -> Result<PathBuf> {
    let root = base::ensure(base)?;
    let name = format!("pool-{}", base.suite());
    let from = root.to_string_lossy().into_owned();
    cache::ensure(&name, &[include_str!("archive.rs"), &from], |dir| fetch(base, &root, dir))
}

fn fetch(base: Base, root: &Path, dir: &Path) -> Result<()> {
    println!("lab: fetching the archive of {}", base.suite());
    let scratch = scratch::of(base, root, dir)?;
    let at = scratch.to_string_lossy().into_owned();
    let more = if base == Base::Trixie { WANTED_TRIXIE } else { &[] };
    for wanted in WANTED.iter().chain(more) {
        let mut argv =
            vec!["chroot", &at, "apt-get", "install", "-y", "--no-install-recommends", "--download-only"];
        argv.extend(wanted.split(' '));
        sh::run(&argv)?;
    }
    for deb in fs::read_dir(scratch.join("var/cache/apt/archives")).context("listing what was fetched")? {
        let deb = deb?.path();
        let name = deb.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(plain) = name.ends_with(".deb").then(|| without_epoch(&name)) {
            fs::rename(&deb, dir.join(plain)).context("keeping a package")?;
        }
    }
    sh::remove_tree(&scratch)
}

/// `a_1%3a2.0_amd64.deb` as it is called in an archive.
fn without_epoch(name: &str) -> String {
    match (name.split_once('_'), name.split_once("%3a")) {
        (Some((package, _)), Some((_, rest))) => format!("{package}_{rest}"),
        _ => name.to_string(),
    }
}

/// A package's file in a pool.
pub fn find(pool: &Path, package: &str) -> Result<PathBuf> {
    let prefix = format!("{package}_");
    let mut files = fs::read_dir(pool).context("listing the pool")?.flatten().map(|entry| entry.path());
    files
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .with_context(|| format!("the archive has no {package}"))
}

/// The archive as it is served: `ubuntu/dists/noble` and its like over one pool a base.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let pools = [pool(Base::Bookworm)?, pool(Base::Trixie)?];
    let names: Vec<String> = pools.iter().map(|pool| pool.to_string_lossy().into_owned()).collect();
    let parts = [include_str!("archive.rs"), include_str!("release.rs"), &names.concat(), &keys.hash()?];
    cache::ensure("archive", &parts, |dir| lay(dir, &pools, keys))
}

fn lay(dir: &Path, pools: &[PathBuf; 2], keys: &Keys) -> Result<()> {
    let signer = keys.signer()?;
    for (base, pool) in Base::ALL.iter().zip(pools) {
        let at = dir.join("pool").join(base.suite());
        fs::create_dir_all(dir.join("pool")).context("making the pool")?;
        sh::run(&["cp", "-al", &pool.to_string_lossy(), &at.to_string_lossy()])?;
        let packages = sh::run_in(dir, &["apt-ftparchive", "packages", &format!("pool/{}", base.suite())])?;
        for identity in Identity::APT.into_iter().filter(|identity| identity.base() == *base) {
            let family = dir.join(identity.family());
            fs::create_dir_all(&family).context("making the archive's directory")?;
            if !family.join("pool").exists() {
                std::os::unix::fs::symlink("../pool", family.join("pool")).context("linking the pool")?;
            }
            for pocket in std::iter::once(&"").chain(pockets(identity)) {
                let suite = format!("{}{pocket}", identity.suite());
                let text = if pocket.is_empty() { packages.as_str() } else { "" };
                suite_of(&family.join("dists").join(&suite), identity, &suite, text, &signer)?;
            }
        }
    }
    Ok(())
}

fn suite_of(dir: &Path, identity: Identity, suite: &str, packages: &str, signer: &Signer) -> Result<()> {
    let (origin, components) = match identity.family() {
        "ubuntu" => ("Ubuntu", "main universe restricted multiverse"),
        _ => ("Debian", "main"),
    };
    for component in components.split(' ') {
        let text = if component == "main" { packages } else { "" };
        release::packages(&dir.join(component).join("binary-amd64"), text)?;
    }
    let release =
        Release { origin, label: origin, suite, components, date: release::now(), valid_until: None };
    release::write(dir, &release, Key::Archive, signer)
}

#[cfg(test)]
mod tests {
    use super::without_epoch;

    #[test]
    fn an_epoch_is_not_part_of_a_files_name() {
        assert_eq!(without_epoch("a-b_2%3a1.0-1_amd64.deb"), "a-b_1.0-1_amd64.deb");
        assert_eq!(without_epoch("a_1.0_all.deb"), "a_1.0_all.deb");
    }
}
