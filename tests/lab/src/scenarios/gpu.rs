//! `rprov install --gpu=toolkit`: what lets containers use a card, on a machine that may not have one.

use super::by_hand;
use super::common::{LONG, leaves_all_alone, packages_are_whole, succeeds};
use super::product::{host, install, rprov, says, uninstall, version};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::toolkit::{LEGACY_DAEMON_JSON, LEGACY_LIST, PACKAGES, VERSIONS};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "gpu-toolkit",
        about: "the container toolkit comes with the engine, which starts once, and an uninstall leaves the same tree",
        on: &[Identity::Ubuntu2404, Identity::Rhel9, Identity::Debian12, Identity::Mint22],
        run: toolkit,
    },
    Scenario {
        name: "gpu-toolkit-added",
        about: "an engine that is there gets the toolkit and one restart, and keeps what its daemon.json says",
        on: &[Identity::Ubuntu2404, Identity::Rhel9],
        run: added,
    },
    Scenario {
        name: "gpu-toolkit-refused",
        about: "a wrong key, a wrong index and versions below the floor are refused, and nothing is touched",
        on: &[Identity::Ubuntu2404, Identity::Rhel9],
        run: refused,
    },
    Scenario {
        name: "gpu-legacy",
        about: "nvidia-docker2 with its list and its daemon.json gives way to the toolkit, and comes back",
        on: &[Identity::Ubuntu2404],
        run: legacy,
    },
];

pub const NVIDIA: &str = "nvidia.github.io";
pub const DAEMON: &str = "/etc/docker/daemon.json";
pub const NVIDIA_RUNTIME: &str = "nvidia-container-runtime";

/// The lab's newest engine is a 26.1 by its own word, and would get CDI switched on by the run after the first.
pub const CDI: &str = "[daemon]\nfeatures = { cdi = true }\n";

/// A fresh host with rprov, which believes the lab's keys.
pub fn fresh(lab: &Lab, identity: Identity) -> Result<Host> {
    let host = host(lab, identity)?;
    host.pin_source("nvidia", Key::Toolkit)?;
    if identity.suite() == "noble" {
        let config = host.read("/etc/rprov/config.toml")?;
        host.write("/etc/rprov/config.toml", format!("{config}\n{CDI}"))?;
    }
    Ok(host)
}

/// The four packages, all of this version.
pub fn has_toolkit(host: &Host, wanted: &str) -> Result<()> {
    for name in PACKAGES {
        let found = version(host, name)?;
        ensure!(found == format!("{wanted}-1"), "{name} is {found}, and not {wanted}-1");
    }
    Ok(())
}

