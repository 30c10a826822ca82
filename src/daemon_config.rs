//! What dockerd accepts in daemon.json, engine by engine: rprov's own table, and the questions asked of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json::{KeyPath, kind};

/// One thing in daemon.json that dockerd refuses or does not heed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, with the key below it after a dot: `log-opts.max-file`.
    pub key: String,
    pub kind: ProblemKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    Unknown { nearest: Option<String> },
    WrongType { expected: &'static str, found: String },
    TooNew { since: String },
    Removed { in_version: String },
    AlsoFlag { flag: String },
    Ignored { instead: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// dockerd does not start with it.
    Refuse,
    /// dockerd starts and does something else than was meant.
    Warn,
}

impl Problem {
    pub fn severity(&self) -> Severity {
        match self.kind {
            ProblemKind::Ignored { .. } => Severity::Warn,
            _ => Severity::Refuse,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.key)?;
        match &self.kind {
            ProblemKind::Unknown { nearest: None } => write!(f, "is no key of daemon.json"),
            ProblemKind::Unknown { nearest: Some(nearest) } => {
                write!(f, "is no key of daemon.json; did you mean `{nearest}`?")
            }
            ProblemKind::WrongType { expected, found } => write!(f, "must be {expected}, not {found}"),
            ProblemKind::TooNew { since } => write!(f, "is known from docker {since} on only"),
            ProblemKind::Removed { in_version } => write!(f, "was removed in docker {in_version}"),
            ProblemKind::AlsoFlag { flag } => {
                write!(f, "is also given to dockerd as `{flag}`, and it starts with one of the two only")
            }
            ProblemKind::Ignored { instead: None } => write!(f, "has no effect"),
            ProblemKind::Ignored { instead: Some(instead) } => {
                write!(f, "has no effect; dockerd reads `{instead}`")
            }
        }
    }
}

/// Everything in `config` that the engine would refuse or not heed, in the order of the file.
///
/// `engine` is the upstream version (`29.7.2`); without one, nothing is too new and nothing removed. `unit_flags` are
/// the arguments that the unit's `ExecStart=` passes.
///
/// Upstream: `findConfigurationConflicts` and `configValuesSet` in moby's daemon/config/config.go: a key must be
/// the name of a flag, and an object that is none of the known maps counts as its inner keys.
pub fn check(config: &Map<String, Value>, engine: Option<&str>, unit_flags: &[String]) -> Vec<Problem> {
    let engine = engine.and_then(Version::parse);
    let mut problems = Vec::new();
    for (name, value) in config {
        match (TABLE.get(name), value) {
            (Some(key), _) => key.check(name, value, engine, unit_flags, &mut problems),
            (None, Value::Object(inner)) if !inner.is_empty() => {
                check_flattened(name, inner, engine, &mut problems);
            }
            (None, _) => problems.push(unknown(name, name, engine)),
        }
    }
    problems
}

/// The keys to set for what is asked for: texts, numbers and lists whole, objects entry by entry one level down, so
/// that foreign entries of `log-opts`, `features` or `runtimes` stay.
pub fn keys_to_set(wanted: &Map<String, Value>) -> Vec<(KeyPath, Value)> {
    let mut keys = Vec::new();
    for (name, value) in wanted {
        match value {
            Value::Object(entries) => {
                keys.extend(entries.iter().map(|(entry, v)| (vec![name.clone(), entry.clone()], v.clone())));
            }
            whole => keys.push((vec![name.clone()], whole.clone())),
        }
    }
    keys
}

/// Whether one of these keys takes effect at a start of dockerd only, and not already by SIGHUP.
///
/// Upstream: moby's daemon/reload.go and reload_unix.go.
pub fn needs_restart<'a>(keys: impl IntoIterator<Item = &'a KeyPath>) -> bool {
    let reloads =
        |path: &KeyPath| path.first().and_then(|name| TABLE.get(name)).is_some_and(|key| key.reload);
    keys.into_iter().any(|path| !reloads(path))
}

