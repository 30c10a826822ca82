//! What one distribution needs, as data: the form, the library of profiles, and what the administrator wants of it.

mod config;
mod derivative;
mod document;
mod form;
pub mod gpu;
mod library;
mod mirrors;
mod order;
mod refusal;
mod settings;
mod site;

pub use config::{Config, DEFAULT as CONFIG, Gpu, Key, Registry, Source, SourceName, wait};
pub use derivative::{Derivative, Release};
pub use form::{
    Apt, BaseKey, Condition, Conflicts, Dnf, Fingerprint, Json, KeyPin, Matches, Packages, Profile,
    Repository, Traces, Units,
};
pub use library::{Library, Listed, Origin, SITE, choose};
pub use mirrors::mirrors;
pub use order::{source, steps};
pub use settings::{Daemon, Flags, PackageSource, Reader, Settings, Trust};
pub use site::Site;
