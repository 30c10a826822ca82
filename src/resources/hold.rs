//! Packages that stay at their version, whatever apt or dnf are told to upgrade, until they are let go.

use super::file::{File, Node};
use super::packages::Manager;
use super::version_lock::List;
use super::{Change, How, Resource, WayBack, apt, dnf};
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Look, Question, Touch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    pub manager: Manager,
    pub names: BTreeSet<String>,
    /// Held by an earlier run of ours: a lock of theirs follows its package. Those of others stay as they are.
    #[serde(skip)]
    pub ours: BTreeSet<String>,
}

/// Whether a package is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Held {
    No,
    /// Where it is; as dnf's list says it, the version goes along.
    Here {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock: Option<String>,
    },
    /// dnf's list names another version than the one that is installed.
    Elsewhere {
        lock: String,
    },
}

impl Held {
    /// Wanted of a package, whatever version it has by then.
    pub const HERE: Held = Held::Here { lock: None };

    fn lock(&self) -> Option<&str> {
        match self {
            Held::Here { lock } => lock.as_deref(),
            Held::Elsewhere { lock } => Some(lock),
            Held::No => None,
        }
    }

    fn meets(&self, want: &Held) -> bool {
        matches!((self, want), (Held::Here { .. }, Held::Here { .. })) || self == want
    }

    /// The same hold: apt has one word for it, dnf's list a version, which is not known before the list is written.
    fn is(&self, made: &Held) -> bool {
        match made.lock() {
            None => matches!(self, Held::Here { .. }),
            lock => self.lock() == lock,
        }
    }
}

pub type Holds = BTreeMap<String, Held>;

impl Hold {
    /// dnf's own list.
    fn list(&self, host: &dyn Look) -> Result<Option<List>> {
        match self.manager {
            Manager::Apt => Ok(None),
            Manager::Dnf => List::of(host),
        }
    }

    fn by_apt(&self, host: &dyn Look) -> Result<Holds> {
        let answer = host.query(&Question::DpkgQuery { names: self.names.iter().cloned().collect() })?;
        let shown = apt::parse_dpkg(&answer.stdout);
        let held = |name: &String| match shown.get(name).is_some_and(|shown| shown.hold) {
            true => Held::HERE,
            false => Held::No,
        };
        Ok(self.names.iter().map(|name| (name.clone(), held(name))).collect())
    }

    fn by_dnf(&self, host: &dyn Look) -> Result<Holds> {
        let locks = match self.list(host)? {
            Some(list) => list.locks()?,
            None => Vec::new(),
        };
        let versions = self.versions(host)?;
        let held = |name: &String| {
            let mut of_it = locks.iter().filter(|lock| lock.name == *name).map(|lock| lock.version.clone());
            let here = of_it.clone().find(|lock| versions.get(name) == Some(lock));
            match (here, of_it.next()) {
                (Some(lock), _) => Held::Here { lock: Some(lock) },
                (None, Some(lock)) => Held::Elsewhere { lock },
                (None, None) => Held::No,
            }
        };
        Ok(self.names.iter().map(|name| (name.clone(), held(name))).collect())
    }

    fn versions(&self, host: &dyn Look) -> Result<BTreeMap<String, String>> {
        let answer = host.query(&Question::RpmQuery { names: self.names.iter().cloned().collect() })?;
        Ok(dnf::parse_rpm(&answer.stdout).into_iter().collect())
    }

    fn set_by_apt(&self, now: &Holds, state: &Holds, host: &dyn Touch) -> Result<()> {
        for (word, wanted) in [("hold", true), ("unhold", false)] {
            let differs = |name: &&String| {
                (state[*name] != Held::No) == wanted
                    && (now.get(*name).unwrap_or(&Held::No) != &Held::No) != wanted
            };
            let names: Vec<String> = state.keys().filter(differs).cloned().collect();
            if !names.is_empty() {
                host.run(&apt::hold(word, &names))?
                    .or_failed(|| format!("cannot {word} {}", names.join(", ")))?;
            }
        }
        Ok(())
    }

    fn set_by_dnf(&self, now: &Holds, state: &Holds, host: &dyn Touch) -> Result<()> {
        let Some(mut list) = self.list(host)? else { return Ok(()) };
        let versions = self.versions(host)?;
        for (name, to) in state {
            let at = now.get(name).unwrap_or(&Held::No);
            if at.meets(to) {
                continue;
            }
            if let Some(lock) = at.lock() {
                list.remove(name, lock);
            }
            match (to, versions.get(name)) {
                (Held::Here { .. }, Some(version)) => list.add(name, version),
                (Held::Elsewhere { lock }, _) => list.add(name, lock),
                _ => {}
            }
        }
        let file = File { path: list.path.clone() };
        match file.get(host)? {
            Node::File { bytes, .. } if bytes.0 == list.text.as_bytes() => Ok(()),
            Node::File { owner, .. } => host.write(&list.path, list.text.as_bytes(), owner),
            _ => file.set(&Node::file(list.text.as_bytes()), host),
        }
    }
}

