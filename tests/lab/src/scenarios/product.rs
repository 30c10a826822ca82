//! rprov on a host: how scenarios put it there, run it, and ask what it did.

use crate::cargo;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::server::Request;
use crate::tree::State;
use crate::{Host, Output};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How long a run of rprov may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// What moves on a host that nothing is done to: for comparing it with itself, times and all.
pub const QUIET: &[(&str, &str)] = &[
    ("/var/log/journal*", "the journal"),
    ("/var/log/wtmp", "sessions, written by logind and su"),
    ("/var/log/lastlog", "sessions, written by logind and su"),
    ("/var/log/btmp", "sessions, written by logind and su"),
    ("/var/lib/lastlog*", "sessions, written by logind and su"),
    ("/var/lib/wtmpdb*", "sessions, written by logind and su"),
    ("/var/lib/systemd/*", "systemd's timers and its random seed"),
    ("/var/lib/rpm/rpmdb.sqlite-shm", "mapped anew by every question to rpm, also one of anybody else"),
    ("/var/lib/docker/*", "the daemon's own state, which moves while it runs"),
    ("/var/lib/containerd/*", "containerd's own state, which moves while it runs"),
];

/// A fresh host with rprov and the user alice, booted.
pub fn host(lab: &Lab, identity: Identity) -> Result<Host> {
    let host = Host::booted(lab, identity)?;
    host.with_rprov(&cargo::rprov()?)?;
    host.add_user("alice")?;
    // The cache that apt makes of the lists on the first question: asking for the marks would make it later.
    host.marks()?;
    Ok(host)
}

/// Runs rprov as root.
pub fn rprov(host: &Host, arguments: &[&str]) -> Result<Output> {
    let argv: Vec<&str> = ["rprov"].iter().chain(arguments).copied().collect();
    host.run_within(PATIENCE, &argv)
}

/// `rprov install --yes`, and more; it has to succeed.
pub fn install(host: &Host, more: &[&str]) -> Result<Output> {
    rprov(host, &[&["install", "--yes"], more].concat())?.ok()
}

/// `rprov uninstall --yes`, and more; it has to succeed.
pub fn uninstall(host: &Host, more: &[&str]) -> Result<Output> {
    rprov(host, &[&["uninstall", "--yes"], more].concat())?.ok()
}

/// The one line of a `--json` stream that holds the plan.
pub fn planned(said: &Output) -> Result<String> {
    let plans: Vec<&str> =
        said.stdout.lines().filter(|line| line.starts_with("{\"event\":\"plan\"")).collect();
    ensure!(plans.len() == 1, "not one plan in the stream:\n{}", said.stdout);
    Ok(plans[0].to_string())
}

/// Everything is as it was, but for what is excepted.
pub fn same(what: &str, before: &State, after: &State, except: &[(&str, &str)]) -> Result<()> {
    let lines = before.diff(after, except);
    ensure!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
    Ok(())
}

/// Nothing was written, not even what was there already.
pub fn untouched(what: &str, before: &State, after: &State) -> Result<()> {
    same(what, before, after, QUIET)?;
    let lines = before.tree.diff_with_times(&after.tree, QUIET);
    ensure!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
    Ok(())
}

/// Each of these words is in what was said.
pub fn says(said: &Output, words: &[&str]) -> Result<()> {
    let text = said.text();
    for word in words {
        ensure!(text.contains(word), "`{}` does not say `{word}`:\n{text}", said.argv);
    }
    Ok(())
}

/// None of these words is in what was said.
pub fn does_not_say(said: &Output, words: &[&str]) -> Result<()> {
    let text = said.text();
    for word in words {
        ensure!(!text.contains(word), "`{}` says `{word}`:\n{text}", said.argv);
    }
    Ok(())
}

/// The version of an installed package, with its epoch.
pub fn version(host: &Host, package: &str) -> Result<String> {
    if host.identity().dnf().is_some() {
        let format = "%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}";
        return Ok(host.run(&["rpm", "-q", "--qf", format, package])?.ok()?.stdout);
    }
    let said = host.run(&["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}", package])?;
    let version = said.stdout.strip_prefix("ii  ").or_else(|| said.stdout.strip_prefix("hi  "));
    version.map(str::to_string).with_context(|| format!("{package} is not installed: {}", said.text()))
}

/// The requests that asked for an index, as `SERVER PATH`.
pub fn indexes(asked: &[Request]) -> Vec<String> {
    let is_index = |request: &&Request| !request.path.ends_with(".deb") && !request.path.ends_with(".rpm");
    asked.iter().filter(is_index).map(|r| format!("{} {} {}", r.server, r.status, r.path)).collect()
}

/// What a container that alice runs says, through a new login.
pub fn alice_runs(host: &Host, line: &str) -> Result<String> {
    Ok(host.run_as_login("alice", &format!("docker run --rm lab {line}"))?.ok()?.stdout)
}
