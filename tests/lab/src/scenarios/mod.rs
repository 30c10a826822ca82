//! The tables of scenarios, a file a theme.

use crate::scenario::Scenario;

pub mod by_hand;
mod common;
mod interruption;
mod json_stream;
mod refusals;
mod trust;
mod waiting;

/// All tables.
pub const ALL: &[&[Scenario]] =
    &[by_hand::ALL, trust::ALL, waiting::ALL, interruption::ALL, refusals::ALL, json_stream::ALL];
