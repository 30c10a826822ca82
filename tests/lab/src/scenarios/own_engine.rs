//! The engine that the distribution has itself, where upstream builds none or nobody wants it.

use super::common::{engine_works, leaves_all_alone};
use super::product::{alice_runs, does_not_say, host, install, rprov, says, uninstall};
use super::uninstall::{EXCEPTIONS, back};
use super::{by_hand, product::QUIET};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[Scenario {
    name: "own-engine",
    about: "the distribution's own engine runs a named user's containers, nothing of Docker's is written or asked for, and \
            uninstall restores the host",
    on: &[Identity::Debian12, Identity::Amazon2023, Identity::Debian13],
    run: own_engine,
}];

const OWN: &[&str] = &["--engine", "distribution", "--user", "alice"];

fn own_engine(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.marks()?;
    let fresh = host.state()?;
    let asked = host.requests();
    let of_dockers = ["rprov", "plan", "--engine", "distribution", "--version", "29"];
    leaves_all_alone(&host, &of_dockers, 2, &["cannot use `version`", "hint:"])?;
    let plan = rprov(&host, &[&["plan"], OWN].concat())?.ok()?;
    let package = if identity.dnf().is_some() { "+ docker " } else { "+ docker.io" };
    says(&plan, &[package, "daemon.json", "alice"])?;
    does_not_say(&plan, &["docker-ce", "package source"])?;
    install(&host, OWN)?;
    by_hand::import(&host)?;
    ensure!(alice_runs(&host, "echo hello")? == "hello\n", "alice's container did not say hello");
    says(&install(&host, OWN)?, &["nothing to do"])?;
    engine_works(&host)?;
    let of_docker = |request: &crate::server::Request| request.host == "download.docker.com";
    ensure!(!host.requests_since(&asked).iter().any(of_docker), "Docker's mirror was asked");
    uninstall(&host, &["--purge-data"])?;
    back(&fresh, &host.state()?, &[QUIET, EXCEPTIONS].concat())
}
