//! What every check is given: the facts, whose docker it is, the endpoint, and looks that several checks share.

use super::Check;
use super::endpoint::{self, Endpoint};
use super::gpu;
use super::processes::{self, Process};
use super::socket::{self, Seat};
use super::subject::{self, Group, Subject};
use crate::error::{Error, Result};
use crate::facts::{Facts, Init};
use crate::host::{Look, Question};
use crate::json::{self, Fault};
use crate::resources::AnyWant;
use crate::resources::file::Node;
use crate::resources::unit::{Shown, first_error};
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Who asks, and with which words.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// `--user`
    pub user: Option<String>,
    /// The effective user of this process.
    pub uid: u32,
    pub environment: BTreeMap<String, String>,
    /// `--host` or `--context`: they win over every variable.
    pub flag: Option<Flag>,
    /// What daemon.json held when the daemon last accepted what a run of ours wrote, as far as the caller may know.
    pub accepted: Option<Node>,
}

/// Where the docker command is told to go.
#[derive(Clone, Debug, PartialEq)]
pub enum Flag {
    Host(String),
    Context(String),
}

/// The units that docker is.
pub const UNITS: [&str; 3] = ["docker.service", "docker.socket", "containerd.service"];

pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";

#[derive(Clone)]
pub struct Case<'a> {
    pub host: &'a dyn Look,
    pub facts: &'a Facts,
    pub who: Rc<Who>,
    pub subject: Rc<Subject>,
    pub endpoint: Rc<Endpoint>,
    /// The check that is asked now.
    pub id: &'static str,
    /// What daemon.json will hold of an engine that is about to come.
    coming: Option<Rc<Map<String, Value>>>,
    shared: Rc<Shared>,
}

/// The answers to one question about several units, in its order.
pub type Units = OnceCell<std::result::Result<Vec<Shown>, String>>;

#[derive(Default)]
struct Shared {
    units: Units,
    daemon: OnceCell<Daemon>,
    seat: OnceCell<Option<Seat>>,
    processes: OnceCell<Vec<Process>>,
    journal: OnceCell<String>,
    groups: OnceCell<Vec<Group>>,
    docker: OnceCell<Option<Group>>,
    cards: gpu::Looked,
}

/// daemon.json as it lies there.
#[derive(Clone, Debug)]
pub enum Daemon {
    Absent,
    Unreadable(String),
    Broken(Vec<u8>, Fault),
    Read(Vec<u8>, Map<String, Value>),
}

