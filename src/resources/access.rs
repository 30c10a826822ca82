//! Who owns a path and who may use it: the owner, the group and the mode of what is there already.

use super::Resource;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Kind, Look, Owner, Touch};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A file, directory or socket that somebody else made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Access {
    pub path: PathBuf,
}

/// Nothing there has no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    Absent,
    By(Owner),
}

impl Resource for Access {
    type State = Held;

    fn get(&self, host: &dyn Look) -> Result<Held> {
        match host.stat(&self.path)? {
            Some(stat) if stat.kind == Kind::Link => {
                Err(Error::refused(format!("cannot use `{}`", self.path.display())).because("it is a link"))
            }
            Some(stat) => Ok(Held::By(Owner { uid: stat.uid, gid: stat.gid, mode: stat.mode })),
            None => Ok(Held::Absent),
        }
    }

    /// What went away meanwhile has nothing to be given back.
    fn set(&self, state: &Held, host: &dyn Touch) -> Result<()> {
        match (self.get(host)?, state) {
            (now, want) if now == *want => Ok(()),
            (Held::By(_), Held::By(owner)) => host.give(&self.path, *owner),
            _ => Err(Error::failed(format!("cannot change who may use `{}`", self.path.display()))
                .because("it is not there")),
        }
    }

    fn describe(&self, before: &Held, after: &Held) -> Vec<Line> {
        let words = |held: &Held| match held {
            Held::Absent => "absent".to_owned(),
            Held::By(owner) => format!("{}:{} {:04o}", owner.uid, owner.gid, owner.mode),
        };
        let text = format!("{} → {}", words(before), words(after));
        vec![Line::change("access", self.path.display().to_string(), text)]
    }
}
