//! A package source with its key: the one right entry, and no other for the same address, whatever its file is called.

mod accepted;
pub mod apt;
pub mod dnf;

use super::file::{Bytes, File, Node};
use super::{Change, How, Resource, WayBack};
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Look, Owner, Touch};
use crate::trust::Pin;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A source, by who reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Apt(apt::Source),
    Dnf(dnf::Source),
}

impl Source {
    pub fn pin(&self) -> &Pin {
        match self {
            Source::Apt(source) => &source.index.pin,
            Source::Dnf(source) => &source.index.pin,
        }
    }

    pub fn key_file(&self) -> &Path {
        match self {
            Source::Apt(source) => &source.key_file,
            Source::Dnf(source) => &source.key_file,
        }
    }
}

/// The files that a package manager reads about one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    /// `https://download.docker.com/linux/ubuntu`, without a last slash; with a mirror, the original's too. For dnf
    /// whatever lies below `https://download.docker.com/linux`.
    pub addresses: Vec<String>,
    /// Every file that a change touches, also those that it removes.
    #[serde(default)]
    pub files: BTreeSet<PathBuf>,
    /// Known while planning; a receipt can be undone without it.
    #[serde(skip)]
    pub source: Option<Source>,
}

/// Every file that has a part in it, and whether together they are right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Files {
    /// One entry, with the right suite and a key of the pinned fingerprint, and nothing beside it.
    pub right: bool,
    pub files: BTreeMap<PathBuf, Node>,
}

impl Repository {
    pub fn of(source: &Source) -> Repository {
        let mut addresses: Vec<String> = match source {
            Source::Apt(source) => {
                let own = [source.index.root.clone(), source.original.clone()];
                own.into_iter().chain(source.others.iter().cloned()).collect()
            }
            Source::Dnf(source) => source.addresses.clone(),
        };
        addresses.dedup();
        Repository { addresses, files: BTreeSet::new(), source: Some(source.clone()) }
    }
}

impl Files {
    /// The want: whatever files it takes.
    pub fn right() -> Files {
        Files { right: true, files: BTreeMap::new() }
    }
}

impl Resource for Repository {
    type State = Files;

    fn get(&self, host: &dyn Look) -> Result<Files> {
        let (right, theirs) = match &self.source {
            Some(Source::Apt(source)) => apt::look(source, &self.addresses, host)?,
            Some(Source::Dnf(source)) => dnf::look(source, &self.addresses, host)?,
            None => (false, Vec::new()),
        };
        let mut files = BTreeMap::new();
        for path in theirs.into_iter().chain(self.files.iter().cloned()) {
            files.insert(path.clone(), File { path }.get(host)?);
        }
        Ok(Files { right, files })
    }

    fn meets(now: &Files, want: &Files) -> bool {
        now.right == want.right && want.files.iter().all(|(path, node)| now.files.get(path) == Some(node))
    }

    /// By the files alone: a receipt does not know its source, and so not what is right.
    fn still_ours(now: &Files, after: &Files) -> bool {
        after.files.iter().all(|(path, node)| now.files.get(path) == Some(node))
    }

    /// The right files, and the wrong ones gone or without our address. The index is fetched first, and verified where
    /// it is signed, so that nothing is enabled that would not serve.
    fn resolve(&self, now: &Files, _want: &Files, host: &dyn Look) -> Result<(Self, Files)> {
        let files = match &self.source {
            Some(Source::Apt(source)) => apt::wanted(source, &self.addresses, now, host)?,
            Some(Source::Dnf(source)) => dnf::wanted(source, &self.addresses, now, host)?,
            None => return Err(Error::failed("a source without its profile")),
        };
        let resource = Repository { files: files.keys().cloned().collect(), ..self.clone() };
        Ok((resource, Files { right: true, files }))
    }

    fn set(&self, state: &Files, host: &dyn Touch) -> Result<()> {
        // Keys before sources, and wrong sources before right ones: nobody ever sees a contradiction.
        let rank = |path: &Path, node: &Node| match node {
            Node::Directory { .. } | Node::Other => (0, 0),
            // What lies in a directory goes before it.
            Node::Absent => (1, usize::MAX - path.components().count()),
            Node::File { .. } if !apt::is_source(path) && !dnf::is_source(path) => (2, 0),
            _ => (3, 0),
        };
        let mut ordered: Vec<_> = state.files.iter().collect();
        ordered.sort_by_key(|(path, node)| rank(path, node));
        for (path, node) in ordered {
            let parent = path.parent().unwrap_or(Path::new("/"));
            if *node != Node::Absent && !host.exists(parent)? {
                host.make_directory(parent, Owner::ROOT_0755)?;
            }
            File { path: path.clone() }.set(node, host)?;
        }
        Ok(())
    }

