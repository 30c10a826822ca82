//! `rprov status`: do the receipts still hold?

use super::run::Run;
use crate::error::{Exit, Result};
use crate::event::{Event, Line, Sign};
use crate::receipt::{self, Past};
use std::path::Path;

pub fn status(run: &mut Run) -> Result<Exit> {
    let host = run.host(None);
    let mut receipts: Vec<Past> = receipt::all(Path::new("/"))?;
    // A repair is of its day: what it set moves on, and `doctor` says whether all is well.
    receipts.retain(|past| !past.verb.starts_with("doctor"));
    let changes = receipt::joined(&receipts);
    let unfinished = receipts.last().filter(|past| !past.finished());
    if changes.is_empty() && unfinished.is_none() {
        run.tell(&Event::Note { text: "rprov has changed nothing on this machine".into() });
        return Ok(Exit::Done);
    }
    let mut drifted = 0;
    for (step, change) in &changes {
        if let Some(lines) = change.drift(&host)? {
            drifted += 1;
            run.tell(&Event::Undone { step: step.clone(), answer: "drifted".into(), lines, why: None });
        }
    }
    for (then, _) in receipt::owed(&receipts) {
        drifted += 1;
        let line = Line {
            sign: Sign::Change,
            kind: "consequence",
            name: then.to_string(),
            text: "is still owed".into(),
        };
        run.tell(&Event::Undone {
            step: "owed".into(),
            answer: "drifted".into(),
            lines: vec![line],
            why: None,
        });
    }
    if let Some(unfinished) = unfinished {
        drifted += 1;
        let text = format!("the last {} did not come to its end; run it again", unfinished.verb);
        run.tell(&Event::Note { text });
    }
    if drifted == 0 {
        run.tell(&Event::Note { text: format!("all {} changes are as they were made", changes.len()) });
        return Ok(Exit::Done);
    }
    Ok(Exit::Difference)
}