impl<'a> Case<'a> {
    /// # Errors
    /// The user that is named does not exist (exit 2), or may not be looked at (exit 4).
    pub fn new(who: Who, facts: &'a Facts, host: &'a dyn Look) -> Result<Case<'a>> {
        let subject = Subject::of(&who, host)?;
        let endpoint = Endpoint::of(&who, &subject, host);
        Ok(Case {
            host,
            facts,
            who: Rc::new(who),
            subject: Rc::new(subject),
            endpoint: Rc::new(endpoint),
            id: "",
            coming: None,
            shared: Rc::default(),
        })
    }

    /// The same host as these states will leave it: with an engine, and with their keys in daemon.json.
    pub fn wanting(mut self, wants: &[AnyWant]) -> Case<'a> {
        let mut keys = Map::new();
        for want in wants {
            let AnyWant::JsonKeys(want) = want else { continue };
            for (path, value) in &want.state.values {
                // Nested ones concern no check that is asked before.
                if let ([key], Some(value)) = (path.as_slice(), value) {
                    keys.insert(key.clone(), value.clone());
                }
            }
        }
        self.coming = Some(Rc::new(keys));
        self
    }

    pub(super) fn about(&self, check: &'static Check) -> Case<'a> {
        Case { id: check.id, ..self.clone() }
    }

    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let bytes = self.host.read(Path::new(path))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.host.exists(Path::new(path)).unwrap_or(false)
    }

    /// The first of root's directories for programs that has it.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let found = directories.iter().map(|directory| Path::new(directory).join(name));
        found.into_iter().find(|path| self.host.exists(path).unwrap_or(false))
    }

    /// Whether Docker's own engine, or a distribution's, is on the disk, or is about to come.
    pub fn engine(&self) -> bool {
        self.facts.engine || self.coming.is_some()
    }

    /// What systemd says of one of docker's units.
    pub fn unit(&self, name: &str) -> Result<&Shown> {
        self.one_of(&self.shared.units, &UNITS, name)
    }

    /// What was looked at for the checks of cards.
    pub fn cards(&self) -> &gpu::Looked {
        &self.shared.cards
    }

    /// One of several units, which systemd is asked about at once.
    pub fn one_of<'s>(&self, asked: &'s Units, names: &[&'static str], name: &str) -> Result<&'s Shown> {
        if self.facts.init != Init::Systemd {
            return Err(Error::failed("systemd does not run here"));
        }
        let units = asked.get_or_init(|| {
            let units = names.iter().map(|name| (*name).to_owned()).collect();
            let question = Question::UnitsShow { units };
            let answer = self.host.query(&question).map_err(|error| super::words(&error))?;
            if !answer.ok() {
                return Err(format!("systemd does not answer: {}", answer.stderr.trim()));
            }
            Ok(answer.stdout.split("\n\n").map(Shown::parse).collect())
        });
        match units {
            Ok(units) => names
                .iter()
                .zip(units)
                .find_map(|(known, shown)| (*known == name).then_some(shown))
                .ok_or_else(|| Error::failed(format!("systemd says nothing of `{name}`"))),
            Err(why) => Err(Error::failed(why)),
        }
    }

    pub fn active(&self, name: &str) -> Result<bool> {
        Ok(self.unit(name)?.get("ActiveState") == "active")
    }

    /// What the daemon said since the boot, as far as this user may read it; empty where it runs.
    pub fn journal(&self) -> &str {
        self.shared.journal.get_or_init(|| {
            if self.active("docker.service").unwrap_or(true) {
                return String::new();
            }
            let ask = |question: &Question| {
                self.host.query(question).map(|answer| answer.stdout).unwrap_or_default()
            };
            // The last try alone: what an earlier one said may be mended since.
            let invocation = self.unit("docker.service").map(|unit| unit.get("InvocationID").to_owned());
            let last = invocation.ok().filter(|id| !id.is_empty());
            let last = last.map(|invocation| ask(&Question::JournalOf { invocation })).unwrap_or_default();
            let mut said = match first_error(&last) {
                Some(_) => last,
                None => ask(&Question::Journal { unit: "docker.service".into() }),
            };
            let socket = self.unit("docker.socket").is_ok_and(|unit| unit.get("ActiveState") == "failed");
            if socket && let Ok(answer) = self.host.query(&Question::Journal { unit: "docker.socket".into() })
            {
                said.push_str(&answer.stdout);
            }
            said
        })
    }

    pub fn daemon(&self) -> &Daemon {
        self.shared.daemon.get_or_init(|| match self.host.read(Path::new(DAEMON_JSON)) {
            Ok(None) => Daemon::Absent,
            Err(error) => Daemon::Unreadable(super::words(&error)),
            Ok(Some(bytes)) => match json::read(&bytes) {
                Ok(map) => Daemon::Read(bytes, map),
                Err(fault) => Daemon::Broken(bytes, fault),
            },
        })
    }

    /// The keys of daemon.json; an absent file has none.
    ///
    /// # Errors
    /// It cannot be read, or is no JSON.
    pub fn config(&self) -> Result<Map<String, Value>> {
        let mut map = match self.daemon() {
            Daemon::Absent => Map::new(),
            Daemon::Read(_, map) => map.clone(),
            Daemon::Unreadable(why) => return Err(Error::failed(why)),
            Daemon::Broken(..) => return Err(Error::failed(format!("{DAEMON_JSON} is no JSON"))),
        };
        map.extend(self.coming.iter().flat_map(|keys| keys.as_ref().clone()));
        Ok(map)
    }

    /// The arguments of dockerd, by its unit.
    pub fn flags(&self) -> Result<Vec<String>> {
        let unit = self.unit("docker.service")?;
        let argv = unit.get("ExecStart").split_once("argv[]=").and_then(|(_, rest)| rest.split(" ; ").next());
        Ok(argv.unwrap_or_default().split_whitespace().skip(1).map(str::to_owned).collect())
    }

    /// Where images and containers are.
    pub fn data_root(&self) -> PathBuf {
        let config = self.config().unwrap_or_default();
        let named = config.get("data-root").and_then(Value::as_str).map(PathBuf::from);
        named.unwrap_or_else(|| "/var/lib/docker".into())
    }

    /// What sits at the endpoint; none where it is not on this host.
    pub fn seat(&self) -> Option<&Seat> {
        let look = || match socket::walk(self.endpoint.socket()?, &self.subject, self.host) {
            // Another socket may have taken the place of the one that systemd listens on.
            Seat::Live { path, .. }
                if self.endpoint.is_default()
                    && self.active("docker.service").unwrap_or(false)
                    && self.host.refuses(&path) =>
            {
                Some(Seat::Dead { path })
            }
            seat => Some(seat),
        };
        self.shared.seat.get_or_init(look).as_ref()
    }

    /// The subject's processes.
    pub fn processes(&self) -> &[Process] {
        self.shared.processes.get_or_init(|| processes::of_user(self.host, self.subject.uid))
    }

    /// The groups of /etc/group, broken lines left out.
    pub fn groups(&self) -> &[Group] {
        self.shared.groups.get_or_init(|| {
            let lines = subject::lines(self.host, "/etc/group");
            lines.iter().filter_map(|line| subject::group_line(line)).collect()
        })
    }

    /// The group `docker`, by file, else by NSS.
    pub fn docker_group(&self) -> Option<&Group> {
        let look = || match self.groups().iter().find(|group| group.name == "docker") {
            Some(group) => Some(group.clone()),
            None => {
                let question = Question::Getent { database: "group", key: "docker".into() };
                let answer = self.host.query(&question).ok()?;
                answer.stdout.lines().next().and_then(subject::group_line)
            }
        };
        self.shared.docker.get_or_init(look).as_ref()
    }

    pub fn group_name(&self, gid: u32) -> Option<String> {
        if let Some(group) = self.groups().iter().find(|group| group.gid == gid) {
            return Some(group.name.clone());
        }
        let question = Question::Getent { database: "group", key: gid.to_string() };
        let answer = self.host.query(&question).ok()?;
        answer.stdout.lines().next().and_then(subject::group_line).map(|group| group.name)
    }

    pub fn docker_directory(&self) -> PathBuf {
        endpoint::directory(&self.who, &self.subject)
    }
}
