//! Packages that stay at their version: moved on purpose, by nobody else, and let go again.

use super::common::{LONG, engine_works, leaves_all_alone, packages_are_whole};
use super::product::{QUIET, host, install, rprov, says, uninstall, version};
use super::uninstall::{EXCEPTIONS, back};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::{Host, versionlock};
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[Scenario {
    name: "hold",
    about: "held packages are moved by --upgrade and by no upgrade of the host, others' holds by nobody, and uninstall lets \
            go what was held",
    on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rocky9],
    run: holds,
}];

const ENGINE: usize = 5;

fn held(host: &Host) -> Result<Vec<String>> {
    let text = match host.identity().dnf() {
        Some(_) => host.run(&["dnf", "-q", "--disablerepo=*", "versionlock", "list"])?.ok()?.stdout,
        None => host.run(&["apt-mark", "showhold"])?.ok()?.stdout,
    };
    Ok(text.lines().map(str::to_string).collect())
}

/// What an administrator types, or a timer; its end is not asked for.
fn upgrade_by_hand(host: &Host) -> Result<()> {
    match host.identity().dnf() {
        Some(_) => host.run_within(LONG, &["dnf", "-y", "upgrade"])?.ok().map(drop),
        None => {
            host.run_within(LONG, &["apt-get", "update"])?.ok()?;
            host.run_within(LONG, &["apt-get", "-y", "dist-upgrade"])?.ok().map(drop)
        }
    }
}

fn holds(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    if identity.dnf().is_some() {
        let fresh = ["rprov", "install", "--yes", "--hold"];
        let way_out = "dnf install python3-dnf-plugin-versionlock";
        leaves_all_alone(&host, &fresh, 4, &["cannot hold the packages", way_out])?;
        versionlock::lay(&host)?;
    }
    let fresh = host.state()?;
    let plan = rprov(&host, &["plan", "--version", "28", "--hold"])?.ok()?;
    says(&plan, &["held packages", "+ docker-ce "])?;
    install(&host, &["--version", "28", "--hold", "--no-smoke"])?;
    ensure!(held(&host)?.len() == ENGINE, "held: {:?}", held(&host)?);
    let old = version(&host, "docker-ce")?;
    upgrade_by_hand(&host)?;
    ensure!(version(&host, "docker-ce")? == old, "an upgrade by hand moved what is held");
    says(&install(&host, &[])?, &["nothing to do"])?;
    install(&host, &["--upgrade"])?;
    let new = version(&host, "docker-ce")?;
    ensure!(new != old && new.contains("29.7.2"), "{old} is {new} after --upgrade");
    ensure!(held(&host)?.len() == ENGINE, "held: {:?}", held(&host)?);
    rprov(&host, &["status"])?.ok()?;
    engine_works(&host)?;
    upgrade_by_hand(&host)?;
    let dry = rprov(&host, &["uninstall", "--dry-run"])?.ok()?;
    says(&dry, &["no longer held", "- docker-ce"])?;
    uninstall(&host, &["--purge-data"])?;
    packages_are_whole(&host)?;
    back(&fresh, &host.state()?, &[QUIET, EXCEPTIONS, BY_HAND].concat())?;
    theirs(&host)
}

/// What the upgrades by hand leave.
const BY_HAND: &[(&str, &str)] = &[
    ("/var/lib/apt/lists*", "fetched by hand"),
    ("/var/cache/apt*", "fetched by hand"),
    ("/var/log/*", "the package manager's logs"),
    ("/var/cache/dnf*", "fetched by hand"),
    ("/var/lib/dnf*", "dnf's history of the upgrades by hand"),
];

fn theirs(host: &Host) -> Result<()> {
    install(host, &["--version", "28", "--no-smoke"])?;
    let (hold, let_go): (&[&str], &str) = match host.identity().dnf() {
        Some(_) => (&["dnf", "-q", "versionlock", "add", "docker-ce"], "dnf versionlock delete docker-ce"),
        None => (&["apt-mark", "hold", "docker-ce"], "apt-mark unhold docker-ce"),
    };
    host.run_within(LONG, hold)?.ok()?;
    let named = ["cannot move packages that somebody else holds", "docker-ce", let_go];
    leaves_all_alone(host, &["rprov", "install", "--yes", "--upgrade"], 4, &named)?;
    let before = held(host)?;
    install(host, &["--version", "28", "--hold", "--no-smoke"])?;
    ensure!(held(host)?.len() == ENGINE, "held: {:?}", held(host)?);
    uninstall(host, &["--purge-data"])?;
    ensure!(held(host)? == before, "held by others: {before:?}, then {:?}", held(host)?);
    Ok(())
}
