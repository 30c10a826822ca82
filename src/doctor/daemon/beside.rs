//! What stands beside the daemon: containerd's configuration, another dockerd, and a client that speaks an old tongue.

use super::super::Severity::Degraded;
use super::super::{Answer, Case, Finding, Fix};
use crate::error::Result;
use crate::resources::json_keys::installed_version;
use crate::version;
use std::cmp::Ordering;
use std::path::Path;

const CONFIG: &str = "/etc/containerd/config.toml";

pub fn containerd_config(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    let Some(text) = case.text(CONFIG)? else { return Ok(Answer::Fine) };
    let Err(error) = text.parse::<toml::Table>() else { return Ok(Answer::Fine) };
    let fix =
        Fix::told("mend the line; or move the file away, and let containerd run with what it has built in")
            .types(format!("mv {CONFIG} {CONFIG}.broken"))
            .types("systemctl restart containerd.service docker.service");
    let mut finding = Finding::new(format!("{CONFIG} is no TOML: containerd does not start"), fix)
        .saw(format!("{CONFIG}: {}", error.message()));
    if let Some(span) = error.span() {
        let line = text[..span.start.min(text.len())].matches('\n').count();
        let column = span.start - text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        finding.excerpt =
            vec![text.lines().nth(line).unwrap_or_default().to_owned(), format!("{}^", " ".repeat(column))];
    }
    // What runs has read another file.
    Ok(if case.active("containerd.service").unwrap_or(false) { finding.only(Degraded) } else { finding }
        .into())
}

/// A dockerd that somebody started by hand: asked where the unit's own does not come up.
pub fn second(case: &Case) -> Result<Answer> {
    if !super::by_systemd(case)? || case.active("docker.service")? {
        return Ok(Answer::Fine);
    }
    let mut found = Vec::new();
    for pid in case.host.list(Path::new("/proc"))? {
        if !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let name = case.text(&format!("/proc/{pid}/comm")).ok().flatten().unwrap_or_default();
        if name.trim() != "dockerd" {
            continue;
        }
        let line = case.text(&format!("/proc/{pid}/cmdline")).ok().flatten().unwrap_or_default();
        let group = case.text(&format!("/proc/{pid}/cgroup")).ok().flatten().unwrap_or_default();
        // The unit's own, on its way up; a user's own, or one in a container, has other directories.
        let ours = group.contains("docker.service") && group.contains("system.slice");
        let other_root = line.contains("--data-root") || line.contains("rootless") || group.contains("user@");
        let nested = group.contains("docker-") || group.contains("/docker/") || group.contains("libpod");
        if !ours && !other_root && !nested {
            found.push((pid, line.replace('\0', " ").trim().to_owned()));
        }
    }
    let Some((pid, _)) = found.first() else { return Ok(Answer::Fine) };
    let fix = Fix::told("stop that one, and start docker's unit")
        .types(format!("kill {pid}"))
        .types("systemctl reset-failed docker.service")
        .types("systemctl start docker.service");
    let cause = "a second dockerd has the data directory: the unit's own does not start beside it";
    Ok(Finding::new(cause, fix).all(found.iter().map(|(pid, line)| format!("process {pid}: {line}"))).into())
}

/// The oldest version of the API that engines speak, from each of their versions on, the newest first (moby,
/// daemon/config).
const OLDEST: [(&str, &str); 3] = [("29.3", "1.40"), ("29.0", "1.44"), ("25.0", "1.24")];

pub fn old_api(case: &Case) -> Result<Answer> {
    let pinned = case.who.environment.get("DOCKER_API_VERSION").filter(|value| !value.is_empty());
    let Some(pinned) = pinned.filter(|_| case.subject.own && case.engine() && case.endpoint.is_default())
    else {
        return Ok(Answer::Fine);
    };
    let Some(engine) = installed_version(case.host)? else { return Ok(Answer::Fine) };
    let least = OLDEST.into_iter().find(|(since, _)| version::compare(&engine, since) != Ordering::Less);
    let lowered = case.config().unwrap_or_default().contains_key("min-api-version");
    let Some((_, least)) = least.filter(|(_, least)| version::compare(pinned, least) == Ordering::Less)
    else {
        return Ok(Answer::Fine);
    };
    if lowered {
        return Ok(Answer::Fine);
    }
    let fix =
        Fix::told("let client and engine find a version by themselves").types("unset DOCKER_API_VERSION");
    let cause = format!("this shell asks for the API {pinned}, and the engine speaks none below {least}");
    Ok(Finding::new(cause, fix).saw(format!("DOCKER_API_VERSION={pinned}; dockerd is {engine}")).into())
}
