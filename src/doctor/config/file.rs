//! The file itself: whether it can be read, and is JSON in UTF-8; else it goes aside, for what was accepted before it.

use super::super::Severity::{self, Block, Degraded};
use super::super::case::{DAEMON_JSON, Daemon};
use super::super::permission::run_docker;
use super::super::{Answer, Case, Finding, Fix};
use crate::error::{Error, Result};
use crate::host::{Kind, Owner};
use crate::resources::consequence::Consequence;
use crate::resources::file::{Bytes, File, Node};
use crate::resources::want;
use std::path::Path;

/// Back to the last bytes that were accepted; else aside: never a guess.
fn replace(case: &Case, broken: &[u8]) -> Fix {
    let file = File { path: DAEMON_JSON.into() };
    let mut wants = Vec::new();
    let fix = match case.who.accepted.clone() {
        Some(good) => {
            wants.push(want(file, good));
            "put back what the daemon last accepted, as the receipt has it; what is there now goes to daemon.json.broken"
        }
        None => {
            wants.push(want(file, Node::Absent));
            "move it aside to daemon.json.broken, so that the daemon starts without it; or mend the line"
        }
    };
    let owner = case.host.stat(Path::new(DAEMON_JSON)).ok().flatten();
    let owner = owner.map_or(Owner::ROOT_0644, |s| Owner { uid: s.uid, gid: s.gid, mode: s.mode });
    let aside = Node::File { bytes: Bytes(broken.to_vec()), owner };
    wants.insert(0, want(File { path: format!("{DAEMON_JSON}.broken").into() }, aside));
    wants.extend(run_docker());
    Fix::asked(fix, wants)
        .then(Consequence::RestartUnit { unit: "docker.service".into() })
        .types(format!("sudoedit {DAEMON_JSON}"))
        .types("systemctl reset-failed docker.service && systemctl restart docker.service")
}

pub fn harm(case: &Case) -> Severity {
    // What runs has read another file: it comes to harm at the next start.
    if case.active("docker.service").unwrap_or(false) { Degraded } else { Block }
}

pub fn unreadable(case: &Case) -> Result<Answer> {
    let Some(stat) = case.host.stat(Path::new(DAEMON_JSON))? else { return Ok(Answer::Fine) };
    if stat.kind == Kind::Directory {
        let fix = Fix::told("look what is in it, and move it away")
            .types(format!("mv {DAEMON_JSON} {DAEMON_JSON}.away"));
        return Ok(Finding::new(format!("{DAEMON_JSON} is a directory"), fix)
            .saw("ls -ld /etc/docker/daemon.json")
            .into());
    }
    match case.daemon() {
        Daemon::Unreadable(why) if case.subject.root_asks() => {
            Ok(Finding::new(format!("{DAEMON_JSON} cannot be read"), Fix::told("look at it"))
                .saw(why.clone())
                .into())
        }
        Daemon::Unreadable(why) => Err(Error::failed(why)),
        _ => Ok(Answer::Fine),
    }
}

fn broken(case: &Case, encoding: bool) -> Result<Answer> {
    let Daemon::Broken(bytes, fault) = case.daemon() else {
        return match case.daemon() {
            Daemon::Unreadable(why) => Err(Error::failed(why)),
            _ => Ok(Answer::Fine),
        };
    };
    if std::str::from_utf8(bytes).is_err() != encoding {
        return Ok(Answer::Fine);
    }
    let what = if encoding { "is not UTF-8" } else { "is no JSON" };
    let cause = format!("{DAEMON_JSON} {what}: {}", slip(bytes, &fault.source).unwrap_or(fault.why.as_str()));
    let mut finding = Finding::new(cause, replace(case, bytes))
        .saw(format!("{DAEMON_JSON}, line {}, column {}", fault.line, fault.column))
        .only(harm(case));
    finding.excerpt = fault.excerpt();
    Ok(finding.into())
}

/// The usual slips, by name.
fn slip(bytes: &[u8], line: &str) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains(['“', '”', '„', '’']) {
        return Some("it has typographic quotes instead of \"");
    }
    let squeezed: String = text.split_whitespace().collect();
    if squeezed.contains(",}") || squeezed.contains(",]") {
        return Some("a comma stands before a closing bracket");
    }
    if line.trim_start().starts_with("//") || line.trim_start().starts_with('#') || text.contains("/*") {
        return Some("it has a comment, and JSON has none");
    }
    if text.contains(":\" \"") || text.contains(":\"  \"") {
        return Some("a colon stands inside the quotes of a key");
    }
    if !text.trim_start().starts_with('{') {
        return Some("the outermost braces are missing");
    }
    None
}

pub fn encoding(case: &Case) -> Result<Answer> {
    broken(case, true)
}

pub fn syntax(case: &Case) -> Result<Answer> {
    broken(case, false)
}
