//! `rprov doctor --fix` and `--undo`: what the findings want is made cause by cause, and taken back.

use super::arguments::{Asked, Changing, Mending};
use super::doctor::examine;
use super::run::{Run, lock};
use crate::clock::now_us;
use crate::doctor::{Class, Fix, Report};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::facts;
use crate::host::local::LocalHost;
use crate::host::{Command, Touch};
use crate::plan::{self, Plan};
use crate::receipt::{self, Entry, Past, Receipt};
use crate::resources::consequence::Consequence;
use crate::resources::unit::Shown;
use crate::resources::{AnyWant, How};
use crate::steps::Step;
use crate::{apply, ui, undo};
use std::path::Path;

/// What the findings want, cause by cause: made, asked, or left to a person. The report is that of afterwards.
///
/// # Errors
/// The first of what could not be made; the other causes were mended all the same.
pub fn mend(
    run: &mut Run,
    asked: &Asked,
    mending: Mending,
    changing: &Changing,
    host: &LocalHost,
) -> Result<Report> {
    super::may_change(&facts::gather(host)?)?;
    host.hear_signals()?;
    let _lock = lock(host)?;
    let earlier = repairs()?;
    receipt::sweep(&earlier, host)?;
    let before = examine(asked, host)?;
    let mut steps = Vec::new();
    for found in &before.findings {
        let Some(fix) = before.fixes.get(found.id) else { continue };
        if let Some(step) = step_of(run, asked, &before, found.id, fix) {
            let made = fix.words.class != Class::Asked
                || refused(run, &step, may(run, &step, &fix.words.text, mending, changing, host))?;
            steps.extend(made.then_some(step));
        }
    }
    if steps.is_empty() && receipt::owed(&earlier).is_empty() {
        return Ok(before);
    }
    let made = make(run, &steps, &earlier, host);
    settle(host)?;
    let after = examine(asked, host)?;
    for found in &before.findings {
        let gone = after
            .findings
            .iter()
            .all(|still| still.id != found.id && !still.consequences.contains(&found.id));
        if gone {
            run.tell(&Event::Check {
                id: found.id.into(),
                ok: true,
                text: format!("{} is mended", found.id),
            });
        }
    }
    made.map(|()| after)
}

/// The receipts of earlier repairs.
fn repairs() -> Result<Vec<Past>> {
    let mut receipts = receipt::all(Path::new("/"))?;
    receipts.retain(|past| past.verb == "doctor");
    Ok(receipts)
}

/// What this cause wants; none where a person has to do it, or has to be named first.
fn step_of(run: &Run, asked: &Asked, report: &Report, id: &'static str, fix: &Fix) -> Option<Step> {
    if fix.words.class == Class::Told || (fix.wants.is_empty() && fix.then.is_empty()) {
        return None;
    }
    if fix.grants && asked.user.is_none() {
        let text = format!("{id}: granted only to a user who is named: --user {}", report.subject.user);
        run.tell(&Event::Note { text });
        return None;
    }
    Some(Step { then: fix.then.clone(), ..Step::new(id, once(&fix.wants)) })
}

/// What is refused to one cause is told, and takes no other along.
fn refused(run: &Run, step: &Step, answer: Result<bool>) -> Result<bool> {
    match answer {
        Err(error) if error.exit == Exit::Refused => {
            tell_of(run, step.title, &error);
            Ok(false)
        }
        answer => answer,
    }
}

fn tell_of(run: &Run, id: &str, error: &Error) {
    let reasons: String = error.reasons().iter().map(|reason| format!(": {reason}")).collect();
    run.tell(&Event::Note { text: format!("{id}: not made: {}{reasons}", error.what()) });
}

/// A socket that restarts starts its daemon behind it: whether that comes up is seen a moment later.
fn settle(host: &LocalHost) -> Result<()> {
    host.forget_answers();
    for _ in 0..30 {
        let unit = Shown::of(host, "docker.service")?;
        if !matches!(unit.get("ActiveState"), "activating" | "deactivating" | "reloading") {
            break;
        }
        host.pause("docker.service")?;
        host.forget_answers();
    }
    Ok(())
}

/// Two causes may want the same of one unit.
fn once(wants: &[AnyWant]) -> Vec<AnyWant> {
    let mut single: Vec<AnyWant> = Vec::new();
    for want in wants {
        if !single.contains(want) {
            single.push(want.clone());
        }
    }
    single
}

