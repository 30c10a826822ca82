//! What this run is to do: the command line over the configuration over the profile.

use super::config::{Config, Engine, Gpu, Key};
use super::document::nearest;
use super::form::{Fingerprint, KeyPin, Profile, Repository};
use super::gpu::{Choice, Wish};
use super::library::Library;
use super::mirrors::with_mirror;
use super::site::{REGISTRY, Site};
use crate::daemon_config::{self, Severity};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::trust::Pin;
use crate::version;
use std::collections::BTreeSet;
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
    pub driver: Option<Choice>,
    pub gpu_default_runtime: bool,
    pub with: Vec<String>,
    pub wait: Option<Duration>,
    /// A mirror by name.
    pub mirror: Option<String>,
    /// The archive with the image of the local registry.
    pub registry_image: Option<PathBuf>,
    /// Whether the engine's packages are to be held.
    pub hold: bool,
    pub engine: Option<Engine>,
}

/// Everything decided that can be decided without looking at the host again.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub profile: Profile,
    pub users: Vec<String>,
    /// A version, or the beginning of one; none is any at or above the profile's floor.
    pub version: Option<String>,
    pub wish: Wish,
    pub with: Vec<String>,
    pub wait: Duration,
    pub source: PackageSource,
    pub daemon: Daemon,
    pub registry_image: Option<PathBuf>,
    pub hold: Holding,
    pub engine: Engine,
    /// Empty until somebody looked around on the host.
    pub site: Site,
}

/// Which packages stay at their version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holding {
    /// Those of the engine, all of them.
    pub asked: bool,
    /// Those that an earlier run held: empty until somebody read its receipt.
    pub ours: BTreeSet<String>,
}

/// The source as it is used on this host: the profile's, with the configuration's address and key.
#[derive(Clone, Debug, PartialEq)]
pub struct PackageSource {
    /// Root and path: what `URIs:` of an apt source names.
    pub uri: String,
    /// The same at the original: other sources of the same repository are known by it too.
    pub original: String,
    pub reader: Reader,
    pub channel: String,
    pub file: PathBuf,
    /// By its ending apt tells armor (`.asc`) from binary (`.gpg`).
    pub key_file: PathBuf,
    pub trust: Trust,
}

/// Who reads the source, and what that needs to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Reader {
    Apt {
        suite: String,
        /// Asked for in this order where the suite is not there.
        fallbacks: Vec<String>,
    },
    Dnf {
        /// Whatever lies below these is Docker's: another release's repository contradicts this one's.
        addresses: Vec<String>,
    },
}

/// What an index has to be signed by; the packages themselves, where dnf reads it.
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
        let engine = flags.engine.or(config.engine).unwrap_or_default();
        if engine == Engine::Distribution {
            nothing_of_dockers(&flags, &config)?;
        }
        let config = with_mirror(flags.mirror.clone(), config)?;
        daemon_keys_are_right(&config.daemon.0, flags.version.as_deref().or(config.version.as_deref()))?;
        let channel = flags.channel.or(config.channel.clone());
        let source = source(&profile.repository, channel, &config, library)?;
        let gpu = flags.gpu.or(config.gpu).unwrap_or_default();
        let default_runtime = flags.gpu_default_runtime || config.gpu_default_runtime;
        let wish =
            Wish::merge(gpu, flags.driver.unwrap_or_default(), default_runtime, &profile, &config, library)?;
        let with = given(flags.with, config.with);
        for name in &with {
            let registry = REGISTRY.to_owned();
            known("optional software", name, profile.packages.with.keys().chain([&registry]))?;
        }
        if flags.registry_image.is_some() && !with.iter().any(|name| name == REGISTRY) {
            return Err(Error::usage("an image for a local registry was given, and none is wanted")
                .hint(format!("add `--with {REGISTRY}`, or leave `--registry-image` out")));
        }
        Ok(Settings {
            source,
            with,
            users: given(flags.users, config.users),
            version: flags.version.or(config.version),
            wish,
            wait: flags.wait.or(config.wait).unwrap_or(WAIT),
            registry_image: flags.registry_image.or(config.registry.image),
            engine,
            hold: Holding { asked: flags.hold || config.hold, ours: BTreeSet::new() },
            site: Site::default(),
            daemon: Daemon { asked: config.daemon.0, defaults: profile.daemon.0.clone() },
            profile,
        })
    }

    fn is_below_the_floor(&self) -> bool {
        let floor = &self.profile.packages.floor;
        self.version.as_deref().is_some_and(|asked| version::compare(version::upstream(asked), floor).is_lt())
    }

    /// Those of the wanted packages that are not the distribution's own.
    pub fn engine_packages(&self, facts: &Facts) -> impl Iterator<Item = String> {
        let distributions: BTreeSet<String> =
            self.profile.packages.when.values().flatten().cloned().collect();
        self.packages(facts).into_iter().filter(move |name| !distributions.contains(name))
    }

    /// The packages that are wanted on a host with these facts, in order.
    pub fn packages(&self, facts: &Facts) -> Vec<String> {
        let packages = &self.profile.packages;
        let engine = match self.engine {
            Engine::Docker => &packages.engine,
            Engine::Distribution => &packages.distribution,
        };
        let with = self.with.iter().filter_map(|name| packages.with.get(name)).flatten();
        let when =
            packages.when.iter().filter(|(condition, _)| condition.holds(facts)).flat_map(|(_, names)| names);
        let mut wanted: Vec<String> = Vec::new();
        let too_old = |name: &String| self.is_below_the_floor() && packages.since_floor.contains(name);
        for name in engine.iter().chain(with).chain(when) {
            if !wanted.contains(name) && !too_old(name) {
                wanted.push(name.clone());
            }
        }
        wanted
    }
}

