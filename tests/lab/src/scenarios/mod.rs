//! The tables of scenarios, a file a theme.

use crate::scenario::Scenario;

mod adoption;
mod ansible;
mod boxes;
mod bundle;
mod bundle_dnf;
mod bundle_fetch;
pub mod by_hand;
pub mod by_hand_dnf;
mod card;
pub mod card_by_hand;
mod common;
mod daemon_json;
mod derivatives;
mod dnf;
mod dnf_more;
mod doctor;
mod doctor_gpu;
mod doctor_more;
mod doctor_page;
mod gate;
mod gpu;
mod gpu_daemon_json;
mod gpu_driver;
mod gpu_image;
mod gpu_resume;
mod holds;
mod interruption;
mod json_stream;
mod locks;
mod main_job;
mod own_engine;
mod preconditions;
mod product;
mod refusals;
mod site_daemon;
mod sites;
mod trust;
mod unattended;
mod uninstall;
mod waiting;

/// All tables.
pub const ALL: &[&[Scenario]] = &[
    by_hand::ALL,
    by_hand_dnf::ALL,
    main_job::ALL,
    derivatives::ALL,
    dnf::ALL,
    dnf_more::ALL,
    locks::ALL,
    doctor::ALL,
    doctor_more::ALL,
    doctor_page::ALL,
    doctor_gpu::ALL,
    adoption::ALL,
    daemon_json::ALL,
    uninstall::ALL,
    trust::ALL,
    waiting::ALL,
    interruption::ALL,
    holds::ALL,
    own_engine::ALL,
    preconditions::ALL,
    refusals::ALL,
    json_stream::ALL,
    sites::ALL,
    site_daemon::ALL,
    boxes::ALL,
    unattended::ALL,
    bundle::ALL,
    bundle_dnf::ALL,
    bundle_fetch::ALL,
    ansible::ALL,
    card::ALL,
    gpu::ALL,
    gpu_driver::ALL,
    gpu_image::ALL,
    gpu_daemon_json::ALL,
    gpu_resume::ALL,
];
