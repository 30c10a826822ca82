//! What may happen to a machine with a card on the way through its reboot: kills, lost power, a second attempt.

use super::common::{LONG, packages_are_whole, says, succeeds};
use super::gpu::NVIDIA;
use super::gpu_driver::{LEFT, card_works, machine, resumed};
use super::interruption::{KILLED, MANY};
use super::uninstall::{EXCEPTIONS, back};
use crate::card::Card;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::{Host, cargo};
use anyhow::{Result, bail, ensure};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "gpu-stopped",
        about: "killed at each entry of the receipt, before the reboot and after it, the same command comes to its end",
        on: &[Identity::Debian12, Identity::Ubuntu2404, Identity::Rhel9],
        run: stopped,
    },
    Scenario {
        name: "gpu-resume-cut-off",
        about: "power that goes instead of the reboot, and again in the first attempt after it: the second finishes",
        on: &[Identity::Ubuntu2404, Identity::Rhel9],
        run: cut_off,
    },
    Scenario {
        name: "gpu-reboot-kernel",
        about: "a kernel that was updated and does not run yet: nothing is installed for the old one, and all of it after the reboot",
        on: &[Identity::Ubuntu2404, Identity::Rhel9],
        run: new_kernel,
    },
    Scenario {
        name: "gpu-resume-gives-up",
        about: "two attempts that fail leave a failed unit, no third one, and the same command by hand finishes",
        on: &[Identity::Ubuntu2404],
        run: gives_up,
    },
];

/// What another boot makes anew.
const BOOTS: &[(&str, &str)] =
    &[("/var/tmp/systemd-private-*", "named by the boot, for each unit with a /tmp of its own")];

const UNIT: &str = "rprov-resume.service";
const INSTALL: &[&str] = &["rprov", "install", "--yes", "--gpu"];

/// Runs installs, each killed one entry further than the last, until one ends by itself: its code.
fn further_and_further(host: &Host) -> Result<i32> {
    for n in 1..MANY {
        let stop = format!("RPROV_STOP_AT={n}");
        let output = host.run_within(LONG, &[&["env", &stop], INSTALL, &["--no-smoke"]].concat())?;
        match output.code {
            KILLED => continue,
            0 | 6 if n > 4 => return Ok(output.code),
            _ => bail!("run {n} ended with {}:\n{}", output.code, output.text()),
        }
    }
    bail!("no run comes to its end")
}

fn stopped(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[Card::L4])?;
    host.with_rprov(&cargo::rprov_stop_at()?)?;
    host.nouveau()?;
    let fresh = host.state()?;
    ensure!(further_and_further(&host)? == 6, "no reboot was asked for");
    packages_are_whole(&host)?;
    // By hand: the unit would finish before the second kill.
    host.run(&["systemctl", "disable", UNIT])?.ok()?;
    host.reboot()?;
    ensure!(further_and_further(&host)? == 0, "another reboot was asked for");
    succeeds(&host, &["rprov", "smoke", "--gpu"])?;
    card_works(&host)?;
    succeeds(&host, &["rprov", "uninstall", "--yes", "--purge-data"])?;
    packages_are_whole(&host)?;
    host.reboot()?;
    back(&fresh, &host.state()?, &[EXCEPTIONS, LEFT, BOOTS].concat())
}

fn cut_off(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[Card::L4])?;
    host.with_rprov(&cargo::rprov_stop_at()?)?;
    host.nouveau()?;
    // The unit has another environment, in which nobody names a configuration.
    host.run(&["mv", "/etc/rprov/config.toml", "/root/site.toml"])?.ok()?;
    let install = [&["env", "RPROV_CONFIG=/root/site.toml"], INSTALL].concat();
    host.run_within(LONG, &install)?.code_is(6)?;
    let drop_in = format!("/etc/systemd/system/{UNIT}.d/stop.conf");
    host.write(&drop_in, "[Service]\nEnvironment=RPROV_STOP_AT=9\n")?;
    host.run(&["sync"])?;
    host.crash()?;
    host.boot()?;
    failed(&host)?;
    host.remove(&format!("/etc/systemd/system/{UNIT}.d"))?;
    host.reboot()?;
    resumed(&host, "attempt 2 of 2")?;
    host.run(&["mv", "/root/site.toml", "/etc/rprov/config.toml"])?.ok()?;
    card_works(&host)
}

fn new_kernel(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[Card::L4])?;
    let fresh = host.state()?;
    // The pretended kernel stays the same: what is on the disk is another one's until the reboot.
    let modules = format!("/lib/modules/{}", host.kernel());
    let aside = |from: &str, to: &str| host.sh(&format!("mv {from} {to}"))?.ok().map(drop);
    aside(&modules, "/lib/modules/9.9.9-new")?;
    let said = host.run_within(LONG, INSTALL)?.code_is(6)?;
    says(&said, &["needs a reboot", "systemctl reboot"])?;
    says(&host.run_within(LONG, &["rprov", "uninstall", "--yes"])?.ok()?, &["nothing to take back"])?;
    ensure!(!host.exists(&format!("/etc/systemd/system/{UNIT}")), "the unit is left");
    aside("/lib/modules/9.9.9-new", &modules)?;
    back(&fresh, &host.state()?, EXCEPTIONS)?;
    aside(&modules, "/lib/modules/9.9.9-new")?;
    host.run_within(LONG, INSTALL)?.code_is(6)?;
    aside("/lib/modules/9.9.9-new", &modules)?;
    host.reboot()?;
    resumed(&host, "attempt 1 of 2")?;
    card_works(&host)
}

fn gives_up(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[Card::L4])?;
    host.nouveau()?;
    host.run_within(LONG, INSTALL)?.code_is(6)?;
    host.mirror_of(NVIDIA, Variant::RogueKey)?;
    for attempt in ["attempt 1 of 2", "attempt 2 of 2"] {
        host.reboot()?;
        failed(&host)?;
        let journal = host.journal(UNIT)?;
        ensure!(journal.contains(attempt) && journal.contains("not that of the pinned key"), "{journal}");
    }
    let enabled = host.run(&["systemctl", "is-enabled", UNIT])?.stdout;
    ensure!(enabled == "disabled\n", "it is {enabled}");
    host.reboot()?;
    ensure!(!host.journal(UNIT)?.contains("attempt 3"), "a third attempt");
    host.mirror_of(NVIDIA, Variant::Good)?;
    let said = host.run_within(LONG, INSTALL)?.ok()?;
    says(&said, &["docker run --runtime nvidia"])?;
    ensure!(!host.exists(&format!("/etc/systemd/system/{UNIT}")), "the unit is left");
    card_works(&host)
}

fn failed(host: &Host) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(120);
    while host.run(&["systemctl", "is-failed", UNIT])?.code != 0 {
        ensure!(Instant::now() < end, "it did not fail:\n{}", host.journal(UNIT)?);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}
