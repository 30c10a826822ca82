//! The daemon's configuration, in place before the daemon first starts, so that it starts once.

use super::Step;
use crate::daemon_config::needs_restart;
use crate::json::KeyPath;
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::json_keys::{Engine, JsonKeys};
use crate::resources::want;
use serde_json::Value;
use std::path::PathBuf;

pub const TITLE: &str = "the daemon's configuration";
const FILE: &str = "/etc/docker/daemon.json";

/// `keys` are those asked for; defaults come with the engine.
pub fn step(keys: Vec<(KeyPath, Value)>, engine: Engine, unit: &str) -> Step {
    if keys.is_empty() && engine.defaults.is_empty() && !engine.to_come {
        return Step::new(TITLE, Vec::new());
    }
    let file =
        JsonKeys { path: PathBuf::from(FILE), keys: keys.iter().map(|(k, _)| k.clone()).collect(), engine };
    let directory = File { path: PathBuf::from("/etc/docker") };
    let unit = unit.to_owned();
    let then = match needs_restart(file.keys.iter()) || !file.engine.defaults.is_empty() {
        true => Consequence::RestartUnit { unit },
        false => Consequence::ReloadUnit { unit },
    };
    Step {
        then: vec![then],
        ..Step::new(TITLE, vec![want(directory, Node::directory()), want(file, JsonKeys::want(keys))])
    }
}
