//! Where docker's command goes: variables, contexts and certificates that lead elsewhere.

use super::super::endpoint::{Source, Target};
use super::super::socket::{ACL, Seat, may};
use super::super::{Answer, Case, Finding, Fix};
use super::seen;
use crate::error::{Error, Result};
use std::path::Path;

/// Why nothing answers the user at an endpoint that lies on this host.
fn nobody_there(case: &Case) -> Option<String> {
    let user = &case.subject.user;
    match case.seat()? {
        Seat::Closed { part, .. } => Some(format!("{user} may not pass {}", part.display())),
        Seat::Live { path, stat } => {
            let acl = case.host.attribute(path, ACL).ok().flatten();
            let closed = !may(stat, acl.as_deref(), case.subject.uid, case.subject.effective()?, 2);
            closed.then(|| format!("{user} may not write to {}", path.display()))
        }
        Seat::Missing { part, .. } => Some(format!("{} is not there", part.display())),
        Seat::Dead { path } => Some(format!("nobody listens on {}", path.display())),
        Seat::Directory { path, .. } => Some(format!("{} is a directory", path.display())),
        Seat::NotASocket { path } => Some(format!("{} is not a socket", path.display())),
        _ => None,
    }
}

pub fn host_variable(case: &Case) -> Result<Answer> {
    let from = &case.endpoint.from;
    let flag = from.starts_with("`--host`");
    let name = if flag { "`--host`" } else { "DOCKER_HOST" };
    if !from.starts_with(name) {
        return Ok(Answer::Fine);
    }
    let unset = format!("take {name} away: the command then goes to the engine of this host");
    let fix = if flag { Fix::told(unset) } else { Fix::told(unset).types("unset DOCKER_HOST") };
    match &case.endpoint.target {
        Target::Unix(_) if case.endpoint.is_default() => Ok(Answer::Fine),
        Target::Unix(path) => match nobody_there(case) {
            Some(why) => {
                let shown = match case.endpoint.quotable {
                    true => why,
                    false => "nothing answers where it leads".into(),
                };
                let cause = format!("{name} leads to a socket that does not answer: {shown}");
                let evidence = format!("{from}{}", shown_path(case, path));
                Ok(Finding::new(cause, fix).saw(evidence).into())
            }
            None => seen(case).map(|()| Answer::Fine),
        },
        Target::Remote(url)
            if !["tcp://", "ssh://", "http://", "https://", "fd://", "npipe://"]
                .iter()
                .any(|scheme| url.starts_with(scheme)) =>
        {
            let cause = format!("{name} is no address: it has to begin with unix://, tcp:// or ssh://");
            Ok(Finding::new(cause, fix).saw(from.clone()).into())
        }
        _ => Err(Error::failed(format!("{name} leads to another machine, which is not dialled"))),
    }
}

fn shown_path(case: &Case, path: &Path) -> String {
    match case.endpoint.quotable {
        true => format!(" says unix://{}", path.display()),
        false => String::new(),
    }
}

pub fn tls(case: &Case) -> Result<Answer> {
    if !case.subject.own {
        return Ok(Answer::Fine);
    }
    let set = |name: &str| case.who.environment.get(name).filter(|value| !value.is_empty());
    let Some(verify) = set("DOCKER_TLS_VERIFY") else { return Ok(Answer::Fine) };
    let directory = set("DOCKER_CERT_PATH").map_or_else(|| case.docker_directory(), |path| path.into());
    let missing: Vec<&str> = ["ca.pem", "cert.pem", "key.pem"]
        .into_iter()
        .filter(|name| !case.exists(&directory.join(name).to_string_lossy()))
        .collect();
    if missing.is_empty() || case.endpoint.source == Source::Context {
        return Ok(Answer::Fine);
    }
    let cause = "DOCKER_TLS_VERIFY is set, and the certificates that it asks for are not there";
    let fix = Fix::told("take both variables away").types("unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH");
    Ok(Finding::new(cause, fix)
        .saw(format!("DOCKER_TLS_VERIFY={verify}: any text that is not empty counts as yes, `0` too"))
        .saw(format!("{} has no {}", directory.display(), missing.join(", ")))
        .into())
}

pub fn context_missing(case: &Case) -> Result<Answer> {
    let Target::NoContext(name) = &case.endpoint.target else { return Ok(Answer::Fine) };
    let named = if case.endpoint.quotable { format!("`{name}` ") } else { String::new() };
    let cause = format!("the context {named}is chosen and is not there");
    let fix = Fix::told("choose the default context").types("docker --context default context use default");
    Ok(Finding::new(cause, fix).saw(case.endpoint.from.clone()).into())
}

pub fn context_stale(case: &Case) -> Result<Answer> {
    let from = &case.endpoint.from;
    let by_context = case.endpoint.source == Source::Context
        || ["DOCKER_CONTEXT", "`--context`"].iter().any(|name| from.starts_with(name));
    if !by_context || case.endpoint.is_default() {
        return Ok(Answer::Fine);
    }
    if let Target::Remote(_) = case.endpoint.target {
        return Err(Error::failed("the context leads to another machine, which is not dialled"));
    }
    let Some(why) = nobody_there(case) else { return seen(case).map(|()| Answer::Fine) };
    let why = if case.endpoint.quotable { why } else { "nothing answers there".into() };
    let cause = format!("the chosen context leads to an engine that is gone: {why}");
    let fix = Fix::told("choose the default context").types("docker --context default context use default");
    Ok(Finding::new(cause, fix).saw(case.endpoint.from.clone()).into())
}
