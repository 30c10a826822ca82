//! The lab: base systems, identities, a signed mirror and booted hosts, for scenarios that try rprov for real.

pub mod archive;
pub mod base;
pub mod bench;
pub mod cache;
pub mod cargo;
pub mod debs;
pub mod dnf_archive;
pub mod dnf_base;
pub mod dnf_identity;
pub mod dnf_root;
pub mod docker_rpms;
pub mod host;
pub mod identity;
pub mod keys;
pub mod lab;
pub mod log;
pub mod mirror;
pub mod net;
pub mod packages;
pub mod process;
pub mod release;
pub mod rpm;
pub mod rpm_mirror;
pub mod run;
pub mod scenario;
pub mod scenarios;
pub mod server;
pub mod sh;
pub mod tree;

pub use host::Host;
pub use identity::Identity;
pub use lab::Lab;
pub use run::Output;
pub use scenario::Scenario;
