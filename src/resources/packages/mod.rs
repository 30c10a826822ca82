//! One transaction of the package manager: every package that comes, goes or moves, with version and mark.

mod carried;
mod dnf_trouble;
mod transaction;
mod via_apt;
mod via_dnf;
mod way_back;
mod whole;

pub use transaction::{Action, Candidate};
pub use via_apt::digests;
pub use via_dnf::Available;

use self::way_back::Goal;
use super::repository::Source;
use super::{Change, How, Resource, WayBack};
use crate::error::Result;
use crate::event::Line;
use crate::host::{Look, Touch};
use crate::version;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The packages of one transaction, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Packages {
    pub manager: Manager,
    pub names: BTreeSet<String>,
    /// Where the wanted packages come from, all of one package manager. Known while planning; a receipt can be undone
    /// without them.
    #[serde(skip)]
    pub sources: Vec<Source>,
    /// What was fetched for a transaction after this one is left for it.
    #[serde(skip)]
    pub others_follow: bool,
    /// A file of apt's preferences that the plan writes before, and its text.
    #[serde(skip)]
    pub preference: Option<(PathBuf, String)>,
    /// How much of the lists the transaction needs fetched first.
    #[serde(skip)]
    pub refresh: Refresh,
    /// What may go where it cannot stay beside what comes.
    #[serde(skip)]
    pub in_the_way: BTreeSet<String>,
    /// Whether the manager is told the version of what comes along too, as a lock has it.
    #[serde(skip)]
    pub in_full: bool,
    /// Held by an earlier run of ours: it may move all the same.
    #[serde(skip)]
    pub let_go: BTreeSet<String>,
    /// The room that the transaction takes, as far as the indexes tell.
    #[serde(skip)]
    pub needs: Needs,
}

/// Bytes that a transaction takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub download: u64,
    pub installed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    Apt,
    Dnf,
}

impl Manager {
    /// Which of two versions is newer, by its own rules.
    pub fn compare(self) -> fn(&str, &str) -> Ordering {
        match self {
            Manager::Apt => version::compare,
            Manager::Dnf => version::compare_rpm,
        }
    }
}

/// Which lists are fetched before the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Those of our source: the distribution's are there and fresh.
    #[default]
    Ours,
    All,
}

/// What a package is, or is wanted to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Package {
    Absent,
    /// Removed, its configuration files still there.
    Removed,
    Installed {
        version: String,
        auto: bool,
        #[serde(default)]
        hold: bool,
    },
    /// Half installed or half configured.
    Broken {
        version: String,
        status: String,
    },
    /// Only wanted, never found: any version that fits.
    Wanted(Versions),
}

/// Which versions serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The upstream version that any installed one must reach.
    pub floor: Option<String>,
    /// An upstream version or the front of one: `29`, `28.5`, `28.5.1`.
    pub prefix: Option<String>,
    /// The whole version of the package, as a lock has it.
    pub exact: Option<String>,
    /// Of the package file, as a lock has it.
    pub sha256: Option<String>,
    /// The newest that fits, even where an older one that fits is installed.
    pub newest: bool,
    /// Taken from the distribution: no version of it is ours to choose.
    pub distribution: bool,
    /// At the very version of all others in the transaction of which this is true.
    #[serde(default)]
    pub together: bool,
    /// Comes along with others, though a lock names it.
    #[serde(default)]
    pub along: bool,
}

impl Versions {
    fn fits(&self, found: &str) -> bool {
        let upstream = version::upstream(found);
        self.exact.as_deref().is_none_or(|exact| exact == found)
            && self.prefix.as_deref().is_none_or(|prefix| version::is_within(found, prefix))
            && self.floor.as_deref().is_none_or(|floor| version::compare(upstream, floor) != Ordering::Less)
    }
}

pub type Set = BTreeMap<String, Package>;

/// Whether what has to be of one version is.
fn is_together(now: &Set, want: &Set) -> bool {
    let together = want.iter().filter(|(_, want)| want.is_together());
    let versions: BTreeSet<_> =
        together.filter_map(|(name, _)| now.get(name)).filter_map(Package::version).collect();
    versions.len() <= 1
}

