//! A small machine in memory: files, packages, groups and units, with the programs that change them. What it was not
//! taught it refuses with a panic, so that no test passes by an accident.

mod apt;
mod dnf;
mod docker;
mod releases;
mod runs;
mod systemd;

pub use apt::Dpkg;
pub use releases::{RELEASES, Release};
pub use runs::Runs;

use rprov::error::{Error, Result};
use rprov::event::Event;
use rprov::host::{
    AptState, Command, DnfState, Kind, Look, Output, Owner, Private, Question, Room, Stat, Touch,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2026-01-15: two weeks after the mirror of the fixtures was signed.
const NOW: i64 = 1_768_478_400;

/// Everything of the machine that a person could find changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub nodes: BTreeMap<PathBuf, Node>,
    pub packages: BTreeMap<String, Dpkg>,
    /// The units that run.
    pub active: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub content: Content,
    pub owner: Owner,
}

#[derive(Clone, PartialEq)]
pub enum Content {
    File(Vec<u8>),
    Directory,
    Link(PathBuf),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::File(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Content::Directory => write!(f, "directory"),
            Content::Link(to) => write!(f, "-> {}", to.display()),
        }
    }
}

/// The machine.
pub struct Model {
    state: RefCell<State>,
    /// Every command that was run since the last [`Model::commands`].
    ran: RefCell<Vec<Vec<String>>>,
    /// When a unit last started, in microseconds since the boot.
    started: RefCell<BTreeMap<String, u64>>,
    told: RefCell<Vec<Event>>,
    release: Release,
    /// Versions that the mirrors have no more.
    gone: RefCell<BTreeSet<String>>,
    /// The seconds since the last update of the package lists.
    pub age_of_lists: Cell<i64>,
    /// Text in daemon.json that makes dockerd refuse to start.
    pub dockerd_refuses: RefCell<Option<String>>,
    /// Units whose last start failed.
    failed: RefCell<BTreeSet<String>>,
    /// Whether all lists were fetched anew for a question.
    pub refreshed: Cell<bool>,
    /// A signal asks to end after the change in hand.
    pub interrupted: Cell<bool>,
    /// How many more actions there is power for; without, there is power for ever.
    power: Cell<Option<(usize, Cut)>>,
    /// What was fetched by rprov itself.
    pub fetched: RefCell<Vec<String>>,
}

/// Whether the last action is cut off before it changes anything or just after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    Before,
    After,
}

/// A file below `tests/`.
pub fn fixture(path: impl AsRef<Path>) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("cannot read the fixture `{}`: {e}", path.display()))
}

/// The key that signed the mirror of the fixtures.
pub fn mirror_key() -> Vec<u8> {
    fixture("fixtures/mirror/key.asc")
}

impl Model {
    /// A fresh host of this name: no engine, lists of today, users `alice` and `bob`.
    pub fn fresh(name: &str) -> Model {
        let release = *RELEASES.iter().find(|r| r.name == name).unwrap_or_else(|| panic!("no `{name}`"));
        let model = Model {
            state: RefCell::default(),
            ran: RefCell::default(),
            started: RefCell::default(),
            told: RefCell::default(),
            release,
            gone: RefCell::default(),
            age_of_lists: Cell::new(3600),
            dockerd_refuses: RefCell::default(),
            failed: RefCell::default(),
            refreshed: Cell::default(),
            interrupted: Cell::new(false),
            power: Cell::default(),
            fetched: RefCell::default(),
        };
        if release.is_dnf() {
            model.furnish_dnf();
            return model;
        }
        let directories = [
            "/etc/apt/sources.list.d",
            "/etc/apt/trusted.gpg.d",
            "/etc/systemd/system/multi-user.target.wants",
            "/usr/lib/systemd/system",
            "/var/lib/apt/lists",
            "/var/cache",
            "/var/lib/dpkg",
            "/run/systemd/system",
            "/usr/bin",
            "/opt",
        ];
        directories.iter().for_each(|path| model.put_directory(path));
        if release.has_keyrings {
            model.put_directory("/etc/apt/keyrings");
        }
        let archive = format!("deb http://{0}.example/{0} {1} main\n", release.distribution, release.suite);
        model.put("/etc/apt/sources.list", archive);
        model.furnish();
        model.be(&["apt-get", "update"]);
        model.be(&["apt-get", "install", "ca-certificates", "apparmor"]);
        model.be(&["apt-mark", "auto", "apparmor"]);
        model
    }