fn toolkit(lab: &Lab, identity: Identity) -> Result<()> {
    let host = fresh(lab, identity)?;
    let before = host.state()?;
    let said = install(&host, &["--gpu=toolkit"])?;
    says(&said, &["there is no card here"])?;
    has_toolkit(&host, VERSIONS[2])?;
    let json: serde_json::Value = serde_json::from_str(&host.read(DAEMON)?)?;
    ensure!(json["runtimes"]["nvidia"]["path"] == NVIDIA_RUNTIME, "daemon.json is {json}");
    let starts = host.starts_of("docker.service")?;
    ensure!(starts == 1, "the engine started {starts} times");
    let runtimes = host
        .run(&["docker", "info", "--format", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"])?
        .ok()?;
    ensure!(runtimes.stdout.contains("nvidia"), "the engine knows {}", runtimes.stdout);
    packages_are_whole(&host)?;
    says(&rprov(&host, &["install", "--yes", "--gpu=toolkit"])?.ok()?, &["nothing to do"])?;
    rprov(&host, &["status"])?.ok()?;
    uninstall(&host, &["--purge-data"])?;
    back(&before, &host.state()?, EXCEPTIONS)
}

fn added(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = fresh(lab, identity)?;
    install(&host, &[])?;
    let text = "{\n\t\"features\": {\"buildkit\": true},\n\t\"runtimes\": {\"kata\": {\"path\": \"/usr/bin/kata\"}},\n\t\"shutdown-timeout\": 20\n}\n";
    host.write(DAEMON, text)?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    let starts = host.starts_of("docker.service")?;
    succeeds(&host, &["rprov", "install", "--yes", "--gpu=toolkit"])?;
    has_toolkit(&host, VERSIONS[2])?;
    let again = host.starts_of("docker.service")?;
    ensure!(again == starts + 1, "the engine restarted {} times", again - starts);
    let json: serde_json::Value = serde_json::from_str(&host.read(DAEMON)?)?;
    ensure!(json["runtimes"]["kata"]["path"] == "/usr/bin/kata" && json["shutdown-timeout"] == 20, "{json}");
    ensure!(json["features"]["buildkit"] == true, "{json}");
    says(&rprov(&host, &["install", "--yes", "--gpu=toolkit"])?.ok()?, &["nothing to do"])?;
    host.mirror_of(NVIDIA, Variant::Older)?;
    let upgrade = ["rprov", "install", "--yes", "--upgrade", "--gpu=toolkit"];
    leaves_all_alone(&host, &upgrade, 4, &["older than one that was accepted before"]).map(drop)
}

fn legacy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = fresh(lab, identity)?;
    by_hand::source(&host)?;
    by_hand::install(&host)?;
    let list = "/etc/apt/sources.list.d/nvidia-docker.list";
    host.write("/etc/apt/trusted.gpg.d/nvidia-docker.asc", host.lab().public(Key::Toolkit)?)?;
    host.write(list, LEGACY_LIST)?;
    host.run(&["apt-get", "update"])?.ok()?;
    host.run_within(LONG, &["apt-get", "install", "-y", "nvidia-docker2"])?.ok()?;
    let before = host.read(DAEMON)?;
    ensure!(before == LEGACY_DAEMON_JSON, "{before}");
    let packages = host.packages()?;
    succeeds(&host, &["rprov", "install", "--yes", "--gpu=toolkit"])?;
    has_toolkit(&host, VERSIONS[2])?;
    ensure!(
        !host.exists(list) && !host.exists("/etc/apt/trusted.gpg.d/nvidia-docker.asc"),
        "its sources are left"
    );
    ensure!(
        host.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", "nvidia-docker2"])?.stdout
            == "config-files"
    );
    let json: serde_json::Value = serde_json::from_str(&host.read(DAEMON)?)?;
    ensure!(json["runtimes"]["nvidia"]["runtimeArgs"].is_array(), "its runtime was not kept: {json}");
    says(&rprov(&host, &["install", "--yes", "--gpu=toolkit"])?.ok()?, &["nothing to do"])?;
    let said = uninstall(&host, &[])?;
    // Its source comes back, and only after the packages: what had to go is named.
    says(&said, &["`nvidia-docker2` 2.13.0-1 cannot come back"])?;
    ensure!(host.read(list)? == LEGACY_LIST && host.read(DAEMON)? == before, "its files did not come back");
    let mut lines = changed(&packages, &host.packages()?);
    lines.retain(|line| !line.contains("nvidia-docker2"));
    ensure!(lines.is_empty(), "other packages than before:\n{}", lines.join("\n"));
    Ok(())
}

/// What is in one and not in the other.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>, sign: &str| -> Vec<String> {
        let missing = a.iter().filter(|(name, version)| b.get(*name) != Some(*version));
        missing.map(|(name, version)| format!("{sign} {name} {version}")).collect()
    };
    [only(before, after, "-"), only(after, before, "+")].concat()
}

fn refused(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = fresh(lab, identity)?;
    let plan = ["rprov", "install", "--yes", "--gpu=toolkit"];
    for (variant, words) in [
        (Variant::RogueKey, &["not that of the pinned key"] as &[&str]),
        (Variant::TamperedInRelease, &["pinned key"]),
        (Variant::TamperedPackages, &["not what was signed"]),
        (Variant::OnlyOld, &["at or above 1.17.8"]),
    ] {
        host.mirror_of(NVIDIA, variant)?;
        leaves_all_alone(&host, &plan, 4, words)?;
    }
    host.mirror_of(NVIDIA, Variant::Good)?;
    leaves_all_alone(&host, &["rprov", "install", "--yes", "--gpu"], 4, &["no card", "--gpu=toolkit"])
        .map(drop)
}