impl Package {
    fn version(&self) -> Option<&str> {
        match self {
            Package::Installed { version, .. } | Package::Broken { version, .. } => Some(version),
            _ => None,
        }
    }
    fn is_together(&self) -> bool {
        matches!(self, Package::Wanted(versions) if versions.together)
    }
    fn is_installed(&self) -> bool {
        matches!(self, Package::Installed { .. })
    }
    fn is_held(&self) -> bool {
        matches!(self, Package::Installed { hold: true, .. })
    }
    /// Absent and removed differ by configuration files only.
    fn is_gone(&self) -> bool {
        matches!(self, Package::Absent | Package::Removed)
    }
    fn comes_along(&self) -> bool {
        matches!(self, Package::Wanted(versions) if versions.along)
    }
    fn meets(&self, want: &Package) -> bool {
        match (self, want) {
            (Package::Installed { version, .. }, Package::Wanted(wanted)) => {
                !wanted.newest && wanted.fits(version)
            }
            (now, Package::Absent | Package::Removed) => now.is_gone(),
            (
                Package::Installed { version: a, auto: x, .. },
                Package::Installed { version: b, auto: y, .. },
            ) => a == b && x == y,
            (now, want) => now == want,
        }
    }
}

impl Packages {
    /// These packages, and nothing planned of them yet.
    pub fn of(manager: Manager, names: BTreeSet<String>) -> Packages {
        Packages {
            manager,
            names,
            sources: Vec::new(),
            others_follow: false,
            preference: None,
            refresh: Refresh::default(),
            in_the_way: BTreeSet::new(),
            in_full: false,
            let_go: BTreeSet::new(),
            needs: Needs::default(),
        }
    }

    /// What apt is told to install on a host that has nothing of it: for a bundle.
    pub fn words_for_apt(&self, want: &Set, host: &dyn Look) -> Result<Vec<String>> {
        via_apt::afresh(self, want, host)
    }

    /// The same for dnf. `available` gives the versions of names in the sources of these ids.
    pub fn words_for_dnf(&self, want: &Set, available: &Available) -> Result<Vec<String>> {
        via_dnf::afresh(self, want, available)
    }

    /// The files that go with packages, where directories that nobody owns stay behind: with dpkg none do.
    pub fn takes_along(&self, before: &Set, after: &Set, host: &dyn Look) -> Result<Vec<PathBuf>> {
        let goes = |(name, after): &(&String, &Package)| {
            after.is_gone() && before.get(*name).is_some_and(Package::is_installed)
        };
        let names: Vec<String> = after.iter().filter(goes).map(|(name, _)| name.clone()).collect();
        match self.manager {
            Manager::Apt => Ok(Vec::new()),
            Manager::Dnf if names.is_empty() => Ok(Vec::new()),
            Manager::Dnf => via_dnf::contents(names, host),
        }
    }
}

impl Resource for Packages {
    type State = Set;

    fn get(&self, host: &dyn Look) -> Result<Set> {
        match self.manager {
            Manager::Apt => via_apt::get(self, host),
            Manager::Dnf => via_dnf::get(self, host),
        }
    }

    fn glance(&self, host: &dyn Look) -> Result<Set> {
        match self.manager {
            Manager::Apt => via_apt::get(self, host),
            Manager::Dnf => via_dnf::glance(self, host),
        }
    }

    fn meets(now: &Set, want: &Set) -> bool {
        is_together(now, want)
            && want.iter().all(|(name, want)| now.get(name).unwrap_or(&Package::Absent).meets(want))
    }

    fn resolve(&self, now: &Set, want: &Set, host: &dyn Look) -> Result<(Self, Set)> {
        match self.manager {
            Manager::Apt => via_apt::resolve(self, now, want, host),
            Manager::Dnf => via_dnf::resolve(self, now, want, host),
        }
    }

    fn fetch(&self, now: &Set, state: &Set, host: &dyn Touch) -> Result<()> {
        match self.manager {
            Manager::Apt => via_apt::fetch(self, now, state, host),
            Manager::Dnf => via_dnf::fetch(self, now, state, host),
        }
    }

