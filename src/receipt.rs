//! The changes made, as append-only JSON lines: written and synced before the host is touched.

use crate::error::{Error, OrFail, Result};
use crate::host::Touch;
use crate::resources::consequence::Consequence;
use crate::resources::{AnyChange, hold};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Below the host's root.
pub const STATE: &str = "var/lib/rprov";
/// Below the host's root, one file a run that changes something.
pub const RECEIPTS: &str = "var/lib/rprov/receipts";

/// One line of a receipt. Fields are only ever added: `tests/receipts/v1-*.jsonl` stay undoable by every later build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    Header {
        format: u32,
        rprov: String,
        verb: String,
        /// Microseconds since the epoch, here and in every entry with a time.
        at_us: u64,
        #[serde(default)]
        profile: Option<String>,
        /// The command line, passwords masked.
        #[serde(default)]
        arguments: Vec<String>,
    },
    /// About to be done: the host may show the state before, the state after, or something between.
    Will {
        step: String,
        change: AnyChange,
    },
    /// Done and looked at.
    Did {
        step: String,
        change: AnyChange,
        at_us: u64,
    },
    /// Not done after all: what the step tried was taken back.
    TookBack {
        step: String,
        change: AnyChange,
    },
    Owes {
        then: Consequence,
        at_us: u64,
    },
    Paid {
        then: Consequence,
    },
    Finished {
        exit: i32,
        at_us: u64,
        /// What a reboot stands before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
}

/// A receipt being written.
pub struct Receipt {
    file: fs::File,
    pub path: PathBuf,
    #[cfg(feature = "stop-at")]
    written: usize,
}

impl Receipt {
    /// Begins a receipt below `root`. Directories are made 0700 and opened without following links: whoever could
    /// place a link there could choose what root writes.
    pub fn begin(root: &Path, verb: &str, header: Entry) -> Result<Receipt> {
        let directory = open_directory(root, RECEIPTS)?;
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ").to_string();
        let name = format!("{stamp}-{verb}.jsonl");
        let path = root.join(RECEIPTS).join(&name);
        let flags = OFlags::CREATE
            | OFlags::EXCL
            | OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &name, flags, Mode::RUSR | Mode::WUSR)
            .or_fail(|| format!("cannot begin the receipt `{}`", path.display()))?;
        rustix::fs::fsync(&directory).or_fail(|| format!("cannot sync `{}`", path.display()))?;
        let mut receipt = Receipt {
            file: file.into(),
            path,
            #[cfg(feature = "stop-at")]
            written: 0,
        };
        receipt.write(&header)?;
        Ok(receipt)
    }

    /// Appends an entry and syncs it: only then may the host be touched.
    pub fn write(&mut self, entry: &Entry) -> Result<()> {
        let cannot = || format!("cannot write the receipt `{}`", self.path.display());
        let mut line = serde_json::to_string(entry).or_fail(cannot)?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()).or_fail(cannot)?;
        #[cfg(feature = "stop-at")]
        self.stop_here();
        Ok(())
    }

    /// Kills this very process at the entry that the lab asks for: nothing is tidied, as by `kill -9` from elsewhere.
    #[cfg(feature = "stop-at")]
    fn stop_here(&mut self) {
        self.written += 1;
        let wanted = std::env::var("RPROV_STOP_AT").ok().and_then(|n| n.parse::<usize>().ok());
        if wanted == Some(self.written) {
            eprintln!("stopped at entry {}", self.written);
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            unreachable!("SIGKILL cannot be blocked: {killed:?}");
        }
    }
}

/// Opens a directory below `root`, part by part, following no link and making what is missing.
fn open_directory(root: &Path, below: &str) -> Result<rustix::fd::OwnedFd> {
    let cannot = || format!("cannot open `{}`", root.join(below).display());
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(root, flags, Mode::empty()).or_fail(cannot)?;
    for part in below.split('/') {
        // `/var` and `/var/lib` are the host's; what is ours is 0700.
        match rustix::fs::mkdirat(&directory, part, Mode::RWXU) {
            Ok(()) => rustix::fs::fsync(&directory).or_fail(cannot)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).or_fail(cannot),
        }
        directory =
            rustix::fs::openat(&directory, part, flags | OFlags::NOFOLLOW, Mode::empty()).or_fail(cannot)?;
    }
    Ok(directory)
}

/// A receipt that was read.
#[derive(Clone, Debug)]
pub struct Past {
    pub path: PathBuf,
    pub verb: String,
    pub entries: Vec<Entry>,
}

/// All receipts below `root`, oldest first.
pub fn all(root: &Path) -> Result<Vec<Past>> {
    let directory = root.join(RECEIPTS);
    let names = match fs::read_dir(&directory) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Error::refused(format!("cannot read the receipts in `{}`", directory.display()))
                .because(error)
                .hint("run it again with sudo"));
        }
        Err(error) => return Err(error).or_fail(|| format!("cannot read `{}`", directory.display())),
    };
    let mut paths: Vec<PathBuf> = names
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()
        .or_fail(|| format!("cannot read `{}`", directory.display()))?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "jsonl"));
    paths.sort();
    paths.into_iter().map(read).collect()
}

