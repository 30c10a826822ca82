//! What the administrator of this host wants: `/etc/rprov/config.toml`, or the file named instead of it.

use super::document::Document;
use super::form::{Json, absolute};
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
    /// Whether every container runs under NVIDIA's runtime.
    pub gpu_default_runtime: bool,
    pub engine: Option<Engine>,
    /// Optional software, by the names of the profile's `[packages.with]`.
    pub with: Vec<String>,
    /// Whether the engine's packages stay at their version until rprov moves them.
    pub hold: bool,
    /// How long to wait for locks, clocks and the network.
    #[serde(deserialize_with = "duration")]
    pub wait: Option<Duration>,
    /// A mirror by name: an address for `[source.*]`.
    pub mirror: Option<String>,
    pub registry: Registry,
    /// Other places for what the profile names.
    pub source: BTreeMap<SourceName, Source>,
    /// Merged into daemon.json, key by key.
    pub daemon: Json,
}

/// Whose engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Docker's own packages, from its source.
    #[default]
    Docker,
    /// Whatever the distribution has itself, from the sources that the host has.
    Distribution,
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
    /// The distribution's own, for a bundle.
    Archive,
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

/// The local registry that `with = ["registry"]` sets up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// An archive of `docker save`. Nothing is pulled.
    #[serde(default, deserialize_with = "archive")]
    pub image: Option<PathBuf>,
}

fn archive<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<PathBuf>, D::Error> {
    absolute(from).map(Some)
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
        let mut config = Config::parse(path.display().to_string(), &text)?;
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

impl Config {
    /// A configuration as text, called so in messages; the keys that it names are not read.
    pub fn parse(name: impl Into<String>, text: &str) -> Result<Config> {
        Document::new(name, text).read()
    }
}

/// A relative path is meant from where the caller stands.
pub fn from_here(path: &Path) -> Result<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::host::fake::FakeHost;

    const KEY: &str = "/etc/rprov/keys/mirror.asc";
    const WHOLE: &str = r#"
users = ["alice"]
version = "29"
gpu = "auto"
engine = "docker"
wait = "1h 30m"
channel = "test"
with = ["rootless-extras"]
hold = true

[source.docker]
url = "https://mirror.example/docker-ce/"
key = "/etc/rprov/keys/mirror.asc"

[registry]
image = "/srv/registry.tar"

[daemon]
log-driver = "local"
"#;

    fn host(text: &str) -> FakeHost {
        FakeHost::new().file(DEFAULT, text).file(KEY, "certificate")
    }

    #[test]
    fn every_field_is_read_and_every_field_may_be_left_out() {
        let config = Config::load(&host(WHOLE), None, None).expect("reads");
        let key = Key { file: PathBuf::from(KEY), bytes: b"certificate".to_vec() };
        let source = Source { url: Some("https://mirror.example/docker-ce".to_owned()), key: Some(key) };
        let expected = Config {
            users: vec!["alice".to_owned()],
            version: Some("29".to_owned()),
            channel: Some("test".to_owned()),
            gpu_default_runtime: false,
            gpu: Some(Gpu::Auto),
            engine: Some(Engine::Docker),
            with: vec!["rootless-extras".to_owned()],
            wait: Some(Duration::from_secs(90 * 60)),
            hold: true,
            mirror: None,
            registry: Registry { image: Some(PathBuf::from("/srv/registry.tar")) },
            source: BTreeMap::from([(SourceName::Docker, source)]),
            daemon: Json(serde_json::Map::from_iter([("log-driver".to_owned(), "local".into())])),
        };
        assert_eq!(config, expected);
        for host in [host(""), FakeHost::new()] {
            assert_eq!(Config::load(&host, None, None).expect("reads"), Config::default());
        }
    }

    #[test]
    fn a_mistake_is_told_with_file_line_and_what_was_expected() {
        let cases = [
            ("user = []", "1:1", "unknown field `user`, expected `users`"),
            ("\nversion = 29", "2:11", "expected a string"),
            ("gpu = \"yes\"", "1:7", "expected one of `on`, `auto`, `toolkit`, `off`"),
            ("wait = \"soon\"", "1:8", "expected a duration such as `90s` or `10m`, found `soon`"),
            ("wait = \"-5m\"", "1:8", "expected a duration"),
            ("[source.dokcer]\n", "1:9", "unknown variant `dokcer`, expected `docker`"),
            ("[source.docker]\nurl = \"mirror/x\"", "2:7", "expected an address"),
            ("[source.docker]\nurl = \"https://a/b\\nSigned-By: x\"", "2:7", "expected an address"),
            ("[source.docker]\nkey = \"mirror.asc\"", "2:7", "expected an absolute path"),
            ("[daemon]\nsince = 2024-01-01", "1:1", "JSON has no dates"),
            ("users = [", "1:10", ""),
        ];
        for (text, place, reason) in cases {
            let error = Config::load(&host(text), None, None).expect_err(text);
            assert_eq!(error.exit, Exit::Usage);
            assert_eq!(error.what(), format!("cannot use `{DEFAULT}:{place}`"), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn what_others_could_write_is_refused_unless_the_caller_names_it() {
        let cases = [host(WHOLE).owned(DEFAULT, 0, 0o666), host(WHOLE).owned(KEY, 1000, 0o600)];
        for host in cases {
            for environment in [None, Some(Path::new(DEFAULT))] {
                let error = Config::load(&host, None, environment).expect_err("is not root's alone");
                assert_eq!(error.exit, Exit::Refused);
            }
            assert!(Config::load(&host, Some(Path::new(DEFAULT)), None).is_ok());
        }
    }

    #[test]
    fn what_is_named_has_to_be_there() {
        let gone = Path::new("/root/gone.toml");
        for (named, environment) in [(Some(gone), None), (None, Some(gone))] {
            let error = Config::load(&host(""), named, environment).expect_err("is not there");
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.to_string().contains("`/root/gone.toml`: there is no such file"), "{error}");
        }
        let error = Config::load(&host(WHOLE).without(KEY), None, None).expect_err("the key is not there");
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.to_string().contains(KEY), "{error}");
    }
}
