//! The rpm distributions' repositories under their real paths, with what every host has already in them: a bundle is resolved as if nothing were there.

use crate::dnf_archive;
use crate::dnf_root;
use crate::identity::Identity;
use crate::keys::{Key, Keys};
use crate::lab::Lab;
use crate::{cache, release, rpm, sh};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where they are served, once somebody asked for it.
pub const ADDRESS: &str = "http://archive.lab/whole-dnf";

/// An identity, and where the distribution has its two repositories below its root.
const PLACES: [(Identity, &str, &str); 3] = [
    (Identity::Rhel9, "content/dist/rhel9/9/x86_64/baseos/os", "content/dist/rhel9/9/x86_64/appstream/os"),
    (Identity::Rocky9, "9/BaseOS/x86_64/os", "9/AppStream/x86_64/os"),
    (Identity::Fedora44, "releases/44/Everything/x86_64/os", "updates/44/Everything/x86_64"),
];

/// Serves them below [`ADDRESS`] from now on.
pub fn serve(lab: &Lab) -> Result<()> {
    let _building = cache::lock()?;
    let whole = ensure(lab.keys())?;
    match symlink(&whole, lab.dir().join("nginx/whole-dnf")) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.context("serving the whole repositories"),
    }
}

fn ensure(keys: &Keys) -> Result<PathBuf> {
    let archive = dnf_archive::ensure(keys)?;
    let parts = [
        include_str!("whole_dnf.rs"),
        include_str!("dnf_root.rs"),
        &archive.to_string_lossy(),
        &keys.hash()?,
    ];
    cache::ensure("archive-whole-dnf", &parts, |dir| {
        PLACES
            .iter()
            .try_for_each(|(identity, system, more)| lay(*identity, [system, more], &archive, dir, keys))
    })
}

fn lay(identity: Identity, places: [&str; 2], archive: &Path, dir: &Path, keys: &Keys) -> Result<()> {
    let dnf = identity.dnf().context("it has no dnf")?;
    let from = archive.join("rpm").join(dnf.tag).join(dnf.releasever);
    let (signer, work) = (keys.signer()?, dir.join("work"));
    let names = if dnf.tag.starts_with("fc") { ["fedora", "updates"] } else { ["baseos", "appstream"] };
    for (n, (place, name)) in places.iter().zip(names).enumerate() {
        let packages = dir.join(place).join("Packages");
        fs::create_dir_all(&packages).context("making a repository")?;
        // What every host has is in the first.
        if n == 0 {
            rpm::build(&dnf_root::system(dnf), &work, &packages)?;
            rpm::sign(&rpm::list(&packages)?, Key::Archive, &signer)?;
        }
        let theirs = from.join(name).join("Packages");
        sh::run(&["cp", "-al", &format!("{}/.", theirs.display()), &packages.to_string_lossy()])?;
        rpm::index(&dir.join(place), release::now())?;
    }
    sh::remove_tree(&work)
}
