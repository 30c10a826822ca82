//! One user's membership in one group.

use super::Resource;
use super::group::Presence;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Question, Touch};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub user: String,
    pub group: String,
}

impl Resource for Member {
    type State = Presence;

    fn get(&self, host: &dyn Look) -> Result<Presence> {
        let answer = host.query(&Question::Getent { database: "group", key: self.group.clone() })?;
        match answer.code {
            0 if members(&answer.stdout).any(|m| m == self.user) => Ok(Presence::Present),
            0 | 2 => Ok(Presence::Absent),
            _ => {
                Err(Error::failed(format!("cannot look up the group `{}`", self.group)).tail(&answer.stderr))
            }
        }
    }

    /// `gpasswd`, not `usermod`: it also takes users whom a directory service knows.
    fn set(&self, state: &Presence, host: &dyn Touch) -> Result<()> {
        if self.get(host)? == *state {
            return Ok(());
        }
        let option = match state {
            Presence::Present => "--add",
            Presence::Absent => "--delete",
        };
        host.run(&Command::new(["gpasswd", option, &self.user, &self.group]))?
            .or_failed(|| format!("cannot change the members of the group `{}`", self.group))
    }

    fn describe(&self, _before: &Presence, after: &Presence) -> Vec<Line> {
        let name = format!("{} in {}", self.user, self.group);
        vec![match after {
            Presence::Present => Line::add("member", name, "may use docker, which is as much as root"),
            Presence::Absent => Line::remove("member", name, "leaves the group"),
        }]
    }
}

/// The members in a line of group(5): `name:x:gid:a,b`.
fn members(line: &str) -> impl Iterator<Item = &str> {
    line.trim_end().rsplit(':').next().unwrap_or_default().split(',')
}

#[cfg(test)]
mod tests {
    #[test]
    fn members_are_read_from_a_group_line() {
        let found: Vec<_> = super::members("docker:x:999:alice,bob\n").collect();
        assert_eq!(found, ["alice", "bob"]);
    }
}
