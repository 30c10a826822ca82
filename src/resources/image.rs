//! Images in the engine, from an archive that somebody gave: never pulled.

mod archive;

pub use archive::{is_packed, plain};

use super::{Change, How, Resource, WayBack};
use crate::error::Result;
use crate::event::Line;
use crate::host::{Command, Look, Question, Touch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All images of an archive, by the names under which it has them: the engine loads it as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// `registry:3`, the first of them.
    pub reference: String,
    /// The others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<String>,
    /// As `docker save` writes it. Only needed to load it.
    pub archive: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loaded {
    Absent,
    Present,
    /// Of several names not all.
    #[serde(untagged)]
    Partly {
        only: BTreeSet<String>,
    },
}

/// The engine is spoken to here, whatever DOCKER_HOST or a context say.
const HOST: [&str; 2] = ["--host", "unix:///run/docker.sock"];
/// Tens of gigabytes take their time on a slow disk.
const LOAD: Duration = Duration::from_secs(2 * 3600);

impl Image {
    /// The images of an archive; each has to have a name.
    ///
    /// # Errors
    /// There is no such file, or it is no archive of images with names: exit 2.
    pub fn of_archive(path: &Path, host: &dyn Look) -> Result<Image> {
        let mut names = archive::names(path, host)?.into_iter();
        let reference = names.next().ok_or_else(|| archive::wrong(path).because("it holds no image"))?;
        Ok(Image { reference, more: names.collect(), archive: path.to_owned() })
    }

    /// The image of an archive that holds one, with one name.
    ///
    /// # Errors
    /// As with [`Image::of_archive`], or it holds more than one.
    pub fn of_one(path: &Path, host: &dyn Look) -> Result<Image> {
        let image = Image::of_archive(path, host)?;
        match image.more.is_empty() {
            true => Ok(image),
            false => {
                let names: Vec<&str> = image.names().collect();
                Err(archive::wrong(path).because("it holds more than one image").because(names.join(", ")))
            }
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.reference).chain(&self.more).map(String::as_str)
    }

    /// The names that are there in a state.
    fn there(&self, state: &Loaded) -> BTreeSet<String> {
        match state {
            Loaded::Absent => BTreeSet::new(),
            Loaded::Present => self.names().map(str::to_owned).collect(),
            Loaded::Partly { only } => only.clone(),
        }
    }

    fn state(&self, there: BTreeSet<String>) -> Loaded {
        match there.len() {
            0 => Loaded::Absent,
            some if some == self.names().count() => Loaded::Present,
            _ => Loaded::Partly { only: there },
        }
    }

    /// What a name stands for. Without an engine, or with one that does not answer, there is no image.
    fn id(name: &str, host: &dyn Look) -> Result<Option<String>> {
        let answer = host.query(&Question::Image { reference: name.to_owned() })?;
        Ok(answer.ok().then_some(answer.stdout))
    }

    fn load(&self, host: &dyn Touch) -> Result<()> {
        let mut before = Vec::new();
        for name in self.names() {
            before.extend(Image::id(name, host)?.map(|id| (name, id)));
        }
        let archive = self.archive.display().to_string();
        docker(&["image", "load", "--quiet", "--input", &archive], host, || {
            format!("cannot load {}", in_words(self.names()))
        })?;
        // A name that stood for another image stands for it again: only what was missing is to come.
        for (name, id) in before {
            if Image::id(name, host)?.as_ref() != Some(&id) {
                remove(name, host)?;
                docker(&["image", "tag", id.trim(), name], host, || format!("cannot give `{name}` back"))?;
            }
        }
        Ok(())
    }

    /// A container that is made of it and not ours: ours is gone by then, or goes with its unit.
    fn user(name: &str, host: &dyn Look) -> Result<Option<String>> {
        let containers = host.query(&Question::ContainersOf { image: name.to_owned() })?.stdout;
        Ok(containers.lines().find(|container| !container.starts_with("rprov-")).map(str::to_owned))
    }
}

fn docker(arguments: &[&str], host: &dyn Touch, what: impl FnOnce() -> String) -> Result<()> {
    let words = ["docker"].iter().chain(&HOST).chain(arguments);
    host.run(&Command::new(words.copied()).timeout(LOAD))?.or_failed(what)
}

fn remove(name: &str, host: &dyn Touch) -> Result<()> {
    docker(&["image", "rm", name], host, || format!("cannot remove the image `{name}`"))
}

/// the image `a:1`, the images `a:1`, `b:2`
fn in_words<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    format!("the {} {}", if names.len() == 1 { "image" } else { "images" }, names.join(", "))
}

impl Resource for Image {
    type State = Loaded;

    fn get(&self, host: &dyn Look) -> Result<Loaded> {
        let mut there = BTreeSet::new();
        for name in self.names() {
            there.extend(Image::id(name, host)?.map(|_| name.to_owned()));
        }
        Ok(self.state(there))
    }

    fn set(&self, state: &Loaded, host: &dyn Touch) -> Result<()> {
        let wanted = self.there(state);
        let mut now = self.there(&self.get(host)?);
        if !wanted.is_subset(&now) {
            self.load(host)?;
            now = self.there(&self.get(host)?);
        }
        now.difference(&wanted).try_for_each(|name| remove(name, host))
    }

    fn describe(&self, before: &Loaded, after: &Loaded) -> Vec<Line> {
        let from = || format!("image, from `{}`", self.archive.display());
        let (before, after) = (self.there(before), self.there(after));
        let comes = after.difference(&before).map(|name| Line::add("image", name, from()));
        let goes = before.difference(&after).map(|name| Line::remove("image", name, "image"));
        comes.chain(goes).collect()
    }

    fn same(&self, other: &Self) -> bool {
        self.reference == other.reference
    }

    /// A later archive may hold other names beside the first.
    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        let mut resource = later.resource.clone();
        let gone: Vec<String> = earlier.resource.names().map(str::to_owned).collect();
        resource.more.extend(gone.iter().filter(|name| !later.resource.names().any(|n| n == *name)).cloned());
        let (old, new) = (&earlier.resource, &later.resource);
        let mut before = old.there(&earlier.before);
        before.extend(new.there(&later.before).into_iter().filter(|name| !gone.contains(name)));
        let mut after = new.there(&later.after);
        after.extend(old.there(&earlier.after).into_iter().filter(|name| !new.names().any(|n| n == name)));
        let (before, after) = (resource.state(before), resource.state(after));
        Change { resource, before, after }
    }

    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Loaded>> {
        let now = self.there(&self.get(host)?);
        let (mut to, mut told) = (now.clone(), Vec::new());
        for name in now.difference(&self.there(&change.before)) {
            match Image::user(name, host)?.filter(|_| !how.force) {
                Some(user) if self.more.is_empty() => {
                    told.push(format!("the container `{user}` is made of it"));
                }
                Some(user) => told.push(format!("the container `{user}` is made of `{name}`, which stays")),
                None => drop(to.remove(name)),
            }
        }
        Ok(match (to == now, told.is_empty()) {
            (true, true) => WayBack::AlreadyAsBefore,
            (true, false) => WayBack::Kept { why: told.join("; ") },
            (false, _) => WayBack::Restore { now: self.state(now), to: self.state(to), told },
        })
    }
}
