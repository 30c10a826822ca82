//! A registry for this machine, as a container that systemd starts, from an image that was given.

use super::Step;
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::image::{Image, Loaded};
use crate::resources::unit::{Unit, UnitState};
use crate::resources::want;
use std::path::PathBuf;

pub const UNIT: &str = "rprov-registry.service";
/// Where it listens.
pub const ADDRESS: &str = "127.0.0.1:5000";

pub fn step(image: &Image) -> Step {
    let text = include_str!("../../templates/registry.service").replace("{image}", &image.reference);
    let file = File { path: PathBuf::from(format!("/etc/systemd/system/{UNIT}")) };
    let wants = vec![
        want(image.clone(), Loaded::Present),
        want(file, Node::file(text)),
        want(Unit { name: UNIT.to_owned() }, UnitState::RUNNING),
    ];
    // A unit file that is new is read when the unit is enabled; one that changed is not.
    let then = vec![Consequence::ReloadSystemd, Consequence::RestartUnit { unit: UNIT.to_owned() }];
    Step { then, ..Step::new("the local registry", wants) }
}
