//! Hosts with a card that are broken as people break them: doctor names the cause, and what it tells mends it.

use super::by_hand;
use super::card_by_hand::{self, cuda_source, engine, image, install, toolkit_install, toolkit_source};
use super::common::{LONG, succeeds, untouched};
use super::doctor::{Broken, as_alice, as_root, asked, ids, mended, rows, shell};
use super::gpu_driver::{machine, resumed};
use crate::Host;
use crate::card::Card;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::toolkit::{LEGACY_LIST, VERSIONS};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const HOSTS: &[Identity] = &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9];

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "doctor-gpu",
        about: "whatever keeps a card from containers is named, as a user and as root, and what doctor tells mends it",
        on: HOSTS,
        run: |lab, identity| {
            let family = if identity.dnf().is_some() { "dnf" } else { "apt" };
            broken(lab, identity, Card::L4, |only| only.is_none_or(|only| only == family))
        },
    },
    Scenario {
        name: "doctor-gpu-fabric",
        about: "cards that NVSwitch joins wait for the fabric manager: not there, not started, of another version",
        on: HOSTS,
        run: |lab, identity| broken(lab, identity, Card::H100, |only| only == Some("h100")),
    },
    Scenario {
        name: "doctor-gpu-upgrade",
        about: "a driver that was upgraded below a loaded module is named, and a reboot is what it takes",
        on: HOSTS,
        run: upgraded,
    },
    Scenario {
        name: "doctor-gpu-three",
        about: "of three faults of a card's host the causes are named, and what follows from them is folded",
        on: &[Identity::Ubuntu2404],
        run: three_at_once,
    },
    Scenario {
        name: "doctor-gpu-by-hand",
        about: "on a host that rprov never touched: no toolkit, a deamon.json, nvidia-docker2's list, and all well",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: hand_made,
    },
];

/// A machine with a card that rprov made ready, an image with room for the driver, and alice, who may use docker.
fn installed(lab: &Lab, identity: Identity, card: Card) -> Result<Host> {
    let host = machine(lab, identity, &[card])?;
    succeeds(&host, &["rprov", "install", "--yes", "--gpu", "--user", "alice"])?;
    by_hand::import(&host)?;
    image(&host)?;
    host.run(&["cp", "/etc/docker/daemon.json", "/root/good.json"])?.ok()?;
    healthy(&host)?;
    Ok(host)
}

/// For alice and for root: nothing that is degraded or worse, and no warning about cards.
fn healthy(host: &Host) -> Result<()> {
    for (code, report) in [as_alice(host)?, as_root(host)?] {
        let cards = ids(&report, false).into_iter().filter(|id| id.starts_with("gpu-"));
        ensure!(
            code == 0 && ids(&report, true).is_empty() && cards.count() == 0,
            "a healthy host has findings: {report}"
        );
    }
    Ok(())
}

fn sees_the_card(host: &Host) -> Result<()> {
    card_by_hand::sees_the_card(host, &["--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all"])
}

