//! Lays NVIDIA's repositories under their real paths: that of the container toolkit, what is left of its forerunner,
//! and that of CUDA, a directory each distribution.

use crate::driver::{self, Compiled, GENERATIONS};
use crate::flat::{Flat, VARIANTS};
use crate::identity::Identity;
use crate::keys::{Key, Keys, Signer};
use crate::mirror::Variant;
use crate::stub::{self, Stub};
use crate::toolkit::{self, Kind, VERSIONS};
use crate::{cache, release, rpm, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const ORIGIN: &str = "https://nvidia.github.io/libnvidia-container";
const LABEL: &str = "NVIDIA CORPORATION <cudatools@nvidia.com>";

/// The trees, as `VARIANT/libnvidia-container/stable/deb/amd64/...`.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let packages = packages()?;
    let drivers = drivers(keys)?;
    let parts = [
        include_str!("nvidia_mirror.rs"),
        include_str!("flat.rs"),
        include_str!("release.rs"),
        include_str!("toolkit.rs"),
        &packages.to_string_lossy(),
        &drivers.to_string_lossy(),
        &keys.hash()?,
    ];
    cache::ensure("mirror-nvidia", &parts, |dir| build(dir, &packages, &drivers, keys))
}

/// A directory of the CUDA repository.
struct Cuda {
    name: &'static str,
    /// Of rpms: what their releases end in.
    tag: Option<&'static str>,
    /// The names of the keys are upstream's.
    key_file: &'static str,
    keys: &'static [Key],
}

const OLD: &[Key] = &[Key::CudaSha1];
const NEW: &[Key] = &[Key::Cuda];

const CUDA: [Cuda; 9] = [
    Cuda { name: "ubuntu2204", tag: None, key_file: "3bf863cc.pub", keys: OLD },
    // Upstream signs by the old key, which gpgv takes. apt is that of trixie here, which does not: both sign.
    Cuda { name: "ubuntu2404", tag: None, key_file: "3bf863cc.pub", keys: &[Key::CudaSha1, Key::Cuda] },
    Cuda { name: "ubuntu2604", tag: None, key_file: "60DF8A40.pub", keys: NEW },
    Cuda { name: "debian12", tag: None, key_file: "3bf863cc.pub", keys: OLD },
    Cuda { name: "debian13", tag: None, key_file: "8793F200.pub", keys: NEW },
    Cuda { name: "rhel9", tag: Some("el9"), key_file: "D42D0685.pub", keys: NEW },
    Cuda { name: "rhel10", tag: Some("el10"), key_file: "CDF6BA43.pub", keys: NEW },
    Cuda { name: "fedora44", tag: Some("fc44"), key_file: "73CD9B30.pub", keys: NEW },
    Cuda { name: "amzn2023", tag: Some("amzn2023"), key_file: "D42D0685.pub", keys: NEW },
];

/// The key that a host pins for the CUDA repository of its distribution.
pub fn cuda_key(identity: Identity) -> Key {
    match identity.suite() {
        "jammy" | "bookworm" | "bullseye" => Key::CudaSha1,
        _ => Key::Cuda,
    }
}

/// The directory for a distribution.
pub fn cuda_directory(identity: Identity) -> &'static str {
    match (identity.dnf().map(|dnf| dnf.tag), identity.suite()) {
        (Some("el10"), _) => "rhel10",
        (Some("fc44"), _) => "fedora44",
        (Some("amzn2023"), _) => "amzn2023",
        (Some(_), _) => "rhel9",
        (None, "jammy") => "ubuntu2204",
        (None, "noble") => "ubuntu2404",
        (None, "resolute") => "ubuntu2604",
        (None, "trixie") => "debian13",
        _ => "debian12",
    }
}

/// The toolkit is there, too, in versions of its own: the second origin.
const TOOLKITS: [&[&str]; 3] = [&["1.19.1"], &["1.20.1"], &[]];

