//! The receipts read backwards: each change is restored, already as before, or left to who changed it since.

use crate::clock::now_us;
use crate::error::{Error, Result};
use crate::event::{Event, Line};
use crate::host::{Look, Output, Question, Room, Stat, Stream, Touch};
use crate::receipt::{Entry, Past, Receipt};
use crate::resources::conffiles;
use crate::resources::consequence::Consequence;
use crate::resources::{AnyChange, AnyWayBack, How};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What undo would do with one change.
#[derive(Clone, Debug)]
pub struct Way {
    pub step: String,
    pub change: AnyChange,
    pub back: AnyWayBack,
}

/// The ways back of all changes, last first. Changes nothing; each is looked at as if those before it were made.
pub fn simulate(receipts: &[Past], host: &dyn Look, how: How) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    let mut without = Without { host, gone: BTreeSet::new(), let_go: BTreeSet::new() };
    for (step, change) in crate::receipt::joined(receipts).into_iter().rev() {
        let back = change.way_back(&without, how)?;
        if let AnyWayBack::Restore { change, .. } = &back {
            without.gone.extend(change.leaves_absent(host)?);
            without.let_go.extend(change.lets_go());
        }
        ways.push(Way { step, change, back });
    }
    Ok(ways)
}

/// The host without the paths that would be gone by now, and with the packages let go that would be.
struct Without<'a> {
    host: &'a dyn Look,
    gone: BTreeSet<PathBuf>,
    let_go: BTreeSet<String>,
}

impl Without<'_> {
    /// Lines of dpkg-query: the second field says whether somebody holds it.
    fn unheld(&self, text: &str) -> String {
        let line = |line: &str| match line.split_once("\thold\t") {
            Some((name, rest)) if self.let_go.contains(name) => format!("{name}\tinstall\t{rest}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }
}

impl Look for Without<'_> {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        if self.gone.contains(path) { Ok(None) } else { self.host.read(path) }
    }
    fn open(&self, path: &Path) -> Result<Option<Box<dyn Stream>>> {
        if self.gone.contains(path) { Ok(None) } else { self.host.open(path) }
    }
    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        if self.gone.contains(path) { Ok(None) } else { self.host.stat(path) }
    }
    fn link(&self, path: &Path) -> Result<Option<PathBuf>> {
        if self.gone.contains(path) { Ok(None) } else { self.host.link(path) }
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = self.host.list(path)?;
        names.retain(|name| !self.gone.contains(&path.join(name)));
        Ok(names)
    }
    fn read_plain(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        if self.gone.contains(path) { Ok(None) } else { self.host.read_plain(path, limit) }
    }
    fn room(&self, path: &Path) -> Result<Option<Room>> {
        self.host.room(path)
    }
    fn attribute(&self, path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        if self.gone.contains(path) { Ok(None) } else { self.host.attribute(path, name) }
    }
    fn query(&self, question: &Question) -> Result<Output> {
        let answer = self.host.query(question)?;
        Ok(match question {
            Question::DpkgQuery { .. } => Output { stdout: self.unheld(&answer.stdout), ..answer },
            _ => answer,
        })
    }
    fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        self.host.fetch(url, limit)
    }
    fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        self.host.fetch_again(url, limit)
    }
    fn now(&self) -> i64 {
        self.host.now()
    }
}

/// How an undo ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    pub restored: usize,
    /// Left to who changed it since: the receipts stay, so that `--force` can insist.
    pub left: usize,
    /// Left on purpose, in whole or in part: data, or what others need now.
    pub kept: usize,
}

/// Takes the changes back, each looked at again just before. An engine that stays, on a host that had one before, reads
/// the configuration that came back.
pub fn undo(receipts: &[Past], receipt: &mut Receipt, host: &dyn Touch, how: How) -> Result<Undone> {
    let mut undone = Undone::default();
    let mut owed = Vec::new();
    // An uninstall that died after a purge.
    conffiles::put_back(host)?;
    for (step, change) in crate::receipt::joined(receipts).into_iter().rev() {
        let way = Way { back: change.way_back(host, how)?, step, change };
        if let AnyWayBack::Restore { change: back, .. } = &way.back {
            receipt.write(&Entry::Will { step: way.step.clone(), change: (**back).clone() })?;
            back.make(host)?;
            receipt.write(&Entry::Did {
                step: way.step.clone(),
                change: (**back).clone(),
                at_us: now_us(),
            })?;
            undone.restored += 1;
            owed.extend(owed_by(&way.step, receipts).map(|then| (then, now_us())));
        }
        match &way.back {
            AnyWayBack::ChangedSince { .. } => undone.left += 1,
            AnyWayBack::Kept { .. } => undone.kept += 1,
            AnyWayBack::Restore { told, .. } if !told.is_empty() => undone.kept += 1,
            _ => {}
        }
        host.tell(way.event(true));
        if host.interrupted() {
            return Err(Error::interrupted());
        }
    }
    for (then, since_us) in owed {
        if !then.is_paid(since_us, host)? {
            then.pay(host)?;
            host.tell(Event::Note { text: then.to_string() });
        }
    }
    Ok(undone)
}

/// What a change of this step owes, by the receipts: its way back owes the same.
fn owed_by(step: &str, receipts: &[Past]) -> impl Iterator<Item = Consequence> {
    let mut owed: Vec<Consequence> = Vec::new();
    let mut changing = String::new();
    for entry in receipts.iter().flat_map(|past| &past.entries) {
        match entry {
            Entry::Will { step, .. } => changing.clone_from(step),
            Entry::Owes { then, .. } if changing == step && !owed.contains(then) => owed.push(then.clone()),
            _ => {}
        }
    }
    owed.into_iter()
}

impl Way {
    /// The word and the lines of this way, made or only simulated.
    pub fn event(&self, made: bool) -> Event {
        let restored = if made { "restored" } else { "to restore" };
        let (answer, lines, why): (&str, Vec<Line>, Option<String>) = match &self.back {
            AnyWayBack::Restore { change, told } => {
                (restored, change.describe(), (!told.is_empty()).then(|| told.join("; ")))
            }
            AnyWayBack::AlreadyAsBefore => ("already as before", self.change.describe(), None),
            AnyWayBack::ChangedSince { why } => ("changed since", self.change.describe(), Some(why.clone())),
            AnyWayBack::Kept { why } => ("kept", self.change.describe(), Some(why.clone())),
        };
        Event::Undone { step: self.step.clone(), answer: answer.into(), lines, why }
    }
}
