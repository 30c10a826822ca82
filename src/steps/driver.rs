//! The driver of a card: its packages, the kernel's own one kept away, and the module loaded where that can be now.

use super::Step;
use crate::resources::file::{File, Node};
use crate::resources::module::{Loaded, Module};
use crate::resources::packages::{Manager, Package, Packages, Versions};
use crate::resources::repository::Source;
use crate::resources::trace::Trace;
use crate::resources::unit::{Unit, UnitState};
use crate::resources::{AnyWant, want};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub const TITLE: &str = "the driver";

/// Nothing but NVIDIA's driver may have the card at the next boot.
pub const BLOCKED: &str = "/etc/modprobe.d/rprov-nouveau.conf";

/// What is asked for.
pub struct Asked {
    pub manager: Manager,
    /// None where the distribution has it.
    pub source: Option<Source>,
    pub packages: BTreeMap<String, Versions>,
    /// A file of dnf's that enables a stream, and its text.
    pub stream: Option<(PathBuf, String)>,
    /// A file of apt's preferences that keeps to a branch, and its text.
    pub preference: Option<(PathBuf, String)>,
    /// What it makes by itself.
    pub made: Vec<PathBuf>,
    /// The kernel's own driver is loaded.
    pub nouveau: bool,
}

pub fn step(asked: Asked) -> Step {
    let state: BTreeMap<String, Package> =
        asked.packages.into_iter().map(|(name, versions)| (name, Package::Wanted(versions))).collect();
    let packages = Packages {
        sources: asked.source.into_iter().collect(),
        preference: asked.preference.clone(),
        // The engine's transaction, unless a reboot comes first.
        others_follow: !asked.nouveau,
        ..Packages::of(asked.manager, state.keys().cloned().collect())
    };
    // Before the packages: they make the initial file system anew, and it is in there.
    let blocked = asked.nouveau.then(|| {
        want(File { path: BLOCKED.into() }, Node::file(include_str!("../../templates/nouveau.conf")))
    });
    let files = asked.stream.into_iter().chain(asked.preference);
    let files = files.map(|(path, text)| want(File { path }, Node::file(text)));
    let wants: Vec<AnyWant> = blocked.into_iter().chain(files).chain([want(packages, state)]).collect();
    let traces = asked.made.into_iter().map(|path| Trace { path, data: false }).collect();
    Step { traces, ..Step::new(TITLE, wants) }
}

/// The modules that containers need; `nvidia-uvm` is loaded by the first program that asks, which a container cannot.
pub fn loaded(units: &[String]) -> Step {
    let module = |name: &str| want(Module { name: name.to_owned() }, Loaded::Loaded);
    let unit = |name: &String| want(Unit { name: name.clone() }, UnitState::RUNNING);
    let wants = ["nvidia", "nvidia-uvm"].into_iter().map(module).chain(units.iter().map(unit));
    Step::new("the driver in the kernel", wants.collect())
}
