//! `rprov install --gpu`: a driver for the card, a reboot where it needs one, and containers that get the card.

use super::card_by_hand;
use super::common::{LONG, leaves_all_alone, packages_are_whole};
use super::gpu::{CDI, DAEMON, has_toolkit};
use super::product::{does_not_say, host, rprov, says, uninstall};
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
        on: &[Identity::Debian12, Identity::Ubuntu2404, Identity::Rhel9, Identity::Amazon2023],
        run: driver,
    },
    Scenario {
        name: "gpu-driver-theirs",
        about: "a driver that somebody installed stays through install and uninstall; with another library it is refused",
        on: &[Identity::Ubuntu2404],
        run: theirs,
    },
    Scenario {
        name: "gpu-driver-distribution",
        about: "the distribution's own driver comes where it is asked for, and NVIDIA's source does not",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: of_the_distribution,
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

/// Amazon's engine is its own: upstream builds none for it.
fn install(host: &Host) -> Vec<&'static str> {
    let own: &[&str] =
        if host.identity() == Identity::Amazon2023 { &["--engine", "distribution"] } else { &[] };
    [&["install", "--yes", "--gpu"], own].concat()
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
    says(&rprov(host, &install(host))?.ok()?, &["nothing to do"])?;
    rprov(host, &["status"])?.ok().map(drop)
}

fn reboot(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = machine(lab, identity, &[Card::L4])?;
    host.nouveau()?;
    ensure!(host.run(&["test", "-d", "/sys/module/nouveau"])?.code == 0, "nouveau is not loaded");
    let said = rprov(&host, &["install", "--yes", "--gpu", "--reboot"])?;
    ensure!(said.code == 6, "it ended with {}:\n{}", said.code, said.text());
    host.rebooted(Duration::from_secs(60))?;
    resumed(&host, "attempt 1 of 2")?;
    card_works(&host)
}

/// The unit has done what was left, and is gone with all that it needed.
pub fn resumed(host: &Host, attempt: &str) -> Result<()> {
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
    ensure!(journal.contains(attempt), "{journal}");
    Ok(())
}

fn driver(lab: &Lab, identity: Identity) -> Result<()> {
    let host = machine(lab, identity, &[Card::L4])?;
    let before = host.state()?;
    let said = rprov(&host, &install(&host))?.ok()?;
    says(&said, &["docker run --runtime nvidia", "/dev/nvidia0", "nvidia/cuda:13.0.3"])?;
    says(&said, &["`nvidia-smi -L` in the container: GPU 0: NVIDIA L4"])?;
    card_works(&host)?;
    one_origin(&host)?;
    let facts = rprov(&host, &["facts"])?.ok()?;
    says(&facts, &["\"NVIDIA L4\"", "\"ada\"", "\"open\"", "\"nvidia0\""])?;
    uninstall(&host, &["--purge-data"])?;
    back(&before, &host.state()?, &[EXCEPTIONS, LEFT, ASKED].concat())
}

/// What the scenario itself asks of dnf.
const ASKED: &[(&str, &str)] = &[("/var/cache/dnf*", "dnf's own lists")];

fn theirs(lab: &Lab, identity: Identity) -> Result<()> {
    let host = machine(lab, identity, &[Card::L4])?;
    card_by_hand::cuda_source(&host)?;
    let headers = format!("linux-headers-{}", host.kernel());
    card_by_hand::install(&host, &[&headers, "nvidia-driver-pinning-580"])?;
    card_by_hand::install(&host, &["nvidia-open"])?;
    host.run(&["modprobe", "nvidia-uvm"])?.ok()?;
    let before = host.state()?;
    let said = rprov(&host, &install(&host))?.ok()?;
    does_not_say(&said, &["+ nvidia-open", "the source of the driver"])?;
    card_works(&host)?;
    uninstall(&host, &["--purge-data"])?;
    host.run(&["nvidia-smi", "-L"])?.ok()?;
    back(&before, &host.state()?, EXCEPTIONS)?;
    let loaded = "/sys/module/nvidia/version";
    let version = host.read(loaded)?;
    let told = "/proc/driver/nvidia/version";
    host.sh(&format!("echo 570.86.15 > {loaded}; sed -i s/{}/570.86.15/ {told}", version.trim()))?.ok()?;
    let argv = [&["rprov"], install(&host).as_slice()].concat();
    let words = ["the loaded module is 570.86.15", version.trim(), "systemctl reboot"];
    leaves_all_alone(&host, &argv, 4, &words).map(drop)
}

fn of_the_distribution(lab: &Lab, identity: Identity) -> Result<()> {
    let host = machine(lab, identity, &[Card::L4])?;
    let install = ["rprov", "install", "--yes", "--gpu", "--driver", "distribution"];
    if identity.family() == "debian" {
        leaves_all_alone(&host, &install, 4, &["nvidia-open-kernel-dkms", "non-free"])?;
        let sources = "/etc/apt/sources.list /etc/apt/sources.list.d/*";
        host.sh(&format!(
            "sed -i 's/\\bmain$/main contrib non-free non-free-firmware/' {sources}; apt-get update"
        ))?
        .ok()?;
    }
    let before = host.state()?;
    let said = rprov(&host, &install[1..])?.ok()?;
    says(&said, &["docker run --runtime nvidia", "`nvidia-smi -L` in the container: GPU 0: NVIDIA L4"])?;
    card_works(&host)?;
    ensure!(!host.exists("/etc/apt/sources.list.d/nvidia-cuda.sources"), "NVIDIA's source came");
    uninstall(&host, &["--purge-data"])?;
    back(&before, &host.state()?, &[EXCEPTIONS, LEFT].concat())
}

/// The toolkit is in NVIDIA's other repository too, in a newer version: nobody's upgrade mixes the two.
fn one_origin(host: &Host) -> Result<()> {
    if host.identity().dnf().is_some() {
        let query = ["dnf", "-y", "-q", "repoquery", "--disableexcludes=all", "nvidia-container-toolkit"];
        ensure!(host.run(&query)?.ok()?.stdout.contains("1.20.1"), "the lab has one origin only");
        host.run_within(
            LONG,
            &["dnf", "-y", "upgrade", "nvidia-container-toolkit*", "libnvidia-container*"],
        )?
        .ok()?;
    } else {
        let all = host.run(&["apt-cache", "madison", "nvidia-container-toolkit"])?.ok()?.stdout;
        ensure!(all.contains("1.20.1"), "the lab has one origin only: {all}");
        host.run_within(LONG, &["apt-get", "-y", "upgrade"])?.ok()?;
    }
    has_toolkit(host, VERSIONS[2])
}

/// What a driver leaves until the next boot.
pub const LEFT: &[(&str, &str)] = &[
    ("/boot/*", "the initial file system, made anew when the driver came and when it went"),
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
