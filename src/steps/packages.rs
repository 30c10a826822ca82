//! The engine's packages in, the engines in conflict out, in one transaction.

use super::{Step, daemon_json};
use crate::resources::consequence::Consequence;
use crate::resources::packages::{Manager, Package, Packages, Versions};
use crate::resources::repository::Source;
use crate::resources::trace::Trace;
use crate::resources::want;
use std::collections::{BTreeMap, BTreeSet};

pub const TITLE: &str = "the engine";

/// What the transaction is asked for.
pub struct Asked {
    pub manager: Manager,
    /// The engine's first; none where all of it is the distribution's own.
    pub sources: Vec<Source>,
    pub packages: BTreeMap<String, Versions>,
    /// Removed, not purged: their configuration stays for when they come back.
    pub conflicts: Vec<String>,
    /// Held by an earlier run: it may move.
    pub let_go: BTreeSet<String>,
    pub traces: Vec<Trace>,
    /// The unit that looks for what comes only when it starts.
    pub restarts: Option<String>,
}

pub fn step(asked: Asked) -> Step {
    let in_full = asked.packages.values().any(|versions| versions.along);
    let wanted = asked.packages.into_iter().map(|(name, versions)| (name, Package::Wanted(versions)));
    // dnf is told what may go, and keeps what can stay beside the engine; apt what goes.
    let manager = asked.manager;
    let (gone, in_the_way) = match manager {
        Manager::Apt => (asked.conflicts, Vec::new()),
        Manager::Dnf => (Vec::new(), asked.conflicts),
    };
    let gone = gone.into_iter().map(|name| (name, Package::Removed));
    let state: BTreeMap<String, Package> = gone.chain(wanted).collect();
    let packages = Packages {
        sources: asked.sources,
        in_the_way: in_the_way.into_iter().collect(),
        let_go: asked.let_go,
        in_full,
        ..Packages::of(manager, state.keys().cloned().collect())
    };
    Step {
        traces: asked.traces,
        then: asked.restarts.into_iter().map(|unit| Consequence::RestartUnit { unit }).collect(),
        // On deb the package starts the daemon: if it refuses its configuration, that is what to take back.
        blames: Some(daemon_json::TITLE),
        ..Step::new(TITLE, vec![want(packages, state)])
    }
}
