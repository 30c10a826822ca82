//! Hosts with a card that are broken as people break them: doctor names the cause, and what it tells mends it.

use super::common::{LONG, succeeds};
use super::doctor::{as_alice, as_root, ids, one, rows};
use super::gpu_driver::machine;
use super::{by_hand, card_by_hand};
use crate::Host;
use crate::card::Card;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Context, Result, ensure};

const HOSTS: &[Identity] = &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9];

pub const ALL: &[Scenario] = &[Scenario {
    name: "doctor-gpu",
    about: "whatever keeps a card from containers is named, as a user and as root, and what doctor tells mends it",
    on: HOSTS,
    run: broken,
}];

/// A machine with a card that rprov made ready, an image with room for the driver, and alice, who may use docker.
fn installed(lab: &Lab, identity: Identity, card: Card) -> Result<Host> {
    let host = machine(lab, identity, &[card])?;
    succeeds(&host, &["rprov", "install", "--yes", "--gpu", "--user", "alice"])?;
    by_hand::import(&host)?;
    card_by_hand::image(&host)?;
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

fn broken(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = installed(lab, identity, Card::L4)?;
    for row in rows(&["gpu-"])? {
        one(&mut host, &row, sees_the_card).with_context(|| format!("{}: `{}`", row.id, row.r#break))?;
    }
    host.run_within(LONG, &["rprov", "smoke", "--gpu"])?.ok()?;
    healthy(&host)
}