/// Versions, channels, mirrors and plugins are Docker's: the distribution chooses its own.
fn nothing_of_dockers(flags: &Flags, config: &Config) -> Result<()> {
    let with = given(flags.with.clone(), config.with.clone());
    let asked = [
        ("version", flags.version.is_some() || config.version.is_some()),
        ("channel", flags.channel.is_some() || config.channel.is_some()),
        ("mirror", flags.mirror.is_some() || config.mirror.is_some()),
        ("with", with.iter().any(|name| name != REGISTRY)),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::usage(format!("cannot use `{name}` with the engine of the distribution"))
                .because("it is about Docker's own packages")
                .hint(format!("leave `{name}` out, or `engine`")))
        }
    }
}

fn source(
    repository: &Repository,
    channel: Option<String>,
    config: &Config,
    library: &Library,
) -> Result<PackageSource> {
    let (usual, channels) = repository.channels();
    let channel = channel.unwrap_or_else(|| usual.clone());
    known("channel", &channel, channels.iter())?;
    let other = config.source.get(&repository.source()).cloned().unwrap_or_default();
    let key = repository.key();
    let trust = trust(other.key, key, library)?;
    let (original, path) = repository.address();
    let root = other.url.as_deref().unwrap_or(original);
    let (reader, key_file) = match repository {
        Repository::Apt(apt) => (
            Reader::Apt { suite: apt.suite.clone(), fallbacks: apt.fallbacks.clone() },
            key.file.with_extension(trust.extension()),
        ),
        Repository::Dnf(_) => {
            let all = path.split('/').next().unwrap_or_default();
            let addresses = [root, original].map(|root| format!("{root}/{all}")).to_vec();
            (Reader::Dnf { addresses }, key.file.clone())
        }
    };
    Ok(PackageSource {
        uri: format!("{root}/{path}"),
        original: format!("{original}/{path}"),
        reader,
        channel,
        file: repository.file().clone(),
        key_file,
        trust,
    })
}

/// The administrator's own key file goes before the pin.
pub(super) fn trust(own: Option<Key>, pin: &KeyPin, library: &Library) -> Result<Trust> {
    Ok(match own {
        Some(key) => Trust::Administrators(key),
        None => Trust::Pinned {
            certificate: library.key(&pin.name).map(<[u8]>::to_vec).ok_or_else(|| {
                Error::usage(format!("the profile names the key `{}`, which is not there", pin.name))
            })?,
            fingerprint: pin.fingerprint.clone(),
        },
    })
}

impl Trust {
    /// What is fetched is held against it.
    pub fn pin(&self) -> Result<Pin> {
        match self {
            Trust::Pinned { certificate, fingerprint } => {
                Ok(Pin { key: certificate.clone(), fingerprints: vec![fingerprint.as_str().to_owned()] })
            }
            Trust::Administrators(key) => Pin::of_file(key.bytes.clone()),
        }
    }

    /// By it apt tells armor from binary.
    pub fn extension(&self) -> &'static str {
        if self.bytes().trim_ascii_start().starts_with(b"-----BEGIN") { "asc" } else { "gpg" }
    }

    /// The file as it is written beside the source.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Trust::Pinned { certificate, .. } => certificate,
            Trust::Administrators(key) => &key.bytes,
        }
    }
}

/// Wrong keys are told before anything is asked of the network. What depends on the host (an installed engine's version,
/// the arguments of its unit) is looked at with the file.
fn daemon_keys_are_right(
    asked: &serde_json::Map<String, serde_json::Value>,
    version: Option<&str>,
) -> Result<()> {
    let problems = daemon_config::check(asked, version, &[]);
    let refused: Vec<String> =
        problems.iter().filter(|p| p.severity() == Severity::Refuse).map(ToString::to_string).collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::usage("cannot use `[daemon]` of the configuration")
        .because("the daemon would not start with it")
        .tail(&refused.join("\n"))
        .hint("mend `[daemon]` in the configuration, then run the same command again"))
}

/// The list that is given, else the one below it.
fn given(above: Vec<String>, below: Vec<String>) -> Vec<String> {
    if above.is_empty() { below } else { above }
}

