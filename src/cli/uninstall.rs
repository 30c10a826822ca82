//! `rprov uninstall`: takes back what install changed.

use super::arguments::Changing;
use super::resume;
use super::run::{Run, lock};
use crate::clock::now_us;
use crate::error::{Exit, Result};
use crate::event::Event;
use crate::host::Touch;
use crate::receipt::{self, Entry, Past};
use crate::resources::{AnyWayBack, How, apt};
use crate::{facts, undo};
use std::path::Path;

/// The verbs whose receipts this one reads: a repair is taken back by `doctor --undo` alone.
const VERBS: [&str; 2] = ["install", "upgrade"];

pub fn uninstall(run: &mut Run, dry_run: bool, how: How, changing: &Changing) -> Result<Exit> {
    let host = run.host(changing.wait);
    super::may_change_files(&facts::gather(&host)?)?;
    host.hear_signals()?;
    let _lock = lock(&host)?;
    let all = receipt::all(Path::new("/"))?;
    let receipts: Vec<Past> =
        all.iter().filter(|past| VERBS.contains(&past.verb.as_str())).cloned().collect();
    let ways = undo::simulate(&receipts, &host, how)?;
    if ways.is_empty() {
        run.tell(&Event::Note { text: "there is no receipt of an install: nothing to take back".into() });
    }
    if dry_run {
        for way in &ways {
            run.tell(&way.event(false));
        }
        return Ok(Exit::Done);
    }
    receipt::sweep(&all, &host)?;
    if ways.is_empty() {
        resume::disarm(&host)?;
        receipt::forget(Path::new("/"))?;
        return Ok(Exit::Done);
    }
    let restores = ways.iter().filter(|way| matches!(way.back, AnyWayBack::Restore { .. })).count();
    if restores > 0 && !changing.yes {
        for way in &ways {
            run.tell(&way.event(false));
        }
        if !run.may("Take this back?", changing, &host)? {
            return Ok(Exit::Done);
        }
    }
    resume::disarm(&host)?;
    let mut receipt = run.begin_receipt(None)?;
    let undone = undo::undo(&receipts, &mut receipt, &host, how);
    let exit = undone.as_ref().map_or_else(|error| error.exit, |_| Exit::Done);
    receipt.write(&Entry::Finished { exit: exit as i32, at_us: now_us(), left: Vec::new() })?;
    let undone = undone?;
    run.changes = undone.restored;
    finish(run, undone, &host)
}

/// After a complete uninstall nothing of ours is left but what belongs to the administrator, which is named.
fn finish(run: &mut Run, undone: undo::Undone, host: &dyn Touch) -> Result<Exit> {
    if undone.left > 0 {
        let text = format!("{} left to who changed it since; `rprov uninstall --force` insists", undone.left);
        run.tell(&Event::Note { text });
        return Ok(Exit::Done);
    }
    // What a transaction that did not come through has fetched.
    host.remove_all(Path::new(apt::ARCHIVES))?;
    receipt::forget(Path::new("/"))?;
    run.receipt = None;
    let stays: Vec<&str> =
        ["/etc/rprov", "/var/log/rprov"].into_iter().filter(|path| Path::new(path).exists()).collect();
    let but = if undone.kept > 0 { ", but for what is told above" } else { "" };
    let text = format!("this machine is as it was before{but}; {} and the program stay", stays.join(", "));
    run.tell(&Event::Note { text });
    Ok(Exit::Done)
}
