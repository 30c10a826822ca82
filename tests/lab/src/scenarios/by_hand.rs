//! The floor: what an install by hand does, without rprov. It shows that the lab itself works.

use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::tree::BY_ITSELF;
use crate::{Host, Output};
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "by-hand",
        about: "key and source written by hand, one update and one install bring an engine that runs containers",
        on: &[
            Identity::Ubuntu2404,
            Identity::Debian12,
            Identity::Debian13,
            Identity::Ubuntu2204,
            Identity::Ubuntu2604,
            Identity::Debian11,
        ],
        run: by_hand,
    },
    Scenario {
        name: "by-hand-quiet-host",
        about: "a host that nothing is done to stays as it is, over a crash and a reboot",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: quiet_host,
    },
    Scenario {
        name: "by-hand-signals",
        about: "a command in a host can be interrupted, typed to, lost, and waited for no longer than allowed",
        on: &[Identity::Debian13],
        run: signals,
    },
    Scenario {
        name: "by-hand-faults",
        about: "each wrong variant of the mirror is refused by apt, each right one is accepted",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: faults,
    },
];

/// Writes key and source as the documentation of the engine has it.
pub fn source(host: &Host) -> Result<()> {
    let identity = host.identity();
    host.write("/etc/apt/keyrings/docker.asc", host.lab().public(Key::Docker)?)?;
    host.write(
        "/etc/apt/sources.list.d/docker.sources",
        format!(
            "Types: deb\nURIs: https://download.docker.com/linux/{}\nSuites: {}\nComponents: stable\n\
             Architectures: amd64\nSigned-By: /etc/apt/keyrings/docker.asc\n",
            identity.family(),
            identity.suite()
        ),
    )
}

/// One `apt-get update`, one `apt-get install` of five packages.
pub fn install(host: &Host) -> Result<()> {
    update(host)?.ok()?;
    host.run_within(
        Duration::from_secs(300),
        &[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "-y",
            "docker-ce",
            "docker-ce-cli",
            "containerd.io",
            "docker-buildx-plugin",
            "docker-compose-plugin",
        ],
    )?
    .ok()
    .map(drop)
}

fn update(host: &Host) -> Result<Output> {
    host.run(&["apt-get", "update", "-o", "Acquire::http::Timeout=3", "-o", "Acquire::Retries=0"])
}

/// Imports the lab's image under the name `lab`.
pub fn import(host: &Host) -> Result<()> {
    host.copy_in(&host.lab().image()?, "/root/image.tar")?;
    host.run(&["docker", "import", "/root/image.tar", "lab"])?.ok()?;
    host.remove("/root/image.tar")
}

fn by_hand(lab: &Lab, identity: Identity) -> Result<()> {
    let host = Host::booted(lab, identity)?;
    host.add_user("alice")?;
    source(&host)?;
    install(&host)?;
    import(&host)?;
    let said = host.run(&["docker", "run", "--rm", "lab", "echo", "hello"])?.ok()?.stdout;
    ensure!(said == "hello\n", "the container said {said:?}");
    host.run(&["usermod", "-aG", "docker", "alice"])?.ok()?;
    let said = host.run_as_login("alice", "docker run --rm --memory 64m lab id -u")?.ok()?.stdout;
    ensure!(said == "0\n", "the container said {said:?}");
    host.run(&["docker", "buildx", "version"])?.ok()?;
    host.run(&["docker", "compose", "version"])?.ok()?;
    ensure!(host.starts_of("docker.service")? == 1, "dockerd was not started once");
    let asked = host.requests();
    ensure!(
        asked.iter().any(|r| r.server == "good" && r.status == 200 && r.path.contains("/docker-ce_")),
        "{asked:?}"
    );
    ensure!(
        host.groups()?.get("docker").is_some_and(|members| members == "alice"),
        "alice is not in the group"
    );
    Ok(())
}