    fn describe(&self, before: &Files, after: &Files) -> Vec<Line> {
        let line = |(path, node): (&PathBuf, &Node)| {
            let was = before.files.get(path).unwrap_or(&Node::Absent);
            if was == node { Vec::new() } else { File { path: path.clone() }.describe(was, node) }
        };
        after.files.iter().flat_map(line).collect()
    }

    fn same(&self, other: &Self) -> bool {
        self.addresses.iter().any(|address| other.addresses.contains(address))
    }

    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        let mut joined = earlier;
        for (path, node) in later.before.files {
            joined.before.files.entry(path).or_insert(node);
        }
        joined.after.files.extend(later.after.files);
        joined.resource.files.extend(later.resource.files);
        joined
    }

    /// All or nothing: a source that somebody edited since still needs its key, and contradicts what was there before.
    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Files>> {
        let mut now = Files { right: false, files: BTreeMap::new() };
        let mut to = now.clone();
        let (mut told, mut edited) = (Vec::new(), false);
        for (path, after) in &change.after.files {
            let at = File { path: path.clone() }.get(host)?;
            let before = change.before.files.get(path).unwrap_or(&Node::Absent);
            let held = match (&at, before) {
                (Node::Directory { .. }, Node::Absent) => first_that_stays(path, change, host, how)?,
                _ => None,
            };
            let ours = (at == *after || how.force) && held.is_none();
            if let Some(name) = held {
                told.push(format!("`{}` stays: it holds `{name}`", path.display()));
            } else if at != *before && before != after && !ours {
                told.push(format!("`{}` was edited since", path.display()));
                edited = true;
            }
            let back = if before != after && ours { before } else { &at };
            to.files.insert(path.clone(), back.clone());
            now.files.insert(path.clone(), at);
        }
        Ok(if edited {
            WayBack::ChangedSince { why: told.join("; ") }
        } else if now.files != to.files {
            WayBack::Restore { now, to, told }
        } else if told.is_empty() {
            WayBack::AlreadyAsBefore
        } else {
            WayBack::Kept { why: told.join("; ") }
        })
    }
}

/// The first thing in a directory that does not go with us.
fn first_that_stays(
    directory: &Path,
    change: &Change<Repository>,
    host: &dyn Look,
    how: How,
) -> Result<Option<String>> {
    for name in host.list(directory)? {
        let path = directory.join(&name);
        let new = change.before.files.get(&path).is_none_or(|node| *node == Node::Absent);
        let goes = match change.after.files.get(&path) {
            Some(after) => new && (how.force || File { path }.get(host)? == *after),
            None => false,
        };
        if !goes {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What becomes of files that held our address: the rest of their bytes, under their owner, or nothing.
fn shortened(cleaned: Vec<(PathBuf, Option<Vec<u8>>)>, now: &Files) -> BTreeMap<PathBuf, Node> {
    let mut files = now.files.clone();
    for (path, bytes) in cleaned {
        let node = match (bytes, now.files.get(&path)) {
            (Some(bytes), Some(Node::File { owner, .. })) => {
                Node::File { bytes: Bytes(bytes), owner: *owner }
            }
            (Some(bytes), _) => Node::file(bytes),
            (None, _) => Node::Absent,
        };
        files.insert(path, node);
    }
    files
}

/// The place of an address: without scheme, password and last slash, its host's name in small letters.
fn place_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.to_ascii_lowercase()
}

/// The same place, whatever the scheme, the case of the host and the last slash.
fn same_address(a: &str, b: &str) -> bool {
    place_of(a) == place_of(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_whatever_scheme_and_slash() {
        assert!(same_address(
            "http://Download.docker.com/linux/ubuntu/",
            "https://download.docker.com/linux/ubuntu"
        ));
        assert!(!same_address(
            "https://download.docker.com/linux/debian",
            "https://download.docker.com/linux/ubuntu"
        ));
    }
}
