//! Makes a bundle: the target's own package manager says what comes along and fetches it, and what came is checked.

use super::{Entry, FORMAT, KEYRING, Manifest, Origin, apt, check, images, writer};
use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::Touch;
use crate::resources::AnyWant;
use crate::resources::Want;
use crate::resources::packages::{Manager, Packages};
use crate::steps::Step;
use crate::trust::apt::AptIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a bundle is to hold.
pub struct Asked<'a> {
    pub profile: &'a str,
    pub architecture: &'a str,
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
    let work = beside(asked.output);
    let cannot = || format!("cannot work in `{}`", work.display());
    let images = images::gather(&asked.images, &work, host)?;
    fs::create_dir_all(&work).or_fail(cannot)?;
    host.tell(Event::Step { title: "the packages, and what comes along".into(), number: 1, of: 2 });
    let state = apt::State::make(&work.join("apt"), &asked.origins, asked.architecture)?;
    // The indexes of the engine are verified here first, which says best what is wrong with one.
    let words = words(asked.steps, host)?;
    state.update(host)?;
    state.download(&words, host)?;
    let fetched = state.fetched(&words, host)?;
    let indexes = state.indexes(&asked.origins, host.now())?;
    let mut files = Files { host, all: Vec::new() };
    files.keyring(&work, &asked.keyring)?;
    let used = files.packages(&fetched, &indexes, &state)?;
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
    host.tell(Event::Progress { percent: 100.0, text: "written, and checked once more".into() });
    check(&place, |_, _| Ok(asked.origins.clone()), host)?;
    fs::rename(&place, asked.output).or_fail(|| format!("cannot write `{}`", asked.output.display()))?;
    fs::remove_dir_all(&work).or_fail(cannot)?;
    Ok(manifest)
}

/// What the package manager is told, from the same steps that an install makes.
fn words(steps: &[Step], host: &dyn Touch) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for Want { resource, state } in wants(steps) {
        if resource.manager != Manager::Apt {
            return Err(Error::refused("cannot make a bundle for hosts of the dnf family"));
        }
        words.extend(resource.afresh(state, host)?);
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
    fn packages<'o>(
        &mut self,
        fetched: &[PathBuf],
        indexes: &[(&'o Origin, AptIndex)],
        state: &apt::State,
    ) -> Result<Vec<&'o Origin>> {
        let mut found = BTreeMap::new();
        for deb in fetched {
            let measured = writer::entry(String::new(), deb, self.host)?;
            let listed = indexes.iter().find_map(|(origin, index)| {
                let same = |record: &&crate::trust::apt::Record| record.sha256 == measured.sha256;
                index.records.iter().find(same).map(|record| (*origin, record))
            });
            let (origin, record) = listed.ok_or_else(|| {
                Error::refused(format!("cannot use the package `{}`", deb.display()))
                    .because("no signed index lists it")
                    .hint("remove it, and run the same command again")
            })?;
            let path = format!("{}/{}", origin.directory, record.filename.trim_start_matches("./"));
            found.insert(path, (origin, deb.clone()));
        }
        let used: BTreeSet<super::Listed> = found.values().map(|(origin, _)| origin.listed()).collect();
        let used: Vec<&Origin> = indexes
            .iter()
            .map(|(origin, _)| *origin)
            .filter(|origin| used.contains(&origin.listed()))
            .collect();
        let mut paths = BTreeSet::new();
        for origin in &used {
            for (path, from) in origin.paths().into_iter().zip(state.lists(origin)) {
                // Components of one suite share its InRelease.
                if paths.insert(path.clone()) {
                    self.add(path, from)?;
                }
            }
        }
        for (path, (_, deb)) in found {
            self.add(path, deb)?;
        }
        Ok(used)
    }

    fn images(&mut self, images: BTreeMap<String, PathBuf>) -> Result<()> {
        images.into_iter().try_for_each(|(path, from)| self.add(path, from))
    }
}