    /// A host with dnf: the distribution's repository, and the key that its packages are signed by.
    fn furnish_dnf(&self) {
        let directories = [
            "/etc/pki/rpm-gpg",
            "/etc/systemd/system/multi-user.target.wants",
            "/usr/lib/systemd/system",
            "/usr/libexec",
            "/var/cache",
            "/var/lib/dnf",
            "/run/systemd/system",
            "/usr/bin",
            "/opt",
        ];
        directories.iter().for_each(|path| self.put_directory(path));
        self.put("/var/lib/dnf/came-along", "");
        let theirs = "[baseos]\nname=BaseOS\nbaseurl=https://cdn.example/baseos\nenabled=1\ngpgcheck=1\n";
        self.put("/etc/yum.repos.d/theirs.repo", theirs);
        self.furnish();
        self.be(&["dnf", "-y", "install", "ca-certificates"]);
    }

    /// What every host has: users and a service.
    fn furnish(&self) {
        let model = self;
        model.put("/etc/group", "root:x:0:\nsudo:x:27:alice\nalice:x:1000:\nbob:x:1001:\n");
        model.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n");
        model.put("/usr/lib/systemd/system/ssh.service", "");
        model.put_link(
            "/etc/systemd/system/multi-user.target.wants/ssh.service",
            "/usr/lib/systemd/system/ssh.service",
        );
        model.state.borrow_mut().active.insert("ssh.service".into());
    }

    /// Everything as it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The machine goes back to a state of before, as from a snapshot.
    pub fn restore(&self, state: &State) {
        *self.state.borrow_mut() = state.clone();
    }

    /// The commands since the last call.
    pub fn commands(&self) -> Vec<String> {
        self.ran.take().into_iter().map(|argv| argv.join(" ")).collect()
    }

    /// The notes of the run.
    pub fn notes(&self) -> Vec<String> {
        let note = |event: &Event| match event {
            Event::Note { text } => Some(text.clone()),
            _ => None,
        };
        self.told.borrow().iter().filter_map(note).collect()
    }

    /// What undo said of each change.
    pub fn undone(&self) -> Vec<Event> {
        let told = self.told.borrow();
        told.iter().filter(|event| matches!(event, Event::Undone { .. })).cloned().collect()
    }

    /// The power goes at the action of this number, counted from one; all later ones fail.
    pub fn lose_power_at(&self, action: usize, cut: Cut) {
        self.power.set(Some((action, cut)));
    }

    /// The power is back. Whether it was lost at all since.
    pub fn power_is_back(&self) -> bool {
        matches!(self.power.take(), Some((0, _)))
    }

