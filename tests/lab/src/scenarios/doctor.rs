//! Hosts that are broken as people break them: doctor names the cause, mends it or says how, and a container runs again.

use super::by_hand;
use super::common::{INSTALL, LONG, UNINSTALL, host, succeeds, untouched};
use crate::Host;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "doctor-healthy",
        about: "on a healthy host doctor finds nothing that is degraded or worse, and touches nothing",
        on: &[
            Identity::Debian12,
            Identity::Rhel9,
            Identity::Ubuntu2404,
            Identity::Debian13,
            Identity::Fedora44,
            Identity::Mint22,
        ],
        run: healthy,
    },
    Scenario {
        name: "doctor-permission",
        about: "whatever keeps a user from the socket is named, as that user and as root, and mended",
        on: &[Identity::Debian12, Identity::Rhel9],
        run: |lab, identity| {
            broken(
                lab,
                identity,
                &[
                    "user-",
                    "group-",
                    "docker-socket",
                    "docker-group",
                    "docker-host",
                    "docker-context",
                    "docker-config",
                    "credential",
                    "stale-groups",
                    "sudo",
                    "podman",
                    "usermod",
                    "rootless",
                ],
            )
        },
    },
    Scenario {
        name: "doctor-daemon",
        about: "whatever keeps the daemon down is named once, with its consequences under it, and mended",
        on: &[Identity::Debian12, Identity::Rhel9],
        run: |lab, identity| {
            broken(lab, identity, &["unit-", "containerd-", "docker-pid", "daemon-", "tcp-", "second-"])
        },
    },
    Scenario {
        name: "doctor-network",
        about: "whatever keeps packets from containers is named",
        on: &[Identity::Debian12],
        run: |lab, identity| {
            broken(
                lab,
                identity,
                &["ip-", "iptables", "ufw", "port-", "app-", "docker-iptables", "dns-", "no-ip", "forward-"],
            )
        },
    },
    Scenario {
        name: "doctor-storage",
        about: "a disk without room, inodes or the right to write is named before what follows from it",
        on: &[Identity::Debian12],
        run: |lab, identity| broken(lab, identity, &["disk-", "inodes-", "data-root", "prior-"]),
    },
    Scenario {
        name: "doctor-apt",
        about: "sources and keys that apt stumbles over are named",
        on: &[Identity::Debian12],
        run: |lab, identity| broken(lab, identity, &["apt-", "dpkg-"]),
    },
    Scenario {
        name: "doctor-three-at-once",
        about: "of three faults at once the causes are named and the rest folded; uninstall leaves repairs alone",
        on: &[Identity::Debian12],
        run: three_at_once,
    },
];

#[derive(Deserialize)]
struct Table {
    broken: Vec<Broken>,
}

/// As the files say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    pub id: String,
    pub r#break: String,
    user: Option<String>,
    told: Option<String>,
    after: Option<String>,
    pub only: Option<String>,
}

const TABLES: [&str; 3] = [
    include_str!("../../broken/docker.toml"),
    include_str!("../../broken/apt.toml"),
    include_str!("../../broken/gpu.toml"),
];

pub fn rows(themes: &[&str]) -> Result<Vec<Broken>> {
    let mut rows = Vec::new();
    for table in TABLES {
        rows.extend(toml::from_str::<Table>(table).context("reading the broken hosts")?.broken);
    }
    rows.retain(|row| {
        themes.iter().any(|theme| {
            row.id.starts_with(theme) || row.id.contains("stale-groups") && *theme == "stale-groups"
        })
    });
    ensure!(!rows.is_empty(), "no broken host is of these themes");
    Ok(rows)
}

/// A host with docker, an image, and alice, who may use it.
pub fn installed(lab: &Lab, identity: Identity) -> Result<Host> {
    let host = host(lab, identity)?;
    host.add_user("alice")?;
    succeeds(&host, &[INSTALL, &["--user", "alice"]].concat())?;
    by_hand::import(&host)?;
    host.run(&["cp", "/etc/docker/daemon.json", "/root/good.json"])?.ok()?;
    Ok(host)
}

/// What doctor says, and with which code it ends.
pub fn report(host: &Host, argv: &[&str]) -> Result<(i32, Value)> {
    let output = host.run_within(LONG, argv)?;
    let report = serde_json::from_str(&output.stdout);
    Ok((output.code, report.with_context(|| format!("`{}` said:\n{}", output.argv, output.text()))?))
}

pub fn as_alice(host: &Host) -> Result<(i32, Value)> {
    report(host, &["su", "-", "alice", "-c", "rprov doctor --json"])
}

pub fn as_root(host: &Host) -> Result<(i32, Value)> {
    report(host, &["rprov", "doctor", "--json", "--user", "alice"])
}

