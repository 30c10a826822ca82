//! Our keys in a JSON file that others write too: set in place, taken back in place.

use super::file::{Bytes, File, Node};
use super::unit::Shown;
use super::{Change, How, Resource, WayBack};
use crate::daemon_config::{self, Severity};
use crate::error::{Error, Exit, Result};
use crate::event::Line;
use crate::host::fetch::mask;
use crate::host::{Look, Owner, Question, Touch, trusted};
use crate::json::{self, KeyPath, TakeBack, take_back};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// All the keys that we want of one file, together: one write, one validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonKeys {
    pub path: PathBuf,
    /// The keys that are ours, each a path of object keys.
    pub keys: Vec<KeyPath>,
    /// How the file is judged before it counts. Known while planning; a receipt can be undone without it.
    #[serde(skip)]
    pub engine: Engine,
}

/// The engine that reads the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Engine {
    /// Its upstream version, where one is asked for; else that of the installed one.
    pub version: Option<String>,
    /// Its unit: a key that is also a flag there makes it refuse to start.
    pub unit: String,
    /// Its arguments as they will be, where a drop-in of ours changes them.
    pub flags: Option<Vec<String>>,
    pub defaults: Vec<Defaults>,
    /// Whether a file that is there must be judged even where nothing of ours goes into it: an engine that is to come
    /// would not start with a wrong one.
    pub to_come: bool,
}

/// Defaults of ours, and the keys of which none may be named in the file for them to count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    pub keys: Vec<(KeyPath, Value)>,
    pub unless_named: Vec<String>,
}

/// The values of our keys, and the file itself; as a want, the file is whatever it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keys {
    pub values: Vec<(KeyPath, Option<Value>)>,
    pub file: Option<Node>,
    /// Whether our defaults would count in this file. Never wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub defaults_due: bool,
}

impl JsonKeys {
    pub fn want(values: Vec<(KeyPath, Value)>) -> Keys {
        Keys {
            values: values.into_iter().map(|(k, v)| (k, Some(v))).collect(),
            file: None,
            defaults_due: false,
        }
    }

    fn file(&self) -> File {
        File { path: self.path.clone() }
    }

    fn cannot_use(&self, fault: json::Fault) -> Error {
        fault.into_error(self.path.display())
    }

    /// The arguments that dockerd will start with. Whoever gives it others than the package does has a drop-in of
    /// their own, which ours would fight.
    fn flags(&self, now: Vec<String>) -> Result<Vec<String>> {
        let Some(planned) = &self.engine.flags else { return Ok(now) };
        let without_hosts = without_hosts(&now);
        if without_hosts == *planned {
            return Ok(planned.clone());
        }
        Err(Error::refused(format!("cannot set `hosts` in `{}`", self.path.display()))
            .because(format!(
                "`{}` starts dockerd with arguments of its own: {}",
                self.engine.unit,
                now.join(" ")
            ))
            .hint(format!("name the addresses there, with -H: systemctl edit {}", self.engine.unit)))
    }

    /// The defaults that count in a file with these keys.
    fn due(&self, map: &Map<String, Value>) -> Vec<(KeyPath, Value)> {
        let named =
            |key: &String| map.contains_key(key) || self.keys.iter().any(|ours| ours.first() == Some(key));
        let counts = |defaults: &&Defaults| !defaults.unless_named.iter().any(named);
        self.engine.defaults.iter().filter(counts).flat_map(|defaults| defaults.keys.clone()).collect()
    }

    /// By rprov's own table first, then by dockerd itself where one is installed that can (23.0 on).
    /// What was right before is wrong by the configuration (exit 2); what was wrong already is the host's (exit 4).
    fn validate(&self, was: &[u8], text: &[u8], host: &dyn Look) -> Result<()> {
        let config = json::read(text).map_err(|fault| self.cannot_use(fault))?;
        let flags = self.flags(flags(&Shown::of(host, &self.engine.unit)?))?;
        let version = match &self.engine.version {
            Some(version) => Some(version.clone()),
            None => installed_version(host)?,
        };
        let refused = |config: &Map<String, Value>| -> Vec<String> {
            let problems = daemon_config::check(config, version.as_deref(), &flags);
            problems.iter().filter(|p| p.severity() == Severity::Refuse).map(ToString::to_string).collect()
        };
        let problems = refused(&config);
        if !problems.is_empty() {
            let was_right = json::read(was).is_ok_and(|config| refused(&config).is_empty());
            let (exit, hint) = match was_right {
                true => (Exit::Usage, "mend `[daemon]` in the configuration"),
                false => (Exit::Refused, "mend it"),
            };
            return Err(Error::new(exit, format!("cannot write `{}`", self.path.display()))
                .because("the daemon would not start with it")
                .tail(&problems.join("\n"))
                .hint(format!("{hint}, then run the same command again")));
        }
        let question = Question::DockerdValidate { config: text.to_vec(), flags };
        let answer = host.query(&question)?;
        let knows_validate = answer.code != 127 && !answer.stderr.contains("unknown flag");
        if knows_validate && !answer.ok() {
            return Err(Error::refused(format!("cannot write `{}`", self.path.display()))
                .because("dockerd itself refuses it")
                .tail(&answer.stderr));
        }
        Ok(())
    }
}