/// The driver's packages as `deb/GENERATION/` and, signed, as `TAG/GENERATION/`.
fn drivers(keys: &Keys) -> Result<PathBuf> {
    let parts = [
        include_str!("driver.rs"),
        include_str!("stub.rs"),
        include_str!("rpm.rs"),
        include_str!("toolkit.rs"),
        include_str!("../stubs/nvidia-smi.c"),
        &CUDA.iter().filter_map(|cuda| cuda.tag).collect::<String>(),
        &keys.hash()?,
    ];
    cache::ensure("nvidia-driver", &parts, |dir| {
        println!("lab: packaging NVIDIA's driver");
        let compiled = Compiled::ensure()?;
        let (work, signer) = (dir.join("work"), keys.signer()?);
        for (n, versions) in GENERATIONS.iter().enumerate() {
            let place = n.to_string();
            let toolkits = |kind: Kind| TOOLKITS[n].iter().flat_map(move |v| toolkit::packages(v, kind));
            let debs = versions.iter().flat_map(|version| driver::cuda_debs(&compiled, version));
            stub::debs(
                &debs.chain(toolkits(Kind::Deb)).collect::<Vec<Stub>>(),
                &work,
                &dir.join("deb").join(&place),
            )?;
            for tag in CUDA.iter().filter_map(|cuda| cuda.tag) {
                let to = dir.join(tag).join(&place);
                let rpms = versions.iter().flat_map(|version| driver::cuda_rpms(&compiled, version, tag));
                stub::rpms(&rpms.chain(toolkits(Kind::Rpm)).collect::<Vec<Stub>>(), &work, &to)?;
                rpm::sign(&rpm::list(&to)?, Key::Cuda, &signer)?;
            }
        }
        sh::remove_tree(&work)
    })
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

fn build(dir: &Path, packages: &Path, drivers: &Path, keys: &Keys) -> Result<()> {
    println!("lab: laying NVIDIA's repositories");
    let signer = keys.signer()?;
    let date = release::now() - 300;
    for variant in VARIANTS {
        toolkit_of(variant, &dir.join(variant.name()), packages, date, keys, &signer)
            .with_context(|| format!("laying {} of the toolkit", variant.name()))?;
        for cuda in &CUDA {
            cuda.lay(variant, &dir.join(variant.name()), drivers, date, keys, &signer)
                .with_context(|| format!("laying {} of {}", variant.name(), cuda.name))?;
        }
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
        indexed: &|_, _| Ok(()),
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
        let flat = Flat {
            generations: &all,
            victim: "",
            origin: ORIGIN,
            label: LABEL,
            keys: &[Key::Toolkit],
            date,
            indexed: &|_, _| Ok(()),
        };
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

impl Cuda {
    fn lay(
        &self,
        variant: Variant,
        root: &Path,
        drivers: &Path,
        date: i64,
        keys: &Keys,
        signer: &Signer,
    ) -> Result<()> {
        let at = root.join("compute/cuda/repos").join(self.name).join("x86_64");
        fs::create_dir_all(&at).context("making CUDA's directory")?;
        let key = if variant == Variant::RogueKey { Key::Rogue } else { self.keys[0] };
        fs::copy(keys.public(key), at.join(self.key_file)).context("serving the key")?;
        let from = drivers.join(self.tag.unwrap_or("deb"));
        let generations = [0, 1, 2].map(|n: usize| from.join(n.to_string()));
        let flat = Flat {
            generations: &generations,
            victim: if self.tag.is_some() { "nvidia-driver-cuda" } else { "libnvidia-compute" },
            origin: "NVIDIA",
            label: "NVIDIA CUDA",
            keys: self.keys,
            date,
            indexed: &|dir, count| self.add_streams(dir, count),
        };
        if self.tag.is_none() {
            return flat.debs(variant, &at, signer);
        }
        sh::write(&at.join(format!("cuda-{}.repo", self.name)), self.repo())?;
        flat.rpms(variant, &at, false, signer)
    }

    /// The modules of dnf; release 10 and Fedora have none any more.
    fn add_streams(&self, dir: &Path, generations: usize) -> Result<()> {
        let Some(tag) = self.tag.filter(|tag| ["el9", "amzn2023"].contains(tag)) else { return Ok(()) };
        let versions: Vec<&str> =
            GENERATIONS[..generations].iter().flat_map(|of| of.iter().copied()).collect();
        sh::write(&dir.join("modules.yaml"), driver::streams(dir, &versions, tag)?)?;
        sh::run_in(dir, &["modifyrepo_c", "--mdtype=modules", "modules.yaml", "repodata"])?;
        fs::remove_file(dir.join("modules.yaml")).context("removing modules.yaml")
    }

    /// Upstream's .repo file.
    fn repo(&self) -> String {
        let url = format!("https://developer.download.nvidia.com/compute/cuda/repos/{}/x86_64", self.name);
        format!(
            "[cuda-{0}-x86_64]\nname=cuda-{0}-x86_64\nbaseurl={url}\nenabled=1\ngpgcheck=1\ngpgkey={url}/{1}\n",
            self.name, self.key_file
        )
    }
}
