//! The daemon at real sites: its data elsewhere, its addresses beside the host's routes, its own addresses, a registry.

use super::common::{INSTALL, LONG, engine_works, host, leaves_all_alone, says, succeeds};
use super::product::{does_not_say, rprov, untouched};
use super::uninstall::{EXCEPTIONS, back};
use crate::identity::Identity;
use crate::lab::{CONFIG, Lab};
use crate::scenario::Scenario;
use crate::{Host, registry, sh};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "sites-data-root",
        about: "data-root takes containerd's directory along on a fresh host; later keys reload or restart, as told",
        on: &[Identity::Debian13, Identity::Ubuntu2204],
        run: data_root,
    },
    Scenario {
        name: "sites-addresses",
        about: "where a route leads into dockerd's pools, networks come from elsewhere; only on a fresh host",
        on: &[Identity::Debian13, Identity::Debian12],
        run: addresses,
    },
    Scenario {
        name: "sites-hosts",
        about: "dockerd listens where it is told, and on its socket; a unit with arguments of its own is left alone",
        on: &[Identity::Debian13, Identity::Debian12],
        run: hosts,
    },
    Scenario {
        name: "sites-registry",
        about: "a registry from a file takes and gives images, also after a reboot, and goes with uninstall",
        on: &[Identity::Debian13, Identity::Debian12],
        run: local_registry,
    },
];

const FILE: &str = "/etc/rprov/config.toml";

fn configure(host: &Host, more: &str) -> Result<()> {
    host.write(FILE, format!("{CONFIG}{more}"))
}

fn asked(host: &Host, argv: &[&str]) -> Result<String> {
    Ok(host.run(argv)?.ok()?.stdout.trim().to_owned())
}

/// Each of these is a part of the plan, whatever column its words stand in.
fn shows(plan: &crate::Output, parts: &[&str]) -> Result<()> {
    let shown = plan.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        ensure!(shown.contains(part), "`{part}` is not in:\n{}", plan.stdout);
    }
    Ok(())
}

/// The state, with the cache that apt makes of the lists on the first question.
fn state(host: &Host) -> Result<crate::tree::State> {
    host.marks()?;
    host.state()
}

fn exceptions() -> Vec<(&'static str, &'static str)> {
    EXCEPTIONS.iter().copied().chain([(FILE, "the scenario's")]).collect()
}

fn data_root(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let before = state(&host)?;
    configure(&host, "[daemon]\ndata-root = \"/srv/big/docker\"\n")?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    shows(&plan, &["data-root \"/srv/big/docker\"", "/etc/systemd/system/containerd.service.d/rprov.conf"])?;
    succeeds(&host, INSTALL)?;
    ensure!(host.starts_of("docker.service")? == 1, "dockerd was started more than once");
    ensure!(asked(&host, &["docker", "info", "--format", "{{.DockerRootDir}}"])? == "/srv/big/docker");
    engine_works(&host)?;
    for gone in ["/var/lib/docker", "/var/lib/containerd"] {
        ensure!(
            !host.exists(gone),
            "{gone} is there: {}",
            host.run(&["find", gone, "-maxdepth", "2"])?.stdout
        );
    }
    ensure!(host.exists("/srv/big/docker/containerd-store/io.containerd.metadata.v1.bolt"));
    let again = rprov(&host, &["install", "--yes"])?.ok()?;
    says(&again, &["nothing to do"])?;
    does_not_say(&again, &["/var/lib/containerd", "stays there"])?;

    keys_reload_or_restart(&host)?;
    configure(&host, "[daemon]\ndata-root = \"/srv/other\"\n")?;
    let moved = rprov(&host, &["plan"])?.ok()?;
    says(&moved, &["what is in /srv/big/docker stays there"])?;
    shows(&moved, &["then docker.service restarts"])?;

    let kept = rprov(&host, &["uninstall", "--yes"])?.ok()?;
    says(&kept, &["/srv/big/docker", "--purge-data"])?;
    ensure!(host.exists("/srv/big/docker"), "the data went without --purge-data");
    host.remove("/srv/big")?;
    configure(&host, "[daemon]\ndata-root = \"/srv/big/docker\"\n")?;
    succeeds(&host, &[INSTALL, &["--no-smoke"]].concat())?;
    rprov(&host, &["uninstall", "--yes", "--purge-data"])?.ok()?;
    back(&before, &state(&host)?, &exceptions())
}

