//! The `[gpu]` of a profile: where NVIDIA's container toolkit comes from, and what it is made of.

use crate::profile::config::SourceName;
use crate::profile::form::{Fingerprint, KeyPin, absolute, absolutes, package_names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a card of NVIDIA's needs here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nvidia {
    pub toolkit: Toolkit,
    /// What the driver is made of, in NVIDIA's own repositories for this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// NVIDIA's own repository for this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<Cuda>,
    /// The distribution's own driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Own>,
}

/// Packages in all of which `{branch}` stands for a branch, and `{kernel}` for the running kernel's release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The original's root, which a mirror's address replaces.
    pub root: String,
    /// What the maker calls an architecture that dpkg calls so.
    pub architectures: BTreeMap<String, String>,
    /// The file that is written.
    #[serde(deserialize_with = "absolute")]
    pub file: PathBuf,
    #[serde(deserialize_with = "absolute")]
    pub key_file: PathBuf,
    pub open: Vec<String>,
    pub proprietary: Vec<String>,
    /// Of the very version of the driver, where cards hang together by NVSwitch.
    pub fabric_manager: Vec<String>,
    /// Without these nothing can be built for the running kernel.
    pub headers: Vec<String>,
    /// What it makes by itself.
    #[serde(default, deserialize_with = "absolutes")]
    pub made: Vec<PathBuf>,
    /// Started once the driver is loaded.
    #[serde(default)]
    pub units: Vec<String>,
    /// The same, with NVSwitch.
    #[serde(default)]
    pub fabric_units: Vec<String>,
}

/// One directory of NVIDIA's repositories, and who signs what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuda {
    /// `ubuntu2404`.
    pub directory: String,
    /// None is known in full: the driver is refused unless the configuration gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<CudaKey>,
    /// The stream of its module, where the distribution has such: `{branch}` stands for a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    pub open: String,
    pub proprietary: String,
}

/// A key that ships, or is fetched and held against its fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudaKey {
    /// A file in `profiles/keys/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A file in the repository, where none ships.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
    pub fingerprint: Fingerprint,
}

/// The packages of the distribution's own driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Modules for the very kernel that runs, signed by a key that the firmware knows; else they are built there.
    #[serde(default)]
    pub signed: bool,
    pub branches: Vec<String>,
    pub open: Vec<String>,
    pub proprietary: Vec<String>,
    /// None where the distribution has none.
    #[serde(default)]
    pub fabric_manager: Vec<String>,
    /// Started once the driver is loaded.
    #[serde(default)]
    pub units: Vec<String>,
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
