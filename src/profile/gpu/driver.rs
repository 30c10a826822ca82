//! Which driver a card gets, from where, and why none: all decided before anything is touched.

use super::branches::{Branch, Branches, branches};
use super::form::{Cuda, CudaKey, Driver, Nvidia, Own};
use crate::error::{Error, Result};
use crate::facts::{Card, Facts, Family, Flavour, Gpu, Virtualisation};
use crate::host::Look;
use crate::profile::config::{Config, SourceName};
use crate::profile::form::Repository;
use crate::profile::library::Library;
use crate::profile::settings::{Settings, Trust};
use crate::resources::packages::Versions;
use crate::resources::repository::{Source, apt, dnf};
use crate::trust::apt::AptSource;
use crate::trust::repomd::{RpmSource, Signed};
use crate::trust::{self, Pin};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What `--driver` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub none: bool,
    /// The distribution's own, and not NVIDIA's.
    pub distribution: bool,
    pub branch: Option<String>,
    pub flavour: Option<Flavour>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flavour = self.flavour.map(|flavour| format!("{flavour:?}").to_lowercase());
        let own = self.distribution.then(|| "distribution".to_owned());
        let words: Vec<String> = own.into_iter().chain(self.branch.clone()).chain(flavour).collect();
        f.write_str(if self.none { "none".to_owned() } else { words.join("-") }.as_str())
    }
}

impl FromStr for Choice {
    type Err = String;
    /// `580`, `open`, `580-open`, `distribution`, `none`.
    fn from_str(text: &str) -> std::result::Result<Choice, String> {
        let mut choice = Choice::default();
        for word in text.split('-') {
            match word {
                "none" if text == "none" => choice.none = true,
                "distribution" => choice.distribution = true,
                "open" => choice.flavour = Some(Flavour::Open),
                "proprietary" => choice.flavour = Some(Flavour::Proprietary),
                branch if branch.len() == 3 && branch.bytes().all(|b| b.is_ascii_digit()) => {
                    choice.branch = Some(branch.to_owned());
                }
                _ => {
                    return Err(format!(
                        "expected a branch such as `580`, `open`, `proprietary`, `580-open`, `distribution` or `none`, found `{text}`"
                    ));
                }
            }
        }
        Ok(choice)
    }
}

/// What the configuration says of NVIDIA's own repositories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CudaWish {
    pub url: Option<String>,
    pub trust: Option<Trust>,
}

impl CudaWish {
    pub fn of(nvidia: Option<&Nvidia>, config: &Config, library: &Library) -> Result<CudaWish> {
        let other = config.source.get(&SourceName::Cuda).cloned().unwrap_or_default();
        let key = nvidia.and_then(|nvidia| nvidia.cuda.as_ref()?.key.as_ref());
        let shipped = |key: &CudaKey| {
            let certificate = library.key(key.name.as_ref()?)?.to_vec();
            Some(Trust::Pinned { certificate, fingerprint: key.fingerprint.clone() })
        };
        let trust = other.key.map(Trust::Administrators).or_else(|| key.and_then(shipped));
        Ok(CudaWish { url: other.url, trust })
    }
}

/// What comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub branch: String,
    pub flavour: Flavour,
    /// None where the distribution itself has it.
    pub source: Option<Source>,
    pub packages: BTreeMap<String, Versions>,
    /// The module of dnf and its stream: a file that dnf reads.
    pub stream: Option<String>,
    pub units: Vec<String>,
    /// What it makes by itself.
    pub made: Vec<PathBuf>,
    /// The kernel's own driver is in the way, and stays loaded until the next boot.
    pub nouveau: bool,
    /// Nothing can be built for the kernel that runs: all of it waits for the one that is installed.
    pub stale_kernel: bool,
}

