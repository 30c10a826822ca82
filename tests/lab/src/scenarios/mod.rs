//! The tables of scenarios, a file a theme.

use crate::scenario::Scenario;

pub mod by_hand;

/// All tables.
pub const ALL: &[&[Scenario]] = &[by_hand::ALL];
