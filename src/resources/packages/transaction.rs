//! From wants to what a package manager is told: which packages in which version, and which go.

use super::{Package, Packages, Set, Source, Versions, is_together};
use crate::error::{Error, Result};
use crate::host::Touch;
use crate::host::fetch::mask;
use crate::resources::Resource;
use std::collections::{BTreeMap, BTreeSet};

/// A change of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Install { version: Option<String> },
    Remove,
    Purge,
}

/// A version of a package that our source has.
pub struct Candidate {
    pub name: String,
    pub version: String,
    /// Of the package file, where the index tells it.
    pub sha256: Option<String>,
}

/// Of what belongs together only the versions that all of it has.
fn without_odd_versions(candidates: Vec<Candidate>, want: &Set) -> Vec<Candidate> {
    let together: Vec<&String> =
        want.iter().filter(|(_, want)| want.is_together()).map(|(name, _)| name).collect();
    let has: BTreeSet<(String, String)> =
        candidates.iter().map(|found| (found.name.clone(), found.version.clone())).collect();
    let whole = |found: &Candidate| {
        !together.contains(&&found.name)
            || together.iter().all(|name| has.contains(&((*name).clone(), found.version.clone())))
    };
    candidates.into_iter().filter(whole).collect()
}

impl Packages {
    /// What reaches the wants: exact versions for what our source has, the distribution's own for the rest, and what
    /// must go in the same transaction.
    pub(super) fn actions(
        &self,
        now: &Set,
        want: &Set,
        candidates: impl FnOnce(Vec<String>) -> Result<Vec<Candidate>>,
    ) -> Result<BTreeMap<String, Action>> {
        let at = |name: &String| now.get(name).unwrap_or(&Package::Absent);
        // Where one of those that belong together moves, all do.
        let apart = !is_together(now, want)
            || want.iter().any(|(name, want)| want.is_together() && !at(name).meets(want));
        let unmet: Vec<_> = want
            .iter()
            .filter(|(name, want)| !at(name).meets(want) || (apart && want.is_together()))
            .collect();
        let ours = |want: &Package| matches!(want, Package::Wanted(w) if !w.distribution);
        let names: Vec<String> =
            unmet.iter().filter(|(_, want)| ours(want)).map(|(name, _)| (*name).clone()).collect();
        let candidates = if names.is_empty() { Vec::new() } else { candidates(names)? };
        let candidates = without_odd_versions(candidates, want);
        let mut actions = BTreeMap::new();
        for (name, want) in unmet {
            let action = match want {
                Package::Wanted(versions) if versions.distribution => {
                    Action::Install { version: versions.exact.clone() }
                }
                Package::Wanted(versions) => {
                    let version = self.choose(name, versions, &candidates)?;
                    // One that is half there gets the same version once more.
                    if matches!(now.get(name), Some(Package::Installed { version: at, .. }) if *at == version)
                    {
                        continue;
                    }
                    Action::Install { version: Some(version) }
                }
                Package::Installed { version, .. } => Action::Install { version: Some(version.clone()) },
                _ => Action::Remove,
            };
            actions.insert(name.clone(), action);
        }
        Ok(actions)
    }

    fn place(&self) -> String {
        let place = |source: &Source| match source {
            Source::Apt(source) => format!("{} {}", mask(&source.index.root), source.index.suite),
            Source::Dnf(source) => mask(&source.index.url),
        };
        self.sources.iter().map(place).collect::<Vec<_>>().join(" and ")
    }

    /// From what is there to the state: exact versions, removals and purges. What comes along by itself is not
    /// named, so that it is marked so; on the way back, and from a lock, everything is named.
    pub(super) fn actions_between(&self, now: &Set, state: &Set) -> BTreeMap<String, Action> {
        let absent = Package::Absent;
        let way_back =
            state.iter().any(|(name, to)| *to == Package::Absent && now.get(name) != Some(&absent));
        let all = way_back || self.in_full;
        let action = |(name, to): (&String, &Package)| {
            let at = now.get(name).unwrap_or(&absent);
            let action = match (at, to) {
                (at, to) if at == to => None,
                (Package::Absent, Package::Absent | Package::Removed) => None,
                (Package::Installed { version: a, .. }, Package::Installed { version: b, .. }) if a == b => {
                    None
                }
                (at, Package::Installed { auto: true, .. }) if at.is_gone() && !all => None,
                (_, Package::Installed { version, .. }) => {
                    Some(Action::Install { version: Some(version.clone()) })
                }
                (_, Package::Absent) => Some(Action::Purge),
                (at, Package::Removed) if !at.is_gone() => Some(Action::Remove),
                _ => None,
            };
            action.map(|action| (name.clone(), action))
        };
        state.iter().filter_map(action).collect()
    }

    /// Marks as it has to be who was asked for by name and who came along.
    pub(super) fn mark(
        &self,
        state: &Set,
        host: &dyn Touch,
        command: impl Fn(&[String], bool) -> Result<()>,
    ) -> Result<()> {
        let now = self.get(host)?;
        let differing = |wanted: bool| -> Vec<String> {
            let differs = |(name, to): &(&String, &Package)| match (now.get(*name), to) {
                (Some(Package::Installed { auto: at, .. }), Package::Installed { auto, .. }) => {
                    *auto == wanted && at != auto
                }
                _ => false,
            };
            state.iter().filter(differs).map(|(name, _)| name.clone()).collect()
        };
        for auto in [true, false] {
            let names = differing(auto);
            if !names.is_empty() {
                command(&names, auto)?;
            }
        }
        Ok(())
    }

    /// The exact version that serves a want: the newest in the index that fits.
    fn choose(&self, name: &str, wanted: &Versions, candidates: &[Candidate]) -> Result<String> {
        let compare = self.manager.compare();
        let found = candidates.iter().filter(|record| record.name == name);
        // A locked package of another digest is another package, whatever its version says.
        let same = |record: &Candidate| {
            wanted
                .sha256
                .as_ref()
                .is_none_or(|sha256| record.sha256.as_ref().is_none_or(|of_it| of_it == sha256))
        };
        let records: Vec<&Candidate> = found.collect();
        let newest = |fits: &dyn Fn(&Candidate) -> bool| {
            let versions = records.iter().filter(|record| fits(record)).map(|record| record.version.as_str());
            versions.max_by(|a, b| compare(a, b)).map(str::to_owned)
        };
        if let Some(found) = newest(&|record| wanted.fits(&record.version) && same(record)) {
            return Ok(found);
        }
        let words = match (wanted.exact.as_ref().or(wanted.prefix.as_ref()), &wanted.floor) {
            (Some(prefix), _) => format!("version {prefix} of `{name}`"),
            (None, Some(floor)) => format!("`{name}` at or above {floor}"),
            (None, None) => format!("`{name}`"),
        };
        let has = match (newest(&|record| wanted.fits(&record.version)), newest(&|_| true)) {
            (Some(_), _) => "its file there has another digest than the locked one".into(),
            (None, Some(newest)) => format!("the newest there is {newest}"),
            (None, None) => "it has no version of it".into(),
        };
        let hint = match wanted.exact {
            Some(_) => "take a newer lock, or `[source.docker] url` of a mirror that keeps old versions",
            None => "rprov plan  shows what would come",
        };
        Err(Error::refused(format!("cannot find {words} in {}", self.place())).because(has).hint(hint))
    }
}
