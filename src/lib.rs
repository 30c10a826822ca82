//! Turns a fresh Linux machine into a working Docker host, and back: the rooms of the house, top down.

pub mod daemon_config;
pub mod error;
pub mod facts;
pub mod host;
pub mod profile;
pub mod resources;
pub mod trust;
pub mod version;
