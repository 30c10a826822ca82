//! The main job: one command makes a fresh machine a Docker host, and the commands around it tell the truth.

use super::by_hand;
use super::product::{
    alice_runs, does_not_say, host, indexes, install, planned, rprov, same, says, untouched, version,
};
use crate::Host;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "install",
        about: "one command brings an engine that a named user runs containers with, and a second one does nothing",
        on: &[
            Identity::Ubuntu2404,
            Identity::Debian12,
            Identity::Ubuntu2204,
            Identity::Ubuntu2604,
            Identity::Debian11,
            Identity::Debian13,
        ],
        run: main_job,
    },
    Scenario {
        name: "install-versions",
        about: "a version's front picks the engine, --upgrade moves it, and a lock brings exactly what it names",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: versions,
    },
    Scenario {
        name: "commands-that-only-tell",
        about: "facts, profiles, completions, manual and plan answer anybody, and write nothing",
        on: &[Identity::Ubuntu2404],
        run: tell,
    },
];

/// What an install by a guide brings along, and nobody needs.
const HELPERS: &[&str] = &[
    "curl",
    "wget",
    "gnupg",
    "gpg",
    "gpgv",
    "dirmngr",
    "lsb-release",
    "software-properties-common",
    "apt-transport-https",
    "git",
    "pigz",
    "python3",
];

