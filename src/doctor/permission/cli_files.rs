//! What the docker command keeps in the user's home: read as plain files, never quoted where the home is another's.

use super::super::home;
use super::super::{Answer, Case, Finding, Fix};
use super::held;
use crate::error::Result;
use crate::host::{Kind, Owner};
use crate::json;
use crate::resources::AnyWant;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// As deep and as many as is looked at below ~/.docker.
const DEPTH: usize = 6;
const MOST: usize = 2000;

/// What belongs to somebody else, with the want that gives it back. Links are neither followed nor counted.
fn foreign(case: &Case) -> Result<Vec<(PathBuf, AnyWant)>> {
    let base = case.docker_directory();
    let mut found = Vec::new();
    let mut ahead = vec![(base, 0)];
    let mut looked = 0;
    while let Some((path, depth)) = ahead.pop() {
        looked += 1;
        let Some(stat) = case.host.stat(&path)? else { continue };
        if stat.kind == Kind::Link {
            continue;
        }
        if stat.uid != case.subject.uid {
            let gid = if stat.gid == 0 { case.subject.uid } else { stat.gid };
            let owner = Owner { uid: case.subject.uid, gid: own_group(case).unwrap_or(gid), mode: stat.mode };
            found.push((path.clone(), held(&path, owner)));
        }
        // What this user may not list is another's, and is counted already.
        if stat.kind == Kind::Directory && depth < DEPTH && looked < MOST {
            let names = case.host.list(&path).unwrap_or_default();
            ahead.extend(names.into_iter().map(|name| (path.join(name), depth + 1)));
        }
    }
    Ok(found)
}

/// The group that the home belongs to.
fn own_group(case: &Case) -> Option<u32> {
    case.host.stat(&case.subject.home).ok().flatten().map(|stat| stat.gid)
}

pub fn owned(case: &Case) -> Result<Answer> {
    if case.subject.uid == 0 {
        return Ok(Answer::Fine);
    }
    let found = foreign(case)?;
    let Some((first, _)) = found.first() else { return Ok(Answer::Fine) };
    let directory = case.docker_directory();
    let user = &case.subject.user;
    let cause = format!(
        "files below {} belong to somebody else, probably since a `sudo docker`: docker goes on without them, and without \
         its contexts and logins",
        directory.display()
    );
    let command = format!("sudo chown -hR {user}: {}", directory.display());
    // Below the home's own directory only; a DOCKER_CONFIG that leads elsewhere is left to its owner.
    let fix = if directory == case.subject.home.join(".docker") {
        let wants = found.iter().map(|(_, want)| want.clone()).collect();
        Fix::made("give them to the user", wants).types(command)
    } else {
        Fix::told("give them to the user").types(command)
    };
    let shown = format!("{} of them, the first is {}", found.len(), first.display());
    Ok(Finding::new(cause, fix).saw(shown).into())
}

/// config.json, if it is there and can be read.
fn config(case: &Case) -> Result<Option<String>> {
    home::read(&case.docker_directory().join("config.json"), &case.subject, case.host)
}

fn keys(case: &Case) -> Result<Map<String, Value>> {
    Ok(config(case)?.and_then(|text| json::read(text.as_bytes()).ok()).unwrap_or_default())
}

pub fn valid(case: &Case) -> Result<Answer> {
    let Some(text) = config(case)? else { return Ok(Answer::Fine) };
    let Err(fault) = json::read(text.as_bytes()) else { return Ok(Answer::Fine) };
    let path = case.docker_directory().join("config.json");
    let cause = format!("{} is no JSON: docker goes on without it", path.display());
    let fix =
        Fix::told("mend the line, or move the file away").types(format!("mv {0} {0}.away", path.display()));
    let mut finding = Finding::new(cause, fix).saw(format!("line {}, column {}", fault.line, fault.column));
    if !case.subject.as_root {
        finding.excerpt = fault.excerpt();
    }
    Ok(finding.into())
}

