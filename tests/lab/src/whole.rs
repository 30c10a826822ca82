//! The distribution's archive with what every host has already in it, too: a bundle is resolved as if nothing were there.

use crate::base::{self, Base};
use crate::identity::{Identity, pockets};
use crate::keys::{Key, Keys};
use crate::lab::Lab;
use crate::release::{self, Release};
use crate::{archive, cache, kernel, scratch, sh, stub};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Fetched for a system that has nothing, with all that comes along.
const WANTED: &str = "docker.io containerd runc iptables nftables apparmor ca-certificates init-system-helpers \
                      pigz xz-utils procps dbus-user-session";

/// Where it is served, once somebody asked for it.
pub const ADDRESS: &str = "http://archive.lab/whole";

/// Serves it below [`ADDRESS`] from now on.
pub fn serve(lab: &Lab) -> Result<()> {
    let _building = cache::lock()?;
    let whole = ensure(lab.keys())?;
    let link = lab.dir().join("nginx/whole");
    match symlink(&whole, &link) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.context("serving the whole archive"),
    }
}

fn pool(base: Base) -> Result<PathBuf> {
    let root = base::ensure(base)?;
    let parts = [WANTED, FETCH, &root.to_string_lossy()];
    cache::ensure(&format!("pool-whole-{}", base.suite()), &parts, |dir| {
        println!("lab: fetching what the base of {} is made of", base.suite());
        let scratch = scratch::of(base, &root, dir)?;
        sh::run_in(dir, &["sh", "-ec", FETCH, "sh", WANTED])?;
        sh::remove_tree(&scratch)
    })
}

/// An epoch is no part of a file's name in an archive.
const FETCH: &str = "
chroot root apt-get -o Dir::State::status=/dev/null install -y --no-install-recommends --download-only $1
for deb in root/var/cache/apt/archives/*.deb; do
    name=${deb##*/}
    case $name in *%3a*) name=${name%%_*}_${name#*%3a};; esac
    mv \"$deb\" \"$name\"
done";

fn ensure(keys: &Keys) -> Result<PathBuf> {
    let pools = [archive::pool(Base::Bookworm)?, archive::pool(Base::Trixie)?];
    let more = [pool(Base::Bookworm)?, pool(Base::Trixie)?];
    let names: Vec<String> =
        pools.iter().chain(&more).map(|pool| pool.to_string_lossy().into_owned()).collect();
    let parts = [
        include_str!("whole.rs"),
        include_str!("release.rs"),
        include_str!("kernel.rs"),
        &names.concat(),
        &keys.hash()?,
    ];
    cache::ensure("archive-whole", &parts, |dir| lay(dir, &pools, &more, keys))
}

fn lay(dir: &Path, pools: &[PathBuf; 2], more: &[PathBuf; 2], keys: &Keys) -> Result<()> {
    let signer = keys.signer()?;
    for (base, (pool, more)) in Base::ALL.iter().zip(pools.iter().zip(more)) {
        let at = dir.join("pool").join(base.suite());
        fs::create_dir_all(&at).context("making the pool")?;
        for from in [pool, more] {
            sh::run(&["cp", "-alf", &format!("{}/.", from.display()), &at.to_string_lossy()])?;
        }
        let packages = sh::run_in(dir, &["apt-ftparchive", "packages", &format!("pool/{}", base.suite())])?;
        for identity in Identity::SUPPORTED.into_iter().filter(|identity| identity.base() == *base) {
            // Headers of its kernels, and dkms.
            let of_kernel = format!("pool/{}-kernel", identity.suite());
            stub::debs(&kernel::debs(identity.suite()), &dir.join("work"), &dir.join(&of_kernel))?;
            let kernels = sh::run_in(dir, &["apt-ftparchive", "packages", &of_kernel])?;
            let packages = format!("{packages}{kernels}");
            for pocket in std::iter::once(&"").chain(pockets(identity)) {
                // Debian's security suite has an address of its own.
                let security = identity.family() == "debian" && *pocket == "-security";
                let family = if security { "debian-security" } else { identity.family() };
                let suite = format!("{}{pocket}", identity.suite());
                let components = match family {
                    "ubuntu" => "main universe restricted multiverse",
                    _ => "main contrib non-free non-free-firmware",
                };
                let place = dir.join(family).join("dists").join(&suite);
                for component in components.split(' ') {
                    let text = if pocket.is_empty() && component == "main" { packages.as_str() } else { "" };
                    release::packages(&place.join(component).join("binary-amd64"), text)?;
                }
                if !dir.join(family).join("pool").exists() {
                    symlink("../pool", dir.join(family).join("pool")).context("linking the pool")?;
                }
                let origin = if family == "ubuntu" { "Ubuntu" } else { "Debian" };
                let date = release::now();
                let about =
                    Release { origin, label: origin, suite: &suite, components, date, valid_until: None };
                release::write(&place, &about, Key::Archive, &signer)?;
            }
        }
    }
    sh::remove_tree(&dir.join("work"))
}
