//! Derivatives: the source is that of the release that they are based on, and the rest is as on that one.

use super::by_hand;
use super::product::{alice_runs, host, indexes, install, rprov, says, uninstall, untouched};
use super::uninstall::{EXCEPTIONS, back};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[Scenario {
    name: "derivatives",
    about: "Linux Mint gets Ubuntu's suite and LMDE Debian's, by what they are based on; and the way back is whole",
    on: &[Identity::Mint22, Identity::Lmde6, Identity::Mint213],
    run: derivative,
}];

/// How it is greeted, and the directory and suite of its source.
fn expected(identity: Identity) -> (&'static str, &'static str, &'static str) {
    match identity {
        Identity::Mint213 => {
            ("Linux Mint 21.3, based on Ubuntu 22.04 LTS (Jammy Jellyfish)", "linux/ubuntu", "jammy")
        }
        Identity::Lmde6 => ("LMDE 6 (faye), based on Debian 12 (bookworm)", "linux/debian", "bookworm"),
        _ => ("Linux Mint 22, based on Ubuntu 24.04 LTS (Noble Numbat)", "linux/ubuntu", "noble"),
    }
}

fn derivative(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    let (title, directory, suite) = expected(identity);

    says(&rprov(&host, &["plan", "--user", "alice", "--exit-code"])?.code_is(3)?, &[title, suite])?;
    untouched("plan changed the host", &fresh, &host.state()?)?;

    let asked = host.requests();
    let done = install(&host, &["--user", "alice"])?;
    says(&done, &[title, "a container ran, alone and without a network"])?;
    let source = host.read("/etc/apt/sources.list.d/docker.sources")?;
    for line in [format!("Suites: {suite}\n"), format!("/{directory}\n")] {
        ensure!(source.contains(&line), "the source has no {line:?}:\n{source}");
    }
    let place = format!("/{directory}/dists/{suite}/");
    let others: Vec<String> =
        indexes(&host.requests_since(&asked)).into_iter().filter(|line| !line.contains(&place)).collect();
    ensure!(others.is_empty(), "other indexes than the source's were asked for: {others:?}");
    by_hand::import(&host)?;
    ensure!(alice_runs(&host, "echo hello")? == "hello\n", "alice's container did not say hello");
    says(&rprov(&host, &["status"])?.ok()?, &["are as they were made"])?;
    says(&install(&host, &["--user", "alice"])?, &["nothing to do"])?;

    uninstall(&host, &["--purge-data"])?;
    back(&fresh, &host.state()?, EXCEPTIONS)
}
