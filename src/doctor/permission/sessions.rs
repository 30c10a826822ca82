//! Processes that began before their user got the group: the kernel gives a running process no new ones.

use super::super::processes::{Keeper, Process};
use super::super::{Answer, Case, Finding, Fix, Severity};
use super::live;
use crate::error::{Error, Result};

/// The number of the socket's group, where the user has it and only old processes have not.
fn granted(case: &Case) -> Result<Option<u32>> {
    let Some((_, stat)) = live(case) else { return Ok(None) };
    if case.subject.uid == 0 || stat.gid == 0 || stat.mode & 0o006 == 0o006 {
        return Ok(None);
    }
    let groups = case.subject.groups.as_ref().map_err(Error::failed)?;
    Ok(groups.contains(&stat.gid).then_some(stat.gid))
}

pub fn own(case: &Case) -> Result<Answer> {
    let (Some(gid), Some(session)) = (granted(case)?, &case.subject.session) else { return Ok(Answer::Fine) };
    if session.groups.contains(&gid) {
        return Ok(Answer::Fine);
    }
    let group = case.group_name(gid).unwrap_or_else(|| gid.to_string());
    let cause = format!("this session began before {} came into the group `{group}`", case.subject.user);
    let fix = Fix::told("log out and in again, everywhere; or, for one command, take the group along")
        .types(format!("sg {group} -c 'docker ps'"));
    Ok(Finding::new(cause, fix)
        .saw(format!(
            "process {} ({}) has the groups {}",
            session.pid,
            session.name,
            super::listed(&session.groups)
        ))
        .saw(format!("a new login has {}", super::listed(case.subject.groups.as_deref().unwrap_or_default())))
        .into())
}

fn stale<'c>(case: &'c Case, keeper: Keeper) -> Result<Vec<&'c Process>> {
    let Some(gid) = granted(case)? else { return Ok(Vec::new()) };
    let old = case.processes().iter().filter(|process| !process.groups.contains(&gid));
    Ok(old.filter(|process| process.keeper(case.host) == keeper).collect())
}

fn found(processes: &[&Process], cause: String, fix: Fix) -> Answer {
    if processes.is_empty() {
        return Answer::Fine;
    }
    let evidence = processes.iter().take(8).map(|p| format!("process {} ({}) has old groups", p.pid, p.name));
    Finding::new(cause, fix).all(evidence).into()
}

pub fn manager(case: &Case) -> Result<Answer> {
    let mut old = stale(case, Keeper::UserManager)?;
    old.retain(|process| process.name == "systemd");
    let user = &case.subject.user;
    let lingers = case.exists(&format!("/var/lib/systemd/linger/{user}"));
    let cause = format!(
        "{user}'s service manager keeps its old groups, and what it starts has them too{}",
        if lingers { "; it lingers over logouts" } else { "" }
    );
    let fix = Fix::told("end it, with everything of the user's that runs")
        .types(format!("sudo loginctl terminate-user {user}"));
    Ok(found(&old, cause, fix))
}

pub fn multiplexer(case: &Case) -> Result<Answer> {
    let old = stale(case, Keeper::Multiplexer)?;
    let tmux = old.iter().any(|process| process.name.starts_with("tmux"));
    let cause = "a terminal multiplexer keeps its old groups, and every window in it has them too".to_owned();
    let fix = Fix::told("end its sessions, and begin new ones").types(if tmux {
        "tmux kill-server"
    } else {
        "screen -X quit"
    });
    Ok(found(&old, cause, fix))
}

pub fn editor(case: &Case) -> Result<Answer> {
    let old = stale(case, Keeper::Editor)?;
    let pids: Vec<String> = old.iter().map(|process| process.pid.to_string()).collect();
    let cause = "the server of a remote editor keeps its old groups over new windows".to_owned();
    let fix = Fix::told("end it: `Kill VS Code Server on Host`, or by number")
        .types(format!("kill {}", pids.join(" ")));
    Ok(found(&old, cause, fix))
}

pub fn service(case: &Case) -> Result<Answer> {
    let old = stale(case, Keeper::Service)?;
    let mut units: Vec<String> = old.iter().filter_map(|process| process.unit(case.host)).collect();
    units.retain(|unit| !unit.starts_with("user@"));
    units.sort();
    units.dedup();
    if units.is_empty() {
        return Ok(Answer::Fine);
    }
    let cause = format!("{} began before its user got the group", units.join(", "));
    let fix = Fix::told("restart it").types(format!("sudo systemctl restart {}", units.join(" ")));
    let answer = found(&old, cause, fix);
    Ok(match answer {
        Answer::Finding(finding) => finding.only(Severity::Degraded).into(),
        other => other,
    })
}
