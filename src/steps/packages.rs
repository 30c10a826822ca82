//! The engine's packages in, the engines in conflict out, in one transaction.

use super::{Step, daemon_json};
use crate::resources::consequence::Consequence;
use crate::resources::packages::{Manager, Package, Packages, Refresh, Versions};
use crate::resources::repository::Source;
use crate::resources::trace::Trace;
use crate::resources::want;
use std::collections::BTreeMap;

/// What the transaction is asked for.
pub struct Asked {
    /// The engine's first.
    pub sources: Vec<Source>,
    pub packages: BTreeMap<String, Versions>,
    /// Removed, not purged: their configuration stays for when they come back.
    pub conflicts: Vec<String>,
    pub traces: Vec<Trace>,
    /// The unit that looks for what comes only when it starts.
    pub restarts: Option<String>,
}

pub fn step(asked: Asked) -> Step {
    let wanted = asked.packages.into_iter().map(|(name, versions)| (name, Package::Wanted(versions)));
    // dnf is told what may go, and keeps what can stay beside the engine; apt what goes.
    let (manager, gone, in_the_way) = match asked.sources.first() {
        Some(Source::Dnf(_)) => (Manager::Dnf, Vec::new(), asked.conflicts),
        _ => (Manager::Apt, asked.conflicts, Vec::new()),
    };
    let gone = gone.into_iter().map(|name| (name, Package::Removed));
    let state: BTreeMap<String, Package> = gone.chain(wanted).collect();
    let packages = Packages {
        manager,
        names: state.keys().cloned().collect(),
        sources: asked.sources,
        preference: None,
        others_follow: false,
        refresh: Refresh::Ours,
        in_the_way: in_the_way.into_iter().collect(),
    };
    Step {
        traces: asked.traces,
        then: asked.restarts.into_iter().map(|unit| Consequence::RestartUnit { unit }).collect(),
        // On deb the package starts the daemon: if it refuses its configuration, that is what to take back.
        blames: Some(daemon_json::TITLE),
        ..Step::new("the engine", vec![want(packages, state)])
    }
}