impl Settings {
    /// The driver that this host needs and lacks; none where one works, or somebody else brings it.
    ///
    /// # Errors
    /// There is none for these cards, or none that would work here: refused, with the way out.
    pub fn decide_driver(&self, facts: &Facts) -> Result<Option<Decided>> {
        let Some(gpu) = facts.gpu.as_ref().filter(|gpu| !gpu.cards.is_empty()) else { return Ok(None) };
        if self.wish.gpu == crate::profile::Gpu::Toolkit || self.wish.driver.none || gpu.wsl || gpu.works() {
            return Ok(None);
        }
        refuse_what_cannot_be(facts, gpu)?;
        let (Some(nvidia), Some(driver)) =
            (&self.profile.gpu, self.profile.gpu.as_ref().and_then(|nvidia| nvidia.driver.as_ref()))
        else {
            return Err(cannot()
                .because(format!("the profile `{}` has no `[gpu.driver]`", self.profile.name))
                .hint("bring the driver by other means, and take `--driver none`"));
        };
        if let Some(own) = self.own_driver(nvidia, gpu) {
            return self.of_distribution(facts, gpu, own, driver).map(Some);
        }
        if gpu.secure_boot {
            return Err(cannot()
                .because("Secure Boot is on, and nobody whom the firmware knows signs the modules of this distribution's drivers")
                .hint("turn Secure Boot off in the firmware, or bring a signed driver and take `--driver none`"));
        }
        if self.wish.driver.distribution {
            return Err(cannot()
                .because(format!("no profile knows a driver of {}'s own", self.profile.title))
                .hint("leave `distribution` out: NVIDIA's comes from its own repository"));
        }
        self.of_nvidia(facts, gpu, nvidia, driver).map(Some)
    }

