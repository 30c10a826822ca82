//! The main job, its trust and its way back on hosts of the dnf family.

use super::by_hand;
use super::common::{INSTALL, LONG, engine_works, leaves_all_alone, says, succeeds};
use super::product::{QUIET, alice_runs, host, install, rprov, uninstall, version};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::tree::Tree;
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "dnf-install",
        about: "one command brings an engine that a named user runs containers with, a second one does nothing, and \
                uninstall leads back to the same tree and the same rpm database",
        on: Identity::DNF_SUPPORTED,
        run: main_job,
    },
    Scenario {
        name: "dnf-trust",
        about: "a package that nobody, or another than the pinned key signed, or that is not whole is refused, and \
                nothing is written",
        on: &[Identity::Rhel9, Identity::Rhel10],
        run: trust,
    },
    Scenario {
        name: "dnf-mirrors",
        about: "a mirror that is away, incomplete or without the release ends with the right code, and nothing is written",
        on: &[Identity::Rhel9, Identity::Rhel10],
        run: mirrors,
    },
    Scenario {
        name: "dnf-without-appstream",
        about: "where no repository has what the engine needs, it is said before anything is written; a third party's \
                broken repository stops nothing",
        on: &[Identity::Rhel9, Identity::Rocky9],
        run: repositories,
    },
    Scenario {
        name: "dnf-minor-release",
        about: "a host that is locked to a minor release gets the directory of its major release",
        on: &[Identity::Rhel9],
        run: minor,
    },
    Scenario {
        name: "dnf-adoption",
        about: "sources that contradict ours are replaced whatever their name, one that is right stays, and uninstall \
                puts them back",
        on: &[Identity::Rhel9],
        run: adoption,
    },
    Scenario {
        name: "dnf-conflicts",
        about: "what cannot stay beside the engine goes and comes back with uninstall; what can, stays",
        on: &[Identity::Rhel9, Identity::Fedora44],
        run: conflicts,
    },
    Scenario {
        name: "dnf-lock",
        about: "dnf's lock is waited for, and its holder named where that takes too long",
        on: &[Identity::Rhel9],
        run: lock,
    },
    Scenario {
        name: "dnf-versions",
        about: "a version's front picks the engine and --upgrade moves it",
        on: &[Identity::Rhel9],
        run: versions,
    },
    Scenario {
        name: "dnf-amazon",
        about: "Amazon Linux is refused with the reason and the way to its own engine",
        on: &[Identity::Amazon2023],
        run: amazon,
    },
];

