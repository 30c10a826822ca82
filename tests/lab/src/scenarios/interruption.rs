//! Stopped, killed, crashed, interrupted or doubled at any point: the next run goes on, and uninstall goes back.

use super::common::{DATA, INSTALL, LONG, UNINSTALL, engine_works, host, packages_are_whole, says, succeeds};
use super::gate::{self, Manager, in_the_middle, open, shut, until, with_gate};
use super::uninstall::{EXCEPTIONS, back};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::run::Running;
use crate::scenario::Scenario;
use crate::tree::State;
use crate::{Host, cache, cargo, sh};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "stopped-goes-on",
        about: "installs that are killed at an entry of the receipt, each one further, come to a whole engine",
        on: &[Identity::Debian12, Identity::Ubuntu2404, Identity::Rhel9],
        run: goes_on,
    },
    Scenario {
        name: "stopped-goes-back",
        about: "after an install that was killed at an entry of the receipt, uninstall restores the host",
        // The first samples the entries, the others take each of them.
        on: &[SAMPLING, Identity::Ubuntu2404, Identity::Rhel9],
        run: goes_back,
    },
    Scenario {
        name: "stopped-goes-back-dnf",
        about: "the same on a host of the dnf family, at a sample of the entries",
        on: &[SAMPLING_DNF],
        run: goes_back,
    },
    Scenario {
        name: "interrupt-kill",
        about: "installs that are killed in the middle are finished by the next, and uninstall restores the host",
        on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9],
        run: killed,
    },
    Scenario {
        name: "interrupt-crash",
        about: "after a crash of the host in the middle of the transaction the same command finishes",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: crashed,
    },
    Scenario {
        name: "interrupt-ctrl-c",
        about: "Ctrl-C ends a run after the change in hand, twice at once; the next run waits for apt and goes on",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: ctrl_c,
    },
    Scenario {
        name: "interrupt-lost-terminal",
        about: "a terminal that is lost in the middle of the transaction breaks nothing",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: lost_terminal,
    },
    Scenario {
        name: "two-installs",
        about: "a second install waits for the first, or says who holds the lock",
        on: &[Identity::Ubuntu2404],
        run: two_installs,
    },
];

const SAMPLING: Identity = Identity::Debian12;
const SAMPLING_DNF: Identity = Identity::Rocky9;
pub(super) const PURGE: &[&str] = &["rprov", "uninstall", "--yes", "--purge-data"];
/// What the shell says of a program that SIGKILL ended.
pub const KILLED: i32 = 137;
/// More entries than any install has.
pub const MANY: usize = 200;

const UNPROVEN: &[&str] = &["rprov", "install", "--yes", "--no-smoke"];

/// Runs an install that stops after writing its n-th entry; whether it stopped there.
fn stopped_at(host: &Host, install: &[&str], n: usize) -> Result<bool> {
    let stop = format!("RPROV_STOP_AT={n}");
    let output = host.run_within(LONG, &[&["env", &stop], install].concat())?;
    match output.code {
        0 => Ok(false),
        KILLED => Ok(true),
        _ => bail!("`{}` ended with {}:\n{}", output.argv, output.code, output.text()),
    }
}

fn goes_on(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.with_rprov(&cargo::rprov_stop_at()?)?;
    let fresh = host.state()?;
    comes_to_its_end(&host, UNPROVEN)?;
    engine_works(&host)?;
    let said = host.run(INSTALL)?.ok()?;
    says(&said, &["nothing to do"])?;
    restores(&host, &fresh)
}

fn samples(host: &Host) -> bool {
    [SAMPLING, SAMPLING_DNF].contains(&host.identity())
}

/// Each run is stopped one entry further than the last, or two where it samples, until one is not stopped.
pub(super) fn comes_to_its_end(host: &Host, install: &[&str]) -> Result<()> {
    let step = if samples(host) { 2 } else { 1 };
    let mut entry = 1 + of_the_commit() % step;
    while stopped_at(host, install, entry)? {
        entry += step;
        ensure!(entry < MANY, "no run comes to its end");
    }
    host.note(&format!("at entry {entry} none is stopped any more"));
    ensure!(entry > 8, "the last one stopped before entry {entry}: the stops do not work");
    Ok(())
}

fn goes_back(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.with_rprov(&cargo::rprov_stop_at()?)?;
    let fresh = host.state()?;
    goes_back_from(&host, UNPROVEN, &fresh)
}

/// After a run that was killed at an entry, uninstall restores the host.
pub(super) fn goes_back_from(host: &Host, install: &[&str], fresh: &State) -> Result<()> {
    succeeds(host, install)?;
    let entries = entries(host)?;
    restores(host, fresh)?;
    let chosen = if samples(host) { sample(&entries)? } else { (1..=entries.len()).collect::<Vec<_>>() };
    for n in chosen {
        host.note(&format!("entry {n} of {}: {}", entries.len(), entries[n - 1]));
        ensure!(stopped_at(host, install, n)?, "the install did not stop at entry {n}");
        restores(host, fresh).with_context(|| format!("stopped at entry {n}, {}", entries[n - 1]))?;
    }
    Ok(())
}

