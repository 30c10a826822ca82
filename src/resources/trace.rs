//! A path that the software makes by itself: absent before, anything after, taken back only if it was absent.

use super::{Change, How, Resource, WayBack};
use crate::error::Result;
use crate::event::Line;
use crate::host::{Kind, Look, Touch};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    pub path: PathBuf,
    /// People's images, containers and volumes: they stay unless `--purge-data`.
    #[serde(default)]
    pub data: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    Absent,
    Anything,
}

impl Resource for Trace {
    type State = Seen;

    fn get(&self, host: &dyn Look) -> Result<Seen> {
        Ok(if host.exists(&self.path)? { Seen::Anything } else { Seen::Absent })
    }

    /// The software makes it; we only ever take it away.
    fn set(&self, state: &Seen, host: &dyn Touch) -> Result<()> {
        match state {
            Seen::Anything => Ok(()),
            Seen::Absent => host.remove_all(&self.path),
        }
    }

    fn meets(now: &Seen, want: &Seen) -> bool {
        *want == Seen::Anything || now == want
    }

    fn describe(&self, before: &Seen, after: &Seen) -> Vec<Line> {
        let name = self.path.display().to_string();
        match (before, after) {
            (Seen::Absent, Seen::Anything) => vec![Line::add("trace", name, "made by the software itself")],
            (_, Seen::Absent) if self.data => vec![Line::remove("data", name, "images, containers, volumes")],
            (_, Seen::Absent) => vec![Line::remove("trace", name, "made by the software itself")],
            _ => Vec::new(),
        }
    }

    /// What came first stays first: the earliest look says whether it was absent.
    fn join(earlier: Change<Self>, _later: Change<Self>) -> Change<Self> {
        earlier
    }

    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Seen>> {
        let now = self.get(host)?;
        if now == Seen::Absent || (!self.data && change.before == Seen::Anything) {
            return Ok(WayBack::AlreadyAsBefore);
        }
        if !self.data
            && let Some(path) = first_file(&self.path, host)?
        {
            return Ok(WayBack::Kept { why: format!("somebody put `{}` there", path.display()) });
        }
        let restore = WayBack::Restore { now, to: Seen::Absent, told: Vec::new() };
        Ok(match (self.data, how.purge_data, change.before) {
            (false, ..) | (true, true, Seen::Absent) => restore,
            (true, false, _) => WayBack::Kept {
                why: format!(
                    "`{}` holds images, containers and volumes; `--purge-data{}` removes it",
                    self.path.display(),
                    if change.before == Seen::Absent { "" } else { " --force" }
                ),
            },
            (true, true, Seen::Anything) if how.force => restore,
            (true, true, Seen::Anything) => WayBack::Kept {
                why: format!(
                    "`{}` was there before the install; `--purge-data --force` removes it",
                    self.path.display()
                ),
            },
        })
    }
}

/// The first file below a directory: the software makes empty ones, people put things into them.
fn first_file(path: &Path, host: &dyn Look) -> Result<Option<PathBuf>> {
    if host.stat(path)?.is_none_or(|stat| stat.kind != Kind::Directory) {
        return Ok(None);
    }
    for name in host.list(path)? {
        let below = path.join(name);
        match host.stat(&below)?.map(|stat| stat.kind) {
            Some(Kind::Directory) => {
                if let Some(found) = first_file(&below, host)? {
                    return Ok(Some(found));
                }
            }
            Some(_) => return Ok(Some(below)),
            None => {}
        }
    }
    Ok(None)
}
