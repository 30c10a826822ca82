//! The seam to the machine: `Look` reads, `Touch` also changes; nothing else in the house does either.

#[cfg(test)]
pub mod fake;
pub mod fetch;
pub mod local;
mod offline;
mod plain;
mod portion;
mod private;
mod trusted;

pub use offline::{Offline, Place};
pub use portion::Portioned;
pub use private::{large_private_directory, private_directory, sweep};
pub use trusted::trusted;

use crate::error::{Error, Result};
use crate::event::Event;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where apt keeps what it fetched of the sources.
pub const APT_LISTS: &str = "/var/lib/apt/lists";
/// apt's configuration for a state of its own: hooks of other packages would write where nothing of the host's is meant,
/// Ubuntu's `update-success-stamp` and command-not-found.
pub const APT_NO_HOOKS: &str = "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n";

/// Where dnf keeps what it fetched of the repositories: dnf 4 and dnf 5 (dnf.conf(5), `cachedir`).
pub const DNF_CACHES: [&str; 2] = ["/var/cache/dnf", "/var/cache/libdnf5"];

/// Where dnf reads its repositories from.
pub const DNF_REPOSITORIES: &str = "/etc/yum.repos.d";

/// Where dnf 4 reads the configuration of its plugins from.
pub const DNF_PLUGINS: &str = "/etc/dnf/plugins";

/// The versions that packages stay at, to dnf 5 (dnf5-versionlock(8)).
pub const DNF5_LOCKS: &str = "/etc/dnf/versionlock.toml";

/// In an argument list: the number of a file that the command may write its progress to.
pub const STATUS_FD: &str = "STATUS_FD";

/// What a path is, without following a last link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// When the content last changed, in seconds since the epoch.
    pub modified: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Link,
    Socket,
    Other,
}

/// The file system that a path lies on: how much room it has for who is not root, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    pub bytes_free: u64,
    /// 0 where the file system counts none.
    pub inodes: u64,
    pub inodes_free: u64,
    /// The magic number of statfs(2).
    pub magic: u64,
    pub read_only: bool,
}

/// What a finished command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

/// The closed list of read-only questions that a host's own programs are asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// `getent DATABASE KEY`: users, groups, host names as this host sees them.
    Getent { database: &'static str, key: String },
    /// `id -nG USER`: the groups of a user, by NSS.
    GroupsOf { user: String },
    /// `id -G USER`: their numbers.
    GroupNumbersOf { user: String },
    /// `dpkg --print-architecture`.
    DpkgArchitecture,
    /// `dpkg-query -W` of these packages: name, status, version, a line each.
    DpkgQuery { names: Vec<String> },
    /// `apt-config dump`: what apt is told, its proxies among it.
    AptConfig,
    /// What apt would do, on a state of its own in a temporary directory.
    Apt(AptQuestion),
    /// `rpm -q` of these packages: name, epoch, version and release, a line each.
    RpmQuery { names: Vec<String> },
    /// `rpm -q gpg-pubkey`: the keys that rpm's database holds.
    RpmKeys,
    /// `rpm -ql` of these packages: their files, a line each.
    RpmContents { names: Vec<String> },
    /// `rpm -V` of a package, as to whether its files are there.
    RpmVerify { name: String },
    /// `dpkg --verify` of a package.
    DpkgVerify { name: String },
    /// What [`Question::RpmQuery`] tells, of package files.
    RpmFiles { files: Vec<PathBuf> },
    /// `rpmkeys --checksig` of files, against a database of its own that holds only this key.
    RpmCheck { key: Vec<u8>, files: Vec<PathBuf> },
    /// What dnf would do, on a state of its own in a temporary directory.
    Dnf(DnfQuestion),
    /// `systemctl show UNIT`, the named properties only.
    UnitShow { unit: String },
    /// `systemctl is-enabled UNIT`, which reads files where no systemd runs.
    UnitFile { unit: String },
    /// `systemctl show` of several units at once: a block each, in this order.
    UnitsShow { units: Vec<String> },
    /// `iptables-save` of a table, by the tool that the host's alternatives choose, or by this one.
    IptablesSave { program: &'static str, table: &'static str },
    /// `journalctl -u UNIT` since the last start, errors and last lines, without a pager.
    Journal { unit: String },
    /// What was said in one run of a unit: its own words, and systemd's about it.
    JournalOf { invocation: String },
    /// `dockerd --validate --config-file FILE` with the flags of the unit.
    DockerdValidate { config: Vec<u8>, flags: Vec<String> },
    /// `dockerd --version`.
    DockerdVersion,
    /// `docker image inspect` of this name, by the host's own socket.
    Image { reference: String },
    /// `docker ps --all` of the containers that are made of this image: a name a line.
    ContainersOf { image: String },
    /// `systemd-detect-virt`.
    DetectVirt,
    /// `uname -r`.
    KernelRelease,
}