/// The ids of findings; only those that fail a run, or all.
pub fn ids(report: &Value, failing: bool) -> Vec<String> {
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let fails =
        |finding: &&Value| !failing || finding["severity"] == "block" || finding["severity"] == "degraded";
    findings
        .iter()
        .filter(fails)
        .map(|finding| finding["id"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn healthy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    let before = host.tree()?;
    for (code, report) in [as_alice(&host)?, as_root(&host)?, report(&host, &["rprov", "doctor", "--json"])?]
    {
        ensure!(code == 0 && ids(&report, true).is_empty(), "a healthy host has findings: {report}");
    }
    let said = host.run(&["rprov", "doctor"])?.ok()?.stdout;
    ensure!(said.lines().any(|line| line.starts_with("healthy")), "{said}");
    ensure!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    untouched(&host, &before, "rprov doctor")
}

fn broken(lab: &Lab, identity: Identity, themes: &[&str]) -> Result<()> {
    let host = installed(lab, identity)?;
    broken_on(&host, themes, &[])
}

/// The same on a host that is there, where something else is wrong all along.
pub fn broken_on(host: &Host, themes: &[&str], besides: &[&str]) -> Result<()> {
    for row in rows(themes)? {
        one(host, &row, besides).with_context(|| format!("{}: `{}`", row.id, row.r#break))?;
    }
    Ok(())
}

/// Breaks it, asks as the user and as root, mends, asks again, and runs a container.
fn one(host: &Host, row: &Broken, besides: &[&str]) -> Result<()> {
    if let Some(told) = asked(host, row, besides)? {
        shell(host, &told)?;
    }
    mended(host, row, besides)?;
    host.run_as_login("alice", "docker run --rm lab true")?.ok().map(drop)
}

/// Breaks it, asks as the user and as root, and lets `--fix` mend it; what that only tells is left to be typed.
pub fn asked(host: &Host, row: &Broken, besides: &[&str]) -> Result<Option<String>> {
    host.note(&format!("---- {}", row.id));
    shell(host, &row.r#break)?;
    let seen_by_alice = row.user.as_deref().unwrap_or(&row.id);
    let (code, report) = as_alice(host)?;
    ensure!(
        seen_by_alice.is_empty() || ids(&report, false).contains(&seen_by_alice.to_owned()),
        "alice sees {report}"
    );
    ensure!((code == 3) != ids(&report, true).is_empty(), "exit {code} for {report}");
    let (code, report) = as_root(host)?;
    ensure!(ids(&report, false).contains(&row.id), "root sees {report}");
    let known = |id: &String| *id == row.id || besides.contains(&id.as_str());
    ensure!(ids(&report, true).iter().all(known), "root sees other causes: {report}");
    ensure!((code == 3) != ids(&report, true).is_empty(), "exit {code} for {report}");
    let told = row.told.clone().or_else(|| tells(&report, &row.id));
    let mut fixed = fix(host)?;
    match told {
        Some(_) => ensure!(fixed == code, "`--fix` ended with {fixed} where it only tells, after {code}"),
        None => {
            // What was under the cause may want something of its own: a new group has no members.
            if fixed != 0 {
                fixed = fix(host)?;
            }
            ensure!(fixed == 0 || !besides.is_empty(), "`--fix` ended with {fixed}");
        }
    }
    Ok(told)
}

/// Nothing is found of it any more.
pub fn mended(host: &Host, row: &Broken, besides: &[&str]) -> Result<()> {
    let (code, report) = as_root(host)?;
    let well = ids(&report, true).iter().all(|id| besides.contains(&id.as_str()));
    ensure!(well && (code == 0) == ids(&report, true).is_empty(), "not mended: {report}");
    ensure!(!ids(&report, false).contains(&row.id), "not mended: {report}");
    row.after.as_ref().map_or(Ok(()), |after| shell(host, after))
}

/// The commands of a finding that `--fix` only tells of, as one would type them.
fn tells(report: &Value, id: &str) -> Option<String> {
    let findings = report["findings"].as_array()?;
    let fix = &findings.iter().find(|finding| finding["id"] == id)?["fix"];
    let commands = fix["commands"].as_array().filter(|_| fix["class"] == "told")?;
    Some(commands.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))
}

fn fix(host: &Host) -> Result<i32> {
    Ok(host.run_within(LONG, &["rprov", "doctor", "--fix=all", "--yes", "--user", "alice"])?.code)
}

/// A line that may leave something running behind it; how it ends does not matter.
pub fn shell(host: &Host, line: &str) -> Result<()> {
    host.run(&["sh", "-c", &format!("({line}) >/run/broken.log 2>&1 </dev/null")]).map(drop)
}

fn three_at_once(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    let fresh = host.read("/etc/docker/daemon.json")?;
    shell(
        &host,
        "gpasswd -d alice docker; echo '{\"log-driver\": \"json-file\",}' > /etc/docker/daemon.json; \
         systemctl mask docker.service; systemctl stop docker.socket docker.service; rm -f /run/docker.sock",
    )?;
    let (_, report) = as_root(&host)?;
    let mut found = ids(&report, true);
    found.sort();
    ensure!(found == ["daemon-json-syntax", "unit-masked"], "the causes are {found:?}: {report}");
    let under = report["findings"].to_string();
    ensure!(
        under.contains("docker-socket-missing") || under.contains("unit-inactive"),
        "nothing is folded: {report}"
    );
    // Never without the name.
    let unnamed = host.run_within(LONG, &["rprov", "doctor", "--fix=all", "--yes"])?;
    ensure!(
        !host.groups()?.get("docker").is_some_and(|members| members.contains("alice")),
        "{}",
        unnamed.text()
    );
    ensure!(fix(&host)? == 0 || fix(&host)? == 0, "three faults are not mended");
    ensure!(host.read("/etc/docker/daemon.json")? == fresh, "not the bytes that the daemon last accepted");
    host.run_as_login("alice", "docker run --rm lab true")?.ok()?;
    // A repair is nobody's install: it is taken back by doctor alone.
    let dry = host.run(&["rprov", "uninstall", "--dry-run"])?.ok()?;
    ensure!(
        !dry.text().contains("/etc/docker/daemon.json.broken"),
        "uninstall takes a repair back:\n{}",
        dry.text()
    );
    host.run_within(LONG, &["rprov", "doctor", "--undo", "--yes"])?.ok()?;
    ensure!(!host.exists("/etc/docker/daemon.json.broken"), "the repair is still there");
    let (code, _) = as_root(&host)?;
    ensure!(code == 3, "what was undone is not broken again");
    ensure!(fix(&host)? == 0 || fix(&host)? == 0, "not mended a second time");
    host.run_within(LONG, UNINSTALL)?.ok()?;
    Ok(())
}
