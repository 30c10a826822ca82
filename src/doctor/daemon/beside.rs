//! What stands beside the daemon: containerd's configuration, and another dockerd.

use super::super::Severity::Degraded;
use super::super::{Answer, Case, Finding, Fix};
use crate::error::Result;
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
