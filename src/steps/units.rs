//! The engine's units, enabled and running.

use super::Step;
use crate::resources::unit::{Unit, UnitState};
use crate::resources::want;

pub fn step(units: &[String]) -> Step {
    let unit = |name: &String| want(Unit { name: name.clone() }, UnitState::RUNNING);
    Step::new("the units", units.iter().map(unit).collect())
}
