//! The engine's packages in, the engines in conflict out, in one transaction.

use super::{Step, daemon_json};
use crate::resources::packages::{Manager, Package, Packages, Refresh, Versions};
use crate::resources::repository::Source;
use crate::resources::trace::Trace;
use crate::resources::want;
use std::collections::BTreeMap;

/// What the transaction is asked for.
pub struct Asked {
    pub source: Source,
    pub packages: BTreeMap<String, Versions>,
    /// Removed, not purged: their configuration stays for when they come back.
    pub conflicts: Vec<String>,
    pub traces: Vec<Trace>,
}

pub fn step(asked: Asked) -> Step {
    let in_full = asked.packages.values().any(|versions| versions.along);
    let wanted = asked.packages.into_iter().map(|(name, versions)| (name, Package::Wanted(versions)));
    // dnf is told what may go, and keeps what can stay beside the engine; apt what goes.
    let (manager, gone, in_the_way) = match &asked.source {
        Source::Apt(_) => (Manager::Apt, asked.conflicts, Vec::new()),
        Source::Dnf(_) => (Manager::Dnf, Vec::new(), asked.conflicts),
    };
    let gone = gone.into_iter().map(|name| (name, Package::Removed));
    let state: BTreeMap<String, Package> = gone.chain(wanted).collect();
    let packages = Packages {
        manager,
        names: state.keys().cloned().collect(),
        source: Some(asked.source),
        refresh: Refresh::Ours,
        in_the_way: in_the_way.into_iter().collect(),
        in_full,
    };
    Step {
        traces: asked.traces,
        // On deb the package starts the daemon: if it refuses its configuration, that is what to take back.
        blames: Some(daemon_json::TITLE),
        ..Step::new("the engine", vec![want(packages, state)])
    }
}
