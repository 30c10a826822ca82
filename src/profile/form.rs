//! The form that a profile fills in: fixed, typed sections. It is data and holds no script.

use super::archive::Archive;
use super::config::SourceName;
use super::gpu::Nvidia;
use crate::facts::{Distribution, Facts};
use jiff::civil::Date;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What one version of one distribution needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name of the file, without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// The hosts that get a bundle of their own: the profile's name, or `rocky-9`.
    #[serde(skip)]
    pub target: String,
    /// The name for people: `Ubuntu 24.04 LTS (Noble Numbat)`.
    pub title: String,
    /// The family whose sections this profile starts from.
    #[serde(default, skip_serializing)]
    pub extends: Option<String>,
    /// The last day of the distribution's own free security support.
    #[serde(deserialize_with = "date")]
    pub end_of_life: Date,
    /// The group that may use the engine's socket.
    pub group: String,
    pub matches: Matches,
    pub repository: Repository,
    pub packages: Packages,
    pub conflicts: Conflicts,
    /// What daemon.json holds on a host that had no engine and whose administrator says nothing else.
    pub daemon: Json,
    pub units: Units,
    pub traces: Traces,
    /// What a card of NVIDIA's needs; a profile without it knows nothing of cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Nvidia>,
    /// The distribution's own archive; without it no bundle is made for hosts of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
}

/// The hosts that a profile is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MatchesForm")]
pub struct Matches {
    /// `ID` of os-release.
    pub id: String,
    /// `VERSION_ID`, or its beginning up to a dot: `9` is met by `9.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `VERSION_CODENAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// In dpkg's words, on every distribution: `amd64`, `arm64`.
    pub architectures: Vec<String>,
    /// By which line of os-release a derivative says that it is based on this release.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub derivatives: BTreeMap<BaseKey, String>,
}

/// The keys of os-release by which a derivative names the release that it is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BaseKey {
    UbuntuCodename,
    DebianCodename,
    /// Of whatever is built from the sources of RHEL.
    PlatformId,
}

impl BaseKey {
    pub fn name(self) -> &'static str {
        match self {
            BaseKey::UbuntuCodename => "UBUNTU_CODENAME",
            BaseKey::DebianCodename => "DEBIAN_CODENAME",
            BaseKey::PlatformId => "PLATFORM_ID",
        }
    }
}

/// As it is written; `Matches` says what of it makes sense.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchesForm {
    id: String,
    version: Option<String>,
    codename: Option<String>,
    architectures: Vec<String>,
    #[serde(default)]
    derivatives: BTreeMap<BaseKey, String>,
}

impl TryFrom<MatchesForm> for Matches {
    type Error = &'static str;
    fn try_from(form: MatchesForm) -> Result<Self, Self::Error> {
        if form.version.is_none() && form.codename.is_none() {
            return Err("expected `version` or `codename`, or both");
        }
        if form.architectures.is_empty() {
            return Err("expected at least one name in `architectures`, such as `amd64`");
        }
        let MatchesForm { id, version, codename, architectures, derivatives } = form;
        Ok(Matches { id, version, codename, architectures, derivatives })
    }
}

