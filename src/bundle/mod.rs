//! Everything that a plan needs from the network, in one file that is verified before anything of it counts.

mod apt;
pub mod check;
pub mod create;
pub mod dnf;
mod far;
mod images;
mod reader;
#[cfg(test)]
mod tests;
pub mod unpack;
mod writer;

pub use check::{Checked, check};
pub use create::{Asked, create};
pub use reader::manifest;
pub use unpack::{Unpacked, unpack};

use crate::error::{Error, Result};
use crate::trust::Index;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// The first file of a bundle.
const MANIFEST: &str = "manifest.json";
/// Where images lie, and where the keyring of the distribution's archive does.
const IMAGES: &str = "images";
const KEYRING: &str = "keys/archive.gpg";
const FORMAT: u32 = 1;

/// What is in a bundle. Nobody has signed it: it only says what to expect, and each file is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub rprov: String,
    /// When it was made: RFC 3339.
    pub made: String,
    /// The hosts that it is for, by the name of their profile or of their own: `rocky-9`.
    pub profile: String,
    pub architecture: String,
    /// The packages that were asked for, in their versions.
    pub packages: Vec<String>,
    pub indexes: Vec<Listed>,
    /// In the order in which they follow.
    pub files: Vec<Entry>,
}

/// An index: below which directory of the bundle its source lies, and with apt which component of which suite it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub directory: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// None of a flat repository: empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub component: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub path: String,
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// An index that may be in a bundle, whom it has to be signed by, and the directory of its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub directory: String,
    pub index: Index,
}

/// A package as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    /// In the bundle.
    path: String,
    size: u64,
    sha256: String,
    /// With rpm what it says of itself: name, version and architecture.
    rpm: Option<[String; 3]>,
}

impl Promised {
    /// What it takes of memory, in bytes.
    fn takes(&self) -> usize {
        let words = self.rpm.iter().flatten().chain([&self.path, &self.sha256]);
        size_of::<Promised>() + words.map(|word| word.len()).sum::<usize>()
    }
}

impl Origin {
    fn listed(&self) -> Listed {
        let (suite, component) = match &self.index {
            Index::Apt(source) => (source.suite.clone(), source.component.clone()),
            Index::Rpm(_) => Default::default(),
        };
        Listed { directory: self.directory.clone(), suite, component }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{}", self.directory, path.trim_start_matches("./"))
    }
}

impl Manifest {
    /// The bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|entry| entry.size).fold(0, u64::saturating_add)
    }

    /// The archives of images, by their paths in the bundle.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|entry| entry.path.as_str()).filter(|path| is_image(path))
    }
}

fn is_image(path: &str) -> bool {
    path.strip_prefix(IMAGES).is_some_and(|rest| rest.starts_with('/'))
}

/// Below the bundle's own directory, and nowhere else.
fn is_plain(path: &str) -> bool {
    let normal = |part: Component| matches!(part, Component::Normal(_));
    !path.is_empty()
        && !path.contains("//")
        && !path.ends_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && Path::new(path).components().all(normal)
        && !path.split('/').any(|part| part == ".")
}

/// Nothing of it is used.
fn refused(file: &Path) -> Error {
    Error::refused(format!("cannot use the bundle `{}`", file.display()))
}

/// What cannot be read out of its frame is no fault of this machine's.
fn damaged(file: &Path, error: &std::io::Error) -> Error {
    refused(file).because(format!("it cannot be unpacked: {error}"))
}

fn hinted<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        error.or_hint(
            "copy the bundle again, or have it made again: it is not what `rprov bundle create` wrote",
        )
    })
}