/// What the packaged unit passes, where none is installed yet (moby, contrib/init/systemd/docker.service).
const PACKAGED_FLAGS: [&str; 3] = ["-H", "fd://", "--containerd=/run/containerd/containerd.sock"];

/// `{ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// … ; ignore_errors=no ; … }`
fn flags(unit: &Shown) -> Vec<String> {
    let argv = unit.get("ExecStart").split_once("argv[]=").and_then(|(_, rest)| rest.split(" ; ").next());
    match argv {
        Some(argv) => argv.split_whitespace().skip(1).map(str::to_owned).collect(),
        None => PACKAGED_FLAGS.map(str::to_owned).to_vec(),
    }
}

/// The arguments without those that name addresses, and without what the environment adds.
fn without_hosts(flags: &[String]) -> Vec<String> {
    let mut rest = Vec::new();
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "-H" | "--host" => drop(flags.next()),
            other if other.starts_with("-H") || other.starts_with("--host=") || other.starts_with('$') => {}
            other => rest.push(other.to_owned()),
        }
    }
    rest
}

/// What dockerd is left with where the addresses are in daemon.json, as `templates/docker-hosts.conf` has it.
pub fn flags_without_hosts() -> Vec<String> {
    without_hosts(&PACKAGED_FLAGS.map(str::to_owned))
}

/// An address with a name or a password in it, anywhere in a value.
fn has_password(value: &Value) -> bool {
    let text = value.to_string();
    mask(&text) != text
}

/// A file that others could read, and can no longer; or the way back.
fn mode_line(path: &str, before: &Keys, after: &Keys) -> Option<Line> {
    match (&before.file, &after.file) {
        (Some(Node::File { owner: was, .. }), Some(Node::File { owner: is, .. })) if was.mode != is.mode => {
            Some(Line::change("file", path, format!("mode {:04o} → {:04o}", was.mode, is.mode)))
        }
        _ => None,
    }
}

/// That of the dockerd on this host; none where there is none.
pub fn installed_version(host: &dyn Look) -> Result<Option<String>> {
    Ok(version(&host.query(&Question::DockerdVersion)?.stdout))
}

/// `Docker version 26.1.5, build a72d7cd`
fn version(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("version ")?;
    rest.split([',', '+', ' ']).next().map(str::to_owned)
}

impl Change<JsonKeys> {
    /// The file as others left it after this change, without what this change wrote: their bytes are not ours to lose.
    fn without_ours(&self, found: Node) -> Node {
        let before = self.before.file.as_ref().and_then(Node::bytes);
        let after = self.after.file.as_ref().and_then(Node::bytes).unwrap_or_default();
        match take_back(found.bytes(), before, after, &self.resource.keys) {
            Ok(TakeBack::Restore(None)) => Node::Absent,
            Ok(TakeBack::Restore(Some(text)) | TakeBack::Edited { text, .. }) => match found {
                Node::File { owner, .. } => Node::File { bytes: Bytes(text), owner },
                _ => Node::file(text),
            },
            Ok(TakeBack::AlreadyAsBefore | TakeBack::KeysChangedSince(_)) | Err(_) => found,
        }
    }

    /// The keys that get another value.
    pub fn changed_keys(&self) -> Vec<KeyPath> {
        let value = |keys: &Keys, key: &KeyPath| {
            keys.values.iter().find(|(k, _)| k == key).and_then(|(_, v)| v.clone())
        };
        let changed = |key: &&KeyPath| value(&self.before, key) != value(&self.after, key);
        self.resource.keys.iter().filter(changed).cloned().collect()
    }
}

impl Resource for JsonKeys {
    type State = Keys;

    fn get(&self, host: &dyn Look) -> Result<Keys> {
        let file = self.file().get(host)?;
        if let (true, Some(bytes)) = (self.engine.to_come, file.bytes()) {
            self.validate(bytes, bytes, host)?;
        }
        let map = json::read(file.bytes().unwrap_or_default()).map_err(|fault| self.cannot_use(fault))?;
        let values = self.keys.iter().map(|key| (key.clone(), json::lookup(&map, key).cloned())).collect();
        let defaults_due = !self.due(&map).is_empty();
        Ok(Keys { values, file: Some(file), defaults_due })
    }

