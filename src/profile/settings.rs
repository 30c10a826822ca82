//! What this run is to do: the command line over the configuration over the profile.

use super::config::{Config, Gpu, Key};
use super::document::nearest;
use super::form::{Apt, Fingerprint, Profile, Repository};
use super::library::Library;
use crate::error::{Error, Result};
use crate::facts::Facts;
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait for locks, clocks and the network where nobody says.
const WAIT: Duration = Duration::from_secs(600);

/// What the command line says; what it does not say is left to the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    pub users: Vec<String>,
    pub version: Option<String>,
    pub channel: Option<String>,
    pub gpu: Option<Gpu>,
    pub with: Vec<String>,
    pub wait: Option<Duration>,
}

/// Everything decided that can be decided without looking at the host again.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub profile: Profile,
    pub users: Vec<String>,
    /// A version, or the beginning of one; none is any at or above the profile's floor.
    pub version: Option<String>,
    pub gpu: Gpu,
    pub with: Vec<String>,
    pub wait: Duration,
    pub source: AptSource,
    pub daemon: Daemon,
}

/// The source as it is used on this host: the profile's, with the configuration's address and key.
#[derive(Clone, Debug, PartialEq)]
pub struct AptSource {
    /// Root and path: what `URIs:` names.
    pub uri: String,
    /// The same at the original: other sources of the same repository are known by it too.
    pub original: String,
    pub suite: String,
    /// Asked for in this order where the suite is not there.
    pub fallbacks: Vec<String>,
    pub channel: String,
    pub file: PathBuf,
    /// By its ending apt tells armor (`.asc`) from binary (`.gpg`).
    pub key_file: PathBuf,
    pub trust: Trust,
}

/// What an index has to be signed by.
#[derive(Clone, Debug, PartialEq)]
pub enum Trust {
    /// The shipped certificate, which has to have this fingerprint.
    Pinned { certificate: Vec<u8>, fingerprint: Fingerprint },
    /// Whatever certificates the administrator's file holds.
    Administrators(Key),
}

/// What daemon.json is to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Daemon {
    /// Asked for by the configuration: holds on every host.
    pub asked: serde_json::Map<String, serde_json::Value>,
    /// The profile's: only for a host that had no engine.
    pub defaults: serde_json::Map<String, serde_json::Value>,
}

impl Settings {
    /// Lays the command line over the configuration over the profile. A list that is given replaces the one below it.
    pub fn merge(flags: Flags, config: Config, profile: Profile, library: &Library) -> Result<Settings> {
        let channel = flags.channel.or(config.channel.clone());
        let Repository::Apt(apt) = &profile.repository;
        let source = apt_source(apt, channel, &config, library)?;
        let with = given(flags.with, config.with);
        for name in &with {
            known("optional software", name, profile.packages.with.keys())?;
        }
        Ok(Settings {
            source,
            with,
            users: given(flags.users, config.users),
            version: flags.version.or(config.version),
            gpu: flags.gpu.or(config.gpu).unwrap_or_default(),
            wait: flags.wait.or(config.wait).unwrap_or(WAIT),
            daemon: Daemon { asked: config.daemon.0, defaults: profile.daemon.0.clone() },
            profile,
        })
    }

    /// The packages that are wanted on a host with these facts, in order.
    pub fn packages(&self, facts: &Facts) -> Vec<String> {
        let packages = &self.profile.packages;
        let with = self.with.iter().filter_map(|name| packages.with.get(name)).flatten();
        let when =
            packages.when.iter().filter(|(condition, _)| condition.holds(facts)).flat_map(|(_, names)| names);
        let mut wanted: Vec<String> = Vec::new();
        for name in packages.engine.iter().chain(with).chain(when) {
            if !wanted.contains(name) {
                wanted.push(name.clone());
            }
        }
        wanted
    }
}

fn apt_source(apt: &Apt, channel: Option<String>, config: &Config, library: &Library) -> Result<AptSource> {
    let channel = channel.unwrap_or_else(|| apt.channel.clone());
    known("channel", &channel, apt.channels.iter())?;
    let other = config.source.get(&apt.source).cloned().unwrap_or_default();
    let trust = match other.key {
        Some(key) => Trust::Administrators(key),
        None => Trust::Pinned {
            certificate: library.key(&apt.key.name).map(<[u8]>::to_vec).ok_or_else(|| {
                Error::usage(format!("the profile names the key `{}`, which is not there", apt.key.name))
            })?,
            fingerprint: apt.key.fingerprint.clone(),
        },
    };
    let armored = trust.bytes().trim_ascii_start().starts_with(b"-----BEGIN");
    Ok(AptSource {
        uri: format!("{}/{}", other.url.as_deref().unwrap_or(&apt.root), apt.path),
        original: format!("{}/{}", apt.root, apt.path),
        suite: apt.suite.clone(),
        fallbacks: apt.fallbacks.clone(),
        channel,
        file: apt.file.clone(),
        key_file: apt.key.file.with_extension(if armored { "asc" } else { "gpg" }),
        trust,
    })
}

impl Trust {
    /// The file as it is written beside the source.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Trust::Pinned { certificate, .. } => certificate,
            Trust::Administrators(key) => &key.bytes,
        }
    }
}

/// The list that is given, else the one below it.
fn given(above: Vec<String>, below: Vec<String>) -> Vec<String> {
    if above.is_empty() { below } else { above }
}

/// Refuses a name that is none of these, with the one that was probably meant.
fn known<'k>(what: &str, name: &str, names: impl Iterator<Item = &'k String> + Clone) -> Result<()> {
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let list = names.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let error =
        Error::usage(format!("there is no {what} `{name}`")).because(format!("expected one of {list}"));
    Err(match nearest(name, names.map(String::as_str)) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error,
    })
}
