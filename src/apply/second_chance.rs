//! A step that failed because a unit did not start: what is to blame is taken back, and it is tried once more.

use super::step;
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::host::{Command, Look, Question, Touch};
use crate::plan::{Plan, Planned};
use crate::receipt::{Entry, Receipt};
use crate::resources::unit::{Shown, first_error};
use crate::resources::{AnyChange, AnyWant, AnyWayBack, How};

/// What the second try made, if it could. Whatever else fails in a transaction says nothing about a unit: it stays the
/// error of the run.
///
/// # Errors
/// The first error, with the daemon's own words behind the package manager's. Also where the second try succeeds
/// without the configuration that was asked for: the packages are whole then, and the wish is not met.
pub fn give(
    planned: &Planned,
    plan: &Plan,
    receipt: &mut Receipt,
    host: &dyn Touch,
    error: Error,
) -> Result<usize> {
    let Some(blamed) = planned.step.blames.filter(|_| error.exit == Exit::Failed) else { return Err(error) };
    let failed = failed_units(plan, host);
    let limited = failed.iter().any(|unit| shown(unit, host).get("Result") == "start-limit-hit");
    let error = failed.iter().fold(error, |error, unit| match first_words(unit, host) {
        Some(words) => error.because(words),
        None => error,
    });
    for unit in &failed {
        // Its next start is not refused for the failed ones. Not being able to is told by the start itself.
        let _ = host.run(&Command::new(["systemctl", "reset-failed", unit]));
    }
    let culprit = plan.steps.iter().find(|p| p.step.title == blamed && !p.changes.is_empty());
    match culprit {
        Some(culprit) if !failed.is_empty() => Err(without(culprit, planned, receipt, host, error)),
        // Three starts within a minute, as two upgrades in a row make, and systemd refuses the next.
        None if limited => {
            host.tell(Event::Note { text: format!("`{}` is tried once more", planned.step.title) });
            step(planned, receipt, host).map_err(|_| error)
        }
        _ => Err(error),
    }
}

fn shown(unit: &str, host: &dyn Look) -> Shown {
    Shown::of(host, unit).unwrap_or_default()
}

/// The units of the plan that were started and did not come up.
fn failed_units(plan: &Plan, host: &dyn Look) -> Vec<String> {
    let units = plan.steps.iter().flat_map(|planned| &planned.step.wants).filter_map(|want| match want {
        AnyWant::Unit(want) => Some(want.resource.name.clone()),
        _ => None,
    });
    units.filter(|unit| matches!(shown(unit, host).get("ActiveState"), "failed" | "activating")).collect()
}

fn first_words(unit: &str, host: &dyn Look) -> Option<String> {
    let journal = host.query(&Question::Journal { unit: unit.to_owned() }).ok()?;
    first_error(&journal.stdout).map(str::to_owned)
}

/// Takes the culprit's changes back and tries the step again, so that the host is left whole. Gives back the first error,
/// with what failed on the way.
fn without(
    culprit: &Planned,
    planned: &Planned,
    receipt: &mut Receipt,
    host: &dyn Touch,
    error: Error,
) -> Error {
    let blamed = culprit.step.title;
    for change in culprit.changes.iter().rev() {
        if let Err(second) = take_back(blamed, change, receipt, host) {
            return error.because(format!("taking `{blamed}` back failed too: {second}"));
        }
    }
    let text = format!("`{blamed}` is taken back; `{}` is tried once more", planned.step.title);
    host.tell(Event::Note { text });
    match step(planned, receipt, host) {
        Ok(_) => error,
        Err(second) => error.because(format!("the second try failed too: {}", second.what())),
    }
}

fn take_back(title: &str, change: &AnyChange, receipt: &mut Receipt, host: &dyn Touch) -> Result<()> {
    if let AnyWayBack::Restore { change: back, .. } = change.way_back(host, How::default())? {
        back.make(host)?;
        receipt.write(&Entry::TookBack { step: title.to_owned(), change: change.clone() })?;
    }
    Ok(())
}
