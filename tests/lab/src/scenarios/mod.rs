//! The tables of scenarios, a file a theme.

use crate::scenario::Scenario;

mod adoption;
mod boxes;
pub mod by_hand;
pub mod by_hand_dnf;
mod common;
mod daemon_json;
mod derivatives;
mod dnf;
mod doctor;
mod interruption;
mod json_stream;
mod main_job;
mod product;
mod refusals;
mod site_daemon;
mod sites;
mod trust;
mod uninstall;
mod waiting;

/// All tables.
pub const ALL: &[&[Scenario]] = &[
    by_hand::ALL,
    by_hand_dnf::ALL,
    main_job::ALL,
    derivatives::ALL,
    dnf::ALL,
    doctor::ALL,
    adoption::ALL,
    daemon_json::ALL,
    uninstall::ALL,
    trust::ALL,
    waiting::ALL,
    interruption::ALL,
    refusals::ALL,
    json_stream::ALL,
    sites::ALL,
    site_daemon::ALL,
    boxes::ALL,
];