fn broken(lab: &Lab, identity: Identity, card: Card, takes: impl Fn(Option<&str>) -> bool) -> Result<()> {
    let mut host = installed(lab, identity, card)?;
    for row in rows(&["gpu-"])?.iter().filter(|row| takes(row.only.as_deref())) {
        one(&mut host, row).with_context(|| format!("{}: `{}`", row.id, row.r#break))?;
    }
    host.run_within(LONG, &["rprov", "smoke", "--gpu"])?.ok()?;
    let before = host.tree()?;
    healthy(&host)?;
    untouched(&host, &before, "rprov doctor")
}

/// Breaks it, asks as the user and as root, types what doctor tells, asks again, and runs a container with the card.
fn one(host: &mut Host, row: &Broken) -> Result<()> {
    if let Some(told) = asked(host, row, &[])? {
        type_in(host, &told)?;
    }
    mended(host, row, &[])?;
    sees_the_card(host)
}

/// What somebody types to mend it, line by line; the host may reboot at the end of it.
fn type_in(host: &mut Host, told: &str) -> Result<()> {
    for line in told.lines() {
        match line {
            "systemctl reboot" => host.reboot()?,
            // There is nobody to answer the question.
            _ if line.starts_with("rprov install") => shell(host, &format!("{line} --yes"))?,
            _ => shell(host, line)?,
        }
        if line.ends_with("--reboot") {
            host.rebooted(Duration::from_secs(60))?;
            resumed(host, "attempt 1 of 2")?;
        }
    }
    Ok(())
}

fn upgraded(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = installed(lab, identity, Card::L4)?;
    let loaded = host.read("/sys/module/nvidia/version")?;
    host.mirror_of(card_by_hand::CUDA, Variant::Newer)?;
    match identity.dnf() {
        Some(_) => host.run_within(LONG, &["dnf", "upgrade", "-y", "--refresh"])?.ok()?,
        None => {
            host.run(&["apt-get", "update"])?.ok()?;
            host.run_within(LONG, &["apt-get", "dist-upgrade", "-y"])?.ok()?
        }
    };
    for (code, report) in [as_alice(&host)?, as_root(&host)?] {
        ensure!(code == 3 && ids(&report, true) == ["gpu-library-mismatch"], "after an upgrade: {report}");
    }
    let refused = host.run(&[
        "docker",
        "run",
        "--rm",
        "--runtime",
        "nvidia",
        "-e",
        "NVIDIA_VISIBLE_DEVICES=all",
        "card",
        "true",
    ])?;
    ensure!(refused.text().contains("driver/library version mismatch"), "{}", refused.text());
    let explained = host.run(&["rprov", "doctor", "--explain", &refused.text()])?.ok()?;
    ensure!(explained.stdout.contains("gpu-library-mismatch"), "{}", explained.text());
    host.reboot()?;
    ensure!(host.read("/sys/module/nvidia/version")? != loaded, "the old module is loaded again");
    sees_the_card(&host)?;
    healthy(&host)
}

fn three_at_once(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity, Card::L4)?;
    host.sh("modprobe -r nvidia; find /lib/modules -name nvidia.ko -delete; depmod; systemctl restart nvidia-cdi-refresh.service; \
             systemctl restart nvidia-persistenced.service; rm /usr/bin/nvidia-container-runtime; \
             chmod 640 $(sed -n 's/^Signed-By: //p' /etc/apt/sources.list.d/nvidia-container-toolkit.sources); true")?
        .ok()?;
    let (code, report) = as_root(&host)?;
    let mut found = ids(&report, true);
    found.sort();
    let causes = ["gpu-dkms-not-built", "gpu-runtime-binary-missing", "gpu-source-key"];
    ensure!(code == 3 && found == causes, "the causes are {found:?}: {report}");
    let under = report["findings"].to_string();
    for id in ["gpu-module-not-loaded", "daemon-json-runtime-invalid"] {
        ensure!(under.contains(id), "{id} is not folded: {report}");
    }
    Ok(())
}

/// As it was written down by somebody who thought that this is the file, and that this is JSON.
const SEED: &str = "\"runtimes\": {\n    \"nvidia\": {\n        \"path:\" \"/usr/bin/nvidia-container-runtime\",\n        \"runtimeArgs\": []\n    }\n}\n";

fn hand_made(lab: &Lab, identity: Identity) -> Result<()> {
    let host = machine(lab, identity, &[Card::L4])?;
    engine(&host)?;
    host.run(&["gpasswd", "-a", "alice", "docker"])?.ok()?;
    cuda_source(&host)?;
    install(&host, &[&format!("linux-headers-{}", host.kernel()), "nvidia-driver-pinning-580"])?;
    install(&host, &["nvidia-open"])?;
    host.run(&["modprobe", "nvidia-uvm"])?.ok()?;
    let cards = |report: &Value| -> Vec<String> {
        ids(report, false).into_iter().filter(|id| id.starts_with("gpu-")).collect()
    };
    // Its package started it before there was a driver, as on a real host.
    let (_, report) = as_root(&host)?;
    ensure!(cards(&report).contains(&"gpu-persistenced-failed".to_owned()), "{report}");
    host.run(&["systemctl", "restart", "nvidia-persistenced"])?.ok()?;
    // Whoever has a card may well want it nowhere else.
    let (code, report) = as_root(&host)?;
    ensure!(code == 0 && cards(&report) == ["gpu-toolkit-missing"], "without a toolkit: {report}");
    toolkit_source(&host)?;
    toolkit_install(&host, VERSIONS[2])?;
    host.write("/etc/docker/deamon.json", SEED)?;
    host.write("/etc/apt/trusted.gpg.d/nvidia-docker.asc", lab.public(Key::Toolkit)?)?;
    host.write("/etc/apt/sources.list.d/nvidia-docker.list", LEGACY_LIST)?;
    host.remove("/etc/docker/daemon.json")?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    let (_, report) = as_root(&host)?;
    ensure!(cards(&report) == ["gpu-runtime-missing", "gpu-legacy-source"], "with the wrong file: {report}");
    ensure!(ids(&report, false).contains(&"daemon-json-misnamed".to_owned()), "{report}");
    let refused = host.run(&["docker", "run", "--rm", "--runtime", "nvidia", "lab", "true"])?;
    let explained = host.run(&["rprov", "doctor", "--explain", &refused.text()])?.ok()?;
    ensure!(explained.stdout.contains("gpu-runtime-missing"), "{}: {}", refused.text(), explained.text());
    host.remove("/etc/docker/deamon.json")?;
    host.remove("/etc/apt/sources.list.d/nvidia-docker.list")?;
    host.run(&["nvidia-ctk", "runtime", "configure", "--runtime=docker"])?.ok()?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    healthy(&host)?;
    image(&host)?;
    sees_the_card(&host)
}
