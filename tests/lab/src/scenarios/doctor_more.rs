//! Doctor where little is left to stand on, where rprov never was, behind sudo, and where a repair is refused or killed.

use super::by_hand;
use super::common::{LONG, host, says, succeeds, untouched};
use super::doctor::{broken_on, ids, installed, report, shell};
use super::interruption::of_the_commit;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::{Host, cargo};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "doctor-limits",
        about: "doctor answers, and touches nothing, with the daemon down, disks full, /var read-only, without systemd and root",
        on: &[Identity::Debian12, Identity::Rhel9],
        run: limits,
    },
    Scenario {
        name: "doctor-by-hand",
        about: "on a host that rprov never touched a user's own mistakes are found and mended just as well",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: docker_ce_by_hand,
    },
    Scenario {
        name: "doctor-by-hand-docker-io",
        about: "the same with the distribution's own engine",
        on: &[Identity::Debian12],
        run: docker_io_by_hand,
    },
    Scenario {
        name: "doctor-derivative",
        about: "Mint's own codename in Docker's source is found, and mended by what is told",
        on: &[Identity::Mint22],
        run: own_codename,
    },
    Scenario {
        name: "doctor-sudo",
        about: "under sudo the user behind it is meant, with the groups of that session; -H and --context lead as docker's do",
        on: &[Identity::Debian12, Identity::Rhel9],
        run: sudo,
    },
    Scenario {
        name: "doctor-refused",
        about: "a repair that is refused takes no other along",
        on: &[Identity::Debian12],
        run: refused,
    },
    Scenario {
        name: "doctor-killed",
        about: "a repair that is killed after any entry of its receipt is gone on with, or taken back whole",
        // The first at a sample of the entries, the other at each.
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: killed,
    },
];

const DOCTOR: &[&str] = &["rprov", "doctor", "--json", "--user", "alice"];

/// What is left to stand on, and how it is put back.
const LIMITS: &[(&str, &str, &str)] = &[
    (
        "a broken /etc/passwd",
        "cp -a /etc/passwd /root/passwd; printf 'no colons at all\\n::::\\n\\377\\376:x:abc:::\\n' >> /etc/passwd",
        "cp -a /root/passwd /etc/passwd",
    ),
    (
        "no room in /tmp, /run/lock and /var/log",
        "for d in /tmp /var/tmp /run/lock /var/log; do mount -t tmpfs -o size=64k tmpfs $d; dd if=/dev/zero of=$d/full; done",
        "umount /tmp /var/tmp /run/lock /var/log",
    ),
    ("/var read-only", "mount --bind /var /var; mount -o remount,ro,bind /var", "umount -l /var"),
    ("the daemon down", "systemctl stop docker.socket docker.service containerd.service", "true"),
];

fn limits(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    for (what, make, put_back) in LIMITS {
        host.note(&format!("---- {what}"));
        shell(&host, make)?;
        let before = host.tree()?;
        for argv in
            [DOCTOR, &["su", "-", "alice", "-c", "rprov doctor --json"], &["rprov", "doctor", "--json"]]
        {
            answers(&host, argv).context(*what)?;
        }
        untouched(&host, &before, what)?;
        shell(&host, put_back)?;
    }
    // Neither systemd nor its directory: as in a container that runs one program.
    let alone = "mount -t tmpfs tmpfs /run/systemd; exec rprov doctor --json --user alice";
    let argv = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", alone];
    let report = answers(&host, &argv)?;
    ensure!(ids(&report, false).contains(&"init-not-systemd".to_owned()), "{report}");
    Ok(())
}

/// An answer is a report of all checks, of which none crashed.
fn answers(host: &Host, argv: &[&str]) -> Result<Value> {
    let (code, report) = report(host, argv)?;
    ensure!(code == 0 || code == 3, "exit {code}: {report}");
    let crashed = report["unknown"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|unknown| unknown["why"].as_str().is_some_and(|why| why.contains("crashed")));
    ensure!(crashed.is_none(), "{crashed:?}");
    let number = |name: &str| report[name].as_array().map_or(0, Vec::len);
    ensure!(number("fine") + number("findings") + number("unknown") > 50, "{report}");
    Ok(report)
}

/// Mistakes of people who follow a page: each is a row of `broken/*.toml`.
const MISTAKES: &[&str] = &[
    "group-added-to-wrong-user",
    "user-not-in-docker-group",
    "docker-socket-world-writable",
    "docker-socket-is-directory",
    "docker-config-not-owned",
    "docker-host-env-stale",
    "sudo-setuid-missing",
    "unit-masked",
    "unit-disabled-at-boot",
    "daemon-json-syntax",
    "daemon-json-misnamed",
    "containerd-down",
    "ip-forward-disabled",
];

