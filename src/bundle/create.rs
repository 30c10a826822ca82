//! Makes a bundle: the target's own package manager says what comes along and fetches it, and what came is checked.

use super::{Entry, FORMAT, KEYRING, Manifest, Origin, Promised, apt, check, dnf, images, writer};
use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::{Look, Touch};
use crate::resources::AnyWant;
use crate::resources::Want;
use crate::resources::packages::{Packages, Set};
use crate::steps::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a bundle is to hold.
pub struct Asked<'a> {
    pub profile: &'a str,
    pub architecture: &'a str,
    /// Where its package manager is dnf.
    pub dnf: Option<dnf::Target<'a>>,
    /// What a host that has nothing is to become.
    pub steps: &'a [Step],
    /// Every index that packages may come from.
    pub origins: Vec<Origin>,
    /// The keyring of the distribution's archive, for whoever checks the bundle elsewhere.
    pub keyring: Vec<u8>,
    /// Archives of images.
    pub images: Vec<PathBuf>,
    pub output: &'a Path,
}

/// Where a bundle grows: what came stays there, so that the next run goes on from it.
pub fn beside(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    output.with_file_name(name)
}

/// # Errors
/// Something cannot be had (exit 5), or is not what was signed (exit 4). The file is written whole or not at all.
pub fn create(asked: &Asked, host: &dyn Touch) -> Result<Manifest> {
    has(if asked.dnf.is_some() { "dnf" } else { "apt-get" }, asked.profile, host)?;
    let work = beside(asked.output);
    let cannot = || format!("cannot work in `{}`", work.display());
    let images = images::gather(&asked.images, &work, host)?;
    fs::create_dir_all(&work).or_fail(cannot)?;
    host.tell(Event::Step { title: "the packages, and what comes along".into(), number: 1, of: 2 });
    let (words, fetched, held) = match &asked.dnf {
        None => {
            let preferences: Vec<&str> = wants(asked.steps)
                .filter_map(|want| Some(want.resource.preference.as_ref()?.1.as_str()))
                .collect();
            let state =
                apt::State::make(&work.join("apt"), &asked.origins, &preferences, asked.architecture)?;
            // The indexes of the engine are verified here first, which says best what is wrong with one.
            let words = words(asked.steps, &|packages, want| packages.words_for_apt(want, host))?;
            state.update(host)?;
            state.download(&words, host)?;
            (words.clone(), state.fetched(&words, host)?, state.held(&asked.origins, host.now())?)
        }
        Some(target) => {
            let state = dnf::State::make(&work.join("dnf"), &asked.origins, target, host)?;
            let words = words(asked.steps, &|packages, want| {
                packages.words_for_dnf(want, &|ids, names| state.available(ids, names, host))
            })?;
            let fetched = state.download(&words, host)?;
            (words, fetched, state.held(&asked.origins, host)?)
        }
    };
    let mut files = Files { host, all: Vec::new() };
    files.keyring(&work, &asked.keyring)?;
    let used = files.packages(&fetched, held)?;
    files.images(images)?;
    let (entries, sources): (Vec<_>, Vec<_>) = files.all.into_iter().unzip();
    let manifest = Manifest {
        format: FORMAT,
        rprov: env!("CARGO_PKG_VERSION").into(),
        made: jiff::Timestamp::from_second(host.now()).or_fail(cannot)?.to_string(),
        profile: asked.profile.into(),
        architecture: asked.architecture.into(),
        packages: words,
        indexes: used.iter().map(|origin| origin.listed()).collect(),
        files: entries,
    };
    host.tell(Event::Step { title: "the bundle".into(), number: 2, of: 2 });
    let place = work.join("bundle");
    writer::write(&place, &manifest, &sources, host)?;
    check(&place, |_, _| Ok(asked.origins.clone()), host)?;
    fs::rename(&place, asked.output).or_fail(|| format!("cannot write `{}`", asked.output.display()))?;
    fs::remove_dir_all(&work).or_fail(cannot)?;
    Ok(manifest)
}

/// The target's own package manager resolves for it, wherever it runs.
fn has(program: &str, profile: &str, host: &dyn Look) -> Result<()> {
    if host.exists(&Path::new("/usr/bin").join(program))? {
        return Ok(());
    }
    let package = if program == "dnf" { "dnf" } else { "apt" };
    Err(Error::refused(format!("cannot make a bundle for `{profile}`"))
        .because(format!("this machine has no `{program}`, which says what comes along there"))
        .hint(format!(
            "install the package `{package}`, which many distributions have; it changes nothing here"
        )))
}

/// What the package manager is told, from the same steps that an install makes.
fn words(steps: &[Step], say: &dyn Fn(&Packages, &Set) -> Result<Vec<String>>) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for Want { resource, state } in wants(steps) {
        words.extend(say(resource, state)?);
    }
    words.sort();
    words.dedup();
    Ok(words)
}

fn wants(steps: &[Step]) -> impl Iterator<Item = &Want<Packages>> {
    steps.iter().flat_map(|step| &step.wants).filter_map(|want| match want {
        AnyWant::Packages(want) => Some(want),
        _ => None,
    })
}

/// An index that came: its files by their paths in the bundle, and what it lists.
pub struct Held<'o> {
    pub origin: &'o Origin,
    pub files: Vec<(String, PathBuf)>,
    pub promised: Vec<Promised>,
}

/// The files of the bundle, and where each is.
struct Files<'h> {
    host: &'h dyn Touch,
    all: Vec<(Entry, PathBuf)>,
}

impl Files<'_> {
    fn add(&mut self, path: String, from: PathBuf) -> Result<()> {
        self.all.push((writer::entry(path, &from, self.host)?, from));
        Ok(())
    }

    fn keyring(&mut self, work: &Path, bytes: &[u8]) -> Result<()> {
        let path = work.join("keyring.gpg");
        fs::write(&path, bytes).or_fail(|| format!("cannot write `{}`", path.display()))?;
        self.add(KEYRING.into(), path)
    }

    /// The packages that came, and of the indexes those that list one of them.
    fn packages<'o>(&mut self, fetched: &[PathBuf], held: Vec<Held<'o>>) -> Result<Vec<&'o Origin>> {
        let mut found = BTreeMap::new();
        let mut used = BTreeSet::new();
        for package in fetched {
            let measured = writer::entry(String::new(), package, self.host)?;
            let listed = held.iter().find_map(|held| {
                let promised = held.promised.iter().find(|promised| promised.sha256 == measured.sha256)?;
                Some((held.origin.listed(), promised.path.clone()))
            });
            let (listed, path) = listed.ok_or_else(|| {
                Error::refused(format!("cannot use the package `{}`", package.display()))
                    .because("no index lists it")
                    .hint("remove it, and run the same command again")
            })?;
            used.insert(listed);
            found.insert(path, package.clone());
        }
        let used: Vec<Held> = held.into_iter().filter(|held| used.contains(&held.origin.listed())).collect();
        let mut paths = BTreeSet::new();
        for (path, from) in used.iter().flat_map(|held| &held.files) {
            // Components of one suite share its InRelease.
            if paths.insert(path) {
                self.add(path.clone(), from.clone())?;
            }
        }
        for (path, package) in found {
            self.add(path, package)?;
        }
        Ok(used.iter().map(|held| held.origin).collect())
    }

    fn images(&mut self, images: BTreeMap<String, PathBuf>) -> Result<()> {
        images.into_iter().try_for_each(|(path, from)| self.add(path, from))
    }
}
