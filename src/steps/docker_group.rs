//! The group that may use the engine's socket, before the socket is made: a socket unit without its group fails.

use super::Step;
use crate::resources::group::{Group, Presence};
use crate::resources::want;

pub fn step(group: &str) -> Step {
    Step::new("the docker group", vec![want(Group { name: group.to_owned() }, Presence::Present)])
}