/// What is true of such hosts besides: docker.io brings no compose plugin, and what apt recommends brings a service manager
/// for each user, which outlives the login that lacked the group.
const TRUE_THERE: &[&str] = &["compose-plugin-missing", "systemd-user-manager-stale-groups"];

fn docker_ce_by_hand(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    by_hand::source(&host)?;
    by_hand::install(&host)?;
    mistakes(&host)
}

fn docker_io_by_hand(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.run_within(LONG, &["apt-get", "install", "-y", "docker.io"])?.ok()?;
    mistakes(&host)
}

fn mistakes(host: &Host) -> Result<()> {
    host.add_user("alice")?;
    host.run(&["usermod", "-aG", "docker", "alice"])?.ok()?;
    host.sh("mkdir -p /etc/docker; echo '{ \"log-driver\": \"json-file\" }' > /etc/docker/daemon.json")?
        .ok()?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    host.run(&["cp", "/etc/docker/daemon.json", "/root/good.json"])?.ok()?;
    by_hand::import(host)?;
    let (code, report) = report(host, DOCTOR)?;
    let mut wrong = ids(&report, true);
    wrong.retain(|id| !TRUE_THERE.contains(&id.as_str()));
    ensure!(wrong.is_empty(), "exit {code} on a host that is well: {report}");
    broken_on(host, MISTAKES, TRUE_THERE)?;
    let status = host.run(&["rprov", "status"])?.ok()?;
    says(&status, &["has changed nothing"])?;
    host.run_within(LONG, &["rprov", "doctor", "--undo", "--yes"])?.ok().map(drop)
}

fn own_codename(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    host.sh("sed -i 's/^Suites: .*/Suites: wilma/' /etc/apt/sources.list.d/docker.sources")?.ok()?;
    let (code, found) = report(&host, DOCTOR)?;
    ensure!(code == 3 && ids(&found, true) == ["apt-codename-derivative"], "exit {code}: {found}");
    ensure!(found.to_string().contains("sudo rprov install"), "{found}");
    succeeds(&host, &["rprov", "install", "--yes"])?;
    let (code, found) = report(&host, DOCTOR)?;
    ensure!(code == 0 && !ids(&found, false).contains(&"apt-codename-derivative".to_owned()), "{found}");
    host.run_as_login("alice", "docker run --rm lab true")?.ok().map(drop)
}

/// A shell would put its last command into its own place, and there would be no session any more.
fn in_a_session(host: &Host, line: &str) -> Result<(i32, Value)> {
    report(host, &["su", "-", "alice", "-c", &format!("{line}; exit $?")])
}

fn sudo(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.add_user("alice")?;
    succeeds(&host, super::common::INSTALL)?;
    host.write("/etc/sudoers.d/alice", "alice ALL=(ALL) NOPASSWD: ALL\n")?;
    // The session begins before the group is given, as people do it.
    let (code, seen) =
        in_a_session(&host, "sudo gpasswd -a alice docker >/dev/null; sudo rprov doctor --json")?;
    ensure!(code == 3 && ids(&seen, true) == ["session-groups-stale"], "{seen}");
    ensure!(seen["subject"]["user"] == "alice" && seen["subject"]["as_root"] == true, "{seen}");
    let (code, seen) = in_a_session(&host, "sudo rprov doctor --json")?;
    ensure!(code == 0 && ids(&seen, true).is_empty() && seen["subject"]["user"] == "alice", "{seen}");
    // The variable is that of the session behind sudo, which hides it.
    let variable = "export DOCKER_HOST=unix:///home/alice/gone.sock; sudo rprov doctor --json";
    let (code, seen) = in_a_session(&host, variable)?;
    ensure!(code == 3 && ids(&seen, true) == ["docker-host-env-stale"], "{seen}");
    let (code, seen) = in_a_session(&host, &format!("{variable} -H unix:///run/docker.sock"))?;
    ensure!(code == 0 && seen["endpoint"]["source"] == "flag", "{seen}");
    let (code, seen) = in_a_session(&host, "rprov doctor --json --context nowhere")?;
    ensure!(code == 3 && ids(&seen, true) == ["docker-context-missing"], "{seen}");
    // As docker's own command has it.
    let docker = host.run_as_login("alice", "docker --context nowhere ps")?;
    ensure!(docker.code != 0 && docker.stderr.contains("nowhere"), "{}", docker.text());
    let both =
        host.run(&["rprov", "doctor", "-H", "unix:///run/docker.sock", "--context", "x"])?.code_is(2)?;
    says(&both, &["cannot be used with"])
}

