//! Lays NVIDIA's repositories under their real paths: that of the container toolkit, and what is left of its forerunner.

use crate::flat::{Flat, VARIANTS};
use crate::keys::{Key, Keys, Signer};
use crate::mirror::Variant;
use crate::stub::{self, Stub};
use crate::toolkit::{self, Kind, VERSIONS};
use crate::{cache, release, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const ORIGIN: &str = "https://nvidia.github.io/libnvidia-container";
const LABEL: &str = "NVIDIA CORPORATION <cudatools@nvidia.com>";

/// The trees, as `VARIANT/libnvidia-container/stable/deb/amd64/...`.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let packages = packages()?;
    let parts = [
        include_str!("nvidia_mirror.rs"),
        include_str!("flat.rs"),
        include_str!("release.rs"),
        include_str!("toolkit.rs"),
        &packages.to_string_lossy(),
        &keys.hash()?,
    ];
    cache::ensure("mirror-nvidia", &parts, |dir| build(dir, &packages, keys))
}

/// The toolkit's packages, not signed, as `{deb,rpm}/VERSION/` and `{deb,rpm}/legacy/`.
pub fn packages() -> Result<PathBuf> {
    let parts = [
        include_str!("toolkit.rs"),
        include_str!("stub.rs"),
        include_str!("rpm.rs"),
        include_str!("../stubs/nvidia-container-runtime.sh"),
        include_str!("../stubs/nvidia-container-runtime-hook.sh"),
        include_str!("../stubs/nvidia-container-cli.sh"),
        include_str!("../stubs/nvidia-cdi-hook.sh"),
        include_str!("../stubs/nvidia-ctk.sh"),
    ];
    cache::ensure("nvidia-toolkit", &parts, |dir| {
        println!("lab: packaging NVIDIA's container toolkit");
        let work = dir.join("work");
        let of = |name: &str, debs: Vec<Stub>, rpms: Vec<Stub>| {
            stub::debs(&debs, &work, &dir.join("deb").join(name))?;
            stub::rpms(&rpms, &work, &dir.join("rpm").join(name))
        };
        for version in VERSIONS {
            of(version, toolkit::packages(version, Kind::Deb), toolkit::packages(version, Kind::Rpm))?;
        }
        of("legacy", toolkit::legacy(Kind::Deb), toolkit::legacy(Kind::Rpm))?;
        sh::remove_tree(&work)
    })
}

fn build(dir: &Path, packages: &Path, keys: &Keys) -> Result<()> {
    println!("lab: laying NVIDIA's repositories");
    let signer = keys.signer()?;
    let date = release::now() - 300;
    for variant in VARIANTS {
        toolkit_of(variant, &dir.join(variant.name()), packages, date, keys, &signer)
            .with_context(|| format!("laying {} of the toolkit", variant.name()))?;
    }
    Ok(())
}

fn toolkit_of(
    variant: Variant,
    root: &Path,
    packages: &Path,
    date: i64,
    keys: &Keys,
    signer: &Signer,
) -> Result<()> {
    let at = root.join("libnvidia-container");
    let stable = at.join("stable");
    fs::create_dir_all(&stable).context("making NVIDIA's directory")?;
    let key = if variant == Variant::RogueKey { Key::Rogue } else { Key::Toolkit };
    fs::copy(keys.public(key), at.join("gpgkey")).context("serving the key")?;
    sh::write(&stable.join("deb/nvidia-container-toolkit.list"), toolkit::LIST)?;
    sh::write(&stable.join("rpm/nvidia-container-toolkit.repo"), toolkit::repo())?;
    let of = |kind: &str| VERSIONS.map(|version| packages.join(kind).join(version));
    let (debs, rpms) = (of("deb"), of("rpm"));
    let flat = |generations| Flat {
        generations,
        victim: "nvidia-container-toolkit",
        origin: ORIGIN,
        label: LABEL,
        keys: &[Key::Toolkit],
        date,
    };
    flat(&debs).debs(variant, &stable.join("deb/amd64"), signer)?;
    // The packages are not signed: repomd.xml is.
    flat(&rpms).rpms(variant, &stable.join("rpm/x86_64"), true, signer)?;
    if variant == Variant::Good {
        legacy(root, packages, date, keys, signer)?;
    }
    Ok(())
}

/// The forerunner's repositories, of which the old lists still tell apt and dnf: a few old packages, and none.
fn legacy(root: &Path, packages: &Path, date: i64, keys: &Keys, signer: &Signer) -> Result<()> {
    let lay = |path: &str, generations: &[PathBuf]| -> Result<()> {
        let all: Vec<PathBuf> = generations.iter().cloned().chain([PathBuf::new()]).collect();
        let flat =
            Flat { generations: &all, victim: "", origin: ORIGIN, label: LABEL, keys: &[Key::Toolkit], date };
        if path.contains("centos8") {
            flat.rpms(Variant::Good, &root.join(path), true, signer)
        } else {
            flat.debs(Variant::Good, &root.join(path), signer)
        }
    };
    for (kind, place) in [("deb", "ubuntu18.04/amd64"), ("rpm", "centos8/x86_64")] {
        let of = |name: &str| packages.join(kind).join(name);
        lay(&format!("libnvidia-container/stable/{place}"), &[of(VERSIONS[0])])?;
        lay(&format!("nvidia-docker/{place}"), &[of("legacy")])?;
        lay(&format!("nvidia-container-runtime/stable/{place}"), &[])?;
    }
    for name in ["nvidia-docker", "nvidia-container-runtime"] {
        fs::copy(keys.public(Key::Toolkit), root.join(name).join("gpgkey")).context("serving the key")?;
    }
    sh::write(&root.join("nvidia-docker/ubuntu18.04/nvidia-docker.list"), toolkit::LEGACY_LIST)
}