impl Resource for Hold {
    type State = Holds;

    fn get(&self, host: &dyn Look) -> Result<Holds> {
        match self.manager {
            Manager::Apt => self.by_apt(host),
            Manager::Dnf => self.by_dnf(host),
        }
    }

    fn set(&self, state: &Holds, host: &dyn Touch) -> Result<()> {
        let now = self.get(host)?;
        if Self::meets(&now, state) {
            return Ok(());
        }
        match self.manager {
            Manager::Apt => self.set_by_apt(&now, state, host),
            Manager::Dnf => self.set_by_dnf(&now, state, host),
        }
    }

    fn meets(now: &Holds, want: &Holds) -> bool {
        want.iter().all(|(name, want)| now.get(name).unwrap_or(&Held::No).meets(want))
    }

    fn still_ours(now: &Holds, after: &Holds) -> bool {
        after.iter().all(|(name, after)| now.get(name).is_some_and(|now| now.is(after)))
    }

    /// What others lock at another version stays theirs.
    ///
    /// # Errors
    /// dnf knows no list of locks: refused, for nothing is installed that nobody asked for.
    fn resolve(&self, now: &Holds, want: &Holds, host: &dyn Look) -> Result<(Self, Holds)> {
        if self.manager == Manager::Dnf && self.list(host)?.is_none() {
            return Err(Error::refused("cannot hold the packages")
                .because("dnf has no versionlock on this host, and rprov installs no helpers unasked")
                .hint("dnf install python3-dnf-plugin-versionlock; or leave `--hold` out"));
        }
        let after = |(name, want): (&String, &Held)| {
            let now = now.get(name).unwrap_or(&Held::No);
            let theirs = matches!(now, Held::Elsewhere { .. }) && !self.ours.contains(name);
            (name.clone(), if theirs || now.meets(want) { now.clone() } else { want.clone() })
        };
        Ok((self.clone(), want.iter().map(after).collect()))
    }

    fn describe(&self, before: &Holds, after: &Holds) -> Vec<Line> {
        let line = |(name, after): (&String, &Held)| {
            let before = before.get(name).unwrap_or(&Held::No);
            match (before, after) {
                (before, after) if before.meets(after) => None,
                (Held::No, _) => Some(Line::add("hold", name, "held: no upgrade moves it")),
                (_, Held::No) => Some(Line::remove("hold", name, "no longer held")),
                _ => Some(Line::change("hold", name, "held at its new version")),
            }
        };
        after.iter().filter_map(line).collect()
    }

    fn same(&self, other: &Self) -> bool {
        self.manager == other.manager
    }

    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        let mut joined = earlier;
        joined.after.extend(later.after);
        for (name, before) in later.before {
            joined.before.entry(name).or_insert(before);
        }
        joined.resource.names.extend(later.resource.names);
        joined
    }

    /// A package that somebody let go, or locks at a version of their own, is theirs by now.
    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Holds>> {
        let now = self.get(host)?;
        let mut to = now.clone();
        let mut told = Vec::new();
        for (name, after) in &change.after {
            let before = change.before.get(name).unwrap_or(&Held::No);
            let at = now.get(name).unwrap_or(&Held::No);
            if before == after || at.meets(before) || *at == Held::No {
                continue;
            }
            // A lock follows its package: what was made is known again by its version or by the package's.
            if at.is(after) || how.force {
                to.insert(name.clone(), before.clone());
            } else {
                told.push(format!("`{name}` stays held: somebody locked it at another version"));
            }
        }
        Ok(if to != now {
            WayBack::Restore { now, to, told }
        } else if told.is_empty() {
            WayBack::AlreadyAsBefore
        } else {
            WayBack::Kept { why: told.join("; ") }
        })
    }
}

/// The packages that this change holds and that nobody held before.
pub fn made(change: &Change<Hold>) -> impl Iterator<Item = &String> {
    let is_new = |(name, after): &(&String, &Held)| {
        **after != Held::No && change.before.get(*name).is_none_or(|before| *before == Held::No)
    };
    change.after.iter().filter(is_new).map(|(name, _)| name)
}
