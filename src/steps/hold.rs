//! The engine's packages at the version that they have, until somebody moves them on purpose.

use super::Step;
use crate::host::DNF5_LOCKS;
use crate::resources::hold::{Held, Hold};
use crate::resources::packages::Manager;
use crate::resources::trace::Trace;
use crate::resources::want;
use std::collections::BTreeSet;

/// `ours`: held by an earlier run, and held on.
pub fn step(manager: Manager, names: BTreeSet<String>, ours: BTreeSet<String>) -> Step {
    let state = names.iter().map(|name| (name.clone(), Held::HERE)).collect();
    let traces = match manager {
        Manager::Apt => Vec::new(),
        Manager::Dnf => vec![Trace { path: DNF5_LOCKS.into(), data: false }],
    };
    Step { traces, ..Step::new("held packages", vec![want(Hold { manager, names, ours }, state)]) }
}