const ENGINE: &[&str] =
    &["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];

fn except() -> Vec<(&'static str, &'static str)> {
    [QUIET, EXCEPTIONS].concat()
}

fn main_job(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    let keys = keys(&host)?;
    let plan = leaves_all_alone(&host, &["rprov", "plan", "--user", "alice", "--exit-code"], 3, &[])?;
    let done = install(&host, &["--user", "alice"])?;
    ensure!(
        done.stdout == plan.stdout,
        "plan and install show different changes:\n{}\n{}",
        plan.stdout,
        done.stdout
    );
    ensure!(host.starts_of("docker.service")? == 1, "dockerd was not started once");
    ensure!(host.starts_of("containerd.service")? == 1, "containerd was not started once");
    for name in ENGINE {
        ensure!(plan.stdout.contains(&version(&host, name)?), "the plan does not show the version of {name}");
    }
    let marks = host.marks()?;
    let named: BTreeSet<&str> =
        marks.iter().filter(|(_, mark)| *mark == "user").map(|(name, _)| name.as_str()).collect();
    ensure!(ENGINE.iter().all(|name| named.contains(name)), "{named:?}");
    ensure!(!named.contains("container-selinux"), "container-selinux is marked as asked for");
    let came = self::keys(&host)?;
    ensure!(came.len() == keys.len() + 1, "keys in rpm's database: {keys:?}, then {came:?}");
    ensure!(!host.exists("/var/cache/rprov"), "what was fetched is still there");
    by_hand::import(&host)?;
    ensure!(alice_runs(&host, "echo hello")? == "hello\n", "alice's container did not say hello");

    let asked = host.requests();
    leaves_all_alone(&host, &[INSTALL, &["--user", "alice"]].concat(), 0, &["nothing to do"])?;
    ensure!(host.requests_since(&asked).is_empty(), "a second install asked for something");

    uninstall(&host, &["--purge-data"])?;
    back(&fresh, &host.state()?, &except())?;
    ensure!(self::keys(&host)? == keys, "keys are left in rpm's database: {:?}", self::keys(&host)?);
    install(&host, &["--user", "alice"])?;
    engine_works(&host)
}

const LOGS: &[(&str, &str)] = &[("/var/log/rprov*", "its log")];

/// Every file is as it was, but for what is excepted.
fn alike(what: &str, before: &Tree, after: &Tree, except: &[(&str, &str)]) -> Result<()> {
    let lines = before.diff(after, &[QUIET, except].concat());
    ensure!(lines.is_empty(), "{what}:\n{}", lines.join("\n"));
    Ok(())
}

/// The keys in rpm's database.
fn keys(host: &Host) -> Result<BTreeSet<String>> {
    Ok(host.run(&["rpm", "-qa", "gpg-pubkey"])?.ok()?.stdout.lines().map(str::to_string).collect())
}

fn trust(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    let cases: &[(Variant, Key)] = &[
        (Variant::RogueKey, Key::Docker),
        (Variant::Good, Key::Rogue),
        (Variant::UnsignedRpm, Key::Docker),
        (Variant::RogueRpm, Key::Docker),
        (Variant::TamperedRpm, Key::Docker),
        (Variant::ExpiredKey, Key::Expired),
    ];
    for (variant, key) in cases {
        host.note(&format!("{} with the key {key:?}", variant.name()));
        host.mirror(*variant)?;
        host.pin(*key)?;
        let before = host.tree()?;
        let said = host.run_within(LONG, INSTALL)?.code_is(4)?;
        let why = match key {
            Key::Expired => "xpired",
            _ => "not signed by the pinned key",
        };
        says(&said, &["error:", "cannot trust", why, "hint:"])?;
        alike(variant.name(), &before, &host.tree()?, LOGS)?;
    }
    // Without a configuration the shipped pin holds, and the lab's key is none of Docker's.
    host.mirror(Variant::Good)?;
    host.run(&["mv", "/etc/rprov", "/root/rprov"])?.ok()?;
    let said = host.run_within(LONG, INSTALL)?.code_is(4)?;
    says(&said, &["060A61C51B558A7F742B77AAC52FEB6B621E9F35"])?;
    host.run(&["mv", "/root/rprov", "/etc/rprov"])?.ok()?;
    host.pin(Key::Docker)?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}

fn mirrors(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    let cases: &[(Variant, i32)] = &[
        (Variant::NoSuite, 4),
        (Variant::NotFound, 4),
        (Variant::Refused, 5),
        (Variant::Unavailable, 5),
        (Variant::MidSync, 5),
        (Variant::TruncatedIndex, 5),
        (Variant::TamperedInRelease, 5),
        (Variant::TamperedPackages, 5),
    ];
    for (variant, code) in cases {
        host.note(variant.name());
        host.mirror(*variant)?;
        leaves_all_alone(&host, &["rprov", "install", "--yes", "--wait", "5s"], *code, &["error:", "hint:"])?;
    }
    for (variant, code) in [(Variant::TruncatedDeb, 5), (Variant::TamperedDeb, 5)] {
        host.mirror(variant)?;
        let before = host.tree()?;
        let said = host.run_within(LONG, INSTALL)?.code_is(code)?;
        says(&said, &["error:", "cannot fetch the packages", "hint:"])?;
        let fetched = [LOGS, &[("/var/cache/rprov*", "what was fetched, for the next run")]].concat();
        alike(variant.name(), &before, &host.tree()?, &fetched)?;
    }
    host.mirror(Variant::Good)?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}

fn repositories(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let files = host.sh("grep -l -i appstream /etc/yum.repos.d/*.repo")?.ok()?.stdout;
    let broken = "[theirs]\nname=Theirs\nbaseurl=http://archive.lab/no/such/place\nenabled=1\ngpgcheck=0\n";
    let file = files.lines().next().unwrap_or_default();
    let text = host.read(file)?;
    host.sh(&format!("awk '/^\\[/ {{ on = /appstream/ }} on && /^enabled=/ {{ $0 = \"enabled=0\" }} {{ print }}' {file} > /run/x && cat /run/x > {file}"))?
        .ok()?;
    leaves_all_alone(
        &host,
        INSTALL,
        4,
        &["container-selinux", "no enabled repository", "AppStream", "hint:"],
    )?;
    host.write("/etc/yum.repos.d/theirs.repo", broken)?;
    leaves_all_alone(&host, INSTALL, 5, &["container-selinux", "could not read theirs", "hint:"])?;
    host.write(file, text)?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}

fn minor(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.write("/etc/dnf/vars/releasever", "9.4\n")?;
    succeeds(&host, INSTALL)?;
    let text = host.read("/etc/yum.repos.d/docker-ce.repo")?;
    ensure!(text.contains("/linux/rhel/9/x86_64/stable\n"), "{text}");
    engine_works(&host)
}

/// A source by upstream's own file, and an older guide's for another release.
const THEIRS: &str = "[docker-ce-stable]\nname=Docker CE Stable - $basearch\n\
    baseurl=https://download.docker.com/linux/centos/$releasever/$basearch/stable\nenabled=1\ngpgcheck=1\n\
    gpgkey=https://download.docker.com/linux/centos/gpg\n\n[docker-ce-test]\nname=Docker CE Test - $basearch\n\
    baseurl=https://download.docker.com/linux/centos/$releasever/$basearch/test\nenabled=0\ngpgcheck=1\n";
const MIXED: &str = "[mine]\nname=mine\nbaseurl=http://archive.lab/none\nenabled=0\n\n[dock]\nname=dock\n\
    baseurl=http://download.docker.com/linux/rhel/8/x86_64/stable\nenabled=1\ngpgcheck=0\n";

fn adoption(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.write("/etc/yum.repos.d/docker-ce.repo", THEIRS)?;
    host.write("/etc/yum.repos.d/a.repo", MIXED)?;
    let fresh = host.state()?;
    succeeds(&host, INSTALL)?;
    let mixed = host.read("/etc/yum.repos.d/a.repo")?;
    ensure!(mixed.contains("[mine]") && !mixed.contains("dock"), "{mixed}");
    ensure!(
        host.read("/etc/yum.repos.d/docker-ce.repo")?.contains("/linux/rhel/9/x86_64/"),
        "the wrong one stays"
    );
    engine_works(&host)?;
    uninstall(&host, &["--purge-data"])?;
    back(&fresh, &host.state()?, &except())?;
    // One that is right stays others'.
    host.remove("/etc/yum.repos.d/a.repo")?;
    host.copy_in(&lab.keys().public(Key::DockerRpm), "/etc/pki/rpm-gpg/mine.asc")?;
    let right = "[engine]\nname=Engine\nbaseurl=https://download.docker.com/linux/rhel/9/$basearch/stable/\n\
                 gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/mine.asc\n";
    host.write("/etc/yum.repos.d/docker-ce.repo", right)?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    super::product::does_not_say(&plan, &["yum.repos.d"])?;
    succeeds(&host, INSTALL)?;
    ensure!(host.read("/etc/yum.repos.d/docker-ce.repo")? == right, "a right source was written anew");
    engine_works(&host)
}

fn conflicts(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let theirs: &[&str] = match identity {
        Identity::Fedora44 => &["moby-engine", "docker-cli", "podman"],
        _ => &["podman", "podman-docker", "runc", "cockpit-podman"],
    };
    host.run_within(LONG, &[&["dnf", "install", "-y"], theirs].concat())?.ok()?;
    let before = host.state()?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    let goes = if identity == Identity::Fedora44 { "- moby-engine" } else { "- podman-docker" };
    super::product::says(&plan, &[goes])?;
    super::product::does_not_say(&plan, &["- podman "])?;
    succeeds(&host, INSTALL)?;
    ensure!(host.packages()?.contains_key("podman"), "podman went");
    engine_works(&host)?;
    uninstall(&host, &["--purge-data"])?;
    back(&before, &host.state()?, &except())
}

fn lock(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.sh("(sleep 300 & echo $! > /var/lib/dnf/rpmdb_lock.pid; wait) > /dev/null 2>&1 &")?.ok()?;
    host.sh("while ! [ -s /var/lib/dnf/rpmdb_lock.pid ]; do sleep 0.1; done")?.ok()?;
    let said = host.run_within(LONG, &["rprov", "install", "--yes", "--wait", "2s"])?.code_is(5)?;
    says(&said, &["error:", "holds dnf's lock", "hint:"])?;
    host.sh("kill $(cat /var/lib/dnf/rpmdb_lock.pid); rm -f /var/lib/dnf/rpmdb_lock.pid")?.ok()?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}

fn versions(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    let none = rprov(&host, &["plan", "--version", "27"])?.code_is(4)?;
    super::product::says(&none, &["version 27 of `docker-ce`", "29.7.2"])?;
    install(&host, &["--version", "28", "--no-smoke"])?;
    ensure!(version(&host, "docker-ce")? == "3:28.5.2-1.el9", "{}", version(&host, "docker-ce")?);
    ensure!(version(&host, "docker-ce-cli")? == "1:28.5.2-1.el9", "the client is of another version");
    super::product::says(&install(&host, &[])?, &["nothing to do"])?;
    let plan = rprov(&host, &["plan", "--upgrade"])?.ok()?;
    super::product::says(&plan, &["3:28.5.2-1.el9 → 3:29.7.2-1.el9"])?;
    install(&host, &["--upgrade"])?;
    ensure!(version(&host, "docker-ce")? == "3:29.7.2-1.el9", "{}", version(&host, "docker-ce")?);
    super::product::says(&install(&host, &["--upgrade"])?, &["nothing to do"])?;
    let lock = rprov(&host, &["lock"])?.ok()?.stdout;
    ensure!(lock.contains("3:29.7.2-1.el9"), "{lock}");
    uninstall(&host, &["--purge-data"])?;
    host.write("/run/lock.toml", lock)?;
    install(&host, &["--locked", "/run/lock.toml"])?;
    engine_works(&host)?;
    uninstall(&host, &["--purge-data"])?;
    back(&fresh, &host.state()?, &[except().as_slice(), &[("/run/lock.toml", "ours")]].concat())
}

fn amazon(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    leaves_all_alone(&host, INSTALL, 4, &["no packages for Amazon Linux", "hint:", "--engine distribution"])
        .map(drop)
}
