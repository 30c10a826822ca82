//! What is wanted of a card, decided from data and facts: the container toolkit, and what daemon.json says of it.

mod branches;
pub mod driver;
mod form;

pub use driver::{Choice, image_tag};
pub use form::{Cuda, Driver, Flat, Nvidia, Own, Toolkit};

use super::config::{Config, Gpu};
use super::form::{Profile, Repository};
use super::library::Library;
use super::settings::{Settings, Trust, trust};
use crate::error::{Error, Result};
use crate::facts::{self, Facts, Virtualisation};
use crate::json::{self, KeyPath};
use crate::resources::packages::Versions;
use crate::resources::repository::{Source, apt, dnf};
use crate::trust::apt::AptSource;
use crate::trust::repomd::{RpmSource, Signed};
use crate::version;
use driver::CudaWish;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The runtime's program, as the toolkit's own tool names it: a later run of that changes nothing.
const RUNTIME: &str = "nvidia-container-runtime";
/// Engines that know CDI and do not use it unless they are told to (moby, 25.0 to 28.2).
const CDI_ON_REQUEST: std::ops::RangeInclusive<u32> = 25..=27;

/// What the command line and the configuration say of a card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    pub gpu: Gpu,
    /// Whether every container runs under NVIDIA's runtime.
    pub default_runtime: bool,
    /// NVIDIA's container toolkit, where the profile has it.
    pub toolkit: Option<FlatSource>,
    pub driver: Choice,
    pub cuda: CudaWish,
}

/// A flat repository with the configuration's address and key.
#[derive(Clone, Debug, PartialEq)]
pub struct FlatSource {
    pub flat: Flat,
    pub root: String,
    pub trust: Trust,
}

impl Wish {
    pub fn merge(
        gpu: Gpu,
        driver: Choice,
        default_runtime: bool,
        profile: &Profile,
        config: &Config,
        library: &Library,
    ) -> Result<Wish> {
        let flat = profile.gpu.as_ref().map(|nvidia| &nvidia.toolkit.repository);
        let toolkit = flat.map(|flat| FlatSource::of(flat, config, library)).transpose()?;
        let cuda = CudaWish::of(profile.gpu.as_ref(), config, library)?;
        Ok(Wish { gpu, default_runtime, toolkit, driver, cuda })
    }
}

impl FlatSource {
    fn of(flat: &Flat, config: &Config, library: &Library) -> Result<FlatSource> {
        let other = config.source.get(&flat.source).cloned().unwrap_or_default();
        Ok(FlatSource {
            root: other.url.unwrap_or_else(|| flat.root.clone()),
            trust: trust(other.key, &flat.key, library)?,
            flat: flat.clone(),
        })
    }

    fn source(&self, repository: &Repository, architecture: &str) -> Result<Source> {
        let flat = &self.flat;
        let word = flat.architectures.get(architecture).ok_or_else(|| {
            Error::refused("cannot set up the GPU")
                .because(format!("NVIDIA has no packages for {architecture} at `{}`", flat.root))
        })?;
        let path = flat.path.replace("{architecture}", word);
        let (url, original) = (format!("{}/{path}", self.root), format!("{}/{path}", flat.root));
        let pin = self.trust.pin()?;
        let others = flat.others.iter().map(|address| format!("{address}/"));
        Ok(match repository {
            Repository::Apt(_) => Source::Apt(apt::Source {
                index: AptSource {
                    root: url,
                    suite: "/".to_owned(),
                    component: String::new(),
                    architecture: architecture.to_owned(),
                    pin,
                },
                fallbacks: Vec::new(),
                original,
                others: others.chain([format!("{}/", self.root)]).collect(),
                file: flat.file.clone(),
                key_file: flat.key.file.with_extension(self.trust.extension()),
            }),
            Repository::Dnf(_) => Source::Dnf(dnf::Source {
                id: flat.id.clone().unwrap_or_else(|| "nvidia".to_owned()),
                index: RpmSource { url, pin, signed: Signed::Index },
                addresses: [self.root.clone(), flat.root.clone()]
                    .into_iter()
                    .chain(flat.others.clone())
                    .collect(),
                file: flat.file.clone(),
                key_file: flat.key.file.clone(),
                without: Vec::new(),
            }),
        })
    }
}

/// What this host gets for its card.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub toolkit: Source,
    pub packages: BTreeMap<String, Versions>,
    /// What the toolkit was called before.
    pub remove: Vec<String>,
    pub made: Vec<PathBuf>,
    /// None where one works.
    pub driver: Option<driver::Decided>,
}

