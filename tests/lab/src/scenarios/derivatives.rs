//! Derivatives: the source is that of the release that they are based on, and the rest is as on that one.

use super::by_hand;
use super::common::leaves_all_alone;
use super::product::{alice_runs, host, indexes, install, rprov, says, uninstall, untouched};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
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
    // What a guide for the base makes of a derivative's own codename: apt finds no such suite.
    let own = host.read("/usr/lib/os-release")?;
    let codename = own.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    let guide = "/etc/apt/sources.list.d/docker.list";
    let line = format!("deb https://download.docker.com/{} {codename} stable\n", expected(identity).1);
    host.write(guide, &line)?;
    host.run(&["apt-get", "update"])?.code_is(100)?;
    let fresh = host.state()?;
    let (title, directory, suite) = expected(identity);

    says(&rprov(&host, &["plan", "--user", "alice", "--exit-code"])?.code_is(3)?, &[title, suite])?;
    untouched("plan changed the host", &fresh, &host.state()?)?;

    let asked = host.requests();
    let done = install(&host, &["--user", "alice"])?;
    let asked = host.requests_since(&asked);
    says(&done, &[title, "a container ran, alone and without a network"])?;
    let source = host.read("/etc/apt/sources.list.d/docker.sources")?;
    for line in [format!("Suites: {suite}\n"), format!("/{directory}\n")] {
        ensure!(source.contains(&line), "the source has no {line:?}:\n{source}");
    }
    ensure!(!host.exists(guide), "the entry for the suite that is not there is still there");
    host.run(&["apt-get", "update"])?.ok()?;
    let place = format!("/{directory}/dists/{suite}/");
    let others: Vec<String> = indexes(&asked).into_iter().filter(|line| !line.contains(&place)).collect();
    ensure!(others.is_empty(), "other indexes than the source's were asked for: {others:?}");
    by_hand::import(&host)?;
    ensure!(alice_runs(&host, "echo hello")? == "hello\n", "alice's container did not say hello");
    says(&rprov(&host, &["status"])?.ok()?, &["are as they were made"])?;
    says(&install(&host, &["--user", "alice"])?, &["nothing to do"])?;

    uninstall(&host, &["--purge-data"])?;
    back(&fresh, &host.state()?, EXCEPTIONS)?;
    ensure!(host.read(guide)? == line, "their entry is another one now");
    strangers(&host, &own, suite)
}

/// A derivative that nobody knows by name gets what it is based on, and none of what there is no profile for.
fn strangers(host: &Host, own: &str, suite: &str) -> Result<()> {
    let unknown = own.replace("ID=linuxmint", "ID=elsewhere");
    host.write("/usr/lib/os-release", &unknown)?;
    says(&rprov(host, &["plan"])?.ok()?, &["which is not known by name but based on", suite])?;
    host.write("/usr/lib/os-release", own.replace(&format!("={suite}"), "=warty"))?;
    let words = ["_CODENAME=warty`", "the nearest is `", "--engine distribution", "rprov profile list"];
    leaves_all_alone(host, &["rprov", "install", "--yes"], 4, &words).map(drop)
}
