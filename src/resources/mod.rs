//! The closed set of things on a host whose state can be read and put back, and the change between two states.

pub mod access;
pub mod apt;
pub mod conffiles;
pub mod consequence;
pub mod dnf;
pub mod file;
pub mod group;
pub mod hold;
pub mod image;
pub mod json_keys;
pub mod member;
pub mod module;
pub mod packages;
pub mod repository;
pub mod rpm_key;
pub mod setting;
pub mod trace;
pub mod unit;
pub mod version_lock;

use self::packages::Package;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Look, Touch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// Something with a state that can be read and put back. Four laws hold for every kind (`tests/laws.rs`): set then
/// get meets; what is met wants nothing; setting what is there moves nothing; the way back leads back.
pub trait Resource: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    type State: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    /// What the host shows now. Absent is a state, not an error.
    fn get(&self, host: &dyn Look) -> Result<Self::State>;

    /// The same as far as [`Resource::meets`] asks, where that is quicker to be had.
    fn glance(&self, host: &dyn Look) -> Result<Self::State> {
        self.get(host)
    }

    /// Brings the host there. Undo is the same call with the state before.
    fn set(&self, state: &Self::State, host: &dyn Touch) -> Result<()>;

    /// Whether nothing needs to be done: "any version" is met by 29.1.
    fn meets(now: &Self::State, want: &Self::State) -> bool {
        now == want
    }

    /// Whether what is there now is still what we made: a newer version of a package is.
    fn still_ours(now: &Self::State, after: &Self::State) -> bool {
        now == after
    }

    /// What the want comes to on this host: a version where any was wanted, with all that comes along.
    fn resolve(
        &self,
        _now: &Self::State,
        want: &Self::State,
        _host: &dyn Look,
    ) -> Result<(Self, Self::State)> {
        Ok((self.clone(), want.clone()))
    }

    /// Fetches what a change needs, and changes nothing: before the first change of a run, so that what cannot be had,
    /// or is not what was signed, leaves the host as it was.
    fn fetch(&self, _now: &Self::State, _state: &Self::State, _host: &dyn Touch) -> Result<()> {
        Ok(())
    }

    /// The change in words for people: what the plan shows and the receipt can tell again.
    fn describe(&self, before: &Self::State, after: &Self::State) -> Vec<Line>;

    /// Whether what is there is still what was made; later versions of packages are.
    fn drifted(&self, after: &Self::State, host: &dyn Look) -> Result<Option<Self::State>> {
        let now = self.get(host)?;
        Ok((!Self::meets(&now, after) && !Self::still_ours(&now, after)).then_some(now))
    }

    /// Whether another change is about the same thing, so that undo sees one change where two runs made two.
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    /// One change from two, the later made on top of the earlier.
    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        Change { resource: earlier.resource, before: earlier.before, after: later.after }
    }

    /// What undo should do with this change, without doing it.
    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Self::State>> {
        let now = self.get(host)?;
        Ok(if Self::meets(&now, &change.before) {
            WayBack::AlreadyAsBefore
        } else if Self::still_ours(&now, &change.after) || how.force {
            WayBack::Restore { now, to: change.before.clone(), told: Vec::new() }
        } else {
            WayBack::ChangedSince { why: "it is no longer what was written".into() }
        })
    }
}

/// A resource with its state before and after: plan line, receipt line and undo line in one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Change<R: Resource> {
    pub resource: R,
    pub before: R::State,
    pub after: R::State,
}

/// What the person who undoes insists on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Put back also what others changed since.
    pub force: bool,
    /// Remove images, containers and volumes too.
    pub purge_data: bool,
}

/// The answer of undo to one change.
#[derive(Clone, Debug, PartialEq)]
pub enum WayBack<S> {
    /// From what is there to what was before; what stays, and why, is told.
    Restore {
        now: S,
        to: S,
        told: Vec<String>,
    },
    AlreadyAsBefore,
    /// Hands off: somebody else changed it.
    ChangedSince {
        why: String,
    },
    /// Left on purpose: data, or something others need now.
    Kept {
        why: String,
    },
}