/// Shows what one cause wants, and asks.
fn may(
    run: &Run,
    step: &Step,
    text: &str,
    mending: Mending,
    changing: &Changing,
    host: &LocalHost,
) -> Result<bool> {
    let plan = plan::plan(std::slice::from_ref(step), host)?;
    if !run.manner.json && !run.manner.quiet {
        let shown = ui::plan(&plan.shown(), run.manner);
        let then: Vec<String> = step.then.iter().map(|then| format!("    then {then}")).collect();
        let shown = if shown.is_empty() { format!("  {}\n{}", step.title, then.join("\n")) } else { shown };
        run.tell(&Event::Note { text: text.to_owned() });
        ui::answer(&shown);
    }
    if changing.yes && mending == Mending::Ask {
        let text =
            format!("{}: not made: it restarts, grants or removes; `--fix=all --yes` makes it", step.title);
        run.tell(&Event::Note { text });
        return Ok(false);
    }
    match run.may("Make this?", changing, host) {
        // What is safe is made all the same.
        Err(error) if error.exit == Exit::Usage && mending == Mending::Ask => {
            let text = format!("{}: not made: nobody can be asked; `--fix=all --yes` makes it", step.title);
            run.tell(&Event::Note { text });
            Ok(false)
        }
        answer => answer,
    }
}

/// By the same engine as an install, with a receipt of its own. What a repair that was killed still owes is paid, too.
fn make(run: &mut Run, steps: &[Step], earlier: &[Past], host: &LocalHost) -> Result<()> {
    let mut receipt = run.begin_receipt(None)?;
    let mut made = Ok(());
    for step in steps {
        match make_one(step, &mut receipt, host) {
            Ok(()) => {}
            Err(error) if host.interrupted() => {
                made = Err(error);
                break;
            }
            Err(error) => {
                tell_of(run, step.title, &error);
                // A refusal leaves the finding where it is; a failure is the run's.
                let fails = error.exit != Exit::Refused && made.is_ok();
                made = if fails { Err(error) } else { made };
            }
        }
    }
    let made = made.and_then(|()| apply::pay(earlier, &mut receipt, host).map(drop));
    run.changes = receipt::read(receipt.path.clone())?.made();
    let exit = made.as_ref().map_or_else(|error| error.exit, |()| Exit::Done);
    receipt.write(&Entry::Finished { exit: exit as i32, at_us: now_us(), left: Vec::new() })?;
    made
}

/// Each cause is planned on what the one before has left; what it owes is paid at once.
fn make_one(step: &Step, receipt: &mut Receipt, host: &LocalHost) -> Result<()> {
    let plan: Plan = plan::plan(std::slice::from_ref(step), host)?;
    apply::fetch(&plan, host)?;
    if plan.is_empty() {
        for then in &step.then {
            receipt.write(&Entry::Owes { then: then.clone(), at_us: now_us() })?;
        }
    } else {
        apply::apply(&plan, receipt, host)?;
    }
    if step.then.iter().any(|then| matches!(then, Consequence::RestartUnit { .. })) {
        // Three starts in a minute are all that systemd grants, and some were needed to find out.
        host.run(&Command::new(["systemctl", "reset-failed", "docker.service", "docker.socket"]))?;
    }
    apply::pay(&[], receipt, host).map(drop)
}

/// Repairs are taken back here alone: `uninstall` reads other receipts.
pub fn take_back(run: &mut Run, changing: &Changing) -> Result<Exit> {
    let host = run.host(changing.wait);
    super::may_change(&facts::gather(&host)?)?;
    host.hear_signals()?;
    let _lock = lock(&host)?;
    let receipts = repairs()?;
    receipt::sweep(&receipts, &host)?;
    let ways = undo::simulate(&receipts, &host, How::default())?;
    if ways.is_empty() {
        run.tell(&Event::Note { text: "doctor has mended nothing on this machine".into() });
        return Ok(Exit::Done);
    }
    if !changing.yes {
        for way in &ways {
            run.tell(&way.event(false));
        }
        if !run.may("Take this back?", changing, &host)? {
            return Ok(Exit::Done);
        }
    }
    let mut receipt = run.begin_receipt_as("doctor-undo")?;
    let undone = undo::undo(&receipts, &mut receipt, &host, How::default());
    let exit = undone.as_ref().map_or_else(|error| error.exit, |_| Exit::Done);
    receipt.write(&Entry::Finished { exit: exit as i32, at_us: now_us(), left: Vec::new() })?;
    let undone = undone?;
    run.changes = undone.restored;
    if undone.left == 0 {
        // Taken back once: a later repair begins anew, and the host is as if there had been none. An undo that was cut
        // off has left a receipt, too.
        for past in receipt::all(Path::new("/"))?.iter().filter(|past| past.verb.starts_with("doctor")) {
            host.remove(&past.path)?;
        }
        run.receipt = None;
    }
    Ok(Exit::Done)
}
