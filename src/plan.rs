//! The difference between what the steps want and what the host shows, in order.

use crate::daemon_config::needs_restart;
use crate::error::Result;
use crate::event::{Line, PlannedStep, Sign};
use crate::host::Look;
use crate::resources::consequence::Consequence;
use crate::resources::packages::{Manager, Needs, Packages};
use crate::resources::trace::Seen;
use crate::resources::{AnyChange, AnyWant, Change, Resource};
use crate::steps::Step;

/// Where drop-ins are.
const UNITS: &str = "/etc/systemd/system";

/// The changes of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub step: Step,
    pub traces: Vec<AnyChange>,
    pub changes: Vec<AnyChange>,
    /// What is owed afterwards to units that run now, in words.
    pub told: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub steps: Vec<Planned>,
}

/// Looks at every want. Holds only a `Look`, so that a plan changes nothing.
pub fn plan(steps: &[Step], host: &dyn Look) -> Result<Plan> {
    let mut plan = Plan::default();
    for step in steps {
        let mut changes = Vec::new();
        for want in &step.wants {
            changes.extend(want.plan(host)?);
        }
        let mut step = step.clone();
        step.then = owed(&step, &changes);
        let traces = if changes.is_empty() { Vec::new() } else { traces(&step, host)? };
        let told = if changes.is_empty() { Vec::new() } else { told(&step.then, host)? };
        plan.steps.push(Planned { step, traces, changes, told });
    }
    Ok(plan)
}

/// Of what the daemon's configuration could owe as a whole, what these changes of it do: a unit restarts for its own
/// drop-in, and for keys that it does not read again at a signal.
fn owed(step: &Step, changes: &[AnyChange]) -> Vec<Consequence> {
    if !step.wants.iter().any(|want| matches!(want, AnyWant::JsonKeys(_))) {
        return step.then.clone();
    }
    let drop_in_of = |name: &str| {
        let below = |change: &AnyChange| matches!(change, AnyChange::File(file) if file.resource.path.starts_with(format!("{UNITS}/{name}")));
        changes.iter().any(below)
    };
    let keys = changes.iter().find_map(|change| match change {
        AnyChange::JsonKeys(keys) => Some((&keys.resource.engine.unit, keys.changed_keys())),
        _ => None,
    });
    let owed = |then: &Consequence| match then {
        Consequence::ReloadSystemd => drop_in_of("").then_some(Consequence::ReloadSystemd),
        Consequence::RestartUnit { unit } | Consequence::ReloadUnit { unit } => match &keys {
            _ if drop_in_of(&format!("{unit}.d")) => Some(Consequence::RestartUnit { unit: unit.clone() }),
            Some((reader, keys)) if *reader == unit && needs_restart(keys) => {
                Some(Consequence::RestartUnit { unit: unit.clone() })
            }
            Some((reader, _)) if *reader == unit => Some(Consequence::ReloadUnit { unit: unit.clone() }),
            _ => None,
        },
    };
    step.then.iter().filter_map(owed).collect()
}

/// Only of units that run: the others read everything at their start.
fn told(then: &[Consequence], host: &dyn Look) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for then in then.iter().filter(|then| !matches!(then, Consequence::ReloadSystemd)) {
        if !then.is_paid(u64::MAX, host)? {
            told.push(then.to_string());
        }
    }
    Ok(told)
}

/// The traces that are worth remembering: what was absent, and whether data was there before.
fn traces(step: &Step, host: &dyn Look) -> Result<Vec<AnyChange>> {
    let mut changes = Vec::new();
    for trace in &step.traces {
        let before = trace.get(host)?;
        if before == Seen::Absent || trace.data {
            changes.push(AnyChange::Trace(Change { resource: trace.clone(), before, after: Seen::Anything }));
        }
    }
    Ok(changes)
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|planned| planned.changes.is_empty())
    }

    /// Whether an engine that runs is replaced or restarts on the way.
    pub fn stops_the_engine(&self) -> bool {
        let changing = || self.steps.iter().filter(|planned| !planned.changes.is_empty());
        let restarts = changing()
            .flat_map(|planned| &planned.step.then)
            .any(|then| matches!(then, Consequence::RestartUnit { .. }));
        let replaced = changing()
            .flat_map(|planned| &planned.changes)
            .filter(|change| matches!(change, AnyChange::Packages(_)))
            .flat_map(AnyChange::describe)
            .any(|line| line.sign != Sign::Add);
        restarts || replaced
    }

    fn transactions(&self) -> impl Iterator<Item = &Change<Packages>> {
        self.steps.iter().flat_map(|planned| &planned.changes).filter_map(|change| match change {
            AnyChange::Packages(change) => Some(change),
            _ => None,
        })
    }

    /// By whom packages come, or come anew; none where none do.
    pub fn brings_packages(&self) -> Option<Manager> {
        let brings = |change: &&Change<Packages>| {
            change
                .resource
                .describe(&change.before, &change.after)
                .iter()
                .any(|line| line.sign != Sign::Remove)
        };
        self.transactions().find(brings).map(|change| change.resource.manager)
    }

    /// The room that they take.
    pub fn needs(&self) -> Needs {
        self.transactions().map(|change| change.resource.needs).fold(Needs::default(), |all, one| Needs {
            download: all.download + one.download,
            installed: all.installed + one.installed,
        })
    }

    /// The packages that go to an older version.
    pub fn downgrades(&self) -> Vec<String> {
        self.steps.iter().flat_map(|planned| &planned.changes).flat_map(AnyChange::downgrades).collect()
    }

    /// For people and for `--json`: only the steps that change something.
    pub fn shown(&self) -> Vec<PlannedStep> {
        let changing = self.steps.iter().filter(|planned| !planned.changes.is_empty());
        changing
            .map(|planned| PlannedStep {
                title: planned.step.title.to_owned(),
                lines: planned.changes.iter().flat_map(|change| change.describe()).collect(),
                then: planned.told.clone(),
            })
            .collect()
    }

    pub fn lines(&self) -> Vec<Line> {
        self.shown().into_iter().flat_map(|step| step.lines).collect()
    }
}
