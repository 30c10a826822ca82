//! The daemon's configuration, in place before the daemon first starts, so that it starts once.

use super::Step;
use super::drop_in::DropIn;
use crate::daemon_config::needs_restart;
use crate::json::KeyPath;
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::json_keys::{Engine, JsonKeys};
use crate::resources::trace::Trace;
use crate::resources::want;
use serde_json::Value;
use std::path::PathBuf;

pub const TITLE: &str = "the daemon's configuration";
pub const FILE: &str = "/etc/docker/daemon.json";

/// What daemon.json is to hold, and what has to be elsewhere for it.
pub struct Asked {
    pub keys: Vec<(KeyPath, Value)>,
    /// How the file is judged; defaults come with it.
    pub engine: Engine,
    pub drop_ins: Vec<DropIn>,
    /// Where the daemon will put its data, and the directories above, that are not there yet.
    pub traces: Vec<Trace>,
}

pub fn step(asked: Asked) -> Step {
    let Asked { keys, engine, drop_ins, traces } = asked;
    if keys.is_empty() && engine.defaults.is_empty() && !engine.to_come {
        return Step::new(TITLE, Vec::new());
    }
    let then = consequences(&keys, &engine, &drop_ins);
    let names = keys.iter().map(|(k, _)| k.clone()).collect();
    let file = JsonKeys { path: PathBuf::from(FILE), keys: names, engine };
    let directory = File { path: PathBuf::from("/etc/docker") };
    let mut wants = vec![want(directory, Node::directory())];
    wants.extend(drop_ins.iter().flat_map(DropIn::wants));
    wants.push(want(file, JsonKeys::want(keys)));
    Step { then, traces, ..Step::new(TITLE, wants) }
}

/// As if all of it changed; a plan owes less where only keys change that a running daemon reads again.
fn consequences(keys: &[(KeyPath, Value)], engine: &Engine, drop_ins: &[DropIn]) -> Vec<Consequence> {
    let unit = engine.unit.clone();
    let restarts =
        needs_restart(keys.iter().map(|(k, _)| k)) || !engine.defaults.is_empty() || !drop_ins.is_empty();
    let own = match restarts {
        true => Consequence::RestartUnit { unit },
        false => Consequence::ReloadUnit { unit },
    };
    let others = drop_ins.iter().filter(|d| d.unit != engine.unit);
    let others = others.map(|d| Consequence::RestartUnit { unit: d.unit.to_owned() });
    let systemd = (!drop_ins.is_empty()).then_some(Consequence::ReloadSystemd);
    systemd.into_iter().chain(others).chain([own]).collect()
}