/// The first entry of each kind, and some more that move with each commit.
fn sample(entries: &[String]) -> Result<Vec<usize>> {
    let mut chosen: Vec<usize> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        if entries.iter().position(|other| other == entry) == Some(place) {
            chosen.push(place + 1);
        }
    }
    let digits = of_the_commit();
    for place in [digits, digits / entries.len()] {
        chosen.push(place % entries.len() + 1);
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

/// A number that moves with each commit.
pub fn of_the_commit() -> usize {
    let commit = sh::run_in(&cache::workspace(), &["git", "rev-parse", "HEAD"]).unwrap_or_default();
    commit.get(..4).and_then(|hex| usize::from_str_radix(hex, 16).ok()).unwrap_or_default()
}

/// Uninstall takes everything back, whatever came before.
fn restores(host: &Host, fresh: &State) -> Result<()> {
    succeeds(host, PURGE)?;
    packages_are_whole(host)?;
    back(fresh, &host.state()?, EXCEPTIONS)
}

/// The entries of the newest receipt, as `will trace` or `owes`.
fn entries(host: &Host) -> Result<Vec<String>> {
    let text =
        host.sh("cat $(ls /var/lib/rprov/receipts/*.jsonl 2>/dev/null | tail -n 1) /dev/null")?.ok()?.stdout;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let name = |line: &str| -> Result<String> {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("not an entry: {line}"))?;
        let kind = entry["change"]["kind"].as_str().map(|kind| format!(" {kind}")).unwrap_or_default();
        Ok(format!("{}{kind}", entry["entry"].as_str().context("an entry without a name")?))
    };
    whole.lines().map(name).collect()
}

fn killed(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    let mut killed = 0;
    // The last one finds what the one before it left to apt.
    for entry in ["header", "will packages", "will packages"] {
        let mut install = host.spawn(INSTALL)?;
        let before = host.sh("ls /var/lib/rprov/receipts | wc -l")?.stdout;
        until(entry, || {
            let now = host.sh("ls /var/lib/rprov/receipts | wc -l")?.stdout;
            Ok(!install.running() || now != before && entries(&host)?.iter().any(|found| found == entry))
        })?;
        if install.running() {
            install.signal("KILL")?;
        }
        if install.wait(LONG)?.code != 0 {
            killed += 1;
            let status = host.run(&["rprov", "status"])?.code_is(3)?;
            says(&status, &["did not come to its end"])?;
        }
    }
    ensure!(killed >= 2, "only {killed} runs were killed");
    succeeds(&host, INSTALL)?;
    engine_works(&host)?;
    restores(&host, &fresh)
}

/// Waits until dpkg is in the middle of it.
fn unpacking(host: &Host) -> Result<()> {
    until("dpkg unpacks docker-ce", || {
        Ok(host.sh("grep -qs 'Unpacking docker-ce ' /var/log/rprov/*-install.log")?.code == 0)
    })
}

fn crashed(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    let fresh = host.state()?;
    let install = host.spawn(INSTALL)?;
    unpacking(&host)?;
    host.crash()?;
    drop(install);
    host.boot()?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)?;
    succeeds(&host, UNINSTALL)?;
    let boot = [("/var/tmp/systemd-private-*", "systemd's private directories, new at each boot")];
    back(&fresh, &host.state()?, &[EXCEPTIONS, DATA, &boot].concat())
}

fn ctrl_c(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    with_gate(&host)?;
    let fresh = host.state()?;
    let apt = Manager {
        program: "apt-get",
        holds: "(apt-get)",
        waits: &|next| next.wait_for("(apt-get)", Duration::from_secs(60)),
        restores: &|| restores(&host, &fresh),
    };
    gate::ctrl_c(&host, &apt)
}

fn lost_terminal(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    with_gate(&host)?;
    let fresh = host.state()?;
    shut(&host)?;
    let mut lost = host.on_terminal("rprov install --yes")?;
    in_the_middle(&host)?;
    lost.hang_up()?;
    lost.wait(Duration::from_secs(20))?;
    open(&host)?;
    until("the run without a terminal ends", || Ok(host.sh("pgrep -x 'rprov|apt-get'")?.code != 0))?;
    packages_are_whole(&host)?;
    ensure!(host.packages()?.contains_key("docker-ce"), "the change in hand was not finished");
    let entries = entries(&host)?;
    ensure!(entries.last().is_some_and(|last| last == "finished"), "the receipt is not whole: {entries:?}");
    succeeds(&host, INSTALL)?;
    engine_works(&host)?;
    restores(&host, &fresh)
}

fn two_installs(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    with_gate(&host)?;
    shut(&host)?;
    let first = host.spawn(INSTALL)?;
    in_the_middle(&host)?;
    let holder = format!("rprov (process {})", first.pid()?);
    for wait in ["0s", "1s"] {
        for verb in ["install", "uninstall"] {
            let output = host.run_within(LONG, &["rprov", verb, "--yes", "--wait", wait])?.code_is(5)?;
            says(&output, &["error:", &holder, "hint:", "--wait"])?;
        }
    }
    // Who only looks waits for nobody.
    host.run(&["rprov", "plan"])?.ok()?;
    let mut second: Running = host.spawn(INSTALL)?;
    second.wait_for(&holder, Duration::from_secs(60))?;
    open(&host)?;
    first.wait(LONG)?.ok()?;
    let output = second.wait(LONG)?.ok()?;
    says(&output, &["nothing to do"])?;
    ensure!(host.starts_of("docker.service")? == 1, "the second install started dockerd again");
    engine_works(&host)
}
