//! The way back of a transaction: to versions that can still be had, and leaving what others need by now.

use super::{Action, Manager, Package, Packages, Set, via_apt, via_dnf};
use crate::error::{Error, Result};
use crate::host::Look;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Where the way back leads to, and what is to be told of it.
pub(super) struct Goal<'n> {
    pub now: &'n Set,
    pub to: Set,
    pub told: Vec<String>,
}

impl Packages {
    /// Replaces versions that the archive has no more by the nearest that it has, and says so.
    pub(super) fn to_versions_at_hand(&self, goal: &mut Goal, host: &dyn Look) -> Result<()> {
        let Goal { now, to, told } = goal;
        let wanted: Vec<(String, String)> = to
            .iter()
            .filter(|(name, state)| now.get(*name).and_then(Package::version) != state.version())
            .filter_map(|(name, state)| Some((name.clone(), state.version()?.to_owned())))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
        let at_hand = match self.manager {
            Manager::Apt => via_apt::at_hand(&names, host)?,
            Manager::Dnf => via_dnf::at_hand(&names, host)?,
        };
        for (name, version) in wanted {
            let versions = at_hand.get(&name).map(Vec::as_slice).unwrap_or_default();
            if versions.contains(&version) {
                continue;
            }
            match nearest(&version, versions, self.manager) {
                Some(near) => {
                    told.push(format!(
                        "`{name}` {version} is not to be had any more: {near} comes back instead"
                    ));
                    if let Some(Package::Installed { version, .. }) = to.get_mut(&name) {
                        *version = near.to_owned();
                    }
                }
                None => {
                    told.push(format!("`{name}` {version} cannot come back: no source of this host has it"));
                    to.insert(name.clone(), now.get(&name).cloned().unwrap_or(Package::Absent));
                }
            }
        }
        Ok(())
    }

    /// What came along and is needed by something else now stays. The package manager itself is asked: what else would go?
    pub(super) fn keep_what_others_need(&self, goal: &mut Goal, host: &dyn Look) -> Result<()> {
        let Goal { now, to, told } = goal;
        loop {
            let actions = self.actions_between(now, to);
            let goes = |actions: &BTreeMap<String, Action>| -> BTreeSet<String> {
                actions
                    .iter()
                    .filter(|(_, a)| !matches!(a, Action::Install { .. }))
                    .map(|(n, _)| n.clone())
                    .collect()
            };
            let leaving = goes(&actions);
            if leaving.is_empty() {
                return Ok(());
            }
            let others = self.others_that_go(&actions, &leaving, host)?;
            if others.is_empty() {
                return Ok(());
            }
            let mut kept_one = false;
            for name in &leaving {
                let alone = BTreeMap::from([(name.clone(), actions[name].clone())]);
                let needed_by = self.others_that_go(&alone, &leaving, host)?;
                if !needed_by.is_empty() {
                    let names = needed_by.into_iter().collect::<Vec<_>>().join(", ");
                    told.push(format!("`{name}` stays: {names} needs it now"));
                    to.insert(name.clone(), now[name].clone());
                    kept_one = true;
                }
            }
            if !kept_one {
                let names = others.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::failed("cannot take the packages back")
                    .because(format!("{names} would go with them"))
                    .hint(format!(
                        "look at why: {} {}",
                        match self.manager {
                            Manager::Apt => "apt-get -s purge",
                            Manager::Dnf => "dnf --assumeno remove",
                        },
                        leaving.into_iter().collect::<Vec<_>>().join(" ")
                    )));
            }
        }
    }

    fn others_that_go(
        &self,
        actions: &BTreeMap<String, Action>,
        ours: &BTreeSet<String>,
        host: &dyn Look,
    ) -> Result<BTreeSet<String>> {
        let removes = match self.manager {
            Manager::Apt => via_apt::removes(actions, host)?,
            Manager::Dnf => via_dnf::removes(ours, host)?,
        };
        Ok(removes.difference(ours).cloned().collect())
    }
}

/// The version closest to the one that is gone: the next newer, else the newest older.
fn nearest<'a>(gone: &str, versions: &'a [String], manager: Manager) -> Option<&'a str> {
    let compare = manager.compare();
    let mut sorted: Vec<&str> = versions.iter().map(String::as_str).collect();
    sorted.sort_by(|a, b| compare(a, b));
    let newer = sorted.iter().find(|v| compare(v, gone) == Ordering::Greater);
    newer.or(sorted.last()).copied()
}