    fn meets(now: &Keys, want: &Keys) -> bool {
        let file = want.file.is_none() || now.file == want.file;
        file && !now.defaults_due && want.values.iter().all(|wanted| now.values.contains(wanted))
    }

    fn resolve(&self, now: &Keys, want: &Keys, host: &dyn Look) -> Result<(Self, Keys)> {
        if host.link(&self.path)?.is_some() {
            trusted(host, &self.path)?;
        }
        let mut values = want.values.clone();
        if now.defaults_due {
            let text = now.file.as_ref().and_then(Node::bytes).unwrap_or_default();
            let map = json::read(text).map_err(|fault| self.cannot_use(fault))?;
            values.extend(self.due(&map).into_iter().map(|(k, v)| (k, Some(v))));
        }
        let (text, mut owner) = match &now.file {
            Some(Node::File { bytes, owner }) => (bytes.0.clone(), *owner),
            _ => (Vec::new(), Owner::ROOT_0644),
        };
        // dockerd alone reads it: a password that we write into it is nobody else's.
        if values.iter().flat_map(|(_, v)| v).any(has_password) {
            owner.mode &= !0o077;
        }
        let bytes = json::edit(&text, &values).map_err(|fault| self.cannot_use(fault))?;
        self.validate(&text, &bytes, host)?;
        // With the defaults named in the file they are keys like any other, and due no more.
        let engine = Engine { defaults: Vec::new(), ..self.engine.clone() };
        let resource =
            JsonKeys { keys: values.iter().map(|(k, _)| k.clone()).collect(), engine, ..self.clone() };
        let file = Some(Node::File { bytes: Bytes(bytes), owner });
        Ok((resource, Keys { values, file, defaults_due: false }))
    }

    fn set(&self, state: &Keys, host: &dyn Touch) -> Result<()> {
        match &state.file {
            Some(node) => self.file().set(node, host),
            None => Err(Error::failed(format!("cannot write `{}`", self.path.display()))
                .because("it was not planned")),
        }
    }

    fn describe(&self, before: &Keys, after: &Keys) -> Vec<Line> {
        let path = self.path.display().to_string();
        let value = |keys: &Keys, key: &KeyPath| {
            keys.values.iter().find(|(k, _)| k == key).and_then(|(_, v)| v.clone())
        };
        let line = |key: &KeyPath| {
            let name = format!("{path}: {}", key.join("."));
            match (value(before, key), value(after, key)) {
                (was, is) if was == is => None,
                (None, Some(is)) => Some(Line::add("json-key", name, mask(&is.to_string()))),
                (Some(was), None) => Some(Line::remove("json-key", name, mask(&was.to_string()))),
                (was, is) => Some(Line::change(
                    "json-key",
                    name,
                    mask(&format!("{} → {}", was.unwrap_or_default(), is.unwrap_or_default())),
                )),
            }
        };
        self.keys.iter().filter_map(line).chain(mode_line(&path, before, after)).collect()
    }

