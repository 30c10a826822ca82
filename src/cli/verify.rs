//! The checks around an install: doctor's own table asked before it begins, and again when all is made.

use super::run::Run;
use crate::doctor::{self, Case, Flag, Report, Severity, Who};
use crate::error::{Error, Result};
use crate::event::{Event, Found};
use crate::facts::{self, Facts};
use crate::host::Look;
use crate::host::local::LocalHost;
use crate::resources::AnyWant;
use crate::steps::Step;

/// The engine's own socket, whatever a variable or a context of root's says.
fn with_roots_eyes(user: Option<&str>) -> Who {
    Who {
        user: user.map(str::to_owned),
        uid: rustix::process::geteuid().as_raw(),
        flag: Some(Flag::Host("unix:///run/docker.sock".into())),
        ..Who::default()
    }
}

/// What speaks against making this host an engine's: told, and where the engine could not be used, refused.
///
/// # Errors
/// A cause that blocks: exit 4, with the way out.
pub fn before(run: &Run, steps: &[Step], facts: &Facts, host: &dyn Look) -> Result<()> {
    // The kernel and all that runs are another machine's.
    if facts.is_image() {
        return Ok(());
    }
    let wants: Vec<AnyWant> = steps.iter().flat_map(|step| step.wants.iter().cloned()).collect();
    let case = Case::new(with_roots_eyes(None), facts, host)?.wanting(&wants);
    let report = doctor::examine(&case, doctor::BEFORE)?;
    let refused = || Error::refused("the engine could not be used on this host as it is");
    told(run, &report).map_or(Ok(()), |blocks| Err(because(refused(), blocks)))
}

/// Whether what was made holds: the units, the socket, the configuration, and each user who was let in.
///
/// # Errors
/// A cause that blocks: exit 1. The changes stay, and `doctor` goes on from there.
pub fn after(run: &Run, users: &[String], host: &LocalHost) -> Result<()> {
    host.forget_answers();
    let facts = facts::gather(host)?;
    let mut fine = 0;
    let mut wrong = 0;
    let of_users = users.iter().map(|user| (Some(user.as_str()), doctor::OF_A_USER));
    for (user, ids) in std::iter::once((None, doctor::AFTER)).chain(of_users) {
        let report = doctor::examine(&Case::new(with_roots_eyes(user), &facts, host)?, ids)?;
        fine += report.fine.len();
        wrong += report.findings.iter().filter(|found| found.severity >= Severity::Warn).count();
        let failed = || Error::failed("docker is installed, and cannot be used");
        told(run, &report).map_or(Ok(()), |blocks| Err(because(failed(), blocks)))?;
    }
    let text = match wrong {
        0 => format!("{fine} of doctor's checks find nothing wrong"),
        _ => format!("{fine} of doctor's checks are fine; `rprov doctor` looks again at the others"),
    };
    run.tell(&Event::Check { id: "doctor".into(), ok: wrong == 0, text });
    Ok(())
}

/// Tells what is worth a warning, and gives back the first that blocks. What could not be looked at is no reason.
fn told<'r>(run: &Run, report: &'r Report) -> Option<&'r Found> {
    for unknown in &report.unknown {
        tracing::debug!("{} could not look: {}", unknown.id, unknown.why);
    }
    let blocks = report.findings.iter().find(|found| found.severity == Severity::Block);
    let lesser = |found: &&Found| found.severity >= Severity::Warn && blocks.is_none_or(|b| b.id != found.id);
    for found in report.findings.iter().filter(lesser) {
        run.tell(&Event::Finding(found.clone()));
    }
    blocks
}

fn because(error: Error, found: &Found) -> Error {
    let error = error.because(format!("{} ({})", found.cause, found.id));
    let error = found.evidence.iter().fold(error, |error, seen| error.because(seen));
    error.hint(found.fix.hint())
}