    /// The distribution's own, where it is the one to take: under Secure Boot, asked for, or with no other there.
    fn own_driver<'n>(&self, nvidia: &'n Nvidia, gpu: &Gpu) -> Option<&'n Own> {
        let own = nvidia.own.as_ref()?;
        let taken = match gpu.secure_boot {
            true => own.signed,
            false => self.wish.driver.distribution || nvidia.cuda.is_none(),
        };
        taken.then_some(own)
    }

    fn of_distribution(&self, facts: &Facts, gpu: &Gpu, own: &Own, driver: &Driver) -> Result<Decided> {
        let (branch, flavour) = choose(&gpu.cards, &self.wish.driver, Some(&own.branches))?;
        let fabric = (gpu.nvswitches > 0).then_some(&own.fabric_manager);
        if fabric.is_some_and(Vec::is_empty) {
            return Err(cannot()
                .because("cards hang together by NVSwitch here, and the distribution has no fabric manager")
                .hint("leave `distribution` out: NVIDIA's own repository has one"));
        }
        let headers = (!own.signed && !gpu.headers).then_some(&driver.headers);
        let names = of_flavour(flavour, [&own.open, &own.proprietary]).iter();
        let names = names.chain(fabric.into_iter().flatten()).chain(headers.into_iter().flatten());
        let versions = || Versions { distribution: true, ..Versions::default() };
        let packages = names.map(|name| (filled(name, branch, facts), versions())).collect();
        Ok(Decided { packages, ..bare(branch, flavour, &own.units, driver, gpu) })
    }

    fn of_nvidia(&self, facts: &Facts, gpu: &Gpu, nvidia: &Nvidia, driver: &Driver) -> Result<Decided> {
        let (branch, flavour) = choose(&gpu.cards, &self.wish.driver, None)?;
        let Some(cuda) = &nvidia.cuda else {
            return Err(cannot()
                .because(format!("NVIDIA has no repository for {}", self.profile.title))
                .hint("bring the driver by other means, and take `--driver none`"));
        };
        let source = self.cuda_source(cuda, driver, &nvidia.toolkit.packages, &facts.architecture)?;
        let versions =
            || Versions { prefix: Some(branch.name.clone()), together: true, ..Versions::default() };
        let own = of_flavour(flavour, [&driver.open, &driver.proprietary]).iter();
        let fabric = (gpu.nvswitches > 0).then_some(&driver.fabric_manager);
        let mut packages: BTreeMap<String, Versions> = own
            .chain(fabric.into_iter().flatten())
            .map(|name| (filled(name, branch, facts), versions()))
            .collect();
        if !gpu.headers {
            let exact = match self.profile.repository {
                // The release of a kernel of rpm's ends in its architecture.
                Repository::Dnf(_) => facts.kernel.rsplit_once('.').map(|(version, _)| version.to_owned()),
                Repository::Apt(_) => None,
            };
            let versions = Versions { distribution: true, exact, ..Versions::default() };
            packages
                .extend(driver.headers.iter().map(|name| (filled(name, branch, facts), versions.clone())));
        }
        let stream =
            cuda.streams.as_ref().map(|streams| of_flavour(flavour, [&streams.open, &streams.proprietary]));
        let stream = stream.map(|stream| stream.replace("{branch}", &branch.name));
        let bare = bare(branch, flavour, &driver.units, driver, gpu);
        Ok(Decided { source: Some(source), packages, stream, ..bare })
    }

    fn cuda_source(
        &self,
        cuda: &Cuda,
        driver: &Driver,
        toolkit: &[String],
        architecture: &str,
    ) -> Result<Source> {
        let Some(trust) = self.wish.cuda.trust.as_ref().or(self.site.cuda_key.as_ref()) else {
            return Err(cannot()
                .because(format!(
                    "of the key of NVIDIA's repository `{}` no whole fingerprint is known",
                    cuda.directory
                ))
                .hint("give `[source.cuda] key`, a file with the key that you trust, in the configuration"));
        };
        let word = driver
            .architectures
            .get(architecture)
            .ok_or_else(|| cannot().because(format!("NVIDIA has no driver for {architecture}")))?;
        let root = self.wish.cuda.url.as_ref().unwrap_or(&driver.root);
        let url = format!("{root}/{}/{word}", cuda.directory);
        let original = format!("{}/{}/{word}", driver.root, cuda.directory);
        let pin = trust.pin()?;
        Ok(match self.profile.repository {
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
                others: vec![format!("{}/", driver.root), format!("{root}/")],
                file: driver.file.clone(),
                key_file: driver.key_file.with_extension(trust.extension()),
            }),
            Repository::Dnf(_) => Source::Dnf(dnf::Source {
                id: format!("cuda-{}-{word}", cuda.directory),
                index: RpmSource { url, pin, signed: Signed::Packages },
                addresses: vec![root.clone(), driver.root.clone()],
                file: driver.file.clone(),
                key_file: driver.key_file.clone(),
                without: toolkit.to_vec(),
            }),
        })
    }

    /// A key that does not ship: fetched, and held against its whole fingerprint.
    ///
    /// # Errors
    /// It is another one: refused.
    pub fn fetched_key(&self, facts: &Facts, host: &dyn Look) -> Result<Option<Trust>> {
        let Some(nvidia) = &self.profile.gpu else { return Ok(None) };
        let (Some(driver), Some(cuda)) = (&nvidia.driver, &nvidia.cuda) else { return Ok(None) };
        let needed = facts.gpu.as_ref().is_some_and(|gpu| {
            let others = gpu.wsl || gpu.secure_boot || self.wish.driver.distribution;
            !(gpu.cards.is_empty() || gpu.works() || others)
        });
        let Some(key) = cuda.key.as_ref().filter(|_| needed && self.wish.cuda.trust.is_none()) else {
            return Ok(None);
        };
        let (Some(served), Some(word)) = (&key.served, driver.architectures.get(&facts.architecture)) else {
            return Ok(None);
        };
        let root = self.wish.cuda.url.as_ref().unwrap_or(&driver.root);
        let certificate = host.fetch(&format!("{root}/{}/{word}/{served}", cuda.directory), KEY_LIMIT)?;
        let pin = Pin { key: certificate.clone(), fingerprints: vec![key.fingerprint.as_str().to_owned()] };
        trust::certificates(&pin).map_err(|error| {
            error.because(format!("that is `{served}` of NVIDIA's repository `{}`", cuda.directory))
        })?;
        Ok(Some(Trust::Pinned { certificate, fingerprint: key.fingerprint.clone() }))
    }
}