    fn same(&self, other: &Self) -> bool {
        self.path == other.path
    }

    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        let left = later.before.file.clone().filter(|found| earlier.after.file.as_ref() != Some(found));
        let mut joined = earlier;
        if let Some(found) = left {
            joined.before.file = Some(joined.without_ours(found));
        }
        for (key, value) in later.before.values {
            if !joined.before.values.iter().any(|(k, _)| *k == key) {
                joined.resource.keys.push(key.clone());
                joined.before.values.push((key, value));
            }
        }
        for (key, value) in later.after.values {
            joined.after.values.retain(|(k, _)| *k != key);
            joined.after.values.push((key, value));
        }
        joined.after.file = later.after.file;
        joined
    }

    /// The file is still what we wrote: its old bytes, or its absence, come back. Else only our keys are taken back,
    /// in place, and what others wrote stays as they wrote it.
    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Keys>> {
        let file = self.file().get(host)?;
        let bytes = |keys: &Keys| keys.file.as_ref().and_then(Node::bytes).map(<[u8]>::to_vec);
        let (before, after) = (bytes(&change.before), bytes(&change.after).unwrap_or_default());
        let to_node = |bytes: Option<Vec<u8>>| match (bytes, &file, &change.before.file) {
            (None, ..) => Node::Absent,
            (Some(bytes), _, Some(Node::File { owner, .. })) | (Some(bytes), Node::File { owner, .. }, _) => {
                Node::File { bytes: Bytes(bytes), owner: *owner }
            }
            (Some(bytes), ..) => Node::file(bytes),
        };
        let restore = |node: Node, told: Vec<String>| -> Result<WayBack<Keys>> {
            // What is there may be broken, and goes all the same where somebody insists.
            let now = json::read(file.bytes().unwrap_or_default()).unwrap_or_default();
            let to = json::read(node.bytes().unwrap_or_default()).map_err(|fault| self.cannot_use(fault))?;
            let keys = |map: &serde_json::Map<String, Value>, file| {
                let value = |key: &KeyPath| (key.clone(), json::lookup(map, key).cloned());
                Keys { values: self.keys.iter().map(value).collect(), file: Some(file), defaults_due: false }
            };
            Ok(WayBack::Restore { now: keys(&now, file.clone()), to: keys(&to, node), told })
        };
        let dotted = |keys: Vec<KeyPath>| {
            keys.iter().map(|k| format!("`{}`", k.join("."))).collect::<Vec<_>>().join(", ")
        };
        if how.force {
            return restore(to_node(before), Vec::new());
        }
        match take_back(file.bytes(), before.as_deref(), &after, &self.keys) {
            Ok(TakeBack::Restore(bytes)) => restore(to_node(bytes), Vec::new()),
            Ok(TakeBack::Edited { text, changed_since }) => {
                let mut told = vec!["what others wrote in it since stays".to_owned()];
                if !changed_since.is_empty() {
                    told.push(format!("{} was changed since and stays", dotted(changed_since)));
                }
                restore(to_node(Some(text)), told)
            }
            Ok(TakeBack::AlreadyAsBefore) => Ok(WayBack::AlreadyAsBefore),
            Ok(TakeBack::KeysChangedSince(keys)) => {
                Ok(WayBack::ChangedSince { why: format!("{} was changed since", dotted(keys)) })
            }
            Err(fault) => Ok(WayBack::ChangedSince {
                why: format!("it can no longer be read: {}", fault.into_error(self.path.display())),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_unit_are_read_from_what_systemd_shows() {
        let shown = "ExecStart={ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// --debug ; ignore_errors=no ; }";
        assert_eq!(flags(&Shown::parse(shown)), ["-H", "fd://", "--debug"]);
        assert_eq!(flags(&Shown::default()), PACKAGED_FLAGS);
    }

    #[test]
    fn the_arguments_without_addresses_are_those_of_our_drop_in() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let ours = words("--containerd=/run/containerd/containerd.sock");
        assert_eq!(flags_without_hosts(), ours);
        assert!(
            include_str!("../../templates/docker-hosts.conf")
                .contains(&format!("dockerd {}\n", ours.join(" ")))
        );
        let file = |flags| JsonKeys {
            path: "/etc/docker/daemon.json".into(),
            keys: Vec::new(),
            engine: Engine { flags: Some(flags), unit: "docker.service".into(), ..Engine::default() },
        };
        let debians = words("-H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS");
        assert_eq!(file(ours.clone()).flags(debians).unwrap(), ours);
        let error = file(ours).flags(words("-H tcp://127.0.0.1:2375 --debug")).unwrap_err().to_string();
        assert!(error.contains("systemctl edit docker.service"), "{error}");
    }

    #[test]
    fn what_others_wrote_between_two_changes_of_ours_comes_back() {
        let keys: Vec<KeyPath> = vec![vec!["runtimes".into(), "nvidia".into()]];
        let change = |before: Node, after: &str| {
            let values = |node: &Node| {
                let map = json::read(node.bytes().unwrap_or_default()).unwrap();
                keys.iter().map(|key| (key.clone(), json::lookup(&map, key).cloned())).collect()
            };
            let state = |node: Node| Keys { values: values(&node), file: Some(node), defaults_due: false };
            let resource = JsonKeys {
                path: "/etc/docker/daemon.json".into(),
                keys: keys.clone(),
                engine: Engine::default(),
            };
            Change { resource, before: state(before), after: state(Node::file(after.as_bytes().to_vec())) }
        };
        let ours = "{\"runtimes\":{\"nvidia\":{}}}";
        let both = "{\"debug\":true,\"runtimes\":{\"nvidia\":{}}}";
        let theirs = |text: &str| Node::file(text.as_bytes().to_vec());
        let cases = [
            ("nobody wrote", change(Node::Absent, ours), change(theirs(ours), both), Node::Absent),
            (
                "they wrote it anew",
                change(Node::Absent, ours),
                change(theirs("{\"debug\":true}"), both),
                theirs("{\"debug\":true}"),
            ),
            ("they removed it", change(theirs("{}"), ours), change(Node::Absent, ours), Node::Absent),
            (
                "they added to it",
                change(Node::Absent, ours),
                change(theirs(both), both),
                theirs("{\"debug\":true}"),
            ),
        ];
        for (name, earlier, later, expected) in cases {
            assert_eq!(JsonKeys::join(earlier, later).before.file, Some(expected), "{name}");
        }
    }

    #[test]
    fn the_version_of_a_distributions_dockerd_is_upstreams() {
        assert_eq!(version("Docker version 26.1.5+dfsg1, build a72d7cd\n").as_deref(), Some("26.1.5"));
    }
}