impl fmt::Display for Question {
    /// Shortly: bytes that go along are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Apt(apt) => write!(f, "{} {}", apt.program, apt.arguments.join(" ")),
            Question::Dnf(dnf) => write!(f, "dnf {}", dnf.arguments.join(" ")),
            Question::RpmCheck { files, .. } => write!(f, "rpmkeys --checksig, {} files", files.len()),
            Question::DockerdValidate { flags, .. } => write!(f, "dockerd --validate {}", flags.join(" ")),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A question to apt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AptQuestion {
    /// The arguments behind the options: `-s install docker-ce=…`, `indextargets`, …
    pub arguments: Vec<String>,
    /// `apt-get` or `apt-cache`.
    pub program: &'static str,
    pub state: AptState,
}

/// Lists, sources, cache and logs of apt's own in a temporary directory: the host's as the plan will leave them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AptState {
    /// Verified lists, as apt names them, laid beside the host's.
    pub lists: Vec<(String, Vec<u8>)>,
    /// Files below `/etc/apt` as the plan will leave them: other bytes, or absent.
    pub changed: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// Whether every source's lists are fetched anew into the private state first.
    pub refresh: bool,
}

/// A question to dnf.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnfQuestion {
    /// The arguments behind the options: `--assumeno install docker-ce-…`, `repoquery …`
    pub arguments: Vec<String>,
    pub state: DnfState,
}

/// Repositories, cache, history and logs of dnf's own in a temporary directory: the host's as the plan will leave them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnfState {
    /// Files below `/etc/yum.repos.d` as the plan will leave them: other bytes, or absent; and dnf's list of locks
    /// without those that may move.
    pub changed: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// The repositories that must be read, whatever others cannot be.
    pub needed: Vec<String>,
    /// Where what is fetched stays, for a later command; else it goes with the run.
    pub cache: Option<PathBuf>,
}

/// A package manager's state of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Private {
    Apt(AptState),
    Dnf(DnfState),
}

/// A file that is open.
pub trait Stream: Read + Seek {}
impl<T: Read + Seek> Stream for T {}

/// Reads the host. Whoever holds only this can change nothing.
pub trait Look {
    /// The bytes of a file; absent is `None`. Follows links.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>>;
    /// The bytes of a file as they are asked for: for what may be larger than memory. After a signal reading fails.
    /// Absent is `None`.
    fn open(&self, path: &Path) -> Result<Option<Box<dyn Stream>>> {
        Ok(self.read(path)?.map(|bytes| Box::new(std::io::Cursor::new(bytes)) as Box<dyn Stream>))
    }
    /// What is at the path itself; absent is `None`.
    fn stat(&self, path: &Path) -> Result<Option<Stat>>;
    /// Where a link points; not a link is `None`.
    fn link(&self, path: &Path) -> Result<Option<PathBuf>>;
    /// The names in a directory, sorted; an absent directory has none.
    fn list(&self, path: &Path) -> Result<Vec<String>>;
    /// The bytes of a regular file of at most `limit` bytes that is reached through no link below the directories that
    /// are root's: for what another user may have put there. Anything else is refused, and not opened.
    fn read_plain(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>>;
    /// The file system that a path lies on; absent is `None`.
    fn room(&self, path: &Path) -> Result<Option<Room>>;
    /// An extended attribute of what is at the path itself; absent is `None`.
    fn attribute(&self, path: &Path, name: &str) -> Result<Option<Vec<u8>>>;
    /// Whether a socket takes no connection. Asked only where whoever should listen runs: a connection starts a daemon
    /// that waits for one.
    fn refuses(&self, _socket: &Path) -> bool {
        false
    }
    /// Asks one of the host's own programs.
    fn query(&self, question: &Question) -> Result<Output>;
    /// Fetches a URL, with retries, at most `limit` bytes. The same URL is fetched once a run.
    fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>>;
    /// Fetches again what was fetched before: its bytes were not what was signed.
    fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>>;
    /// What stands for the network, where no connection is made.
    fn offline(&self) -> Option<&Offline> {
        None
    }
    /// Seconds since the epoch, by this host's clock.
    fn now(&self) -> i64;
    /// The bytes as text.
    fn read_text(&self, path: &Path) -> Result<Option<String>> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| {
            Error::failed(format!("cannot read `{}`", path.display())).because("it is not UTF-8")
        })
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }
}

