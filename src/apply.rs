//! Makes a plan: look again, record, set, look, record, and in the end pay what is owed.

use crate::clock::now_us;
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Line};
use crate::host::{Command, Look, Question, Touch};
use crate::plan::{Plan, Planned};
use crate::receipt::{Entry, Past, Receipt};
use crate::resources::consequence::Consequence;
use crate::resources::unit::{Shown, first_error};
use crate::resources::{AnyChange, AnyWant, AnyWayBack, How};

/// Fetches all that the plan's changes need. The host is as it was until everything is here and is what was signed.
///
/// # Errors
/// Something is not to be had (exit 5) or not what was signed (exit 4), or a signal ended it: nothing was changed.
pub fn fetch(plan: &Plan, host: &dyn Touch) -> Result<()> {
    for change in plan.steps.iter().flat_map(|planned| &planned.changes) {
        change.fetch(host)?;
    }
    Ok(())
}

/// Makes the plan's changes, and never more than it showed. Returns how many were made.
///
/// # Errors
/// The first failure ends the run; the receipt then says what was done, and the next run goes on from there.
pub fn apply(plan: &Plan, receipt: &mut Receipt, host: &dyn Touch) -> Result<usize> {
    // A unit that runs already may be stopped by what comes before it: an engine that is replaced.
    let changing: Vec<&Planned> =
        plan.steps.iter().filter(|p| !p.changes.is_empty() || (!plan.is_empty() && has_units(p))).collect();
    let mut made = 0;
    for (number, planned) in changing.iter().enumerate() {
        host.tell(Event::Step {
            title: planned.step.title.to_owned(),
            number: number + 1,
            of: changing.len(),
        });
        match step(planned, receipt, host) {
            Ok(count) => made += count,
            Err(error) => return Err(take_back_the_blamed(planned, plan, receipt, host, error)),
        }
    }
    Ok(made)
}

fn has_units(planned: &Planned) -> bool {
    planned.step.wants.iter().any(|want| matches!(want, AnyWant::Unit(_)))
}

fn step(planned: &Planned, receipt: &mut Receipt, host: &dyn Touch) -> Result<usize> {
    let title = planned.step.title.to_owned();
    // Traces go first: only before the software runs can it be seen that they were absent.
    for trace in &planned.traces {
        receipt.write(&Entry::Will { step: title.clone(), change: trace.clone() })?;
    }
    let mut made = 0;
    for want in &planned.step.wants {
        let Some(change) = want.plan(host)? else { continue };
        still_as_planned(&change, planned)?;
        receipt.write(&Entry::Will { step: title.clone(), change: change.clone() })?;
        for then in &planned.step.then {
            receipt.write(&Entry::Owes { then: then.clone(), at_us: now_us() })?;
        }
        let did = change.make(host)?;
        receipt.write(&Entry::Did { step: title.clone(), change: did.clone(), at_us: now_us() })?;
        host.tell(Event::Changed { step: title.clone(), lines: did.describe() });
        made += 1;
        if host.interrupted() {
            return Err(Error::interrupted());
        }
    }
    record_what_came_by_itself(planned, receipt, host)?;
    Ok(made)
}

/// On deb the package itself enables and starts the units that the plan showed: so they are ours to take back, though
/// nothing was left to do.
fn record_what_came_by_itself(planned: &Planned, receipt: &mut Receipt, host: &dyn Touch) -> Result<()> {
    let recorded = crate::receipt::read(receipt.path.clone())?.changes();
    for change in planned.changes.iter().filter(|change| matches!(change, AnyChange::Unit(_))) {
        if !recorded.iter().any(|(_, made)| made.same(change)) && change.drift(host)?.is_none() {
            let (step, change) = (planned.step.title.to_owned(), change.clone());
            receipt.write(&Entry::Will { step: step.clone(), change: change.clone() })?;
            receipt.write(&Entry::Did { step, change, at_us: now_us() })?;
        }
    }
    Ok(())
}

