//! What one distribution needs, as data: the form, the library of profiles, and what the administrator wants of it.

mod archive;
mod config;
mod derivative;
mod document;
mod form;
pub mod gpu;
mod library;
mod mirrors;
mod order;
pub mod preconditions;
mod refusal;
mod settings;
mod site;

pub use archive::{Archive, Keyring};
pub use config::{
    Config, DEFAULT as CONFIG, Engine, Gpu, Key, Registry, Source, SourceName, from_here, wait,
};
pub use derivative::{Derivative, Release};
pub use form::{
    Apt, BaseKey, Condition, Conflicts, Dnf, Fingerprint, Json, KeyPin, Matches, Packages, Profile,
    Repository, Traces, Units,
};
pub use library::{Library, Listed, Origin, SITE, choose, choose_own_engine};
pub use mirrors::mirrors;
pub use order::{rpm_word, source, steps};
pub use settings::{Daemon, Flags, PackageSource, Reader, Settings, Trust};
pub use site::Site;

/// The facts of a host with apt that says this of itself, for the tests of this room.
#[cfg(test)]
fn facts_of(os_release: &str, architecture: &str) -> crate::facts::Facts {
    let host = crate::host::fake::FakeHost::new()
        .file("/etc/os-release", os_release)
        .file("/usr/bin/dpkg", "")
        .answer(crate::host::Question::DpkgArchitecture, architecture);
    crate::facts::gather(&host).expect("gathers")
}