/// One receipt.
///
/// # Errors
/// It cannot be read, or a whole line of it is not an entry.
pub fn read(path: PathBuf) -> Result<Past> {
    let text =
        fs::read_to_string(&path).or_fail(|| format!("cannot read the receipt `{}`", path.display()))?;
    let entries = parse(&text).map_err(|error| error.because(format!("in `{}`", path.display())))?;
    let verb = match entries.first() {
        Some(Entry::Header { verb, .. }) => verb.clone(),
        _ => String::new(),
    };
    Ok(Past { path, verb, entries })
}

/// The entries of a receipt. A last line that power took in mid-write never counted: it was not synced, so nothing
/// was done under it.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (number, line) in whole.lines().enumerate() {
        let entry = serde_json::from_str(line).map_err(|e| {
            Error::failed("cannot read a receipt").because(format!("line {}: {e}", number + 1))
        })?;
        entries.push(entry);
    }
    Ok(entries)
}

impl Past {
    /// The changes of this run in order: as done where that is known, else as they were about to be.
    pub fn changes(&self) -> Vec<(String, AnyChange)> {
        let mut changes: Vec<(String, AnyChange)> = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Will { step, change } => changes.push((step.clone(), change.clone())),
                Entry::Did { step, change, .. } => {
                    match changes.iter_mut().rev().find(|(_, c)| c.same(change)) {
                        Some(slot) => slot.1 = change.clone(),
                        None => changes.push((step.clone(), change.clone())),
                    }
                }
                Entry::TookBack { change, .. } => changes.retain(|(_, c)| !c.same(change)),
                _ => {}
            }
        }
        changes
    }

    /// How many changes were made.
    pub fn made(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Did { .. })).count()
    }

    /// Whether the run came to its end.
    pub fn finished(&self) -> bool {
        matches!(self.entries.last(), Some(Entry::Finished { exit: 0, .. }))
    }
}

/// What is still owed over all receipts, each consequence once, with the time of its latest debt. A later run pays for
/// an earlier one.
pub fn owed(receipts: &[Past]) -> Vec<(Consequence, u64)> {
    let mut owed: Vec<(Consequence, u64)> = Vec::new();
    for entry in receipts.iter().flat_map(|past| &past.entries) {
        match entry {
            Entry::Owes { then, at_us } => {
                owed.retain(|(c, _)| c != then);
                owed.push((then.clone(), *at_us));
            }
            Entry::Paid { then } => owed.retain(|(c, _)| c != then),
            _ => {}
        }
    }
    owed
}

/// One change a resource, over all receipts: the state before the first run and after the last.
pub fn joined(receipts: &[Past]) -> Vec<(String, AnyChange)> {
    let mut joined: Vec<(String, AnyChange)> = Vec::new();
    for (step, change) in receipts.iter().flat_map(Past::changes) {
        match joined.iter().position(|(_, earlier)| earlier.same(&change)) {
            Some(at) if joined[at].0 == step => joined[at].1 = joined[at].1.clone().join(change),
            // Of two steps that share it the later one's place counts: what came last goes first.
            Some(at) => {
                let (_, earlier) = joined.remove(at);
                joined.push((step, earlier.join(change)));
            }
            None => joined.push((step, change)),
        }
    }
    // Whatever was held first is let go before it moves back.
    joined.sort_by_key(|(_, change)| matches!(change, AnyChange::Hold(_)));
    joined
}

/// The packages that these receipts hold.
pub fn held(receipts: &[Past]) -> BTreeSet<String> {
    let made = |change: AnyChange| match change {
        AnyChange::Hold(change) => hold::made(&change).cloned().collect(),
        _ => BTreeSet::new(),
    };
    joined(receipts).into_iter().flat_map(|(_, change)| made(change)).collect()
}

/// Removes what runs that were killed left beside the files that they were writing.
pub fn sweep(receipts: &[Past], host: &dyn Touch) -> Result<()> {
    for entry in receipts.iter().filter(|past| !past.finished()).flat_map(|past| &past.entries) {
        let Entry::Will { change, .. } = entry else { continue };
        for path in change.writes() {
            host.sweep(path)?;
        }
    }
    Ok(())
}

/// What goes after a complete uninstall: our state, and the packages of a transaction that did not come to its end.
pub const OURS: [&str; 2] = [STATE, "var/cache/rprov"];

/// Removes all receipts and what else is left of ours, after a complete uninstall.
pub fn forget(root: &Path) -> Result<()> {
    for path in OURS.map(|path| root.join(path)) {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).or_fail(|| format!("cannot remove `{}`", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
