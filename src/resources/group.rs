//! A system group in `/etc/group`.

use super::Resource;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Question, Touch};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
}

/// Whether the group is there. Its number is the host's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    Absent,
    Present,
}

impl Resource for Group {
    type State = Presence;

    /// By the host's `getent`: a group may live in a directory service.
    fn get(&self, host: &dyn Look) -> Result<Presence> {
        let answer = host.query(&Question::Getent { database: "group", key: self.name.clone() })?;
        match answer.code {
            0 => Ok(Presence::Present),
            2 => Ok(Presence::Absent),
            _ => Err(Error::failed(format!("cannot look up the group `{}`", self.name)).tail(&answer.stderr)),
        }
    }

    fn set(&self, state: &Presence, host: &dyn Touch) -> Result<()> {
        if self.get(host)? == *state {
            return Ok(());
        }
        let command = match state {
            Presence::Present => Command::new(["groupadd", "--system", &self.name]),
            Presence::Absent => Command::new(["groupdel", &self.name]),
        };
        host.run(&command)?
            .or_failed(|| format!("cannot make the group `{}` {state:?}", self.name).to_lowercase())
    }

    fn describe(&self, _before: &Presence, after: &Presence) -> Vec<Line> {
        vec![match after {
            Presence::Present => Line::add("group", &self.name, "system group"),
            Presence::Absent => Line::remove("group", &self.name, "system group"),
        }]
    }
}