    /// Acts, as long as there is power.
    fn powered<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some((left, cut)) = self.power.get() else { return act() };
        self.power.set(Some((left.saturating_sub(1), cut)));
        let last = match (left, cut) {
            (0, _) | (1, Cut::Before) => None,
            _ => Some(act()?),
        };
        last.filter(|_| left > 1).ok_or_else(|| Error::failed("the power is gone"))
    }

    /// The units have run since the boot.
    pub fn forget_starts(&self) {
        self.started.borrow_mut().clear();
    }

    /// Somebody on the machine runs a command: it has to go well, and is not counted as rprov's.
    pub fn be(&self, argv: &[&str]) {
        let counted = self.ran.take();
        let output = self.run(&Command::new(argv.iter().copied())).unwrap();
        assert!(output.ok(), "{argv:?}: {}", output.stdout);
        *self.ran.borrow_mut() = counted;
    }

    /// The mirrors drop a version.
    pub fn drop_from_mirrors(&self, version: &str) {
        self.gone.borrow_mut().insert(version.to_owned());
    }

    /// Somebody writes a file, directories above it included.
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.place(path, Content::File(bytes.as_ref().to_vec()), Owner::ROOT_0644);
    }
    pub fn put_owned(&self, path: &str, bytes: &str, owner: Owner) {
        self.place(path, Content::File(bytes.into()), owner);
    }
    pub fn put_directory(&self, path: &str) {
        self.place(path, Content::Directory, Owner::ROOT_0755);
    }
    pub fn put_link(&self, path: &str, to: &str) {
        self.place(path, Content::Link(to.into()), Owner { mode: 0o777, ..Owner::ROOT_0755 });
    }
    pub fn take_away(&self, path: &str) {
        self.state.borrow_mut().nodes.retain(|known, _| !known.starts_with(path));
    }

    /// The text of a file that is there.
    pub fn text(&self, path: &str) -> String {
        let bytes = self.read(Path::new(path)).unwrap();
        String::from_utf8(bytes.unwrap_or_else(|| panic!("there is no `{path}`"))).unwrap()
    }

    fn place(&self, path: &str, content: Content, owner: Owner) {
        let mut state = self.state.borrow_mut();
        for above in Path::new(path).ancestors().skip(1) {
            let directory = Node { content: Content::Directory, owner: Owner::ROOT_0755 };
            state.nodes.entry(above.to_owned()).or_insert(directory);
        }
        state.nodes.insert(path.into(), Node { content, owner });
    }

    /// What a path leads to: a last link is followed, once.
    fn behind(&self, path: &Path) -> PathBuf {
        match self.state.borrow().nodes.get(path).map(|node| &node.content) {
            Some(Content::Link(to)) => path.parent().map_or_else(|| to.clone(), |parent| parent.join(to)),
            _ => path.to_owned(),
        }
    }

    fn node(&self, path: &Path) -> Option<Node> {
        self.state.borrow().nodes.get(path).cloned()
    }

    /// A line of a database such as `/etc/group`, by its first field.
    fn getent(&self, database: &str, key: &str) -> Output {
        let text = self.text(&format!("/etc/{database}"));
        match text.lines().find(|line| line.split(':').next() == Some(key)) {
            Some(line) => Output { stdout: format!("{line}\n"), ..Output::default() },
            None => Output { code: 2, ..Output::default() },
        }
    }

    fn group(&self, argv: &[&str]) -> Output {
        let text = self.text("/etc/group");
        let there = |name: &str| self.getent("group", name).ok();
        let changed = match argv {
            ["groupadd", "--system", name] if !there(name) => format!("{text}{name}:x:999:\n"),
            ["groupdel", name] if there(name) => {
                text.split_inclusive('\n').filter(|line| !line.starts_with(&format!("{name}:"))).collect()
            }
            ["gpasswd", option, user, name] if there(name) && self.getent("passwd", user).ok() => text
                .lines()
                .map(|line| match line.strip_prefix(&format!("{name}:")) {
                    Some(rest) => format!("{name}:{}\n", with_member(rest, user, *option == "--add")),
                    None => format!("{line}\n"),
                })
                .collect(),
            _ => return failure(9, &format!("{argv:?} cannot be done here")),
        };
        self.put("/etc/group", changed);
        Output::default()
    }
}

/// `x:999:alice,bob` with one member more or less.
fn with_member(rest: &str, user: &str, add: bool) -> String {
    let (front, members) = rest.rsplit_once(':').unwrap();
    let mut members: Vec<&str> = members.split(',').filter(|m| !m.is_empty() && *m != user).collect();
    if add {
        members.push(user);
    }
    format!("{front}:{}", members.join(","))
}

