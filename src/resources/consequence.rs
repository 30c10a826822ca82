//! What a change owes afterwards: systemd reads its files again, a unit restarts or reloads.

use super::unit::{Shown, Unit, systemd_runs};
use crate::error::Result;
use crate::host::{Command, Look, Touch};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Owed until paid: a run that dies in between leaves it to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "owes")]
pub enum Consequence {
    ReloadSystemd,
    RestartUnit {
        unit: String,
    },
    /// The daemon reads its configuration again, and everything goes on running.
    ReloadUnit {
        unit: String,
    },
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Consequence::ReloadSystemd => write!(f, "systemd reads its unit files again"),
            Consequence::RestartUnit { unit } => write!(f, "{unit} restarts"),
            Consequence::ReloadUnit { unit } => write!(f, "{unit} reads its configuration again"),
        }
    }
}

impl Consequence {
    /// Whether somebody else paid it: the unit has started since (on deb the package itself starts the daemon), or
    /// is not there or not running, so that its next start reads everything anyway.
    pub fn is_paid(&self, since_us: u64, host: &dyn Look) -> Result<bool> {
        match self {
            // In an image the machine's first boot reads everything.
            Consequence::ReloadSystemd => Ok(!systemd_runs(host)?),
            Consequence::RestartUnit { unit } | Consequence::ReloadUnit { unit } => {
                let shown = Shown::of(host, unit)?;
                let running = matches!(shown.get("ActiveState"), "active" | "activating" | "reloading");
                Ok(!running || shown.started_us() > since_us)
            }
        }
    }

    pub fn pay(&self, host: &dyn Touch) -> Result<()> {
        match self {
            Consequence::ReloadSystemd => host
                .run(&Command::new(["systemctl", "daemon-reload"]))?
                .or_failed(|| "cannot make systemd read its unit files again".into()),
            Consequence::ReloadUnit { unit } => host
                .run(&Command::new(["systemctl", "reload", unit]))?
                .or_failed(|| format!("cannot make `{unit}` read its configuration again")),
            Consequence::RestartUnit { unit } => {
                let restart = Command::new(["systemctl", "restart", unit]).timeout(Duration::from_secs(300));
                if host.run(&restart)?.ok() {
                    return Ok(());
                }
                Err(Unit { name: unit.clone() }.failure(host, format!("cannot restart the unit `{unit}`")))
            }
        }
    }
}