impl Matches {
    /// Whether it is this distribution, whatever the architecture.
    pub fn distribution(&self, host: &Distribution) -> bool {
        let version = |wanted: &String| {
            host.version_id.as_deref().is_some_and(|has| {
                has.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        self.id == host.id
            && self.version.as_ref().is_none_or(version)
            && self.codename.as_ref().is_none_or(|wanted| host.codename.as_ref() == Some(wanted))
    }
}

/// Where the engine's packages come from; a kind for each package manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "RepositoryForm")]
pub enum Repository {
    Apt(Apt),
    Dnf(Dnf),
}

/// As it is written: a table of one kind. (Read as an enum, a misspelt kind would be told as a wrong number of keys.)
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryForm {
    apt: Option<Apt>,
    dnf: Option<Dnf>,
}

impl TryFrom<RepositoryForm> for Repository {
    type Error = &'static str;
    fn try_from(form: RepositoryForm) -> Result<Self, Self::Error> {
        match (form.apt, form.dnf) {
            (Some(apt), None) => Ok(Repository::Apt(apt)),
            (None, Some(dnf)) => Ok(Repository::Dnf(dnf)),
            _ => Err("expected either `[repository.apt]` or `[repository.dnf]`"),
        }
    }
}

impl Repository {
    /// The table's name in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Repository::Apt(_) => "apt",
            Repository::Dnf(_) => "dnf",
        }
    }
    /// The `[source.NAME]` of the configuration that replaces root and key.
    pub fn source(&self) -> SourceName {
        match self {
            Repository::Apt(apt) => apt.source,
            Repository::Dnf(dnf) => dnf.source,
        }
    }
    /// The original's root, and what lies below it on every mirror.
    pub fn address(&self) -> (&str, &str) {
        match self {
            Repository::Apt(apt) => (&apt.root, &apt.path),
            Repository::Dnf(dnf) => (&dnf.root, &dnf.path),
        }
    }
    /// The channel where nobody names one, and what may be named.
    pub fn channels(&self) -> (&String, &[String]) {
        match self {
            Repository::Apt(apt) => (&apt.channel, &apt.channels),
            Repository::Dnf(dnf) => (&dnf.channel, &dnf.channels),
        }
    }
    /// The file that is written.
    pub fn file(&self) -> &PathBuf {
        match self {
            Repository::Apt(apt) => &apt.file,
            Repository::Dnf(dnf) => &dnf.file,
        }
    }
    pub fn key(&self) -> &KeyPin {
        match self {
            Repository::Apt(apt) => &apt.key,
            Repository::Dnf(dnf) => &dnf.key,
        }
    }
}

/// A source of packages for apt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apt {
    /// The `[source.NAME]` of the configuration that replaces root and key.
    pub source: SourceName,
    /// The original's root, which a mirror's address replaces.
    pub root: String,
    /// Below the root, the same on every mirror.
    pub path: String,
    pub suite: String,
    /// Asked for in this order where the suite is not there: the nearest older ones that work here too.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// The channel where nobody names one: a component of the suite.
    pub channel: String,
    /// What `--channel` may name.
    pub channels: Vec<String>,
    /// The deb822 file that is written.
    #[serde(deserialize_with = "absolute")]
    pub file: PathBuf,
    pub key: KeyPin,
}

/// A source of packages for dnf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dnf {
    /// The `[source.NAME]` of the configuration that replaces root and key.
    pub source: SourceName,
    /// The original's root, which a mirror's address replaces.
    pub root: String,
    /// Below the root, the same on every mirror, the literal release in it: `linux/rhel/9`.
    pub path: String,
    /// The channel where nobody names one: what stands behind the architecture.
    pub channel: String,
    /// What `--channel` may name.
    pub channels: Vec<String>,
    /// The `.repo` file that is written.
    #[serde(deserialize_with = "absolute")]
    pub file: PathBuf,
    pub key: KeyPin,
}

/// The certificate that a source's index is signed by; its packages, where it is for dnf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPin {
    /// A file in `profiles/keys/`, or in `/etc/rprov/profiles/keys/`.
    pub name: String,
    /// The whole fingerprint of its primary key.
    pub fingerprint: Fingerprint,
    /// The file that is written beside the source.
    #[serde(deserialize_with = "absolute")]
    pub file: PathBuf,
}