fn quiet_host(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    let other = Host::booted(lab, identity)?;
    let (before, beside) = (host.state()?, other.state()?);
    let lines = before.diff(&beside, BY_ITSELF);
    ensure!(lines.is_empty(), "two fresh hosts differ:\n{}", lines.join("\n"));
    drop(other);
    host.crash()?;
    host.boot()?;
    host.reboot()?;
    let lines = before.diff(&host.state()?, BY_ITSELF);
    ensure!(lines.is_empty(), "the host differs after a crash and a reboot:\n{}", lines.join("\n"));
    let (tree, units) = (host.tree()?, host.units()?);
    let copy = host.copy()?;
    let lines = tree.diff_with_times(&copy.tree()?, BY_ITSELF);
    ensure!(lines.is_empty(), "a copy differs:\n{}", lines.join("\n"));
    ensure!(!units.contains_key("docker.service"), "a fresh host knows docker");
    Ok(())
}

fn faults(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    source(&host)?;
    for variant in Variant::ALL.into_iter().filter(|variant| !variant.of_rpms_only()) {
        if matches!(variant, Variant::Hang | Variant::TamperedDeb | Variant::TruncatedDeb) {
            continue;
        }
        host.mirror(variant)?;
        host.sh("rm -f /var/lib/apt/lists/download*")?.ok()?;
        let before = host.requests();
        let said = update(&host)?;
        let good = said.code == 0 && !said.stderr.contains("W: ") && !said.stderr.contains("E: ");
        let right = matches!(variant, Variant::Good | Variant::Older | Variant::Newer | Variant::OnlyOld);
        ensure!(good == right, "{}: {} {}", variant.name(), said.code, said.text());
        let asked = host.requests_since(&before);
        let seen = asked.iter().any(|request| request.server == variant.name());
        ensure!(seen == (variant != Variant::Refused), "{}: {asked:?}", variant.name());
    }
    for variant in [Variant::TamperedDeb, Variant::TruncatedDeb] {
        host.mirror(variant)?;
        update(&host)?.ok()?;
        let said = host.sh("cd /tmp && apt-get download -o Acquire::Retries=0 docker-ce")?;
        ensure!(said.code == 100, "{}: {}", variant.name(), said.text());
    }
    host.mirror(Variant::Hang)?;
    let start = std::time::Instant::now();
    update(&host)?;
    ensure!(start.elapsed() > Duration::from_secs(2), "the silent mirror answered");
    Ok(())
}

fn signals(lab: &Lab, identity: Identity) -> Result<()> {
    let host = Host::booted(lab, identity)?;
    let second = Duration::from_secs(1);
    let trap = "trap 'echo caught; exit 7' INT HUP; echo ready; while :; do sleep 0.1; done";
    for signal in ["INT", "HUP"] {
        let mut running = host.spawn(&["sh", "-c", trap])?;
        running.wait_for("ready", 5 * second)?;
        running.signal(signal)?;
        ensure!(running.wait(5 * second)?.code_is(7)?.stdout.ends_with("caught\n"));
    }
    let killed = host.spawn(&["sleep", "60"])?;
    killed.signal("KILL")?;
    ensure!(killed.wait(5 * second)?.code == 137);
    let mut typed =
        host.on_terminal("sh -c 'test -t 0 && test -t 1 && stty size; read line; echo got $line; sleep 60'")?;
    typed.wait_for("24 80", 5 * second)?;
    typed.send(b"hello\n")?;
    typed.wait_for("got hello", 5 * second)?;
    typed.send(b"\x03")?;
    ensure!(typed.wait(5 * second)?.code == 130);
    let mut lost = host.on_terminal(
        "sh -c 'trap \"echo lost >/root/lost; exit\" HUP; echo ready; while :; do sleep 0.1; done'",
    )?;
    lost.wait_for("ready", 5 * second)?;
    lost.hang_up()?;
    lost.wait(5 * second)?;
    std::thread::sleep(second);
    ensure!(host.read("/root/lost")? == "lost\n");
    ensure!(host.run_within(second, &["sleep", "61"]).is_err());
    ensure!(host.sh("pgrep -x sleep -a -r D,R,S")?.stdout.is_empty(), "a command outlived its time");
    Ok(())
}
