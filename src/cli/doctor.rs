//! `rprov doctor`: looks and tells, to people, to programs, and as a page.

use super::arguments::{Asked, Changing, Threshold};
use super::mend;
use super::run::Run;
use crate::doctor::{self, Case, DAEMON_JSON, Flag, Report, Severity, Who, drift, explain};
use crate::error::{Error, Exit, OrFail, Result};
use crate::facts;
use crate::host::Look;
use crate::host::local::LocalHost;
use crate::receipt::{self, Past};
use crate::resources::AnyChange;
use crate::resources::file::Node;
use crate::{json, ui};
use std::io::Read;
use std::path::Path;

pub fn doctor(run: &mut Run, asked: &Asked, changing: &Changing) -> Result<Exit> {
    if asked.list {
        return list(run, asked);
    }
    if let Some(text) = &asked.explain {
        return explained(run, text);
    }
    if asked.undo {
        return mend::take_back(run, changing);
    }
    let host = run.host(changing.wait);
    let report = match asked.fix {
        None => examine(asked, &host)?,
        Some(mending) => mend::mend(run, asked, mending, changing, &host)?,
    };
    if let Some(path) = &asked.html {
        hand_on(&report, asked.with_names, path, &host)?;
    }
    show(run, &report)?;
    let threshold = match asked.fail_on {
        Threshold::Block => Severity::Block,
        Threshold::Degraded => Severity::Degraded,
        Threshold::Warn => Severity::Warn,
        Threshold::Info => Severity::Info,
    };
    Ok(if report.reaches(threshold) { Exit::Difference } else { Exit::Done })
}

/// The report as a page, with the facts and the receipts that belong to it.
fn hand_on(report: &Report, open: bool, path: &Path, host: &LocalHost) -> Result<()> {
    let receipts = receipt::all(Path::new("/")).map_err(|_| "Only root may read the receipts.".to_owned());
    let made: Vec<Past> =
        receipts.iter().flatten().filter(|past| !past.verb.starts_with("doctor")).cloned().collect();
    let read = |path: &str| host.read_text(Path::new(path)).ok().flatten().unwrap_or_default();
    let names = ui::page::names_in(
        &read("/etc/passwd"),
        receipts.as_deref().unwrap_or_default(),
        &report.subject.user,
    );
    let handed = ui::page::Handed {
        report,
        facts: &facts::gather(host)?,
        drifts: drift::look(&made, host).into_iter().map(|drift| drift.found).collect(),
        receipts,
        veil: ui::page::Veil::new(open, &names, Some(&read("/proc/sys/kernel/hostname"))),
        at: jiff::Timestamp::now(),
    };
    ui::page::write(path, &handed.page(), open).or_fail(|| format!("cannot write `{}`", path.display()))
}

/// The variables that docker's command reads, and who called.
fn who(asked: &Asked) -> Who {
    let ours = |name: &str| {
        name.starts_with("DOCKER_")
            || name.to_ascii_lowercase().ends_with("_proxy")
            || ["SUDO_USER", "SUDO_UID", "HOME", "PATH", "XDG_RUNTIME_DIR"].contains(&name)
    };
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| ours(name))?;
        Some((name, value.to_string_lossy().into_owned()))
    });
    Who {
        user: asked.user.clone(),
        uid: rustix::process::geteuid().as_raw(),
        environment: environment.collect(),
        flag: asked.host.clone().map(Flag::Host).or(asked.context.clone().map(Flag::Context)),
        accepted: accepted(),
    }
}

/// The last bytes of daemon.json that a run of ours left, and that the daemon came up with. Without root the receipts
/// are not to be read, and nothing is known.
fn accepted() -> Option<Node> {
    let past = receipt::all(Path::new("/")).unwrap_or_default();
    // What an undo put back may be what was broken before.
    let made = past.iter().filter(|past| past.finished() && VERBS.contains(&past.verb.as_str()));
    let mut nodes = made.flat_map(Past::changes).filter_map(|(_, change)| match change {
        AnyChange::JsonKeys(keys) if keys.resource.path == Path::new(DAEMON_JSON) => keys.after.file,
        AnyChange::File(file) if file.resource.path == Path::new(DAEMON_JSON) => Some(file.after),
        _ => None,
    });
    nodes.rfind(|node| node.bytes().is_some_and(|bytes| json::read(bytes).is_ok()))
}

/// Whose receipts say what the daemon came up with.
const VERBS: [&str; 3] = ["install", "upgrade", "doctor"];

pub(super) fn examine(asked: &Asked, host: &LocalHost) -> Result<Report> {
    let facts = facts::gather(host)?;
    doctor::examine(&Case::new(who(asked), &facts, host)?, &asked.only)
}

fn show(run: &Run, report: &Report) -> Result<()> {
    let text = match run.manner.json {
        true => serde_json::to_string(report).or_fail(|| "cannot write the report".into())?,
        false => ui::doctor::report(report, run.manner),
    };
    if run.manner.json || !run.manner.quiet || !report.findings.is_empty() {
        ui::answer(&text);
    }
    Ok(())
}

fn list(run: &Run, asked: &Asked) -> Result<Exit> {
    let checks = doctor::chosen(&asked.only)?;
    if run.manner.json {
        let rows: Vec<_> = checks
            .iter()
            .map(|check| {
                serde_json::json!({
                    "id": check.id, "severity": check.severity, "asks": check.asks,
                    "root": check.privilege == doctor::Privilege::Root, "depends_on": check.depends_on,
                    "reference": doctor::reference(check.id),
                })
            })
            .collect();
        ui::answer(&serde_json::to_string(&rows).or_fail(|| "cannot write the list".into())?);
    } else {
        ui::answer(&ui::doctor::list(checks.into_iter()));
    }
    Ok(Exit::Done)
}

fn explained(run: &Run, text: &str) -> Result<Exit> {
    let mut said = text.to_owned();
    if text == "-" {
        said.clear();
        let read = std::io::stdin().take(1024 * 1024).read_to_string(&mut said);
        read.or_fail(|| "cannot read the text from standard input".into())?;
    }
    if said.trim().is_empty() {
        return Err(Error::usage("cannot explain nothing").hint("docker ps 2>&1 | rprov doctor --explain -"));
    }
    let known = explain::first(&said);
    let nearest = if known.is_none() { explain::nearest(&said) } else { Vec::new() };
    if run.manner.json {
        let cause = |cause: &explain::Cause| serde_json::json!({ "id": cause.id, "means": cause.says, "fix": cause.mend, "check": checked(cause), "reference": doctor::reference(&cause.id) });
        let answer = serde_json::json!({
            "schema": "rprov.explain/1",
            "cause": known.map(cause),
            "nearest": nearest.into_iter().map(cause).collect::<Vec<_>>(),
        });
        ui::answer(&answer.to_string());
    } else {
        ui::answer(&match known {
            Some(cause) => ui::doctor::explained(cause, checked(cause), run.manner),
            None => ui::doctor::unexplained(&nearest),
        });
    }
    Ok(if known.is_some() { Exit::Done } else { Exit::Difference })
}

fn checked(cause: &explain::Cause) -> bool {
    doctor::checks().any(|check| check.id == cause.id)
}
