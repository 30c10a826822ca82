//! A module of the running kernel: loaded, or not.

use super::{Change, How, Resource, WayBack};
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Touch};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// By the name under which modprobe(8) knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Module {
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loaded {
    Loaded,
    Absent,
}

/// A driver that wakes eight cards may take its time.
const LOADING: Duration = Duration::from_secs(300);

impl Module {
    fn run(&self, host: &dyn Touch, argv: &[&str]) -> Result<()> {
        let argv: Vec<&str> = argv.iter().copied().chain([self.name.as_str()]).collect();
        let output = host.run(&Command::new(argv).timeout(LOADING))?;
        if output.ok() {
            return Ok(());
        }
        let signed = output.stdout.contains("Key was rejected") || output.stdout.contains("Required key");
        let hint = match signed {
            true => {
                "Secure Boot is on, and nobody that the firmware knows signed the module: mokutil --sb-state"
            }
            false => "journalctl -k -n 50; a module that was not built says why in /var/lib/dkms",
        };
        Err(Error::failed(format!("cannot load or unload the module `{}`", self.name))
            .tail(&output.stdout)
            .hint(hint))
    }
}

impl Resource for Module {
    type State = Loaded;

    fn get(&self, host: &dyn Look) -> Result<Loaded> {
        let directory = PathBuf::from("/sys/module").join(self.name.replace('-', "_"));
        Ok(if host.exists(&directory)? { Loaded::Loaded } else { Loaded::Absent })
    }

    fn set(&self, state: &Loaded, host: &dyn Touch) -> Result<()> {
        match (self.get(host)?, state) {
            (Loaded::Absent, Loaded::Loaded) => self.run(host, &["modprobe"]),
            (Loaded::Loaded, Loaded::Absent) => self.run(host, &["modprobe", "-r"]),
            _ => Ok(()),
        }
    }

    fn describe(&self, before: &Loaded, after: &Loaded) -> Vec<Line> {
        match (before, after) {
            (Loaded::Absent, Loaded::Loaded) => vec![Line::add("module", &self.name, "loaded".to_owned())],
            (Loaded::Loaded, Loaded::Absent) => {
                vec![Line::remove("module", &self.name, "unloaded".to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// Whoever uses a card would lose it under their hands, and the next boot does it anyway.
    fn way_back(&self, _change: &Change<Self>, host: &dyn Look, _how: How) -> Result<WayBack<Loaded>> {
        Ok(match self.get(host)? {
            Loaded::Absent => WayBack::AlreadyAsBefore,
            Loaded::Loaded => {
                WayBack::Kept { why: format!("`{}` stays loaded until the next boot", self.name) }
            }
        })
    }
}