const ENGINE: &[&str] =
    &["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];

fn main_job(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;

    let plan = rprov(&host, &["plan", "--user", "alice", "--exit-code"])?.code_is(3)?;
    says(
        &plan,
        &["docker-ce ", "/etc/apt/sources.list.d/docker.sources", "docker.service", "alice in docker"],
    )?;
    says(&rprov(&host, &["status"])?.ok()?, &["rprov has changed nothing"])?;
    untouched("plan changed the host", &fresh, &host.state()?)?;

    let asked = host.requests();
    let done = install(&host, &["--user", "alice"])?;
    ensure!(
        done.stdout == plan.stdout,
        "plan and install show different changes:\n{}\n{}",
        plan.stdout,
        done.stdout
    );
    says(
        &done,
        &["a container ran, alone and without a network", "storage driver", "from the next login on"],
    )?;
    let asked = host.requests_since(&asked);
    let suite = format!("/linux/{}/dists/{}", identity.family(), identity.suite());
    let once = |path: &str| -> Result<()> {
        let count = asked.iter().filter(|request| request.path.starts_with(path)).count();
        ensure!(count <= 2, "{path} was asked for {count} times: {:?}", indexes(&asked));
        Ok(())
    };
    once(&format!("{suite}/InRelease"))?;
    once(&format!("{suite}/stable/binary-amd64/"))?;
    let others: Vec<String> = indexes(&asked)
        .into_iter()
        .filter(|line| !line.contains(&suite) || !line.starts_with("good "))
        .collect();
    ensure!(others.is_empty(), "other indexes than the source's were asked for: {others:?}");
    let debs: Vec<&str> = asked.iter().map(|r| r.path.as_str()).filter(|p| p.ends_with(".deb")).collect();
    ensure!(
        debs.iter().collect::<BTreeSet<_>>().len() == debs.len(),
        "a package was fetched twice: {debs:?}"
    );

    ensure!(host.starts_of("docker.service")? == 1, "dockerd was not started once");
    ensure!(host.starts_of("containerd.service")? == 1, "containerd was not started once");
    let installed = host.state()?;
    let came: BTreeSet<&String> =
        installed.packages.keys().filter(|name| !fresh.packages.contains_key(*name)).collect();
    let helpers: Vec<_> = HELPERS.iter().filter(|helper| came.iter().any(|name| name == *helper)).collect();
    ensure!(helpers.is_empty(), "helper packages came along: {helpers:?}");
    for name in ENGINE {
        ensure!(plan.stdout.contains(&version(&host, name)?), "the plan does not show the version of {name}");
    }
    by_hand_count(&host)?;
    by_hand::import(&host)?;
    ensure!(alice_runs(&host, "echo hello")? == "hello\n", "alice's container did not say hello");

    again(&host)?;
    drift(&host)
}

/// The marks: who was asked for by name is manual, who came along is automatic.
fn by_hand_count(host: &Host) -> Result<()> {
    let marks = host.marks()?;
    for name in ENGINE {
        ensure!(marks.contains_key(*name), "{name} is not marked as installed by hand");
    }
    ensure!(!marks.contains_key("iptables"), "iptables is marked as installed by hand");
    Ok(())
}

/// A second run does nothing, and nothing is what a plan shows.
fn again(host: &Host) -> Result<()> {
    let before = host.state()?;
    let asked = host.requests();
    let nothing = install(host, &["--user", "alice"])?;
    says(&nothing, &["nothing to do"])?;
    rprov(host, &["plan", "--user", "alice", "--exit-code"])?.ok()?;
    // Who is not named any more stays: a list that is shorter asks for nothing.
    rprov(host, &["install", "--yes"])?.ok()?;
    says(&rprov(host, &["status"])?.ok()?, &["are as they were made"])?;
    let asked = host.requests_since(&asked);
    ensure!(asked.is_empty(), "a second install asked for {asked:?}");
    untouched("a second install changed the host", &before, &host.state()?)?;
    ensure!(host.starts_of("docker.service")? == 1, "a second install started dockerd");

    let smoke = rprov(host, &["smoke"])?.ok()?;
    says(&smoke, &["a container ran"])?;
    let left = host.sh("docker ps -aq; docker images -q --filter reference=rprov-smoke")?.ok()?.stdout;
    ensure!(left.is_empty(), "the smoke test left {left}");
    Ok(())
}

/// What is no more as it was made is told, and made again.
fn drift(host: &Host) -> Result<()> {
    host.run(&["systemctl", "disable", "--now", "docker.service", "docker.socket"])?.ok()?;
    host.run(&["gpasswd", "--delete", "alice", "docker"])?.ok()?;
    let drifted = rprov(host, &["status"])?.code_is(3)?;
    says(&drifted, &["docker.service", "docker.socket", "alice"])?;
    rprov(host, &["plan", "--user", "alice", "--exit-code"])?.code_is(3)?;
    install(host, &["--user", "alice", "--no-smoke"])?;
    rprov(host, &["status"])?.ok()?;
    ensure!(alice_runs(host, "echo again")? == "again\n", "the container did not run again");
    Ok(())
}

fn versions(lab: &Lab, identity: Identity) -> Result<()> {
    let mut first = host(lab, identity)?;
    says(&rprov(&first, &["lock"])?.code_is(1)?, &["no engine is installed"])?;
    let none = rprov(&first, &["plan", "--version", "27"])?.code_is(4)?;
    says(&none, &["version 27 of `docker-ce`", "29.7.2"])?;

    let plan = rprov(&first, &["plan", "--version", "28", "--json"])?.ok()?;
    let done = install(&first, &["--version", "28", "--no-smoke", "--json"])?;
    ensure!(planned(&plan)? == planned(&done)?, "plan and install show different changes as JSON");
    ensure!(version(&first, "docker-ce")?.starts_with("5:28.5.2-1~"), "{}", version(&first, "docker-ce")?);
    ensure!(version(&first, "docker-ce-cli")?.starts_with("5:28.5.2-1~"), "the client is of another version");
    says(&install(&first, &[])?, &["nothing to do"])?;

    let plan = rprov(&first, &["plan", "--upgrade"])?.ok()?;
    says(&plan, &["5:28.5.2-1~", " → 5:29.7.2-1~"])?;
    let asked = first.requests();
    install(&first, &["--upgrade"])?;
    ensure!(version(&first, "docker-ce")?.starts_with("5:29.7.2-1~"), "{}", version(&first, "docker-ce")?);
    let archive: Vec<String> =
        indexes(&first.requests_since(&asked)).into_iter().filter(|r| r.starts_with("archive")).collect();
    ensure!(archive.is_empty(), "the upgrade asked for {archive:?}");
    says(&install(&first, &["--upgrade"])?, &["nothing to do"])?;
    first.mirror(Variant::Newer)?;
    let within = rprov(&first, &["plan", "--upgrade", "--version", "29.7"])?.ok()?;
    says(&within, &["docker-buildx-plugin"])?;
    does_not_say(&within, &["docker-ce"])?;
    back_and_forth(&first)?;
    says(&rprov(&first, &["plan", "--upgrade"])?.ok()?, &["5:29.10.0-1~"])?;

    rprov(&first, &["lock", "-o", "/root/lock.toml"])?.ok()?;
    let lock = first.read("/root/lock.toml")?;
    ensure!(rprov(&first, &["lock"])?.ok()?.stdout == lock, "a lock to standard output is another one");
    let locked = (first.packages()?, first.marks()?);
    drop(first);
    by_lock(lab, identity, &lock, &locked)
}

/// To an older engine only by name and with consent, to the newest again, and the older one by its whole version.
fn back_and_forth(host: &Host) -> Result<()> {
    let newest = version(host, "docker-ce")?;
    let before = host.state()?;
    let refused = rprov(host, &["install", "--yes", "--version", "28"])?.code_is(4)?;
    says(&refused, &["older version", &newest, "--version 28 --allow-downgrade"])?;
    untouched("a downgrade that nobody allowed changed the host", &before, &host.state()?)?;
    let whole =
        host.sh("apt-cache madison docker-ce | awk -F'[ |]+' '{print $3}' | grep '^5:28[.]5'")?.ok()?.stdout;
    install(host, &["--version", whole.trim(), "--allow-downgrade", "--no-smoke"])?;
    ensure!(version(host, "docker-ce")? == whole.trim(), "{}", version(host, "docker-ce")?);
    // Docker's unit starts at most three times a minute.
    host.run(&["systemctl", "reset-failed", "docker.service", "docker.socket"])?.ok()?;
    install(host, &["--version", "29.7", "--no-smoke"])?;
    ensure!(version(host, "docker-ce")? == newest, "{}", version(host, "docker-ce")?);
    Ok(())
}

/// A lock that wants another file of one package.
fn with_another_digest(lock: &str, package: &str) -> Result<String> {
    let name = format!("name = \"{package}\"");
    let (before, rest) = lock.split_once(&name).with_context(|| format!("no `{package}` in:\n{lock}"))?;
    let (digest, rest) = rest.split_once("sha256 = \"").context("the lock has no digest of it")?;
    let rest = rest.get(64..).context("the digest is short")?;
    Ok(format!("{before}{name}{digest}sha256 = \"{}{rest}", "0".repeat(64)))
}

/// A fresh host from a lock: exactly its versions, or nothing.
fn by_lock(
    lab: &Lab,
    identity: Identity,
    lock: &str,
    locked: &(BTreeMap<String, String>, BTreeMap<String, String>),
) -> Result<()> {
    let mut second = host(lab, identity)?;
    let before = second.state()?;
    let missing = rprov(&second, &["install", "--yes", "--locked", "/root/no.toml"])?.code_is(2)?;
    says(&missing, &["/root/no.toml", "there is no such file", "hint:"])?;
    let number = format!("version = \"{}\"", identity.version());
    ensure!(lock.contains(&number), "the lock does not name the distribution's version:\n{lock}");
    second.write("/run/other.toml", lock.replace(&number, "version = \"1.0\""))?;
    let other = rprov(&second, &["install", "--yes", "--locked", "/run/other.toml"])?.code_is(4)?;
    says(&other, &["it is for", "1.0"])?;
    second.write("/run/broken.toml", lock.replace("format = 1", "format = one"))?;
    rprov(&second, &["install", "--yes", "--locked", "/run/broken.toml"])?.code_is(2)?;
    second.write("/run/lock.toml", lock)?;
    second.write("/run/forged.toml", with_another_digest(lock, "iptables")?)?;
    let forged = rprov(&second, &["install", "--yes", "--locked", "/run/forged.toml"])?.code_is(4)?;
    says(&forged, &["`iptables`", "another digest than"])?;
    second.mirror(Variant::OnlyOld)?;
    let gone = rprov(&second, &["install", "--yes", "--locked", "/run/lock.toml"])?.code_is(4)?;
    says(&gone, &["2.2.1-1~", "the newest there is 1.7.28-1~"])?;
    second.mirror(Variant::Good)?;
    same(
        "a lock that cannot be used changed the host",
        &before,
        &second.state()?,
        &[("/etc/hosts", "the lab's"), ("/var/log/*", "logs")],
    )?;

    second.mirror(Variant::Newer)?;
    install(&second, &["--locked", "/run/lock.toml"])?;
    let brought = (second.packages()?, second.marks()?);
    ensure!(brought == *locked, "the lock brought other packages, or marks:\n{brought:?}\n{locked:?}");
    let again = rprov(&second, &["plan", "--exit-code", "--locked", "/run/lock.toml"])?.ok()?;
    does_not_say(&again, &["docker-ce"])
}

fn tell(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let before = host.state()?;
    let by_anybody =
        |line: &str, words: &[&str]| -> Result<()> { says(&host.run_as_login("alice", line)?.ok()?, words) };
    by_anybody("rprov --version", &["rprov 0."])?;
    by_anybody("rprov --help", &["install", "uninstall", "Exit codes:"])?;
    by_anybody("rprov install --help", &["--user", "--locked", "--wait"])?;
    by_anybody("rprov facts", &["ubuntu", "24.04", "amd64", "systemd"])?;
    by_anybody("rprov facts --json", &["\"architecture\": \"amd64\""])?;
    by_anybody("rprov profile list", &["ubuntu-24.04", "debian-11", "until "])?;
    by_anybody("rprov profile show ubuntu-24.04", &["noble", "docker-ce", "docker.service"])?;
    by_anybody("rprov profile show ubuntu-24.04 --json", &["\"suite\": \"noble\""])?;
    for shell in ["bash", "zsh", "fish"] {
        by_anybody(&format!("rprov completions {shell}"), &["uninstall"])?;
    }
    by_anybody("rprov man", &[".TH RPROV 8", "uninstall"])?;
    by_anybody("rprov plan", &["docker-ce", "docker.service"])?;
    by_anybody(
        "rprov plan --json",
        &["{\"event\":\"started\"", "{\"event\":\"plan\"", "{\"event\":\"finished\""],
    )?;

    let shown = host.run(&["rprov", "profile", "show", "ubuntu-24.04"])?.ok()?.stdout;
    host.write("/run/mine.toml", "extends = \"apt\"\ntitle = \"Mine\"\n\n[matches]\nid = 3\n")?;
    let wrong = rprov(&host, &["profile", "check", "/run/mine.toml"])?.code_is(2)?;
    says(&wrong, &["/run/mine.toml:5:"])?;
    ensure!(shown.contains("title = \"Ubuntu 24.04"), "{shown}");
    says(&rprov(&host, &["profile", "show", "ubunto-24.04"])?.code_is(2)?, &["ubuntu-24.04"])?;

    for (line, words) in [("rprov install --yes", "sudo"), ("rprov uninstall --yes", "sudo")] {
        let said = host.run_as_login("alice", line)?.code_is(4)?;
        says(&said, &["hint:", words])?;
    }
    for (arguments, word) in [
        (&["install", "--user", "nobody-here"][..], "nobody-here"),
        (&["install", "--user", "root"], "root"),
        (&["install", "--version", "x"], "x"),
        (&["install", "--channel", "nightly"], "nightly"),
        (&["install", "--wait", "soon"], "soon"),
        (&["install", "--with", "rootles-extras"], "rootless-extras"),
        (&["install", "--config", "/no/such.toml"], "/no/such.toml"),
        (&["install"], "terminal"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let said = rprov(&host, arguments)?;
        ensure!(
            said.code == 2 || said.code == 4 && word == "x",
            "{arguments:?} ended with {}: {}",
            said.code,
            said.text()
        );
        says(&said, &[word])?;
    }
    says(&rprov(&host, &["uninstall", "--yes"])?.ok()?, &["nothing to take back"])?;
    untouched("a command that only tells has written", &before, &host.state()?)
}
