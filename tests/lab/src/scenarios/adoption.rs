//! Hosts that have something already: what is right is adopted, what is wrong is mended, and both come back.

use super::by_hand;
use super::product::{
    alice_runs, does_not_say, host, indexes, install, rprov, says, uninstall, untouched, version,
};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "adopt-older",
        about: "of an older engine installed by hand only the difference is planned, made and taken back",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: older,
    },
    Scenario {
        name: "adopt-newest",
        about: "on a host whose engine was installed by hand there is nothing to do, and nothing to take back",
        on: &[Identity::Debian12, Identity::Debian13],
        run: newest,
    },
    Scenario {
        name: "legacy-sources",
        about: "sources and keyrings of older guides that contradict each other are cleaned up, and come back byte by byte",
        on: &[Identity::Debian12, Identity::Ubuntu2204, Identity::Debian13],
        run: legacy,
    },
    Scenario {
        name: "replace-docker-io",
        about: "the distribution's engine goes in the transaction that brings the new one, and an uninstall puts it back",
        on: &[Identity::Debian12, Identity::Debian13],
        run: replace,
    },
    Scenario {
        name: "replace-docker-io-gone",
        about: "of an engine that the archive has no more the nearest version comes back, and it is said",
        on: &[Identity::Debian12],
        run: gone,
    },
    Scenario {
        name: "distribution-lists",
        about: "lists that are absent, old, or of another source are refreshed once, all of them",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: lists,
    },
    Scenario {
        name: "snap-engine",
        about: "an engine from a snap is refused with the way out, and nothing is touched",
        on: &[Identity::Ubuntu2404],
        run: snap,
    },
];

const MY_SOURCE: &str = "/etc/apt/sources.list.d/engine-of-mine.sources";
const MY_KEY: &str = "/usr/share/keyrings/engine-of-mine.asc";

/// A right source, under names of its own.
fn source_of_mine(host: &Host) -> Result<()> {
    let identity = host.identity();
    host.write(MY_KEY, host.lab().public(Key::Docker)?)?;
    host.write(
        MY_SOURCE,
        format!(
            "# By my own hand.\nTypes: deb\nURIs: https://download.docker.com/linux/{}/\nSuites: {}\n\
             Components: stable\nArchitectures: amd64\nSigned-By: {MY_KEY}\n",
            identity.family(),
            identity.suite()
        ),
    )
}

fn older(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    source_of_mine(&host)?;
    host.mirror(Variant::OnlyOld)?;
    by_hand::install(&host)?;
    by_hand::import(&host)?;
    host.mirror(Variant::Good)?;
    let before = host.state()?;

    says(&rprov(&host, &["plan", "--exit-code"])?.ok()?, &["nothing to change"])?;
    let plan = rprov(&host, &["plan", "--user", "alice"])?.ok()?;
    says(&plan, &["alice in docker"])?;
    does_not_say(&plan, &["docker-ce", "docker.sources", "daemon.json", MY_SOURCE, "unit"])?;
    let upgrade = rprov(&host, &["plan", "--user", "alice", "--upgrade"])?.ok()?;
    says(&upgrade, &["5:28.5.2-1~", "→ 5:29.7.2-1~", "1.7.28-1~"])?;
    does_not_say(&upgrade, &["docker.sources", "daemon.json", "iptables"])?;
    install(&host, &["--user", "alice", "--upgrade"])?;
    ensure!(version(&host, "docker-ce")?.starts_with("5:29.7.2-1~"));
    ensure!(alice_runs(&host, "echo hello")? == "hello\n");
    ensure!(!host.exists("/etc/docker/daemon.json"), "a default was written on a host that had an engine");

    uninstall(&host, &[])?;
    ensure!(version(&host, "docker-ce")?.starts_with("5:28.5.2-1~"), "the older engine is not back");
    let mut except = with_data();
    except.push(("/var/lib/apt/lists/download*", "the index of the source, which the upgrade refreshed"));
    back(&before, &host.state()?, &except)?;
    host.run(&["docker", "run", "--rm", "lab", "true"])?.ok().map(drop)
}

fn newest(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    source_of_mine(&host)?;
    by_hand::install(&host)?;
    by_hand::import(&host)?;
    host.run(&["docker", "run", "-d", "--name", "theirs", "lab", "sleep", "1000"])?.ok()?;
    let before = host.state()?;
    let asked = host.requests();
    says(&rprov(&host, &["plan", "--exit-code"])?.ok()?, &["nothing to change"])?;
    says(&install(&host, &[])?, &["nothing to do"])?;
    says(&uninstall(&host, &[])?, &["nothing to take back"])?;
    ensure!(host.requests_since(&asked).is_empty(), "{:?}", host.requests_since(&asked));
    untouched("a host with the newest engine was changed", &before, &host.state()?)?;

    // The difference alone: a member, and a unit that somebody had switched off.
    host.run(&["systemctl", "disable", "docker.service"])?.ok()?;
    let before = host.state()?;
    let done = install(&host, &["--user", "alice", "--no-smoke"])?;
    says(&done, &["docker.service", "enabled", "alice in docker"])?;
    does_not_say(&done, &["docker-ce", "containerd", "docker.sources", "daemon.json"])?;
    let running = host.run(&["docker", "ps", "-q", "--filter", "name=theirs"])?.ok()?.stdout;
    ensure!(!running.is_empty(), "their container does not run any more");
    uninstall(&host, &[])?;
    back(&before, &host.state()?, &with_data())?;
    let running = host.run(&["docker", "ps", "-q", "--filter", "name=theirs"])?.ok()?.stdout;
    ensure!(!running.is_empty(), "their container does not run after the uninstall");
    Ok(())
}