/// A driver without its packages.
fn bare(branch: &Branch, flavour: Flavour, units: &[String], driver: &Driver, gpu: &Gpu) -> Decided {
    Decided {
        branch: branch.name.clone(),
        flavour,
        source: None,
        packages: BTreeMap::new(),
        stream: None,
        units: with_fabric(units, driver, gpu),
        made: driver.made.clone(),
        nouveau: gpu.nouveau,
        stale_kernel: gpu.stale_kernel,
    }
}

fn with_fabric(units: &[String], driver: &Driver, gpu: &Gpu) -> Vec<String> {
    let fabric = (gpu.nvswitches > 0).then_some(&driver.fabric_units);
    units.iter().chain(fabric.into_iter().flatten()).cloned().collect()
}

/// The units of a driver that was installed before a reboot: what blocks the kernel's own driver tells that it is ours.
pub fn units_after_reboot(settings: &Settings, facts: &Facts) -> Option<Vec<String>> {
    let gpu = facts.gpu.as_ref().filter(|gpu| settings.site.driver_is_ours && gpu.works() && !gpu.wsl)?;
    let nvidia = settings.profile.gpu.as_ref()?;
    let driver = nvidia.driver.as_ref()?;
    let units = settings.own_driver(nvidia, gpu).map_or(&driver.units, |own| &own.units);
    Some(with_fabric(units, driver, gpu))
}

/// The largest key that is read, in bytes.
const KEY_LIMIT: u64 = 1 << 16;

fn cannot() -> Error {
    Error::refused("cannot install a driver for the card")
}

/// The one that fits the flavour, of the open and the other.
fn of_flavour<T>(flavour: Flavour, [open, other]: [&T; 2]) -> &T {
    if flavour == Flavour::Open { open } else { other }
}

fn filled(name: &str, branch: &Branch, facts: &Facts) -> String {
    name.replace("{branch}", &branch.name).replace("{kernel}", &facts.kernel)
}

/// What no package could mend.
fn refuse_what_cannot_be(facts: &Facts, gpu: &Gpu) -> Result<()> {
    if let Virtualisation::Container(kind) = &facts.virtualisation {
        return Err(cannot()
            .because(format!("this is a container ({kind}): its kernel is that of the machine around it"))
            .hint("install the driver there; `--driver none` sets up the rest here"));
    }
    if let Some((module, library)) = gpu.mismatch() {
        return Err(cannot()
            .because(format!("there is one: the loaded module is {module}, and the library {library}"))
            .hint("systemctl reboot; then run the same command again"));
    }
    if gpu.run_file {
        return Err(cannot()
            .because("one is there that came as NVIDIA's `.run` file and does not work; packages beside it would mix with it")
            .hint("nvidia-uninstall, then run the same command again"));
    }
    Ok(())
}

/// Branch and flavour that know all cards: the usual branch before others, open modules before proprietary ones.
pub fn choose(
    cards: &[Card],
    choice: &Choice,
    among: Option<&[String]>,
) -> Result<(&'static Branch, Flavour)> {
    let table = branches()?;
    let named = |branch: &&Branch| match &choice.branch {
        Some(name) => branch.name == *name,
        None => true,
    };
    let published = |branch: &&Branch| branch.is_among(among);
    let (usual, others): (Vec<&Branch>, Vec<&Branch>) =
        table.branch.iter().filter(named).filter(published).partition(|branch| branch.name == table.usual);
    let flavours = [Flavour::Open, Flavour::Proprietary];
    let wanted = |flavour: &Flavour| choice.flavour.is_none_or(|wanted| wanted == *flavour);
    for branch in usual.into_iter().chain(others) {
        for flavour in flavours.into_iter().filter(wanted) {
            if cards.iter().all(|card| knows(branch, flavour, card)) {
                return Ok((branch, flavour));
            }
        }
    }
    Err(unknown(cards, choice, among, table))
}