/// Apply may do less than the plan showed, never more: every line must have been shown. Starting a unit that an
/// earlier change of this run stopped is no news.
fn still_as_planned(change: &AnyChange, planned: &Planned) -> Result<()> {
    if matches!(change, AnyChange::Unit(_)) {
        return Ok(());
    }
    let shown: Vec<Line> = planned.changes.iter().flat_map(AnyChange::describe).collect();
    let news: Vec<String> = change
        .describe()
        .into_iter()
        .filter(|line| !shown.iter().any(|shown| shown == line || is_rest_of(line, shown)))
        .map(|line| format!("{} {} {}", line.sign.glyph(), line.name, line.text))
        .collect();
    if news.is_empty() {
        return Ok(());
    }
    Err(Error::failed("the host moved under the plan")
        .because(news.join(", "))
        .hint("run the same command again: it plans anew"))
}

/// A package that was shown to come, and came, but was not configured yet.
fn is_rest_of(line: &Line, shown: &Line) -> bool {
    line.kind == "package" && line.name == shown.name && line.text == format!("{}, configured", shown.text)
}

/// A step that fails because of what an earlier step wrote: that is taken back, and the step gets a second chance to
/// leave the host whole. The run fails with the first error all the same.
fn take_back_the_blamed(
    planned: &Planned,
    plan: &Plan,
    receipt: &mut Receipt,
    host: &dyn Touch,
    error: Error,
) -> Error {
    let Some(blamed) = planned.step.blames else { return error };
    let Some(culprit) = plan.steps.iter().find(|p| p.step.title == blamed && !p.changes.is_empty()) else {
        return error;
    };
    if error.exit != Exit::Failed || !did_not_start(culprit, host) {
        return error;
    }
    let mut told = why_it_did_not_start(culprit, host, error);
    for change in culprit.changes.iter().rev() {
        if let Err(second) = take_back(blamed, change, receipt, host) {
            return told.because(format!("taking `{blamed}` back failed too: {second}"));
        }
    }
    host.tell(Event::Note {
        text: format!("`{blamed}` is taken back; `{}` is tried once more", planned.step.title),
    });
    if let Err(second) = step(planned, receipt, host) {
        told = told.because(format!("the second try failed too: {}", second.what()));
    }
    told
}

/// Whether a unit that reads what the culprit wrote was started and did not come up. Whatever else fails in a
/// transaction says nothing about a configuration.
fn did_not_start(culprit: &Planned, host: &dyn Look) -> bool {
    culprit.step.then.iter().filter_map(Consequence::unit).any(|unit| {
        let shown = Shown::of(host, unit).unwrap_or_default();
        matches!(shown.get("ActiveState"), "failed" | "activating")
    })
}

/// The daemon's own first error, behind the package manager's; and its next start is not refused for the failed ones.
fn why_it_did_not_start(culprit: &Planned, host: &dyn Touch, error: Error) -> Error {
    let mut error = error;
    for unit in culprit.step.then.iter().filter_map(Consequence::unit) {
        let journal = host.query(&Question::Journal { unit: unit.to_owned() }).unwrap_or_default();
        if let Some(first) = first_error(&journal.stdout) {
            error = error.because(first);
        }
        // Not being able to is told by the start itself.
        let _ = host.run(&Command::new(["systemctl", "reset-failed", unit]));
    }
    error
}

fn take_back(title: &str, change: &AnyChange, receipt: &mut Receipt, host: &dyn Touch) -> Result<()> {
    if let AnyWayBack::Restore { change: back, .. } = change.way_back(host, How::default())? {
        back.make(host)?;
        receipt.write(&Entry::TookBack { step: title.to_owned(), change: change.clone() })?;
    }
    Ok(())
}

/// Pays what this receipt and earlier ones owe; what somebody paid already is only noted.
pub fn pay(earlier: &[Past], receipt: &mut Receipt, host: &dyn Touch) -> Result<usize> {
    let mut receipts = earlier.to_vec();
    receipts.push(crate::receipt::read(receipt.path.clone())?);
    let owed = crate::receipt::owed(&receipts);
    for (then, since_us) in &owed {
        if !then.is_paid(*since_us, host)? {
            then.pay(host)?;
            host.tell(Event::Note { text: then.to_string() });
        }
        receipt.write(&Entry::Paid { then: then.clone() })?;
    }
    Ok(owed.len())
}