    fn set(&self, state: &Set, host: &dyn Touch) -> Result<()> {
        match self.manager {
            Manager::Apt => via_apt::set(self, state, host),
            Manager::Dnf => via_dnf::set(self, state, host),
        }
    }

    /// A newer version, by the host's own tool, is still ours to uninstall.
    fn drifted(&self, after: &Set, host: &dyn Look) -> Result<Option<Set>> {
        let now = self.get(host)?;
        let compare = self.manager.compare();
        let ours = |(name, after): (&String, &Package)| {
            let now = now.get(name).unwrap_or(&Package::Absent);
            match (now, after) {
                (Package::Installed { version: now, .. }, Package::Installed { version: after, .. }) => {
                    compare(now, after) != Ordering::Less
                }
                (now, after) => now == after || (now.is_gone() && after.is_gone()),
            }
        };
        let drifted = !Self::meets(&now, after) && !after.iter().all(ours);
        Ok(drifted.then_some(now))
    }

    fn describe(&self, before: &Set, after: &Set) -> Vec<Line> {
        let line = |(name, after): (&String, &Package)| {
            let before = before.get(name).unwrap_or(&Package::Absent);
            let kind = "package";
            match (before, after) {
                (before, after) if before == after => None,
                (Package::Installed { version, .. } | Package::Broken { version, .. }, after)
                    if after.is_gone() =>
                {
                    Some(Line::remove(kind, name, version))
                }
                (before, after) if before.is_gone() && after.is_gone() => None,
                (before, Package::Installed { version, auto, .. }) if before.is_gone() => Some(Line::add(
                    kind,
                    name,
                    if *auto { format!("{version} (comes along)") } else { version.clone() },
                )),
                (before, Package::Installed { version, auto, .. }) if before.version() == Some(version) => {
                    let words = if before.is_installed() {
                        format!(
                            "{version}, marked as installed {}",
                            if *auto { "automatically" } else { "by hand" }
                        )
                    } else {
                        format!("{version}, configured")
                    };
                    Some(Line::change(kind, name, words))
                }
                (before, Package::Installed { version, .. }) => {
                    Some(Line::change(kind, name, format!("{} → {version}", before.version().unwrap_or("?"))))
                }
                (_, after) => Some(Line::change(kind, name, format!("{after:?}").to_lowercase())),
            }
        };
        after.iter().filter_map(line).collect()
    }

    /// All transactions of one package manager are one resource: undo makes one transaction.
    fn same(&self, other: &Self) -> bool {
        self.manager == other.manager
    }

    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        let mut joined = earlier;
        for (name, after) in later.after {
            joined.after.insert(name, after);
        }
        for (name, before) in later.before {
            joined.before.entry(name).or_insert(before);
        }
        joined.resource.names.extend(later.resource.names);
        joined
    }

    fn way_back(&self, change: &Change<Self>, host: &dyn Look, _how: How) -> Result<WayBack<Set>> {
        let now = self.get(host)?;
        let mut to = now.clone();
        for (name, before) in &change.before {
            let (Some(at), Some(after)) = (now.get(name), change.after.get(name)) else { continue };
            if before != after && !at.meets(before) {
                to.insert(name.clone(), before.clone());
            }
        }
        let mut told = Vec::new();
        for (name, at) in now.iter().filter(|(_, at)| at.is_held()) {
            if to.get(name) == Some(at) {
                continue;
            }
            told.push(format!("`{name}` stays: somebody holds it (apt-mark unhold {name})"));
            to.insert(name.clone(), at.clone());
        }
        let mut goal = Goal { now: &now, to, told };
        self.to_versions_at_hand(&mut goal, host)?;
        self.keep_what_others_need(&mut goal, host)?;
        let Goal { to, told, .. } = goal;
        Ok(if to != now {
            WayBack::Restore { now, to, told }
        } else if told.is_empty() {
            WayBack::AlreadyAsBefore
        } else {
            WayBack::Kept { why: told.join("; ") }
        })
    }
}
