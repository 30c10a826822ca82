//! Makes a plan: look again, record, set, look, record, and in the end pay what is owed.

mod second_chance;

use crate::clock::now_us;
use crate::error::{Error, Result};
use crate::event::{Event, Line};
use crate::host::Touch;
use crate::plan::{Plan, Planned};
use crate::receipt::{Entry, Past, Receipt};
use crate::resources::{AnyChange, AnyWant};

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
    let changing: Vec<&Planned> =
        plan.steps.iter().filter(|p| !p.changes.is_empty() || (!plan.is_empty() && follows(p))).collect();
    let mut made = 0;
    for (number, planned) in changing.iter().enumerate() {
        host.tell(Event::Step {
            title: planned.step.title.to_owned(),
            number: number + 1,
            of: changing.len(),
        });
        match step(planned, receipt, host) {
            Ok(count) => made += count,
            Err(error) => made += second_chance::give(planned, plan, receipt, host, error)?,
        }
    }
    Ok(made)
}

/// A unit that runs already may be stopped by what comes before it, an engine that is replaced; a hold follows its
/// package to the new version.
fn follows(planned: &Planned) -> bool {
    planned.step.wants.iter().any(|want| matches!(want, AnyWant::Unit(_) | AnyWant::Hold(_)))
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
/// earlier change of this run stopped is no news, nor is holding on to what it moved.
fn still_as_planned(change: &AnyChange, planned: &Planned) -> Result<()> {
    if matches!(change, AnyChange::Unit(_) | AnyChange::Hold(_)) {
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