/// The same process where a signal is enough, another one where it is not; and the plan said which.
fn keys_reload_or_restart(host: &Host) -> Result<()> {
    let process = || asked(host, &["systemctl", "show", "-p", "MainPID", "--value", "docker"]);
    let base = "[daemon]\ndata-root = \"/srv/big/docker\"\nlive-restore = true\n";
    let first = process()?;
    configure(host, &format!("{base}debug = true\nregistry-mirrors = [\"https://mirror.example/\"]\n"))?;
    let plan = rprov(host, &["plan"])?.ok()?;
    shows(&plan, &["then docker.service reads its configuration again"])?;
    does_not_say(&plan, &["containerd.service", "restarts", "stops on the way"])?;
    succeeds(host, &[INSTALL, &["--no-smoke"]].concat())?;
    let format = "{{.Debug}} {{.LiveRestoreEnabled}} {{.RegistryConfig.Mirrors}}";
    let info = asked(host, &["docker", "info", "--format", format])?;
    ensure!(info == "true true [https://mirror.example/]", "the daemon says {info}");
    ensure!(process()? == first, "dockerd restarted where a reload was enough");
    configure(host, &format!("{base}log-driver = \"local\"\n"))?;
    let plan = rprov(host, &["plan"])?.ok()?;
    shows(&plan, &["then docker.service restarts"])?;
    succeeds(host, &[INSTALL, &["--no-smoke"]].concat())?;
    ensure!(process()? != first, "dockerd did not restart");
    ensure!(asked(host, &["docker", "info", "--format", "{{.LoggingDriver}}"])? == "local");
    Ok(())
}

/// On the host's own table: its programs need not have one for that.
fn route(host: &Host, words: &[&str]) -> Result<()> {
    let leader = host.leader_pid()?.to_string();
    let argv =
        ["nsenter", "-t", &leader, "-n", "ip", "route"].iter().chain(words).copied().collect::<Vec<_>>();
    sh::run(&argv).map(drop)
}

fn addresses(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    route(&host, &["add", "172.17.0.0/16", "via", crate::net::GATEWAY])?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    says(&plan, &["leads to 172.17.0.0/16", "172.30.0.0/16"])?;
    shows(&plan, &["default-address-pools [{\"base\":\"172.30.0.0/16\",\"size\":24}]"])?;
    succeeds(&host, INSTALL)?;
    let subnet = |name: &str| {
        asked(&host, &["docker", "network", "inspect", name, "--format", "{{(index .IPAM.Config 0).Subnet}}"])
    };
    ensure!(subnet("bridge")? == "172.30.0.0/24", "docker0 has {}", subnet("bridge")?);
    asked(&host, &["docker", "network", "create", "more"])?;
    ensure!(subnet("more")? == "172.30.1.0/24", "the next network has {}", subnet("more")?);
    // An engine that is there keeps what it has, whatever comes up later.
    route(&host, &["add", "172.29.0.0/16", "via", crate::net::GATEWAY])?;
    does_not_say(&rprov(&host, &["install", "--yes"])?.ok()?, &["172.29", "172.28"])?;
    rprov(&host, &["uninstall", "--yes", "--purge-data"])?.ok()?;
    // What docker left of it in the kernel is no reason to go elsewhere once more.
    route(&host, &["del", "172.17.0.0/16", "via", crate::net::GATEWAY])?;
    route(&host, &["del", "172.29.0.0/16", "via", crate::net::GATEWAY])?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    ensure!(!plan.stdout.contains("default-address-pools"), "{}", plan.stdout);
    Ok(())
}

const HOSTS: &str = "[daemon]\nhosts = [\"tcp://127.0.0.1:2375\"]\n";
const DROP_IN: &str = "/etc/systemd/system/docker.service.d/rprov.conf";

fn listens(host: &Host) -> Result<()> {
    for address in ["tcp://127.0.0.1:2375", "unix:///run/docker.sock"] {
        asked(host, &["docker", "-H", address, "version", "--format", "{{.Server.Version}}"])?;
    }
    Ok(())
}

fn hosts(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let before = state(&host)?;
    configure(&host, HOSTS)?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    shows(&plan, &["hosts [\"fd://\",\"tcp://127.0.0.1:2375\"]", DROP_IN])?;
    succeeds(&host, INSTALL)?;
    ensure!(host.starts_of("docker.service")? == 1, "dockerd was started more than once");
    listens(&host)?;
    engine_works(&host)?;
    let installed = host.state()?;
    says(&rprov(&host, &["install", "--yes"])?.ok()?, &["nothing to do"])?;
    untouched("a second install", &installed, &host.state()?)?;
    rprov(&host, &["uninstall", "--yes", "--purge-data"])?.ok()?;
    back(&before, &state(&host)?, &exceptions())?;

    // An engine that runs restarts for it, and back.
    configure(&host, "")?;
    succeeds(&host, &[INSTALL, &["--no-smoke"]].concat())?;
    configure(&host, HOSTS)?;
    shows(&rprov(&host, &["plan"])?.ok()?, &["then docker.service restarts"])?;
    succeeds(&host, &[INSTALL, &["--no-smoke"]].concat())?;
    listens(&host)?;
    // Whoever gives dockerd arguments of their own names its addresses there.
    rprov(&host, &["uninstall", "--yes", "--purge-data"])?.ok()?;
    configure(&host, "")?;
    succeeds(&host, &[INSTALL, &["--no-smoke"]].concat())?;
    let theirs = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock --debug\n";
    host.write("/etc/systemd/system/docker.service.d/theirs.conf", theirs)?;
    host.run(&["systemctl", "daemon-reload"])?.ok()?;
    configure(&host, HOSTS)?;
    leaves_all_alone(
        &host,
        INSTALL,
        4,
        &["arguments of its own", "--debug", "systemctl edit docker.service"],
    )?;
    // Told before anything is fetched.
    let asked = host.requests();
    configure(&host, "[daemon]\nhots = [\"fd://\"]\n")?;
    leaves_all_alone(&host, INSTALL, 2, &["did you mean `hosts`?", "`[daemon]`"])?;
    ensure!(host.requests_since(&asked).is_empty(), "a wrong key was told after the index");
    configure(&host, "[daemon]\nregistry-mirror = [\"https://mirror.example\"]\n")?;
    says(
        &rprov(&host, &["plan"])?.ok()?,
        &["`registry-mirror` has no effect; dockerd reads `registry-mirrors`"],
    )
}

