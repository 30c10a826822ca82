//! Turns a fresh Linux machine into a working Docker host, and back: the rooms of the house, top down.

pub mod cli;
pub mod smoke;
pub mod ui;

pub mod apply;
pub mod bundle;
pub mod doctor;
pub mod lockfile;
pub mod plan;
pub mod profile;
pub mod render;
pub mod undo;

pub mod receipt;
pub mod steps;

pub mod facts;
pub mod resources;

pub mod addresses;
pub mod daemon_config;
pub mod json;
pub mod trust;
pub mod version;

pub mod host;

pub mod clock;
pub mod error;
pub mod event;