/// A whole OpenPGP fingerprint: 40 hexadecimal digits (version 4) or 64 (version 6), in capitals, without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits: String = text.split_whitespace().collect::<String>().to_ascii_uppercase();
        if matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Fingerprint(digits))
        } else {
            Err("expected a whole fingerprint: 40 or 64 hexadecimal digits, not a key id")
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The packages that make the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Always, in this order.
    #[serde(deserialize_with = "package_names")]
    pub engine: Vec<String>,
    /// Those of all named here that carry the engine's own version: `--version` and `floor` speak of them.
    #[serde(deserialize_with = "package_names")]
    pub versioned: Vec<String>,
    /// An installed engine of this version or a newer one is met, where nobody asks for a version.
    pub floor: String,
    /// Those of the engine's that come with the floor: what an older engine has of them is in its own packages, and on
    /// rpm the files would conflict (docker/cli#4193).
    #[serde(default, deserialize_with = "package_names")]
    pub since_floor: Vec<String>,
    /// The distribution's own engine: offered to who is refused, and installed with `--engine distribution`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "package_names")]
    pub distribution: Vec<String>,
    /// What `--with NAME` adds.
    #[serde(default, deserialize_with = "package_lists")]
    pub with: BTreeMap<String, Vec<String>>,
    /// What is added on hosts of which this is true.
    #[serde(default, deserialize_with = "package_lists")]
    pub when: BTreeMap<Condition, Vec<String>>,
}

/// What may be true of a host; the closed list that `[packages.when]` chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The kernel confines with AppArmor and nothing here can load a profile: no container would start.
    ApparmorWithoutParser,
    /// No trusted certificates: no registry could be reached.
    NoCertificates,
}

impl Condition {
    pub fn holds(self, facts: &Facts) -> bool {
        match self {
            Condition::ApparmorWithoutParser => facts.apparmor.enabled && !facts.apparmor.parser,
            Condition::NoCertificates => !facts.certificates,
        }
    }
}

/// The engines that cannot stay beside ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflicts {
    /// Removed, never purged, in the transaction that brings the engine.
    #[serde(deserialize_with = "package_names")]
    pub remove: Vec<String>,
}

/// The units of the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// Unmasked, enabled and started.
    pub start: Vec<String>,
    /// The one of them that reads daemon.json.
    pub engine: String,
}

/// What the software makes by itself, in no package and by no step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// Removed by uninstall where it was absent before.
    #[serde(deserialize_with = "absolutes")]
    pub made: Vec<PathBuf>,
    /// Images, containers and volumes: removed only with `--purge-data`.
    #[serde(deserialize_with = "absolutes")]
    pub data: Vec<PathBuf>,
}

/// A table for daemon.json, written in TOML.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Json(pub serde_json::Map<String, serde_json::Value>);

impl TryFrom<toml::Table> for Json {
    type Error = String;
    fn try_from(table: toml::Table) -> Result<Self, Self::Error> {
        Ok(Json(table.into_iter().map(json_member).collect::<Result<_, _>>()?))
    }
}

fn json_member((key, value): (String, toml::Value)) -> Result<(String, serde_json::Value), String> {
    let json = json(value).map_err(|reason| format!("`{key}`: {reason}"))?;
    Ok((key, json))
}

/// The value as JSON has it; dates and numbers that are none have no place there.
fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(serde_json::Value::Number)
            .ok_or_else(|| format!("JSON has no `{number}`"))?,
        toml::Value::Array(list) => list.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => {
            serde_json::Value::Object(table.into_iter().map(json_member).collect::<Result<_, _>>()?)
        }
        toml::Value::Datetime(date) => {
            return Err(format!("JSON has no dates, expected a string: \"{date}\""));
        }
    })
}

pub(super) fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Date, D::Error> {
    let text = String::deserialize(from)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("expected a date such as \"2029-05-31\", found \"{text}\"")))
}

/// A path from `/` on: a relative one would depend on where somebody stands.
pub(super) fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    checked_path(PathBuf::deserialize(from)?)
}

pub(super) fn absolutes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    Vec::<PathBuf>::deserialize(from)?.into_iter().map(checked_path).collect()
}

fn checked_path<E: serde::de::Error>(path: PathBuf) -> Result<PathBuf, E> {
    if path.is_absolute() && !path.components().any(|part| part.as_os_str() == "..") {
        Ok(path)
    } else {
        Err(E::custom(format!("expected an absolute path, found `{}`", path.display())))
    }
}