/// `29.7` of `29.7.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split(['.', '-', '~', '+']);
        Some(Version(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl TryFrom<String> for Version {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Version::parse(&text).ok_or_else(|| format!("`{text}` is no version"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A row of daemon_keys.toml, which says what the fields mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    r#type: Type,
    since: Option<Version>,
    removed: Option<Version>,
    #[serde(default)]
    reload: bool,
    flag: Option<String>,
    short: Option<char>,
    #[serde(default)]
    merged: bool,
    fields: Option<Vec<String>>,
    ignored: Option<Version>,
    instead: Option<String>,
}

static TABLE: LazyLock<BTreeMap<String, Key>> = LazyLock::new(|| {
    toml::from_str(include_str!("daemon_keys.toml")).expect("a test reads the table that is compiled in")
});

impl Key {
    fn check(
        &self,
        name: &str,
        value: &Value,
        engine: Option<Version>,
        flags: &[String],
        into: &mut Vec<Problem>,
    ) {
        if let Some(kind) = self.out_of_time(engine) {
            return into.push(Problem { key: name.to_owned(), kind });
        }
        if self.ignored.is_some_and(|since| engine.is_none_or(|engine| engine >= since)) {
            let kind = ProblemKind::Ignored { instead: self.instead.clone() };
            return into.push(Problem { key: name.to_owned(), kind });
        }
        if let Some(flag) = self.given_as_flag(name, flags) {
            into.push(Problem { key: name.to_owned(), kind: ProblemKind::AlsoFlag { flag } });
        }
        self.check_fields(name, value, into);
        self.r#type.check(name, value, into);
    }

    fn out_of_time(&self, engine: Option<Version>) -> Option<ProblemKind> {
        let engine = engine?;
        match (self.since, self.removed) {
            (Some(since), _) if engine < since => Some(ProblemKind::TooNew { since: since.to_string() }),
            (_, Some(removed)) if engine >= removed => {
                Some(ProblemKind::Removed { in_version: removed.to_string() })
            }
            _ => None,
        }
    }

    /// The flag as the unit writes it; dockerd merges the two for `runtimes` only.
    fn given_as_flag(&self, name: &str, flags: &[String]) -> Option<String> {
        let long = self.flag.as_deref().unwrap_or(name);
        let is_it = |flag: &str| match flag.strip_prefix("--") {
            Some(rest) => rest.split('=').next() == Some(long),
            None => flag
                .strip_prefix('-')
                .and_then(|rest| rest.chars().next())
                .is_some_and(|c| Some(c) == self.short),
        };
        let flag = flags.iter().find(|flag| is_it(flag)).filter(|_| !self.merged)?;
        Some(match flag.strip_prefix("--") {
            Some(_) => format!("--{long}"),
            None => flag.chars().take(2).collect(),
        })
    }

    fn check_fields(&self, name: &str, value: &Value, into: &mut Vec<Problem>) {
        let (Some(fields), Value::Object(inner)) = (&self.fields, value) else { return };
        for field in inner.keys().filter(|field| !fields.contains(field)) {
            let nearest = nearest(field, fields.iter().map(String::as_str));
            into.push(Problem { key: format!("{name}.{field}"), kind: ProblemKind::Unknown { nearest } });
        }
    }

    /// Whether it does something on that engine: what a person may be pointed to.
    fn is_of_use(&self, engine: Option<Version>) -> bool {
        self.ignored.is_none() && self.out_of_time(engine).is_none()
    }
}

/// dockerd takes the keys inside an unknown object for keys of the file, and then decodes none of them.
fn check_flattened(name: &str, inner: &Map<String, Value>, engine: Option<Version>, into: &mut Vec<Problem>) {
    let strangers = inner.keys().filter(|key| !TABLE.contains_key(*key));
    let before = into.len();
    into.extend(strangers.map(|key| unknown(&format!("{name}.{key}"), name, engine)));
    if into.len() == before {
        let kind = ProblemKind::Ignored { instead: None };
        into.push(Problem { key: name.to_owned(), kind });
    }
}

fn unknown(key: &str, name: &str, engine: Option<Version>) -> Problem {
    let known = TABLE.iter().filter(|(_, key)| key.is_of_use(engine)).map(|(name, _)| name.as_str());
    Problem { key: key.to_owned(), kind: ProblemKind::Unknown { nearest: nearest(name, known) } }
}

/// The most similar of the names, if it is similar enough to be what was meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    known
        .map(|known| (strsim::damerau_levenshtein(&name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= (name.len() / 3).clamp(1, 3))
        .map(|(_, known)| known.to_owned())
}

/// What Go's decoder takes for a key; `null` is always taken, and means absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Type {
    Any,
    String,
    Bool,
    Integer,
    Strings,
    Objects,
    Object,
    StringMap,
    BoolMap,
    ObjectMap,
    MapMap,
}

impl Type {
    fn check(self, path: &str, value: &Value, into: &mut Vec<Problem>) {
        match value {
            Value::Null => {}
            Value::Array(list) if self.is_list() => {
                for (i, v) in list.iter().enumerate() {
                    self.inner().check(&format!("{path}[{i}]"), v, into);
                }
            }
            Value::Object(map) if self.is_map() => {
                for (key, v) in map {
                    self.inner().check(&format!("{path}.{key}"), v, into);
                }
            }
            _ if self.takes(value) => {}
            _ => {
                let kind = ProblemKind::WrongType { expected: self.name(), found: kind(value) };
                into.push(Problem { key: path.to_owned(), kind });
            }
        }
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Type::Any => true,
            Type::String => value.is_string(),
            Type::Bool => value.is_boolean(),
            Type::Integer => value.is_i64(),
            _ => false,
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Type::Strings | Type::Objects)
    }

    fn is_map(self) -> bool {
        matches!(self, Type::Object | Type::StringMap | Type::BoolMap | Type::ObjectMap | Type::MapMap)
    }

    /// What the entries of a list or map are.
    fn inner(self) -> Type {
        match self {
            Type::Strings | Type::StringMap => Type::String,
            Type::BoolMap => Type::Bool,
            Type::Objects | Type::ObjectMap => Type::Object,
            Type::MapMap => Type::StringMap,
            Type::Any | Type::Object | Type::String | Type::Bool | Type::Integer => Type::Any,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Type::Any => "anything",
            Type::String => "a text",
            Type::Bool => "`true` or `false`",
            Type::Integer => "a whole number",
            Type::Strings => "a list of texts",
            Type::Objects => "a list of objects",
            Type::Object | Type::ObjectMap | Type::MapMap => "an object",
            Type::StringMap => "an object of texts",
            Type::BoolMap => "an object of `true` and `false`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn said(config: Value, engine: &str, flags: &[&str]) -> Vec<String> {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        let problems = check(&map(config), Some(engine), &flags);
        problems.iter().map(|p| format!("{:?}: {p}", p.severity())).collect()
    }

    #[test]
    fn every_row_of_the_table_makes_sense() {
        for (name, key) in TABLE.iter() {
            assert!(
                key.since.is_none_or(|since| key.removed.is_none_or(|removed| since < removed)),
                "{name}"
            );
            assert!(key.instead.as_ref().is_none_or(|instead| TABLE[instead].is_of_use(None)), "{name}");
            assert!(key.r#type != Type::Any || key.ignored.is_some(), "{name}");
        }
    }

    #[test]
    fn a_common_file_has_no_problems_on_any_engine() {
        let config = json!({
            "log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"},
            "live-restore": true, "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}],
            "registry-mirrors": ["https://m.example"], "exec-opts": ["native.cgroupdriver=systemd"],
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1, "Soft": 1}},
            "features": {"buildkit": true, "no-such-feature": false}, "builder": {"gc": {"enabled": true}},
            "default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}},
            "mtu": 1450, "data-root": null, "dns": null,
        });
        for engine in ["20.10.24", "23.0.6", "26.1.5", "28.5.2", "29.7.2", "29.10.0-rc.1"] {
            let flags = ["/usr/bin/dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock"];
            assert_eq!(said(config.clone(), engine, &flags), [""; 0], "{engine}");
        }
    }

    #[test]
    fn each_problem_is_said_in_one_sentence() {
        let unit = ["-H", "fd://", "--containerd=/run/containerd/containerd.sock", "--add-runtime", "a=b"];
        let cases: &[(Value, &str, &[&str])] = &[
            (
                json!({"log_driver": "local"}),
                "29.7.2",
                &["Refuse: `log_driver` is no key of daemon.json; did you mean `log-driver`?"],
            ),
            (
                json!({"Debug": true}),
                "29.7.2",
                &["Refuse: `Debug` is no key of daemon.json; did you mean `debug`?"],
            ),
            (
                json!({"insecure-registrys": []}),
                "29.7.2",
                &[
                    "Refuse: `insecure-registrys` is no key of daemon.json; did you mean `insecure-registries`?",
                ],
            ),
            (json!({"default-init": "x"}), "29.7.2", &["Refuse: `default-init` is no key of daemon.json"]),
            (json!({"x": {}}), "29.7.2", &["Refuse: `x` is no key of daemon.json"]),
            (json!({"debug": "true"}), "29.7.2", &["Refuse: `debug` must be `true` or `false`, not a text"]),
            (
                json!({"mtu": 1500.0}),
                "29.7.2",
                &["Refuse: `mtu` must be a whole number, not the number 1500.0"],
            ),
            (
                json!({"log-opts": {"max-file": 3}}),
                "29.7.2",
                &["Refuse: `log-opts.max-file` must be a text, not the number 3"],
            ),
            (
                json!({"log-opts": []}),
                "29.7.2",
                &["Refuse: `log-opts` must be an object of texts, not a list"],
            ),
            (json!({"dns": "1.1.1.1"}), "29.7.2", &["Refuse: `dns` must be a list of texts, not a text"]),
            (
                json!({"labels": ["a=b", 1]}),
                "29.7.2",
                &["Refuse: `labels[1]` must be a text, not the number 1"],
            ),
            (
                json!({"features": {"cdi": "on"}}),
                "29.7.2",
                &["Refuse: `features.cdi` must be `true` or `false`, not a text"],
            ),
            (
                json!({"runtimes": {"nvidia": "x"}}),
                "29.7.2",
                &["Refuse: `runtimes.nvidia` must be an object, not a text"],
            ),
            (
                json!({"default-stop-timeout": 5}),
                "29.6.1",
                &["Refuse: `default-stop-timeout` is known from docker 29.7 on only"],
            ),
            (json!({"default-stop-timeout": 5}), "29.10.0", &[]),
            (
                json!({"proxies": {"no-proxy": "x"}}),
                "20.10.24",
                &["Refuse: `proxies` is known from docker 23.0 on only"],
            ),
            (json!({"oom-score-adjust": -5}), "24.0.9", &[]),
            (
                json!({"oom-score-adjust": -5}),
                "25.0.0",
                &["Refuse: `oom-score-adjust` was removed in docker 25.0"],
            ),
            (json!({"graph": "/x"}), "29.7.2", &["Refuse: `graph` was removed in docker 23.0"]),
            (
                json!({"hosts": ["fd://"], "containerd": "x"}),
                "29.7.2",
                &[
                    "Refuse: `hosts` is also given to dockerd as `-H`, and it starts with one of the two only",
                    "Refuse: `containerd` is also given to dockerd as `--containerd`, and it starts with one of the two only",
                ],
            ),
            (json!({"runtimes": {"c": {"path": "c"}}}), "29.7.2", &[]),
            (json!({"allow-nondistributable-artifacts": []}), "27.5.1", &[]),
            (
                json!({"allow-nondistributable-artifacts": []}),
                "29.7.2",
                &["Warn: `allow-nondistributable-artifacts` has no effect"],
            ),
            (
                json!({"registry-mirror": ["x"]}),
                "29.7.2",
                &["Warn: `registry-mirror` has no effect; dockerd reads `registry-mirrors`"],
            ),
            (
                json!({"http-proxy": "x"}),
                "29.7.2",
                &["Warn: `http-proxy` has no effect; dockerd reads `proxies`"],
            ),
            (
                json!({"proxies": {"http_proxy": "x"}}),
                "29.7.2",
                &["Refuse: `proxies.http_proxy` is no key of daemon.json; did you mean `http-proxy`?"],
            ),
            (
                json!({"containerd-plugins-namespace": "x"}),
                "29.7.2",
                &["Warn: `containerd-plugins-namespace` has no effect"],
            ),
            // Flattened by one level: dockerd looks at `debug` and `levle` only, and decodes neither.
            (json!({"logging": {"debug": true}}), "29.7.2", &["Warn: `logging` has no effect"]),
            (
                json!({"logging": {"levle": 1}}),
                "29.7.2",
                &["Refuse: `logging.levle` is no key of daemon.json"],
            ),
        ];
        for (config, engine, expected) in cases {
            assert_eq!(said(config.clone(), engine, &unit), *expected, "{config} on {engine}");
        }
    }

    #[test]
    fn without_an_engine_nothing_is_too_new_and_nothing_removed() {
        assert_eq!(check(&map(json!({"graph": "/x", "default-stop-timeout": 5})), None, &[]), []);
    }

    #[test]
    fn objects_are_set_entry_by_entry_and_all_else_whole() {
        let wanted = json!({"log-opts": {"max-size": "1m"}, "labels": ["a"], "debug": true, "features": {},
            "runtimes": {"nvidia": {"path": "x"}}});
        let paths: Vec<String> = keys_to_set(&map(wanted)).iter().map(|(path, _)| path.join(".")).collect();
        assert_eq!(paths, ["log-opts.max-size", "labels", "debug", "runtimes.nvidia"]);
    }

    #[test]
    fn a_restart_is_needed_unless_every_key_reloads() {
        let path = |dotted: &str| -> KeyPath { dotted.split('.').map(str::to_owned).collect() };
        assert!(!needs_restart(&[path("runtimes.nvidia"), path("debug")]));
        assert!(needs_restart(&[path("debug"), path("log-opts.max-size")]));
        assert!(needs_restart(&[path("no-such-key")]));
        assert!(!needs_restart(&[]));
    }
}