/// A command that changes something: an argument list, never a shell string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub timeout: Duration,
    /// Whether the output is wanted apart; else it goes to the log as it comes, which outlives us.
    pub capture: bool,
    /// A directory that it fills with what it fetches: how fast is told along with how far.
    pub fills: Option<PathBuf>,
    /// How many bytes come there, where it does not say itself how far it is.
    pub brings: Option<u64>,
    /// It changes nothing of the host's, so a signal ends it.
    pub harmless: bool,
    /// Run by the package manager on a state of its own: the host's may be as it is not yet.
    pub state: Option<Private>,
}

impl Command {
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Command {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            timeout: Duration::from_secs(120),
            capture: false,
            fills: None,
            brings: None,
            harmless: false,
            state: None,
        }
    }
    /// Gives standard output and standard error back apart.
    pub fn capture(mut self) -> Self {
        self.capture = true;
        self
    }
    /// Tells how fast this directory fills.
    pub fn filling(mut self, directory: &Path) -> Self {
        self.fills = Some(directory.to_owned());
        self
    }
    /// So many bytes come there: how far it is is told by what is there.
    pub fn bringing(mut self, bytes: u64) -> Self {
        self.brings = Some(bytes);
        self
    }
    /// A signal need not wait for it.
    pub fn harmless(mut self) -> Self {
        self.harmless = true;
        self
    }
    /// Runs it on a state of the package manager's own.
    pub fn on(mut self, state: Private) -> Self {
        self.state = Some(state);
        self.harmless()
    }
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Owner and mode of a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Owner {
    /// root's, readable by all.
    pub const ROOT_0644: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };
    pub const ROOT_0755: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };
}

/// How the temporaries begin that are written beside a path.
fn temporary(path: &Path) -> Option<String> {
    path.file_name().map(|name| format!(".{}.rprov-", name.to_string_lossy()))
}

/// Changes the host. Carries the deadline for waiting and the sink for events.
pub trait Touch: Look {
    /// Writes a file whole: a temporary beside it, synced, renamed.
    fn write(&self, path: &Path, bytes: &[u8], owner: Owner) -> Result<()>;
    /// Removes the temporaries that a write to this path has left beside it, if it was killed.
    fn sweep(&self, path: &Path) -> Result<()> {
        let (Some(directory), Some(prefix)) = (path.parent(), temporary(path)) else { return Ok(()) };
        for name in self.list(directory)?.into_iter().filter(|name| name.starts_with(&prefix)) {
            self.remove(&directory.join(name))?;
        }
        Ok(())
    }
    /// Gives what is at the path itself another owner and mode, by its descriptor: it is reached through no link below
    /// the directories that are root's, and has no other name.
    fn give(&self, path: &Path, owner: Owner) -> Result<()>;
    /// Makes one directory; its parent is there.
    fn make_directory(&self, path: &Path, owner: Owner) -> Result<()>;
    /// Removes a file, a link or an empty directory; absent is fine.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Removes a path and everything below it, without following links.
    fn remove_all(&self, path: &Path) -> Result<()>;
    /// Runs a command to its end; a status other than 0 is the caller's to judge. What the command wrote is in
    /// `stdout` (both streams as they came), or apart with [`Command::capture`].
    fn run(&self, command: &Command) -> Result<Output>;
    /// Makes the lists that a question fetched anew the host's, so that they are fetched once; false where none were.
    fn adopt_lists(&self) -> Result<bool>;
    /// How long is left to wait for locks, clocks and the network.
    fn left(&self) -> Duration;
    /// Waits a moment, telling what for.
    fn pause(&self, waiting_for: &str) -> Result<()>;
    /// Tells what happens, to whoever draws it.
    fn tell(&self, event: Event);
    /// Whether a signal asked to end after the change in hand.
    fn interrupted(&self) -> bool;
}

impl Output {
    /// A failed command as an error, with its own last lines.
    pub fn or_failed(self, what: impl FnOnce() -> String) -> Result<()> {
        if self.ok() {
            return Ok(());
        }
        let output = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        Err(Error::failed(what())
            .because(format!("the command ended with status {}", self.code))
            .tail(output))
    }
}
