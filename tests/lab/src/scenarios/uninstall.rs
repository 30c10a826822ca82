//! The way back: after an uninstall the host is as it was before, and what others changed since is left and told.

use super::by_hand;
use super::product::{alice_runs, does_not_say, host, install, rprov, says, uninstall, untouched};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::tree::State;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "uninstall",
        about: "after an uninstall files, packages, marks, groups and units are as before; data stays unless insisted on",
        on: &[
            Identity::Ubuntu2404,
            Identity::Debian12,
            Identity::Debian13,
            Identity::Ubuntu2204,
            Identity::Ubuntu2604,
            Identity::Debian11,
        ],
        run: way_back,
    },
    Scenario {
        name: "uninstall-edited",
        about: "what was edited since, or is needed by something else now, stays and is told; --force insists",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: edited,
    },
];

/// What differs after an install and an uninstall, each with its reason. Nothing else may.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    ("/var/log/*", "logs, rprov's own among them: they tell what was done"),
    ("/var/cache/apt/*", "apt's own cache, made anew at any question"),
    ("/var/cache/ldconfig/*", "ldconfig's own cache"),
    ("/var/cache/debconf/*", "debconf's own cache, with a backup of each"),
    ("/etc/ld.so.cache", "written by ldconfig at each change of a library"),
    ("/var/lib/dpkg/*", "dpkg's database with its backups and triggers; the packages in it are as before"),
    ("/var/lib/apt/extended_states", "apt's marks of packages; the marks are as before"),
    ("/var/lib/apt/periodic*", "apt's stamp of its last update"),
    ("/var/lib/apt/daily_lock", "apt's own lock"),
    ("/var/lib/apt/lists/lock", "apt's own lock"),
    ("/var/lib/apt/lists/auxfiles", "made empty by apt"),
    ("/var/lib/dnf*", "dnf's history: that something came and went"),
    ("/var/lib/rpm*", "rpm's database; the packages and keys in it are as before"),
    ("/var/lib/systemd/*", "systemd's timers and its random seed"),
    ("/etc/group-", "the backup that groupadd makes of the file before its last change"),
    ("/etc/gshadow-", "the backup that groupadd makes of the file before its last change"),
    ("/etc/.pwd.lock", "made by whoever locks the users' database first"),
];

/// Units that differ after an install and an uninstall.
pub const UNITS: &[(&str, &str)] = &[
    (
        "unit network-online.target:",
        "reached because the engine's unit waits for it; it holds until the next boot and does nothing",
    ),
    ("unit session-", "a login of alice's"),
];

/// People's own: images, containers and volumes.
const DATA: &[(&str, &str)] = &[
    ("/var/lib/docker*", "data stays"),
    ("/var/lib/containerd*", "data stays"),
    ("/etc/hosts", "the lab's"),
];

fn way_back(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    install(&host, &["--user", "alice"])?;
    by_hand::import(&host)?;
    host.run(&["docker", "run", "-d", "--name", "kept", "lab", "sleep", "1000"])?.ok()?;

    let before = host.state()?;
    let dry = rprov(&host, &["uninstall", "--dry-run"])?.ok()?;
    says(&dry, &["docker-ce", "docker.sources", "docker.service", "/var/lib/docker", "--purge-data"])?;
    let asked = rprov(&host, &["uninstall"])?.code_is(2)?;
    says(&asked, &["there is no terminal", "--yes"])?;
    untouched("uninstall --dry-run changed the host", &before, &host.state()?)?;

    let done = uninstall(&host, &[])?;
    says(&done, &["/var/lib/docker", "--purge-data", "as it was before", "/etc/rprov", "/var/log/rprov"])?;
    let except: Vec<_> = EXCEPTIONS.iter().chain(DATA).copied().collect();
    back(&fresh, &host.state()?, &except)?;
    ensure!(!host.exists("/var/lib/rprov"), "/var/lib/rprov is still there");
    ensure!(host.exists("/var/lib/docker"), "/var/lib/docker is gone");
    says(&rprov(&host, &["status"])?.ok()?, &["has changed nothing"])?;
    says(&uninstall(&host, &[])?, &["nothing to take back"])?;

    // The second install finds the data of the first: it is not this install's to remove.
    install(&host, &["--no-smoke"])?;
    let said = host.run(&["docker", "ps", "-aq", "--filter", "name=kept"])?.ok()?.stdout;
    ensure!(!said.is_empty(), "the container of before is not known any more");
    let dry = rprov(&host, &["uninstall", "--dry-run", "--purge-data"])?.ok()?;
    says(&dry, &["/var/lib/docker", "--purge-data --force"])?;
    let done = uninstall(&host, &["--purge-data", "--force"])?;
    does_not_say(&done, &["it was there before"])?;
    back(&fresh, &host.state()?, EXCEPTIONS)
}