pub fn closed(case: &Case) -> Result<Answer> {
    let path = case.docker_directory().join("config.json");
    let Some(stat) = case.host.stat(&path)? else { return Ok(Answer::Fine) };
    let passwords = keys(case)?.get("auths").and_then(Value::as_object).is_some_and(|auths| {
        auths.values().any(|auth| auth.get("auth").is_some_and(|auth| auth.as_str() != Some("")))
    });
    if stat.kind != Kind::File || stat.mode & 0o077 == 0 || !passwords {
        return Ok(Answer::Fine);
    }
    let owner = Owner { uid: stat.uid, gid: stat.gid, mode: 0o600 };
    let command = format!("chmod 600 {}", path.display());
    let fix = if path.starts_with(case.subject.home.join(".docker")) {
        Fix::made("close it to others", vec![held(&path, owner)]).types(command)
    } else {
        Fix::told("close it to others").types(command)
    };
    let cause = "others on this host may read passwords for registries";
    Ok(Finding::new(cause, fix).saw(format!("{} has mode {:04o}", path.display(), stat.mode)).into())
}

pub fn helper(case: &Case) -> Result<Answer> {
    let keys = keys(case)?;
    let store = keys.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty());
    let helpers = keys.get("credHelpers").and_then(Value::as_object);
    let helpers = helpers.into_iter().flat_map(|map| map.values()).filter_map(Value::as_str);
    let missing = store.into_iter().chain(helpers).find(|name| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        plain && case.program(&format!("docker-credential-{name}")).is_none()
    });
    let Some(name) = missing else { return Ok(Answer::Fine) };
    // It may lie in a directory of the user's PATH that only the user's shell knows.
    let path = case.who.environment.get("PATH").filter(|_| case.subject.own);
    let program = format!("docker-credential-{name}");
    let elsewhere = path.into_iter().flat_map(|path| path.split(':'));
    if elsewhere.into_iter().any(|directory| case.exists(&format!("{directory}/{program}"))) {
        return Ok(Answer::Fine);
    }
    let shown = if case.subject.as_root { "docker-credential-…".to_owned() } else { program };
    let cause = format!("config.json names a program for passwords that is not there: {shown}");
    let fix = Fix::told("take `credsStore` (or its entry in `credHelpers`) out, or install the program");
    let path = case.docker_directory().join("config.json");
    Ok(Finding::new(cause, fix).saw(path.display().to_string()).into())
}

pub fn plugins(case: &Case) -> Result<Answer> {
    let directory = case.docker_directory().join("cli-plugins");
    let mut broken = Vec::new();
    for name in case.host.list(&directory).unwrap_or_default() {
        let path = directory.join(&name);
        let Some(stat) = case.host.stat(&path)?.filter(|stat| stat.kind == Kind::File) else { continue };
        // A page that says "not found" where a program was meant, or a program that may not run.
        if name.starts_with("docker-") && (stat.size < 4096 || stat.mode & 0o111 == 0) {
            broken.push(path);
        }
    }
    let Some(first) = broken.first() else { return Ok(Answer::Fine) };
    let cause = "a plugin in the user's directory is no program, and hides that of the package";
    let fix = Fix::told("remove it: the package brings the plugin").types(format!("rm {}", first.display()));
    Ok(Finding::new(cause, fix).all(broken.iter().map(|path| path.display().to_string())).into())
}

pub fn compose(case: &Case) -> Result<Answer> {
    let places =
        ["/usr/libexec/docker", "/usr/lib/docker", "/usr/local/lib/docker", "/usr/local/libexec/docker"];
    let there = places.iter().any(|place| case.exists(&format!("{place}/cli-plugins/docker-compose")))
        || case.host.exists(&case.docker_directory().join("cli-plugins/docker-compose"))?;
    if there || case.program("docker").is_none() || !case.engine() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("install the plugin").types("sudo rprov install");
    let finding = Finding::new("`docker compose` is not there: its plugin is not installed", fix);
    Ok(finding.saw("no docker-compose in any directory of plugins").only(super::Info).into())
}
