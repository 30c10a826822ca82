//! What stands beside daemon.json: a file that was meant to be it, a daemon that has not read it, proxies and numbers.

use super::super::case::DAEMON_JSON;
use super::super::{Answer, Case, Finding, Fix};
use super::file::harm;
use crate::error::Result;
use crate::host::{Kind, Question};
use crate::resources::consequence::Consequence;
use serde_json::Value;
use std::path::Path;

pub fn misnamed(case: &Case) -> Result<Answer> {
    let mut found = Vec::new();
    for name in case.host.list(Path::new("/etc/docker"))? {
        // Ours, and what editors and administrators set aside on purpose.
        if name == "daemon.json" || name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let meant = name == "daemon.conf"
            || name == "daemon.json.txt"
            || strsim::damerau_levenshtein(&name.to_lowercase(), "daemon.json") <= 2;
        let path = Path::new("/etc/docker").join(&name);
        if meant && case.host.stat(&path)?.is_some_and(|stat| stat.kind == Kind::File) {
            found.push(path);
        }
    }
    let Some(first) = found.first() else { return Ok(Answer::Fine) };
    let right = match case.host.read(first).map(|bytes| crate::json::read(&bytes.unwrap_or_default()).is_ok())
    {
        Ok(true) => "it is JSON",
        Ok(false) => "it is no JSON either: mend it first",
        Err(_) => "this user may not read it",
    };
    let there = case.exists(DAEMON_JSON);
    let fix = if there {
        Fix::told("put what it says into daemon.json, and take it away")
    } else {
        Fix::told("give it its name, and restart docker")
            .types(format!("mv {} {DAEMON_JSON}", first.display()))
    };
    let cause = format!("{} is a file that dockerd never reads: the name is {DAEMON_JSON}", first.display());
    Ok(Finding::new(cause, fix).saw(right).into())
}

/// Keys that count at a start are written here: the file is newer than the daemon.
pub fn not_reloaded(case: &Case) -> Result<Answer> {
    if !case.engine() || !case.active("docker.service")? {
        return Ok(Answer::Fine);
    }
    let Some(stat) = case.host.stat(Path::new(DAEMON_JSON))? else { return Ok(Answer::Fine) };
    let started = case.unit("docker.service")?.started_us() / 1_000_000;
    let written = u64::try_from(stat.modified).unwrap_or_default();
    // A second either way is the same moment by two clocks. What a reload made good since leaves no trace that can be read.
    if started == 0 || written <= started + 1 || reloaded_since(case, written) {
        return Ok(Answer::Fine);
    }
    let restart = Consequence::RestartUnit { unit: "docker.service".into() };
    let fix = Fix::asked("restart docker; for some keys a reload is enough", Vec::new())
        .then(restart)
        .types("systemctl restart docker.service");
    Ok(Finding::new("daemon.json was changed after the daemon started", fix)
        .saw(format!("{DAEMON_JSON} is {} s younger than the daemon", written - started))
        .into())
}

/// A run of ours that changed daemon.json paid for it with a restart or a reload.
fn reloaded_since(case: &Case, written: u64) -> bool {
    let question = Question::Journal { unit: "docker.service".into() };
    let said = case.host.query(&question).map(|answer| answer.stdout).unwrap_or_default();
    let _ = written;
    said.contains("Got signal to reload configuration") || said.contains("Reloaded configuration")
}

pub fn proxy(case: &Case) -> Result<Answer> {
    if !case.engine() || !case.subject.own {
        return Ok(Answer::Fine);
    }
    let set = |name: &str| case.who.environment.get(name).filter(|value| !value.is_empty());
    let Some(_) = set("HTTPS_PROXY").or_else(|| set("https_proxy")) else { return Ok(Answer::Fine) };
    let config = case.config()?;
    if config.contains_key("proxies") {
        return Ok(Answer::Fine);
    }
    let drop_ins = case.unit("docker.service")?.get("DropInPaths").to_owned();
    for path in drop_ins.split_whitespace() {
        if case.text(path)?.unwrap_or_default().to_lowercase().contains("https_proxy") {
            return Ok(Answer::Fine);
        }
    }
    let fix = Fix::told("name the proxy in `proxies` of daemon.json, and restart docker")
        .types(format!("sudoedit {DAEMON_JSON}"));
    Ok(Finding::new("this shell goes by a proxy, and the daemon, which pulls, knows of none", fix)
        .saw("HTTPS_PROXY in the environment; no `proxies` in daemon.json, none in a drop-in")
        .into())
}

pub fn userns(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let Some(remap) = config.get("userns-remap").and_then(Value::as_str).filter(|name| !name.is_empty())
    else {
        return Ok(Answer::Fine);
    };
    let name = if remap == "default" { "dockremap" } else { remap.split(':').next().unwrap_or_default() };
    let has = |path: &str| {
        let text = case.text(path).ok().flatten().unwrap_or_default();
        text.lines().any(|line| line.split(':').next() == Some(name))
    };
    if has("/etc/subuid") && has("/etc/subgid") {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("give it ranges")
        .types(format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"));
    // dockerd itself makes the user `dockremap` and its ranges.
    let finding = Finding::new(format!("`userns-remap` names `{name}`, which has no ranges of numbers"), fix)
        .saw("/etc/subuid or /etc/subgid has no line for it");
    Ok(if remap == "default" { Answer::Fine } else { finding.only(harm(case)).into() })
}