/// Grace Hopper has the generation of Hopper and no proprietary modules.
fn knows(branch: &Branch, flavour: Flavour, card: &Card) -> bool {
    let grace = card.name.as_ref().is_some_and(|name| name.contains("GH200"));
    branch.knows(flavour, card.family) && !(grace && flavour == Flavour::Proprietary)
}

/// Why no branch serves: the wish, one card, or two that have none in common.
fn unknown(cards: &[Card], choice: &Choice, among: Option<&[String]>, table: &Branches) -> Error {
    let flavours = [Flavour::Open, Flavour::Proprietary];
    let names = |branches: &[&Branch]| {
        branches.iter().map(|branch| format!("`{}`", branch.name)).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<&Branch> = table.branch.iter().filter(|branch| branch.is_among(among)).collect();
    let known = |card: &Card| -> Vec<&Branch> {
        let by = |branch: &&&Branch| flavours.iter().any(|flavour| knows(branch, *flavour, card));
        all.iter().filter(by).copied().collect()
    };
    if let Some(asked) = &choice.branch
        && !all.iter().any(|branch| branch.name == *asked)
    {
        return Error::usage(format!("cannot take the driver `{asked}`"))
            .because(format!("expected one of {}", names(&all)));
    }
    if let Some(card) = cards.iter().find(|card| known(card).is_empty()) {
        let reason = match card.family {
            Family::Newer => "newer than all drivers that this version of rprov knows",
            _ if among.is_some() => "known to no driver of this distribution's own",
            _ => "too old for every branch that is still published",
        };
        return cannot().because(format!("{} is {reason}", card.words())).hint(
            "without that card, or with a driver that you bring and `--driver none`, the rest can be set up",
        );
    }
    if let Some(card) = cards.iter().find(|card| {
        choice.branch.is_some() && {
            let by = known(card);
            !by.iter().any(|branch| Some(&branch.name) == choice.branch.as_ref())
        }
    }) {
        return cannot()
            .because(format!("{} needs another branch: {}", card.words(), names(&known(card))))
            .hint("leave `--driver` out: the card decides");
    }
    let words: Vec<String> = cards.iter().map(Card::words).collect();
    let kinds = match (&choice.flavour, among) {
        (Some(Flavour::Open), _) => "open modules know all of",
        (Some(Flavour::Proprietary), _) => "proprietary modules know all of",
        (None, Some(_)) => "driver of this distribution's own knows all of",
        (None, None) => "driver knows all of",
    };
    cannot()
        .because(format!("no {kinds} {}", words.join(" and ")))
        .hint("take one of the cards out, or leave `--driver` out")
}

/// The file by which dnf knows that a stream is enabled.
pub fn stream_file(stream: &str) -> (PathBuf, String) {
    let text = format!("[nvidia-driver]\nname=nvidia-driver\nstream={stream}\nprofiles=\nstate=enabled\n");
    (PathBuf::from("/etc/dnf/modules.d/nvidia-driver.module"), text)
}

/// apt takes the newest of what a package needs, and that may be of another branch; as NVIDIA's own pinning packages do.
pub fn preference_file(branch: &str, toolkit: &[String]) -> (PathBuf, String) {
    let text = include_str!("../../../templates/nvidia-driver.pref")
        .replace("{branch}", branch)
        .replace("{toolkit}", &toolkit.join(" "));
    (PathBuf::from("/etc/apt/preferences.d/rprov-nvidia-driver"), text)
}

/// The newest image of CUDA that this driver and these cards run.
pub fn image_tag(driver: &str, cards: &[Card]) -> Option<&'static str> {
    let runs = |image: &&super::branches::Image| {
        crate::version::compare(driver, &image.driver).is_ge()
            && cards.iter().all(|card| (image.oldest..=image.newest).contains(&card.family))
    };
    branches().ok()?.image.iter().find(runs).map(|image| image.tag.as_str())
}
