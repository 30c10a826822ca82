//! What the administrator of this host wants: `/etc/rprov/config.toml`, or the file named instead of it.

use super::document::Document;
use super::form::Json;
use crate::error::{Error, Result};
use crate::host::{Look, trusted};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration is, unless something else is named.
pub const DEFAULT: &str = "/etc/rprov/config.toml";

/// The configuration file: every field may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Who may use the engine; being in its group is being root.
    pub users: Vec<String>,
    /// A version, or the beginning of one.
    pub version: Option<String>,
    pub channel: Option<String>,
    pub gpu: Option<Gpu>,
    /// Optional software, by the names of the profile's `[packages.with]`.
    pub with: Vec<String>,
    /// How long to wait for locks, clocks and the network.
    #[serde(deserialize_with = "duration")]
    pub wait: Option<Duration>,
    /// Other places for what the profile names.
    pub source: BTreeMap<SourceName, Source>,
    /// Merged into daemon.json, key by key.
    pub daemon: Json,
}

/// What is wanted of a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Gpu {
    /// A card is required.
    On,
    /// Whatever the card that is there needs; nothing without one.
    Auto,
    /// The container toolkit alone: the driver is somebody else's.
    Toolkit,
    #[default]
    Off,
}

/// The sources that the configuration may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceName {
    Docker,
    Nvidia,
    Cuda,
}

/// Another place for a source, in the layout of the original.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Replaces the original's root; without a slash at its end.
    #[serde(default, deserialize_with = "address")]
    pub url: Option<String>,
    /// Replaces the shipped key, also with the original's address.
    pub key: Option<Key>,
}

/// The administrator's own key file: it is the pin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct Key {
    pub file: PathBuf,
    /// One certificate or more, armored or binary, as they were when the configuration was read.
    pub bytes: Vec<u8>,
}

impl TryFrom<PathBuf> for Key {
    type Error = String;
    fn try_from(file: PathBuf) -> std::result::Result<Self, String> {
        if file.is_absolute() {
            Ok(Key { file, bytes: Vec::new() })
        } else {
            Err(format!("expected an absolute path, found `{}`", file.display()))
        }
    }
}

impl Config {
    /// Reads the configuration and the keys that it names.
    ///
    /// A file named on the command line is the caller's word. One named by the environment, and the default, count
    /// only if nobody but root can have written them, and likewise their keys (exit 4). What is named has to be there.
    pub fn load(host: &dyn Look, named: Option<&Path>, environment: Option<&Path>) -> Result<Config> {
        let (path, callers_word) = match (named, environment) {
            (Some(named), _) => (from_here(named)?, true),
            (None, Some(named)) => (from_here(named)?, false),
            (None, None) => (PathBuf::from(DEFAULT), false),
        };
        let believe = |path: &Path| if callers_word { Ok(()) } else { trusted(host, path) };
        believe(&path)?;
        let Some(text) = host.read_text(&path)? else {
            return match named.or(environment) {
                None => Ok(Config::default()),
                Some(_) => Err(Error::usage(format!("cannot read `{}`", path.display()))
                    .because("there is no such file")),
            };
        };
        let document = Document::new(path.display().to_string(), &text);
        let mut config: Config = document.read()?;
        for key in config.source.values_mut().filter_map(|source| source.key.as_mut()) {
            believe(&key.file)?;
            key.bytes = host.read(&key.file)?.ok_or_else(|| {
                Error::usage(format!("cannot read the key `{}`", key.file.display()))
                    .because(format!("`{}` names it and it is not there", path.display()))
            })?;
        }
        Ok(config)
    }
}

/// A relative path is meant from where the caller stands.
fn from_here(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|e| Error::usage(format!("cannot read `{}`", path.display())).because(e))
}

/// Reads a duration as people write it: `90s`, `10m`, `1h 30m`.
pub fn wait(text: &str) -> std::result::Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| format!("expected a duration such as `90s` or `10m`, found `{text}`"))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Duration>, D::Error> {
    wait(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

/// It is written into the package manager's own files: nothing that would end its line or its field there.
fn address<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"'\\[]#?$`".contains(&b);
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(plain) => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err(D::Error::custom(format!(
            "expected an address such as `https://mirror.example/docker-ce`, found `{text}`"
        ))),
    }
}