/// Names become arguments of the package manager: none may be read as an option or as a request to remove.
#[derive(Deserialize)]
#[serde(try_from = "Vec<String>")]
struct PackageNames(Vec<String>);

impl TryFrom<Vec<String>> for PackageNames {
    type Error = String;
    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        match names.iter().find(|name| !is_package_name(name)) {
            Some(name) => Err(format!("expected names of packages, found `{name}`")),
            None => Ok(PackageNames(names)),
        }
    }
}

pub(super) fn package_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(PackageNames::deserialize(from)?.0)
}

fn package_lists<'de, D: Deserializer<'de>, K: Deserialize<'de> + Ord>(
    from: D,
) -> Result<BTreeMap<K, Vec<String>>, D::Error> {
    let lists = BTreeMap::<K, PackageNames>::deserialize(from)?;
    Ok(lists.into_iter().map(|(key, names)| (key, names.0)).collect())
}

fn is_package_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"+.-_".contains(&b);
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().all(inner)
        && !name.ends_with(['-', '+'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_met_by_itself_and_by_what_follows_a_dot() {
        let matches = |version: Option<&str>, codename: Option<&str>| Matches {
            id: "ubuntu".to_owned(),
            version: version.map(str::to_owned),
            codename: codename.map(str::to_owned),
            architectures: vec!["amd64".to_owned()],
            derivatives: BTreeMap::new(),
        };
        let host = |id: &str, version: Option<&str>| Distribution {
            id: id.to_owned(),
            version_id: version.map(str::to_owned),
            codename: Some("noble".to_owned()),
            ..Distribution::default()
        };
        let cases = [
            (matches(Some("24.04"), None), host("ubuntu", Some("24.04")), true),
            (matches(Some("24.04"), None), host("ubuntu", Some("24.04.1")), true),
            (matches(Some("24"), None), host("ubuntu", Some("24.04")), true),
            (matches(Some("2"), None), host("ubuntu", Some("24.04")), false),
            (matches(Some("24.04"), None), host("ubuntu", None), false),
            (matches(Some("24.04"), None), host("debian", Some("24.04")), false),
            (matches(None, Some("noble")), host("ubuntu", None), true),
            (matches(Some("24.04"), Some("jammy")), host("ubuntu", Some("24.04")), false),
        ];
        for (matches, host, expected) in cases {
            assert_eq!(matches.distribution(&host), expected, "{matches:?} {host:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_whole_or_it_is_none() {
        let whole = "9DC8 5822 9FC7 DD38 854A  E2D8 8D81 803C 0ebf cd88".to_owned();
        let read = Fingerprint::try_from(whole).expect("is whole");
        assert_eq!(read.as_str(), "9DC858229FC7DD38854AE2D88D81803C0EBFCD88");
        for bad in ["0EBFCD88", "8D81803C0EBFCD88", "", "zDC858229FC7DD38854AE2D88D81803C0EBFCD88"] {
            assert!(Fingerprint::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_table_becomes_json_and_what_json_lacks_is_named() {
        let read = |text: &str| Json::try_from(text.parse::<toml::Table>().expect("is TOML"));
        let json = read("debug = true\nmtu = 1450\ndns = [\"10.0.0.1\"]\n[log-opts]\nmax-file = \"3\"");
        let expected = serde_json::json!(
            {"debug": true, "dns": ["10.0.0.1"], "log-opts": {"max-file": "3"}, "mtu": 1450}
        );
        assert_eq!(serde_json::Value::Object(json.expect("converts").0), expected);
        for (text, reason) in
            [("since = 2024-01-01", "`since`: JSON has no dates"), ("x = nan", "JSON has no `NaN`")]
        {
            let error = read(text).expect_err(text);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_package_name_is_never_an_option_nor_a_request_to_remove() {
        for good in ["docker-ce", "containerd.io", "libstdc++6", "NetworkManager"] {
            assert!(is_package_name(good), "{good}");
        }
        for bad in ["", "-y", "docker-", "a b", "a=1", "a/b"] {
            assert!(!is_package_name(bad), "{bad}");
        }
    }
}
