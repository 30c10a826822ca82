//! `rprov doctor`: looks, tells, and makes or takes back what is wanted of it.

use super::arguments::{Asked, Changing, Mending, Threshold};
use super::run::{Run, lock};
use crate::clock::now_us;
use crate::doctor::{self, Case, Class, DAEMON_JSON, Flag, Report, Severity, Who, explain};
use crate::error::{Error, Exit, OrFail, Result};
use crate::event::Event;
use crate::facts;
use crate::host::local::LocalHost;
use crate::host::{Command, Touch};
use crate::plan::{self, Plan};
use crate::receipt::{self, Entry, Past};
use crate::resources::consequence::Consequence;
use crate::resources::file::Node;
use crate::resources::unit::Shown;
use crate::resources::{AnyChange, How};
use crate::steps::Step;
use crate::{apply, json, ui, undo};
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
        return take_back(run, changing);
    }
    let host = run.host(changing.wait);
    let report = match asked.fix {
        None => examine(asked, &host)?,
        Some(mending) => mend(run, asked, mending, changing, &host)?,
    };
    if let Some(path) = &asked.html {
        std::fs::write(path, ui::html::page(&report, &facts::gather(&host)?, asked.with_names))
            .or_fail(|| format!("cannot write `{}`", path.display()))?;
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

fn examine(asked: &Asked, host: &LocalHost) -> Result<Report> {
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

/// What the findings want, cause by cause: made, asked, or left to a person.
fn mend(
    run: &mut Run,
    asked: &Asked,
    mending: Mending,
    changing: &Changing,
    host: &LocalHost,
) -> Result<Report> {
    super::may_change(&facts::gather(host)?)?;
    host.hear_signals()?;
    let _lock = lock(host)?;
    let before = examine(asked, host)?;
    let mut steps = Vec::new();
    for found in &before.findings {
        let Some(fix) = before.fixes.get(found.id) else { continue };
        if fix.words.class == Class::Told || (fix.wants.is_empty() && fix.then.is_empty()) {
            continue;
        }
        if fix.grants && asked.user.is_none() {
            let text =
                format!("{}: granted only to a user who is named: --user {}", found.id, before.subject.user);
            run.tell(&Event::Note { text });
            continue;
        }
        let step = Step { then: fix.then.clone(), ..Step::new(found.id, once(&fix.wants)) };
        if fix.words.class == Class::Asked && !may(run, &step, &fix.words.text, mending, changing, host)? {
            continue;
        }
        steps.push(step);
    }
    if steps.is_empty() {
        return Ok(before);
    }
    make(run, &steps, host)?;
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
    Ok(after)
}

/// A socket that restarts starts its daemon behind it: whether that comes up is seen a moment later.
fn settle(host: &LocalHost) -> Result<()> {
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
fn once(wants: &[crate::resources::AnyWant]) -> Vec<crate::resources::AnyWant> {
    let mut single: Vec<crate::resources::AnyWant> = Vec::new();
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

/// By the same engine as an install, with a receipt of its own.
fn make(run: &mut Run, steps: &[Step], host: &LocalHost) -> Result<()> {
    let mut receipt = run.begin_receipt(None)?;
    let made = make_all(steps, &mut receipt, host);
    run.changes = receipt::read(receipt.path.clone())?.made();
    let exit = made.as_ref().map_or_else(|error| error.exit, |()| Exit::Done);
    receipt.write(&Entry::Finished { exit: exit as i32, at_us: now_us(), left: Vec::new() })?;
    made
}

/// Each cause is planned on what the one before has left; what it owes is paid at once.
fn make_all(steps: &[Step], receipt: &mut receipt::Receipt, host: &LocalHost) -> Result<()> {
    for step in steps {
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
        apply::pay(&[], receipt, host)?;
    }
    Ok(())
}

/// Repairs are taken back here alone: `uninstall` reads other receipts.
fn take_back(run: &mut Run, changing: &Changing) -> Result<Exit> {
    let host = run.host(changing.wait);
    super::may_change(&facts::gather(&host)?)?;
    host.hear_signals()?;
    let _lock = lock(&host)?;
    let receipts: Vec<Past> = receipt::all(Path::new("/"))?;
    let receipts: Vec<Past> = receipts.into_iter().filter(|past| past.verb == run.verb).collect();
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
        // Taken back once: a later repair begins anew, and the host is as if there had been none.
        let undone = std::iter::once(&receipt.path);
        for path in receipts.iter().map(|past| &past.path).chain(undone) {
            host.remove(path)?;
        }
        run.receipt = None;
    }
    Ok(Exit::Done)
}
