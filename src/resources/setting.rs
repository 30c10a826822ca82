//! A setting of the running kernel, as sysctl(8) names it: what a boot forgets, and a file remembers.

use super::Resource;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Touch};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `net.ipv4.ip_forward`
    pub name: String,
}

impl Setting {
    fn path(&self) -> PathBuf {
        Path::new("/proc/sys").join(self.name.replace('.', "/"))
    }
}

impl Resource for Setting {
    type State = String;

    fn get(&self, host: &dyn Look) -> Result<String> {
        match host.read_text(&self.path())? {
            Some(text) => Ok(text.trim().to_owned()),
            None => Err(Error::failed(format!("cannot read the setting `{}`", self.name))
                .because("this kernel has no such setting")),
        }
    }

    fn set(&self, state: &String, host: &dyn Touch) -> Result<()> {
        host.run(&Command::new(["sysctl", "-w", &format!("{}={state}", self.name)]))?
            .or_failed(|| format!("cannot set `{}`", self.name))
    }

    fn describe(&self, before: &String, after: &String) -> Vec<Line> {
        vec![Line::change("setting", &self.name, format!("{before} → {after}"))]
    }
}
