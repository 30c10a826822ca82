//! The distribution's own archive with what a card needs in it: headers, dkms, Canonical's signed modules, and what
//! Debian has outside of `main`.

use crate::driver::{self, Compiled, DEBIAN};
use crate::identity::{Identity, pockets};
use crate::keys::{Key, Keys, Signer};
use crate::release::{self, Release};
use crate::stub::{self, Stub};
use crate::{archive, cache, kernel, sh};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The archive as it is served.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let plain = archive::ensure(keys)?;
    let parts = [
        include_str!("restricted.rs"),
        include_str!("driver.rs"),
        include_str!("kernel.rs"),
        include_str!("stub.rs"),
        include_str!("../stubs/dkms.sh"),
        include_str!("../stubs/nvidia-smi.c"),
        &plain.to_string_lossy(),
    ];
    cache::ensure("archive-with-drivers", &parts, |dir| {
        println!("lab: adding drivers to the archive");
        sh::run(&["cp", "-al", &format!("{}/.", plain.display()), &dir.to_string_lossy()])?;
        let compiled = Compiled::ensure()?;
        let signer = keys.signer()?;
        Identity::APT.into_iter().try_for_each(|identity| add(dir, identity, &compiled, &signer))
    })
}

/// By component.
fn packages(identity: Identity, compiled: &Compiled) -> BTreeMap<&'static str, Vec<Stub>> {
    let suite = identity.suite();
    let mut all = BTreeMap::from([("main", kernel::debs(suite))]);
    if identity.family() == "ubuntu" {
        let release = kernel::of_suite(suite).release;
        all.insert("restricted", driver::ubuntu_debs(compiled, identity.version(), release));
    } else {
        let version = DEBIAN.iter().find(|(of, _)| *of == suite).map(|(_, version)| *version);
        for (component, stub) in version.map(|v| driver::debian_debs(compiled, v)).unwrap_or_default() {
            all.entry(component).or_default().push(stub);
        }
    }
    all
}

fn add(dir: &Path, identity: Identity, compiled: &Compiled, signer: &Signer) -> Result<()> {
    let suite = identity.suite();
    let family = identity.family();
    let packages = packages(identity, compiled);
    let mut components: Vec<&str> = match family {
        "ubuntu" => vec!["main", "universe", "restricted", "multiverse"],
        _ => vec!["main", "contrib", "non-free", "non-free-firmware"],
    };
    components.retain(|name| family == "ubuntu" || *name == "main" || suite != "nothing");
    let own = dir.join(family).join("dists").join(suite);
    for component in &components {
        let at = format!("pool/{suite}-{component}");
        let stubs = packages.get(component).map(Vec::as_slice).unwrap_or_default();
        stub::debs(stubs, &dir.join("work"), &dir.join(&at))?;
        let more = sh::run_in(dir, &["apt-ftparchive", "packages", &at])?;
        let indexes = own.join(component).join("binary-amd64");
        let before = sh::read(&indexes.join("Packages")).unwrap_or_default();
        // The others are links to the archive as it was.
        sh::remove_tree(&indexes)?;
        release::packages(&indexes, &(before + &more))?;
    }
    sh::remove_tree(&dir.join("work"))?;
    for pocket in std::iter::once(&"").chain(pockets(identity)) {
        let of = dir.join(family).join("dists").join(format!("{suite}{pocket}"));
        for component in &components {
            let indexes = of.join(component).join("binary-amd64");
            if !indexes.exists() {
                release::packages(&indexes, "")?;
            }
        }
        for name in ["Release", "InRelease", "Release.gpg"] {
            fs::remove_file(of.join(name)).context("unlinking a release")?;
        }
        let origin = if family == "ubuntu" { "Ubuntu" } else { "Debian" };
        let about = Release {
            origin,
            label: origin,
            suite: &format!("{suite}{pocket}"),
            components: &components.join(" "),
            date: release::now(),
            valid_until: None,
        };
        release::write(&of, &about, Key::Archive, signer)?;
    }
    Ok(())
}
