//! `rprov status`: do the receipts still hold? What does not is told as doctor tells its findings.

use super::run::Run;
use crate::doctor::drift;
use crate::error::{Exit, Result};
use crate::event::Event;
use crate::receipt::{self, Past};
use std::path::Path;

pub fn status(run: &mut Run) -> Result<Exit> {
    let host = run.host(None);
    let mut receipts: Vec<Past> = receipt::all(Path::new("/"))?;
    // A repair is of its day: what it set moves on, and `doctor` says whether all is well.
    receipts.retain(|past| !past.verb.starts_with("doctor"));
    let changes = receipt::joined(&receipts).len();
    let unfinished = receipts.last().filter(|past| !past.finished());
    if changes == 0 && unfinished.is_none() {
        run.tell(&Event::Note { text: "rprov has changed nothing on this machine".into() });
        return Ok(Exit::Done);
    }
    let drifts = drift::look(&receipts, &host);
    let told = drifts.len();
    for drift in drifts {
        let answer = "drifted".into();
        run.tell(&Event::Undone { step: drift.step, answer, lines: drift.lines, why: None });
        run.tell(&Event::Finding(drift.found));
    }
    if let Some(unfinished) = unfinished {
        run.tell(&Event::Finding(drift::unfinished(unfinished)));
    }
    if told == 0 && unfinished.is_none() {
        run.tell(&Event::Note { text: format!("all {changes} changes are as they were made") });
        return Ok(Exit::Done);
    }
    if told > 0 {
        run.tell(&Event::Note {
            text: format!("{told} of {changes} changes no longer hold as they were made"),
        });
    }
    Ok(Exit::Difference)
}