/// A state wanted of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Want<R: Resource> {
    pub resource: R,
    pub state: R::State,
}

impl<R: Resource> Want<R> {
    /// The change that this want needs on this host; none where it is met.
    pub fn plan(&self, host: &dyn Look) -> Result<Option<Change<R>>> {
        if R::meets(&self.resource.glance(host)?, &self.state) {
            return Ok(None);
        }
        let now = self.resource.get(host)?;
        let (resource, after) = self.resource.resolve(&now, &self.state, host)?;
        let before = resource.get(host)?;
        Ok((before != after).then_some(Change { resource, before, after }))
    }
}

impl<R: Resource> Change<R> {
    /// Makes the change and looks at what came of it.
    pub fn make(&self, host: &dyn Touch) -> Result<R::State> {
        self.resource.set(&self.after, host)?;
        let now = self.resource.get(host)?;
        if R::meets(&now, &self.after) {
            return Ok(now);
        }
        let lines = self.resource.describe(&now, &self.after);
        let missing = lines.iter().map(|l| format!("{} {}", l.name, l.text)).collect::<Vec<_>>().join(", ");
        Err(Error::failed("the host does not show what was just set").because(missing))
    }
}

/// Lists the kinds once and makes the enums over them: one of wants, one of changes.
macro_rules! kinds {
    ($($kind:ident = $resource:ty),+ $(,)?) => {
        /// A want of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum AnyWant { $($kind(Want<$resource>)),+ }

        /// A change of any kind, as it stands in a receipt.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnyChange { $($kind(Change<$resource>)),+ }

        impl AnyWant {
            pub fn plan(&self, host: &dyn Look) -> Result<Option<AnyChange>> {
                match self { $(AnyWant::$kind(want) => Ok(want.plan(host)?.map(AnyChange::$kind))),+ }
            }
        }

        impl AnyChange {
            /// Makes the change; what the host shows afterwards is the state after.
            pub fn make(&self, host: &dyn Touch) -> Result<AnyChange> {
                match self {
                    $(AnyChange::$kind(change) => {
                        let after = change.make(host)?;
                        Ok(AnyChange::$kind(Change { after, ..change.clone() }))
                    }),+
                }
            }
            pub fn fetch(&self, host: &dyn Touch) -> Result<()> {
                match self { $(AnyChange::$kind(c) => c.resource.fetch(&c.before, &c.after, host)),+ }
            }
            pub fn describe(&self) -> Vec<Line> {
                match self { $(AnyChange::$kind(c) => c.resource.describe(&c.before, &c.after)),+ }
            }
            /// How the host differs from what was made; none where it does not.
            pub fn drift(&self, host: &dyn Look) -> Result<Option<Vec<Line>>> {
                match self {
                    $(AnyChange::$kind(c) => {
                        let now = c.resource.drifted(&c.after, host)?;
                        Ok(now.map(|now| c.resource.describe(&c.after, &now)))
                    }),+
                }
            }
            /// Whether both are about the same resource.
            pub fn same(&self, other: &AnyChange) -> bool {
                match (self, other) {
                    $((AnyChange::$kind(a), AnyChange::$kind(b)) => a.resource.same(&b.resource),)+
                    _ => false,
                }
            }
            /// One change from two on the same resource.
            pub fn join(self, later: AnyChange) -> AnyChange {
                match (self, later) {
                    $((AnyChange::$kind(a), AnyChange::$kind(b)) => AnyChange::$kind(<$resource>::join(a, b)),)+
                    (earlier, _) => earlier,
                }
            }
            /// The way back of this change: the change that undo makes, or why it makes none.
            pub fn way_back(&self, host: &dyn Look, how: How) -> Result<AnyWayBack> {
                match self {
                    $(AnyChange::$kind(change) => {
                        let resource = change.resource.clone();
                        Ok(match resource.way_back(change, host, how)? {
                            WayBack::Restore { now, to, told } => AnyWayBack::Restore {
                                change: Box::new(AnyChange::$kind(Change { resource, before: now, after: to })),
                                told,
                            },
                            WayBack::AlreadyAsBefore => AnyWayBack::AlreadyAsBefore,
                            WayBack::ChangedSince { why } => AnyWayBack::ChangedSince { why },
                            WayBack::Kept { why } => AnyWayBack::Kept { why },
                        })
                    }),+
                }
            }
        }

        $(impl From<Want<$resource>> for AnyWant {
            fn from(want: Want<$resource>) -> Self { AnyWant::$kind(want) }
        })+
    };
}

