//! What several themes share: a host with rprov in it, and looks at what a user sees.

use super::by_hand;
use super::product::QUIET;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::tree::Tree;
use crate::{Host, Output, cargo};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// How long an install may take before something is wrong with it.
pub const LONG: Duration = Duration::from_secs(300);

/// The command that most scenarios give.
pub const INSTALL: &[&str] = &["rprov", "install", "--yes"];
pub const UNINSTALL: &[&str] = &["rprov", "uninstall", "--yes"];

/// What an uninstall without `--purge-data` leaves, and says so.
pub const DATA: &[(&str, &str)] =
    &[("/var/lib/docker*", "images, containers, volumes"), ("/var/lib/containerd*", "images, containers")];

/// A fresh host that runs, with rprov in it.
pub fn host(lab: &Lab, identity: Identity) -> Result<Host> {
    let host = Host::booted(lab, identity)?;
    host.with_rprov(&cargo::rprov()?)?;
    Ok(host)
}

/// A command that must succeed; where it does not, the end of its log goes into the scenario's.
pub fn succeeds(host: &Host, argv: &[&str]) -> Result<Output> {
    let output = host.run_within(LONG, argv)?;
    if output.code != 0 {
        host.sh("tail -n 60 $(ls /var/log/rprov/*.log | tail -n 1); journalctl -n 40 --no-pager -u docker -u containerd")?;
    }
    output.ok()
}

/// A command that must end with `code`, say each of `words`, and leave every file and time as it was.
pub fn leaves_all_alone(host: &Host, argv: &[&str], code: i32, words: &[&str]) -> Result<Output> {
    let before = host.tree()?;
    let output = host.run_within(LONG, argv)?.code_is(code)?;
    says(&output, words)?;
    untouched(host, &before, &output.argv)?;
    Ok(output)
}

/// Every file and time is as it was.
pub fn untouched(host: &Host, before: &Tree, by: &str) -> Result<()> {
    let lines = before.diff_with_times(&host.tree()?, QUIET);
    ensure!(lines.is_empty(), "`{by}` touched the host:\n{}", lines.join("\n"));
    Ok(())
}

/// Errors are told on standard error, in whole words, wherever a line is broken.
pub fn says(output: &Output, words: &[&str]) -> Result<()> {
    let said = output.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        ensure!(said.contains(word), "`{}` does not say `{word}`, but:\n{}", output.argv, output.text());
    }
    Ok(())
}

/// Waits for what happens on the way.
pub fn until(what: &str, mut happens: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + LONG;
    while !happens()? {
        ensure!(Instant::now() < end, "never {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// rprov finds nothing amiss, dpkg neither, and a container runs.
pub fn engine_works(host: &Host) -> Result<()> {
    packages_are_whole(host)?;
    host.run(&["rprov", "status"])?.ok()?;
    by_hand::import(host)?;
    let said = host.run(&["docker", "run", "--rm", "lab", "echo", "hello"])?.ok()?.stdout;
    ensure!(said == "hello\n", "the container said {said:?}");
    host.run(&["docker", "rmi", "lab"])?.ok().map(drop)
}

/// Nothing is half installed.
pub fn packages_are_whole(host: &Host) -> Result<()> {
    if host.identity().dnf().is_some() {
        return host.run(&["dnf", "-q", "-C", "check", "--dependencies", "--duplicates"])?.ok().map(drop);
    }
    let audit = host.run(&["dpkg", "--audit"])?.ok()?;
    ensure!(audit.text().is_empty(), "dpkg finds half-done work:\n{}", audit.text());
    Ok(())
}