fn with_data() -> Vec<(&'static str, &'static str)> {
    let data = [
        ("/var/lib/docker*", "the engine's data, which moves while it runs"),
        ("/var/lib/containerd*", "the engine's data, which moves while it runs"),
        ("/etc/hosts", "the lab's"),
    ];
    EXCEPTIONS.iter().copied().chain(data).collect()
}

fn legacy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let address = format!("https://download.docker.com/linux/{}", identity.family());
    let (suite, key) = (identity.suite(), host.lab().public(Key::Docker)?);
    host.write("/usr/share/keyrings/docker-archive-keyring.asc", &key)?;
    host.write("/etc/apt/trusted.gpg.d/docker.asc", &key)?;
    host.write(
        "/etc/apt/sources.list.d/docker.list",
        format!("deb [arch=amd64 signed-by=/usr/share/keyrings/docker-archive-keyring.asc] {address} {suite} stable\n"),
    )?;
    host.write(
        "/etc/apt/sources.list.d/archive_uri.list",
        format!(
            "deb [arch=amd64] {address}/ {suite} stable\n# deb-src [arch=amd64] {address}/ {suite} stable\n"
        ),
    )?;
    let main = if host.exists("/etc/apt/sources.list") {
        host.read("/etc/apt/sources.list")?
    } else {
        String::new()
    };
    host.write(
        "/etc/apt/sources.list",
        format!("# mine\n{main}\ndeb [arch=amd64] {address} {suite} stable # the engine\n# the end"),
    )?;
    host.write(
        "/etc/apt/sources.list.d/two.sources",
        format!(
            "Types: deb\nURIs: http://archive.lab/{family}\nSuites: {suite}\nComponents: main\nTrusted: yes\nEnabled: no\n\n\
             # the engine\nTypes: deb\nURIs: {address}\nSuites: {suite}\nComponents: stable test\nTrusted: no\n",
            family = identity.family()
        ),
    )?;
    let refused = host.run(&["apt-get", "update"])?.code_is(100)?;
    says(&refused, &["Conflicting values set for option"])?;
    let before = host.state()?;

    let plan = rprov(&host, &["plan"])?.ok()?;
    says(
        &plan,
        &[
            "- /etc/apt/sources.list.d/docker.list",
            "- /etc/apt/sources.list.d/archive_uri.list",
            "~ /etc/apt/sources.list ",
            "~ /etc/apt/sources.list.d/two.sources",
            "- /usr/share/keyrings/docker-archive-keyring.asc",
            "- /etc/apt/trusted.gpg.d/docker.asc",
            "+ /etc/apt/sources.list.d/docker.sources",
        ],
    )?;
    untouched("plan changed the host", &before, &host.state()?)?;
    install(&host, &["--no-smoke"])?;
    let good = host.run(&["apt-get", "update"])?.ok()?;
    does_not_say(&good, &["W:", "E:", "N:"])?;
    let named = host.sh("grep -rl download.docker.com /etc/apt")?.stdout;
    ensure!(named == "/etc/apt/sources.list.d/docker.sources\n", "the engine's address is named in {named}");
    ensure!(
        host.read("/etc/apt/sources.list")? == format!("# mine\n{main}\n# the end"),
        "{}",
        host.read("/etc/apt/sources.list")?
    );
    says(&install(&host, &[])?, &["nothing to do"])?;
    uninstall(&host, &["--purge-data"])?;
    let mut except = EXCEPTIONS.to_vec();
    except.push(("/var/lib/apt/lists*", "refreshed by the scenario"));
    back(&before, &host.state()?, &except)
}

/// The distribution's engine, with a container that runs and a conffile that was edited.
fn distributions_engine(host: &Host) -> Result<()> {
    let install = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "docker.io",
    ];
    host.run(&install)?.ok()?;
    if host.identity() == Identity::Debian13 {
        host.run(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "docker-cli"])?
            .ok()?;
    }
    by_hand::import(host)?;
    let run = ["docker", "run", "-d", "--restart", "always", "--name", "theirs", "lab", "sleep", "1000"];
    host.run(&run)?.ok()?;
    host.sh("echo '# edited' >> /etc/default/docker").map(drop)
}