fn refused(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    shell(
        &host,
        "su - alice -c 'mkdir .docker; echo {} > .docker/config.json; ln .docker/config.json twin'; \
         chown -R root:root /home/alice/.docker; chmod 666 /run/docker.sock; systemctl disable docker.service",
    )?;
    let fixed =
        host.run_within(LONG, &["rprov", "doctor", "--fix=all", "--yes", "--user", "alice"])?.code_is(3)?;
    says(
        &fixed,
        &["docker-config-not-owned: not made:", "it has 2 names", "unit-disabled-at-boot is mended"],
    )?;
    ensure!(host.mode("/run/docker.sock")? & 0o777 == 0o660, "the socket is as open as before");
    let (code, report) = report(&host, DOCTOR)?;
    ensure!(code == 3 && ids(&report, true) == ["docker-config-not-owned"], "{report}");
    host.remove("/home/alice/twin")?;
    succeeds(&host, &["rprov", "doctor", "--fix=all", "--yes", "--user", "alice"])?;
    // All of it is taken back, the refused part with the rest, and nothing is left of the repairs.
    host.run_within(LONG, &["rprov", "doctor", "--undo", "--yes"])?.ok()?;
    ensure!(host.mode("/run/docker.sock")? & 0o777 == 0o666, "the socket is not as it was");
    no_receipts(&host)?;
    let (_, report) = self::report(&host, DOCTOR)?;
    for id in ["docker-config-not-owned", "docker-socket-world-writable", "unit-disabled-at-boot"] {
        ensure!(ids(&report, false).contains(&id.to_owned()), "`{id}` is not broken again: {report}");
    }
    Ok(())
}

fn no_receipts(host: &Host) -> Result<()> {
    let left = host.sh("ls /var/lib/rprov/receipts | grep doctor; true")?.ok()?.stdout;
    ensure!(left.is_empty(), "receipts of repairs are left: {left}");
    Ok(())
}

const BROKEN_JSON: &str = "{\"log-driver\": \"json-file\",}\n";
/// More entries than any repair has.
const MANY: usize = 60;

fn killed(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    host.with_rprov(&cargo::rprov_stop_at()?)?;
    let step = if identity == Identity::Debian12 { 3 } else { 1 };
    let mut stops = 0;
    for n in (1 + of_the_commit() % step..).step_by(step) {
        ensure!(n < MANY, "no repair comes to its end");
        host.write("/root/bad.json", BROKEN_JSON)?;
        shell(
            &host,
            "gpasswd -d alice docker; cp /root/bad.json /etc/docker/daemon.json; \
             systemctl restart docker.service; systemctl stop docker.socket",
        )?;
        let stop = format!("RPROV_STOP_AT={n}");
        let fix = ["rprov", "doctor", "--fix=all", "--yes", "--user", "alice"];
        let output = host.run_within(LONG, &[["env", &stop].as_slice(), &fix].concat())?;
        match output.code {
            // What the shell says of a program that SIGKILL ended.
            137 => stops += 1,
            0 | 3 => {}
            _ => bail!("entry {n}: {}", output.text()),
        }
        let finished = output.code != 137;
        // Every other one is taken back from where it was killed, before it is gone on with.
        if n % 2 == 0 {
            host.run_within(LONG, &["rprov", "doctor", "--undo", "--yes"])?.ok()?;
            let daemon = host.read("/etc/docker/daemon.json")?;
            ensure!(daemon == BROKEN_JSON, "entry {n}: undo leaves {daemon}");
            ensure!(!host.exists("/etc/docker/daemon.json.broken"), "entry {n}: the copy is still there");
            let members = host.groups()?.get("docker").cloned().unwrap_or_default();
            ensure!(!members.contains("alice"), "entry {n}: alice is still in the group");
            no_receipts(&host)?;
        }
        let again = host.run_within(LONG, &fix)?;
        if again.code != 0 {
            host.run_within(LONG, &fix)?.ok().with_context(|| format!("entry {n}"))?;
        }
        host.run_as_login("alice", "docker run --rm lab true")?.ok().with_context(|| format!("entry {n}"))?;
        host.run_within(LONG, &["rprov", "doctor", "--undo", "--yes"])?.ok()?;
        no_receipts(&host)?;
        if finished {
            break;
        }
    }
    ensure!(stops * step > 8, "only {stops} stops: they do not work");
    Ok(())
}
