//! The named users in the docker group: only who is named, for it is as much as root.

use super::Step;
use crate::resources::group::Presence;
use crate::resources::member::Member;
use crate::resources::want;

pub fn step(users: &[String], group: &str) -> Step {
    let member =
        |user: &String| want(Member { user: user.clone(), group: group.to_owned() }, Presence::Present);
    Step::new("who may use docker", users.iter().map(member).collect())
}