/// What a command that failed leaves: both streams in one, as in the log.
fn failure(code: i32, text: &str) -> Output {
    Output { code, stdout: text.to_owned(), stderr: String::new() }
}

impl Look for Model {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match self.node(&self.behind(path)).map(|node| node.content) {
            None => Ok(None),
            Some(Content::File(bytes)) => Ok(Some(bytes)),
            Some(other) => panic!("nobody reads `{}`: {other:?}", path.display()),
        }
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        Ok(self.node(path).map(|node| {
            let (kind, size) = match &node.content {
                Content::File(bytes) => (Kind::File, bytes.len() as u64),
                Content::Directory => (Kind::Directory, 0),
                Content::Link(_) => (Kind::Link, 0),
            };
            let Owner { uid, gid, mode } = node.owner;
            Stat { kind, mode, uid, gid, size, modified: NOW - self.age_of_lists.get() }
        }))
    }
    fn link(&self, path: &Path) -> Result<Option<PathBuf>> {
        Ok(self.node(path).and_then(|node| match node.content {
            Content::Link(to) => Some(to),
            _ => None,
        }))
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let state = self.state.borrow();
        let inside = state.nodes.keys().filter(|known| known.parent() == Some(path));
        Ok(inside.map(|known| known.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }
    fn read_plain(&self, path: &Path, _limit: u64) -> Result<Option<Vec<u8>>> {
        self.read(path)
    }
    fn room(&self, _path: &Path) -> Result<Option<Room>> {
        Ok(None)
    }
    fn attribute(&self, _path: &Path, _name: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn query(&self, question: &Question) -> Result<Output> {
        Ok(match question {
            Question::Getent { database, key } => self.getent(database, key),
            Question::DpkgQuery { names } => self.dpkg_query(names),
            Question::Apt(question) => self.apt_question(question),
            Question::RpmQuery { names } => self.rpm_query(names),
            Question::RpmContents { names } => self.rpm_contents(names),
            // What is installed there has its files.
            Question::RpmVerify { .. } | Question::DpkgVerify { .. } => Output::default(),
            Question::RpmKeys => self.rpm_keys(),
            Question::RpmFiles { files } => self.rpm_files(files),
            Question::RpmCheck { files, .. } => self.rpm_check(files),
            Question::Dnf(question) => self.dnf_question(question),
            Question::UnitShow { unit } => self.unit_show(unit),
            Question::Journal { .. } => {
                Output { stdout: "failed to start daemon: unable to configure\n".into(), ..Output::default() }
            }
            Question::Image { reference } => self.image(reference),
            Question::ContainersOf { image } => self.containers_of(image),
            Question::DockerdVersion => self.dockerd_version(),
            Question::DockerdValidate { config, .. } => self.dockerd_validate(config),
            other => panic!("the model was not taught {other:?}"),
        })
    }
    fn fetch(&self, url: &str, _limit: u64) -> Result<Vec<u8>> {
        self.fetched.borrow_mut().push(url.to_owned());
        self.served(url).ok_or_else(|| Error::failed(format!("`{url}` is not there")).absent())
    }
    fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        self.fetch(url, limit)
    }
    fn now(&self) -> i64 {
        NOW
    }
}

impl Touch for Model {
    fn write(&self, path: &Path, bytes: &[u8], owner: Owner) -> Result<()> {
        self.powered(|| {
            let place = self.behind(path);
            let parent = self.node(place.parent().unwrap());
            assert!(parent.is_some(), "there is no directory for `{}`", place.display());
            let node = Node { content: Content::File(bytes.to_vec()), owner };
            self.state.borrow_mut().nodes.insert(place, node);
            Ok(())
        })
    }
    fn give(&self, path: &Path, owner: Owner) -> Result<()> {
        self.powered(|| {
            let node = self.node(path).map(|node| Node { owner, ..node });
            self.state.borrow_mut().nodes.insert(path.to_owned(), node.unwrap());
            Ok(())
        })
    }
    fn make_directory(&self, path: &Path, owner: Owner) -> Result<()> {
        self.powered(|| {
            assert!(self.node(path.parent().unwrap()).is_some(), "nothing above `{}`", path.display());
            assert!(self.node(path).is_none(), "`{}` is there already", path.display());
            self.state
                .borrow_mut()
                .nodes
                .insert(path.to_owned(), Node { content: Content::Directory, owner });
            Ok(())
        })
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.powered(|| {
            let held = self.list(path)?;
            if !held.is_empty() {
                return Err(Error::failed(format!("cannot remove `{}`", path.display())).because("not empty"));
            }
            self.state.borrow_mut().nodes.remove(path);
            Ok(())
        })
    }
    fn remove_all(&self, path: &Path) -> Result<()> {
        self.powered(|| {
            self.state.borrow_mut().nodes.retain(|known, _| !known.starts_with(path));
            Ok(())
        })
    }
    fn run(&self, command: &Command) -> Result<Output> {
        self.powered(|| {
            self.ran.borrow_mut().push(command.argv.clone());
            let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
            Ok(match argv[0] {
                "groupadd" | "groupdel" | "gpasswd" => self.group(&argv),
                "apt-get" => {
                    let state = match command.state.clone() {
                        Some(Private::Apt(state)) => state,
                        _ => AptState::default(),
                    };
                    self.apt_get(&argv[1..], &state)
                }
                "dpkg" if argv.get(1) == Some(&"--verify") => Output::default(),
                "apt-mark" => self.apt_mark(&argv[1..]),
                "dnf" => {
                    let state = match command.state.clone() {
                        Some(Private::Dnf(state)) => state,
                        _ => DnfState::default(),
                    };
                    self.dnf(&argv[1..], &state)
                }
                "modprobe" => {
                    self.put(&format!("/sys/module/{}/initstate", argv[1].replace('-', "_")), "live\n");
                    Output::default()
                }
                "rpmkeys" => self.rpmkeys(&argv[1..]),
                "rpm" => self.rpm(&argv[1..]),
                "systemctl" => self.systemctl(&argv[1..]),
                "docker" if argv[1..3] == ["--host", "unix:///run/docker.sock"] => self.docker(&argv[3..]),
                _ => panic!("the model was not taught {argv:?}"),
            })
        })
    }
    fn adopt_lists(&self) -> Result<bool> {
        let refreshed = self.refreshed.get();
        if refreshed {
            assert!(self.put_lists(None).ok());
        }
        Ok(refreshed)
    }
    fn left(&self) -> Duration {
        Duration::ZERO
    }
    fn pause(&self, waiting_for: &str) -> Result<()> {
        panic!("nothing is waited for here: {waiting_for}")
    }
    fn tell(&self, event: Event) {
        self.told.borrow_mut().push(event);
    }
    fn interrupted(&self) -> bool {
        self.interrupted.get()
    }
}

/// What differs between two states, a line each: legible where `assert_eq!` would print two machines.
pub fn differences(before: &State, after: &State) -> Vec<String> {
    let mut lines = different(&before.nodes, &after.nodes, |path| path.display().to_string());
    lines.extend(different(&before.packages, &after.packages, |name| format!("package {name}")));
    lines.extend(before.active.symmetric_difference(&after.active).map(|unit| format!("running: {unit}")));
    lines
}

fn different<K: Ord, V: PartialEq + std::fmt::Debug>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
) -> Vec<String> {
    let keys: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    let line = |key: &K| {
        let (was, is) = (before.get(key), after.get(key));
        (was != is).then(|| format!("{}: {was:?} -> {is:?}", name(key)))
    };
    keys.into_iter().filter_map(line).collect()
}