/// The host is as before, but for what is documented.
pub fn back(before: &State, after: &State, except: &[(&str, &str)]) -> Result<()> {
    let mut lines = before.diff(after, except);
    lines.retain(|line| !UNITS.iter().any(|(unit, _)| line.starts_with(unit)));
    ensure!(lines.is_empty(), "an uninstall left something:\n{}", lines.join("\n"));
    Ok(())
}

fn edited(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    install(&host, &["--user", "alice", "--no-smoke"])?;
    by_hand::import(&host)?;
    ensure!(alice_runs(&host, "echo hello")? == "hello\n");
    let daemon = host.read("/etc/docker/daemon.json")?;
    host.write("/etc/docker/daemon.json", daemon.replacen('{', "{\n\t\"debug\": true,", 1))?;
    let source = host.read("/etc/apt/sources.list.d/docker.sources")?;
    host.write("/etc/apt/sources.list.d/docker.sources", format!("# of use to me\n{source}"))?;
    host.run(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "ufw"])?.ok()?;

    let dry = rprov(&host, &["uninstall", "--dry-run"])?.ok()?;
    says(&dry, &["`iptables` stays: ufw needs it now", "docker.sources` was edited since"])?;
    let done = uninstall(&host, &["--purge-data"])?;
    says(
        &done,
        &[
            "`iptables` stays: ufw needs it now",
            "docker.sources` was edited since",
            "what others wrote in it since stays",
        ],
    )?;
    says(&done, &["`rprov uninstall --force` insists"])?;
    let left = host.read("/etc/docker/daemon.json")?;
    ensure!(left.contains("\"debug\": true"), "their edit is gone: {left}");
    ensure!(!left.contains("log-"), "our keys are still there: {left}");
    let packages = host.packages()?;
    ensure!(packages.keys().any(|name| name.starts_with("ufw")), "ufw is gone");
    ensure!(packages.keys().any(|name| name.starts_with("iptables")), "iptables is gone");
    ensure!(!packages.keys().any(|name| name.starts_with("docker-ce")), "the engine is still there");
    ensure!(host.read("/etc/apt/sources.list.d/docker.sources")?.starts_with("# of use to me\n"));
    ensure!(host.exists("/etc/apt/keyrings/docker.asc"), "the edited source has lost its key");
    host.run(&["apt-get", "update"])?.ok()?;

    let forced = uninstall(&host, &["--force"])?;
    does_not_say(&forced, &["insists"])?;
    ensure!(!host.exists("/etc/apt/sources.list.d/docker.sources"), "--force did not insist");
    ensure!(!host.exists("/var/lib/rprov"), "/var/lib/rprov is still there");
    let theirs: Vec<(&str, &str)> = EXCEPTIONS
        .iter()
        .copied()
        .chain([("/etc/docker*", "may hold their edit"), ("/etc/hosts", "the lab's")])
        .collect();
    let lines: Vec<String> = fresh
        .diff(&host.state()?, &theirs)
        .into_iter()
        .filter(|line| line.contains("docker") || line.contains("containerd") || line.contains("rprov"))
        .collect();
    ensure!(lines.is_empty(), "something of the engine is left:\n{}", lines.join("\n"));
    Ok(())
}