fn runs_theirs(host: &Host) -> Result<()> {
    for _ in 0..100 {
        let said = host.run(&["docker", "ps", "-q", "--filter", "name=theirs"])?;
        if said.code == 0 && !said.stdout.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = host.run(&["docker", "ps", "-a"])?;
    anyhow::bail!("their container does not run: {}", said.text())
}

fn replace(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    distributions_engine(&host)?;
    let before = host.state()?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    says(&plan, &["- docker.io", "- containerd ", "- runc ", "+ docker-ce ", "+ containerd.io"])?;
    does_not_say(&plan, &["daemon.json", "log-driver"])?;
    untouched("plan changed the host", &before, &host.state()?)?;

    install(&host, &[])?;
    let history = host.read("/var/log/apt/history.log")?;
    let last = history.rsplit("Start-Date:").next().unwrap_or_default();
    ensure!(
        last.contains("Install:") && last.contains("docker-ce:") && last.contains("Remove:"),
        "not one transaction:\n{history}"
    );
    ensure!(last.contains("docker.io:"), "docker.io did not go in it:\n{last}");
    let packages = host.packages()?;
    let status = packages.iter().find(|(name, _)| name.split(':').next() == Some("docker.io"));
    ensure!(
        status.is_some_and(|(_, status)| status.ends_with("rc")),
        "docker.io was not removed but {status:?}"
    );
    ensure!(host.read("/etc/default/docker")?.ends_with("# edited\n"), "their conffile was replaced");
    runs_theirs(&host)?;

    uninstall(&host, &[])?;
    ensure!(host.read("/etc/default/docker")?.ends_with("# edited\n"), "their conffile is not back");
    back(&before, &host.state()?, &with_data())?;
    runs_theirs(&host)
}

fn gone(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    distributions_engine(&host)?;
    let theirs = version(&host, "docker.io")?;
    // As if the archive had moved on since it was installed.
    let older = "20.10.1+dfsg1-1";
    host.sh(&format!(
        "sed -i '/^Package: docker.io$/,/^$/s/^Version: .*/Version: {older}/' /var/lib/dpkg/status"
    ))?
    .ok()?;
    ensure!(version(&host, "docker.io")? == older, "the scenario did not make it an older one");
    install(&host, &["--no-smoke"])?;
    let words = format!("`docker.io` {older} is not to be had any more: {theirs} comes back instead");
    says(&rprov(&host, &["uninstall", "--dry-run", "--json"])?.ok()?, &[&words])?;
    uninstall(&host, &[])?;
    ensure!(version(&host, "docker.io")? == theirs, "it is {}", version(&host, "docker.io")?);
    runs_theirs(&host)
}

fn lists(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let each_once = |what: &str| -> Result<()> {
        let asked = host.requests();
        install(&host, &["--no-smoke"])?;
        let asked = indexes(&host.requests_since(&asked));
        for pocket in std::iter::once(&"").chain(crate::identity::pockets(identity)) {
            let path = format!("/dists/{}{pocket}/InRelease", identity.suite());
            let count = asked.iter().filter(|r| r.starts_with("archive ") && r.ends_with(&path)).count();
            ensure!(count == 1, "{what}: {path} was asked for {count} times: {asked:#?}");
        }
        uninstall(&host, &["--purge-data", "--force"]).map(drop)
    };
    host.write(
        "/etc/apt/apt.conf.d/99hook",
        "APT::Update::Post-Invoke-Success { \"touch /etc/hook-ran\"; };\n",
    )?;
    let before = host.state()?;
    host.no_lists()?;
    rprov(&host, &["plan"])?.ok()?;
    ensure!(!host.exists("/etc/hook-ran"), "a plan ran the hooks of other packages");
    each_once("no lists")?;
    host.sh("apt-get update -q && rm /etc/hook-ran")?.ok()?;
    host.lists_are_aged(Duration::from_secs(2 * 24 * 3600))?;
    host.remove("/var/lib/apt/periodic")?;
    each_once("lists of the day before yesterday")?;
    host.sh("cd /var/lib/apt/lists && for f in archive.lab*; do mv $f other.$f; done")?.ok()?;
    each_once("lists of another source")?;
    let mut except = EXCEPTIONS.to_vec();
    except.push(("/var/lib/apt*", "its lists are what this is about"));
    back(&before, &host.state()?, &except)
}

fn snap(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    for path in ["/snap/bin/docker", "/var/snap/docker/current/x"] {
        host.write(path, "")?;
        let before = host.state()?;
        for verb in [&["install", "--yes"][..], &["plan"]] {
            says(&rprov(&host, verb)?.code_is(4)?, &["snap", "hint: snap remove docker"])?;
        }
        untouched("a refused install changed the host", &before, &host.state()?)?;
        host.remove("/snap")?;
        host.remove("/var/snap")?;
    }
    Ok(())
}