/// Refuses a name that is none of these, with the one that was probably meant.
pub(super) fn known<'k>(
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'k String> + Clone,
) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::facts::gather;
    use crate::host::fake::FakeHost;
    use crate::profile::{Source, SourceName};
    use std::path::Path;

    fn merge(flags: Flags, config: Config) -> Result<Settings> {
        let library = Library::shipped().expect("is right");
        let profile = library.get("ubuntu-24.04").expect("is there").profile.clone();
        Settings::merge(flags, config, profile, &library)
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn where_nobody_says_anything_the_profile_decides() {
        let settings = merge(Flags::default(), Config::default()).expect("merges");
        assert_eq!((settings.wish.gpu, settings.wait), (Gpu::Off, Duration::from_secs(600)));
        assert_eq!(settings.source.uri, "https://download.docker.com/linux/ubuntu");
        assert_eq!(settings.source.channel, "stable");
        assert_eq!(settings.source.key_file, Path::new("/etc/apt/keyrings/docker.asc"));
        assert!(matches!(settings.source.trust, Trust::Pinned { .. }));
        assert!(settings.daemon.asked.is_empty());
        assert_eq!(settings.daemon.defaults["log-driver"], "json-file");
    }

    #[test]
    fn flags_win_over_the_configuration() {
        let config = Config {
            users: names(&["alice", "bob"]),
            version: Some("28".to_owned()),
            channel: Some("stable".to_owned()),
            gpu: Some(Gpu::Auto),
            wait: Some(Duration::from_secs(1)),
            ..Config::default()
        };
        let below = merge(Flags::default(), config.clone()).expect("merges");
        assert_eq!((below.users, below.wish.gpu), (names(&["alice", "bob"]), Gpu::Auto));
        assert_eq!((below.version.as_deref(), below.wait), (Some("28"), Duration::from_secs(1)));
        let flags = Flags {
            users: names(&["carol"]),
            version: Some("29".to_owned()),
            channel: Some("test".to_owned()),
            gpu: Some(Gpu::Off),
            wait: Some(Duration::from_secs(2)),
            ..Flags::default()
        };
        let above = merge(flags, config).expect("merges");
        assert_eq!((above.users, above.wish.gpu), (names(&["carol"]), Gpu::Off));
        assert_eq!((above.version.as_deref(), above.wait), (Some("29"), Duration::from_secs(2)));
        assert_eq!(above.source.channel, "test");
    }

    #[test]
    fn a_mirror_replaces_the_root_and_its_key_the_pin() {
        let with = |key: Option<&str>| {
            let key = key.map(|bytes| Key { file: PathBuf::from("/k"), bytes: bytes.as_bytes().to_vec() });
            let source = Source { url: Some("https://mirror.example/ce".to_owned()), key };
            let config = Config { source: [(SourceName::Docker, source)].into(), ..Config::default() };
            merge(Flags::default(), config).expect("merges").source
        };
        let plain = with(None);
        assert_eq!(plain.uri, "https://mirror.example/ce/linux/ubuntu");
        assert_eq!(plain.original, "https://download.docker.com/linux/ubuntu");
        assert!(matches!(plain.trust, Trust::Pinned { .. }));
        for (key, file) in
            [("-----BEGIN PGP", "/etc/apt/keyrings/docker.asc"), ("\u{99}", "/etc/apt/keyrings/docker.gpg")]
        {
            let own = with(Some(key));
            assert_eq!(own.trust.bytes(), key.as_bytes());
            assert_eq!(own.key_file, Path::new(file));
        }
    }

    #[test]
    fn packages_are_the_engines_and_what_is_asked_for_and_what_the_host_lacks() {
        let bare = FakeHost::new().file("/sys/module/apparmor/parameters/enabled", "Y");
        let whole = FakeHost::new().file("/etc/ssl/certs/ca-certificates.crt", "");
        let engine =
            ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];
        let cases = [
            (&whole, vec![], vec![]),
            (&whole, vec!["rootless-extras"], vec!["docker-ce-rootless-extras"]),
            (&bare, vec![], vec!["apparmor", "ca-certificates"]),
        ];
        for (host, with, more) in cases {
            let flags = Flags { with: names(&with), ..Flags::default() };
            let settings = merge(flags, Config::default()).expect("merges");
            let facts = gather(host).expect("gathers");
            assert_eq!(settings.packages(&facts), names(&[&engine[..], &more[..]].concat()));
        }
    }

    #[test]
    fn a_wrong_key_for_the_daemon_is_told_at_once() {
        let daemon = crate::profile::Json([("log-drive".to_owned(), "local".into())].into_iter().collect());
        let error = merge(Flags::default(), Config { daemon, ..Config::default() }).expect_err("is wrong");
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.to_string().contains("did you mean `log-driver`?"), "{error}");
    }

    #[test]
    fn names_that_the_profile_does_not_know_are_refused_with_the_nearest() {
        let with = Flags { with: names(&["rootles-extras"]), ..Flags::default() };
        let channel = Flags { channel: Some("tset".to_owned()), ..Flags::default() };
        for (flags, meant) in
            [(with, "did you mean `rootless-extras`?"), (channel, "expected one of `stable`, `test`")]
        {
            let error = merge(flags, Config::default()).expect_err(meant);
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.to_string().contains(meant), "{error}");
        }
    }
}
