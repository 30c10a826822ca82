//! `rprov install --gpu`: a driver for the card, a reboot where it needs one, and containers that get the card.

use super::common::{leaves_all_alone, packages_are_whole};
use super::gpu::{CDI, DAEMON, has_toolkit};
use super::product::{host, rprov, says, uninstall};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::card::{Card, Firmware};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::toolkit::VERSIONS;
use anyhow::{Result, bail, ensure};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "gpu-reboot",
        about: "a machine with a card and nouveau: one command, a reboot, and a container that got the card",
        on: &[Identity::Ubuntu2404, Identity::Rhel9, Identity::Debian12, Identity::Mint22],
        run: reboot,
    },
    Scenario {
        name: "gpu-driver",
        about: "without nouveau the driver is loaded at once, and an uninstall leaves the same tree",
        on: &[Identity::Debian12, Identity::Ubuntu2404, Identity::Rhel9],
        run: driver,
    },
    Scenario {
        name: "gpu-choice",
        about: "branch and modules are chosen by the card, and what cannot work is refused before anything is touched",
        on: &[Identity::Ubuntu2404],
        run: choice,
    },
];

/// A booted machine with these cards, and rprov in it.
pub fn machine(lab: &Lab, identity: Identity, cards: &[Card]) -> Result<Host> {
    let host = host(lab, identity)?;
    host.cards(cards)?;
    // The pretended kernel lists no modules: this one the engine is refused without.
    let built_in = format!("/lib/modules/{}/modules.builtin", host.kernel());
    host.write(&built_in, "kernel/net/netfilter/xt_addrtype.ko\n")?;
    host.epel()?;
    if identity.suite() == "noble" {
        let config = host.read("/etc/rprov/config.toml")?;
        host.write("/etc/rprov/config.toml", format!("{config}\n{CDI}"))?;
    }
    Ok(host)
}

/// The card is in reach of the host, of the engine and of a container, and nothing is left to do.
pub fn card_works(host: &Host) -> Result<()> {
    host.run(&["nvidia-smi", "-L"])?.ok()?;
    has_toolkit(host, VERSIONS[2])?;
    let log = host.read("/var/log/nvidia-container-runtime.log")?;
    ensure!(log.contains(" create "), "no container ran under NVIDIA's runtime: {log}");
    ensure!(host.read(DAEMON)?.contains("nvidia-container-runtime"), "{}", host.read(DAEMON)?);
    packages_are_whole(host)?;
    let refresh = host.run(&["systemctl", "is-failed", "nvidia-cdi-refresh.service"])?;
    ensure!(refresh.code != 0, "nvidia-cdi-refresh.service is {}", refresh.stdout);
    says(&rprov(host, &["install", "--yes", "--gpu"])?.ok()?, &["nothing to do"])?;
    rprov(host, &["status"])?.ok().map(drop)
}

fn reboot(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[Card::L4])?;
    host.nouveau()?;
    ensure!(host.run(&["test", "-d", "/sys/module/nouveau"])?.code == 0, "nouveau is not loaded");
    let said = rprov(&host, &["install", "--yes", "--gpu", "--reboot"])?;
    ensure!(said.code == 6, "it ended with {}:\n{}", said.code, said.text());
    host.rebooted(Duration::from_secs(60))?;
    resumed(&host)?;
    card_works(&host)
}

/// The unit has done what was left, and is gone with all that it needed.
fn resumed(host: &Host) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(180);
    while host.exists("/etc/systemd/system/rprov-resume.service") {
        let state =
            host.run(&["systemctl", "show", "-p", "ActiveState,Result", "rprov-resume.service"])?.stdout;
        if state.contains("failed") || Instant::now() > end {
            bail!("it did not go on after the reboot: {state}\n{}", host.journal("rprov-resume.service")?);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    for path in ["/usr/local/libexec/rprov", "/var/lib/rprov/resume.json"] {
        ensure!(!host.exists(path), "{path} is left");
    }
    let journal = host.journal("rprov-resume.service")?;
    ensure!(journal.contains("attempt 1 of 2"), "{journal}");
    Ok(())
}

fn driver(lab: &Lab, identity: Identity) -> Result<()> {
    let host = machine(lab, identity, &[Card::L4])?;
    let before = host.state()?;
    let said = rprov(&host, &["install", "--yes", "--gpu"])?.ok()?;
    says(&said, &["docker run --runtime nvidia", "/dev/nvidia0", "nvidia/cuda:13.0.3"])?;
    card_works(&host)?;
    let facts = rprov(&host, &["facts"])?.ok()?;
    says(&facts, &["\"NVIDIA L4\"", "\"ada\"", "\"open\"", "\"nvidia0\""])?;
    uninstall(&host, &["--purge-data"])?;
    back(&before, &host.state()?, &[EXCEPTIONS, LEFT].concat())
}

/// What a driver leaves until the next boot.
const LEFT: &[(&str, &str)] = &[
    ("/boot/*", "the initial file system, made anew when the driver came and when it went"),
    ("/usr/src/*", "directories that the lab's stubs of headers and sources do not own"),
    ("/usr/lib/lab/*", "the lab's own notes of the pretended machine"),
];

fn choice(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[])?;
    let plan = ["rprov", "plan", "--gpu"];
    leaves_all_alone(
        &host,
        &["rprov", "install", "--yes", "--gpu"],
        4,
        &["no card of NVIDIA's", "--gpu=toolkit"],
    )?;
    for (card, package) in [
        (Card::A100, "nvidia-open "),
        (Card::B200, "nvidia-open "),
        (Card::Gtx1650, "nvidia-open "),
        (Card::V100, "cuda-drivers "),
        (Card::P100, "cuda-drivers "),
        (Card::H100, "nvidia-fabricmanager "),
    ] {
        host.cards(&[card])?;
        let said = host.run(&plan)?.ok()?;
        let line = said.stdout.lines().find(|line| line.contains(package));
        ensure!(line.is_some_and(|line| line.contains("580.159.04")), "{card:?}: {}", said.text());
    }
    for (cards, words) in [
        (&[Card::K80][..], &["too old"][..]),
        (&[Card::L4, Card::K80], &["10DE:102D", "too old"]),
        (&[Card::V100, Card::B200], &["no driver knows all"]),
    ] {
        host.cards(cards)?;
        leaves_all_alone(&host, &["rprov", "install", "--yes", "--gpu"], 4, words)?;
    }
    host.cards(&[Card::L4])?;
    host.mirror_of("developer.download.nvidia.com", Variant::RogueKey)?;
    leaves_all_alone(&host, &["rprov", "install", "--yes", "--gpu"], 4, &["not that of the pinned key"])?;
    host.mirror_of("developer.download.nvidia.com", Variant::Good)?;
    host.firmware(Firmware::SecureBoot)?;
    let said = host.run(&plan)?.ok()?;
    says(
        &said,
        &[&format!("linux-modules-nvidia-580-server-open-{}", host.kernel()), "nvidia-utils-580-server"],
    )
}