impl Decided {
    /// Whether the rest has to wait for a reboot.
    pub fn reboots(&self) -> bool {
        self.driver.as_ref().is_some_and(|driver| driver.nouveau || driver.stale_kernel)
    }
}

impl Settings {
    /// Whether anything is done for a card here.
    ///
    /// # Errors
    /// A card is required and none is there: refused, before anything is touched.
    pub fn wants_toolkit(&self, facts: &Facts) -> Result<bool> {
        let gpu = facts.gpu.as_ref();
        let card = gpu.is_some_and(|gpu| !gpu.cards.is_empty() || gpu.wsl);
        match self.wish.gpu {
            Gpu::Off => Ok(false),
            Gpu::Toolkit => Ok(true),
            Gpu::Auto => Ok(card && self.profile.gpu.is_some()),
            Gpu::On if card => Ok(true),
            Gpu::On => Err(no_card(facts)),
        }
    }

    pub(super) fn wants_driver(&self, facts: &Facts) -> Result<bool> {
        Ok(self.wants_toolkit(facts)? && self.wish.gpu != Gpu::Toolkit && !self.wish.driver.none)
    }

    /// # Errors
    /// What is wanted cannot be had on this host: refused.
    pub fn decide_gpu(&self, facts: &Facts, upgrade: bool) -> Result<Option<Decided>> {
        if !self.wants_toolkit(facts)? {
            return Ok(None);
        }
        let (Some(nvidia), Some(source)) = (&self.profile.gpu, &self.wish.toolkit) else {
            return Err(Error::refused("cannot set up the GPU")
                .because(format!("the profile `{}` has no `[gpu]`", self.profile.name))
                .hint("leave `--gpu` out: the engine itself does not need it"));
        };
        let toolkit = &nvidia.toolkit;
        let versions = Versions {
            floor: Some(toolkit.floor.clone()),
            newest: upgrade,
            together: true,
            ..Versions::default()
        };
        Ok(Some(Decided {
            toolkit: source.source(&self.profile.repository, &facts.architecture)?,
            packages: toolkit.packages.iter().map(|name| (name.clone(), versions.clone())).collect(),
            remove: toolkit.remove.clone(),
            made: toolkit.made.clone(),
            driver: self.decide_driver(facts)?,
        }))
    }
}

fn no_card(facts: &Facts) -> Error {
    let reason = match facts.virtualisation {
        Virtualisation::Wsl1 | Virtualisation::Wsl2 => {
            "WSL lends no driver to this distribution: there is no `/usr/lib/wsl/lib/libcuda.so.1`, or no `/dev/dxg`"
        }
        _ => "there is no card of NVIDIA's on the PCI bus",
    };
    Error::refused("cannot set up the GPU").because(reason).hint(
        "`--gpu=toolkit` prepares an image for machines that will have a card; `--gpu=auto` takes what is there",
    )
}

/// Cards and driver, for people.
pub fn words(gpu: &facts::Gpu) -> String {
    let cards: Vec<String> = gpu.cards.iter().map(facts::Card::words).collect();
    let driver = match &gpu.module {
        Some(module) => format!("driver {}", module.version),
        None if gpu.wsl => "the driver of Windows".to_owned(),
        None => "no driver".to_owned(),
    };
    format!("{}: {driver}", if cards.is_empty() { "WSL".to_owned() } else { cards.join(", ") })
}

/// What daemon.json lacks for the toolkit. A runtime of that name that is there already stays as it is.
pub fn daemon_keys(
    file: &Map<String, Value>,
    asked: &Map<String, Value>,
    engine: Option<&str>,
    default_runtime: bool,
) -> Vec<(KeyPath, Value)> {
    let path = |keys: &[&str]| -> KeyPath { keys.iter().map(|key| (*key).to_owned()).collect() };
    let named = |key: &KeyPath| json::lookup(file, key).is_some() || json::lookup(asked, key).is_some();
    let runtime = path(&["runtimes", "nvidia"]);
    let mut keys = Vec::new();
    if !named(&runtime) {
        keys.push((runtime, json!({ "path": RUNTIME, "args": [] })));
    }
    if default_runtime {
        keys.push((path(&["default-runtime"]), json!("nvidia")));
    }
    let cdi = path(&["features", "cdi"]);
    let major = engine.and_then(|engine| version::upstream(engine).split('.').next()?.parse().ok());
    if major.is_some_and(|major| CDI_ON_REQUEST.contains(&major)) && !named(&cdi) {
        keys.push((cdi, json!(true)));
    }
    keys
}

#[cfg(test)]
mod tests;