const UNIT: &str = "rprov-registry.service";

fn local_registry(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    let before = state(&host)?;
    leaves_all_alone(
        &host,
        &["rprov", "install", "--yes", "--with", "registry"],
        2,
        &["no image for it was given", "--registry-image"],
    )?;
    host.copy_in(&registry::archive()?, "/root/registry.tar")?;
    let with = ["rprov", "install", "--yes", "--with", "registry", "--registry-image", "registry.tar"];
    leaves_all_alone(&host, &[&with[..6], &["/root/gone.tar"]].concat(), 2, &["there is no such file"])?;
    let plan = host.run(&[&["rprov", "plan"], &with[3..]].concat())?.ok()?;
    shows(&plan, &[registry::NAME, UNIT])?;
    let said = succeeds(&host, &with)?;
    says(&said, &["a registry answers on 127.0.0.1:5000"])?;
    ensure!(!said.text().contains("Pulling"), "{}", said.text());
    says(&host.run(&with)?.ok()?, &["nothing to do"])?;
    host.run(&["rprov", "status"])?.ok()?;

    super::by_hand::import(&host)?;
    for argv in [
        &["docker", "tag", "lab", "localhost:5000/team/lab:1"][..],
        &["docker", "push", "localhost:5000/team/lab:1"],
        &["docker", "rmi", "localhost:5000/team/lab:1", "lab"],
    ] {
        host.run(argv)?.ok()?;
    }
    host.reboot()?;
    let pulled = within(Duration::from_secs(60), || {
        host.run(&["docker", "run", "--rm", "localhost:5000/team/lab:1", "echo", "hello"])?.ok()
    })?;
    ensure!(pulled.stdout == "hello\n", "the container said {}", pulled.stdout);
    // It is this machine's alone.
    let outside = format!("http://{}:5000/v2/", host.address());
    let reached = lab.in_network(&["curl", "--silent", "--max-time", "5", &outside]);
    ensure!(reached.is_err(), "others reach the registry");

    let gone = rprov(&host, &["uninstall", "--yes", "--purge-data"])?.ok()?;
    says(&gone, &[UNIT])?;
    host.remove("/root/registry.tar")?;
    let rebooted = ("/var/tmp/systemd-private-*", "named by the boot");
    back(&before, &state(&host)?, &[EXCEPTIONS, &[rebooted]].concat())?;

    // On a host that had an engine, the registry and the addresses go and the engine stays.
    super::by_hand::source(&host)?;
    super::by_hand::install(&host)?;
    host.copy_in(&registry::archive()?, "/root/registry.tar")?;
    configure(&host, HOSTS)?;
    host.run_within(LONG, &[&with[..], &["--no-smoke"]].concat())?.ok()?;
    listens(&host)?;
    host.run(&[
        "docker",
        "run",
        "--detach",
        "--name",
        "theirs",
        "--entrypoint",
        "/bin/docker-registry",
        registry::NAME,
        "--help",
    ])?;
    let kept = rprov(&host, &["uninstall", "--yes"])?.ok()?;
    says(&kept, &["the container `theirs` is made of it"])?;
    ensure!(!host.exists(&format!("/etc/systemd/system/{UNIT}")), "the unit is still there");
    let starts = asked(&host, &["systemctl", "show", "-p", "ExecStart", "docker"])?;
    ensure!(starts.contains("dockerd -H fd://") && !host.exists(DROP_IN), "{starts}");
    asked(&host, &["docker", "image", "inspect", registry::NAME]).context("their image went").map(drop)
}

/// Tries until it succeeds.
fn within<T>(time: Duration, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let end = std::time::Instant::now() + time;
    loop {
        match attempt() {
            Err(_) if std::time::Instant::now() < end => std::thread::sleep(Duration::from_millis(500)),
            result => return result,
        }
    }
}
