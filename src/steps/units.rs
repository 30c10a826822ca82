//! The engine's units: enabled and running, or in an image enabled.

use super::{Step, daemon_json};
use crate::resources::unit::{Unit, UnitState};
use crate::resources::want;

/// On rpm the packages start nothing, and the daemon comes up here for the first time: if it refuses its configuration,
/// that is what to take back.
pub fn step(units: &[String], state: UnitState, packages_start_nothing: bool) -> Step {
    let unit = |name: &String| want(Unit { name: name.clone() }, state);
    Step {
        blames: packages_start_nothing.then_some(daemon_json::TITLE),
        ..Step::new("the units", units.iter().map(unit).collect())
    }
}
