//! The `[gpu]` of a profile: where NVIDIA's container toolkit comes from, and what it is made of.

use crate::profile::config::SourceName;
use crate::profile::form::{KeyPin, absolute, absolutes, package_names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a card of NVIDIA's needs here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nvidia {
    pub toolkit: Toolkit,
}

/// What lets containers use a card whose driver is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolkit {
    /// All of one version.
    #[serde(deserialize_with = "package_names")]
    pub packages: Vec<String>,
    /// No version below it is installed or left: a container could get out of it.
    pub floor: String,
    /// What it was called before.
    #[serde(default, deserialize_with = "package_names")]
    pub remove: Vec<String>,
    /// What it makes by itself.
    #[serde(default, deserialize_with = "absolutes")]
    pub made: Vec<PathBuf>,
    pub repository: Flat,
}

/// A repository without suites and components: one directory an architecture, the index in it signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flat {
    /// The `[source.NAME]` of the configuration that replaces root and key.
    pub source: SourceName,
    /// The name of its section, where dnf reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The original's root, which a mirror's address replaces.
    pub root: String,
    /// Below the root, the same on every mirror; `{architecture}` stands for a word of `architectures`.
    pub path: String,
    /// What the maker calls an architecture that dpkg calls so.
    pub architectures: BTreeMap<String, String>,
    /// The maker's other addresses: sources for what lies below them go.
    #[serde(default)]
    pub others: Vec<String>,
    /// The file that is written.
    #[serde(deserialize_with = "absolute")]
    pub file: PathBuf,
    pub key: KeyPin,
}