kinds! {
    File = file::File,
    JsonKeys = json_keys::JsonKeys,
    Repository = repository::Repository,
    RpmKey = rpm_key::RpmKey,
    Packages = packages::Packages,
    Group = group::Group,
    Member = member::Member,
    Unit = unit::Unit,
    Trace = trace::Trace,
    Image = image::Image,
    Module = module::Module,
    Hold = hold::Hold,
    Access = access::Access,
    Setting = setting::Setting,
}

impl AnyChange {
    /// The files that the change writes.
    pub fn writes(&self) -> Vec<&Path> {
        match self {
            AnyChange::File(c) => vec![&c.resource.path],
            AnyChange::JsonKeys(c) => vec![&c.resource.path],
            AnyChange::Repository(c) => c.after.files.keys().map(PathBuf::as_path).collect(),
            _ => Vec::new(),
        }
    }

    /// The packages that go to an older version, as `docker-ce 5:29.7.2-1 → 5:28.5.2-1`.
    pub fn downgrades(&self) -> Vec<String> {
        let AnyChange::Packages(change) = self else { return Vec::new() };
        let compare = change.resource.manager.compare();
        let older = |(name, after): (&String, &Package)| match (change.before.get(name)?, after) {
            (Package::Installed { version: at, .. }, Package::Installed { version: to, .. }) => {
                compare(to, at).is_lt().then(|| format!("{name} {at} → {to}"))
            }
            _ => None,
        };
        change.after.iter().filter_map(older).collect()
    }

    /// The packages that nobody holds any more after this change.
    pub fn lets_go(&self) -> BTreeSet<String> {
        let AnyChange::Hold(change) = self else { return BTreeSet::new() };
        let free = change.after.iter().filter(|(_, held)| **held == hold::Held::No);
        free.map(|(name, _)| name.clone()).collect()
    }

    /// The paths that are gone after this change.
    ///
    /// # Errors
    /// rpm cannot be asked what is in its packages.
    pub fn leaves_absent(&self, host: &dyn Look) -> Result<Vec<PathBuf>> {
        Ok(match self {
            AnyChange::Packages(c) => c.resource.takes_along(&c.before, &c.after, host)?,
            AnyChange::Unit(c) if !c.after.enabled => c.resource.links(host)?,
            AnyChange::File(c) if c.after == file::Node::Absent => vec![c.resource.path.clone()],
            AnyChange::JsonKeys(c) if c.after.file == Some(file::Node::Absent) => {
                vec![c.resource.path.clone()]
            }
            AnyChange::Trace(c) if c.after == trace::Seen::Absent => vec![c.resource.path.clone()],
            AnyChange::Repository(c) => {
                let gone = c.after.files.iter().filter(|(_, node)| **node == file::Node::Absent);
                gone.map(|(path, _)| path.clone()).collect()
            }
            _ => Vec::new(),
        })
    }
}

/// The way back of a change of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyWayBack {
    Restore { change: Box<AnyChange>, told: Vec<String> },
    AlreadyAsBefore,
    ChangedSince { why: String },
    Kept { why: String },
}

/// A want, shortly.
pub fn want<R: Resource>(resource: R, state: R::State) -> AnyWant
where
    AnyWant: From<Want<R>>,
{
    Want { resource, state }.into()
}
