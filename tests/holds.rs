//! Whole runs that hold the engine's packages, on machines in memory: moved on purpose, by nobody else, and let go again.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod model;

use model::{Model, Runs, differences};
use rprov::error::Exit;
use rprov::host::Look;
use rprov::resources::How;
use std::collections::BTreeSet;
use std::path::Path;

const APT: &str = "ubuntu-24.04";
const DNF: &str = "rhel-9";
const LIST: &str = "/etc/dnf/plugins/versionlock.list";
const NOTHING: Vec<String> = Vec::new();

/// A fresh host whose dnf knows locks.
fn fresh(name: &str) -> Model {
    let host = Model::fresh(name);
    if name == DNF {
        host.put_directory("/etc/dnf/plugins");
        let conf = format!("[main]\nenabled = 1\nlocklist = {LIST}\n");
        host.put("/etc/dnf/plugins/versionlock.conf", conf);
        host.put(LIST, "");
    }
    host
}

fn held(host: &Model) -> BTreeSet<String> {
    let by_apt = host.state().packages.into_iter().filter(|(_, package)| package.hold).map(|(name, _)| name);
    let text = if host.exists(Path::new(LIST)).unwrap() { host.text(LIST) } else { String::new() };
    by_apt.chain(text.lines().map(str::to_owned)).collect()
}

fn everything() -> How {
    How { purge_data: true, ..How::default() }
}

#[test]
fn what_is_held_moves_with_an_upgrade_stays_held_and_is_let_go_with_the_way_back() {
    for name in [APT, DNF] {
        let host = fresh(name);
        let before = host.state();
        let mut runs = Runs::on(&host).version("28");
        runs.flags.hold = true;
        runs.install().unwrap();
        assert_eq!(held(&host).len(), 5, "{name}: {:?}", held(&host));
        runs.flags.hold = false;
        runs.flags.version = None;
        assert!(runs.plan().unwrap().is_empty(), "{name}: without the option nothing is let go");
        runs.upgrade().unwrap();
        let version = host.state().packages["docker-ce"].version.clone();
        assert!(version.contains("29.7.2"), "{name}: {version}");
        assert_eq!(held(&host).len(), 5, "{name}: {:?}", held(&host));
        assert!(name == APT || held(&host).iter().any(|line| line.contains(&version)), "{:?}", held(&host));
        let undone = runs.uninstall(everything()).unwrap();
        assert_eq!((undone.left, undone.kept), (0, 0), "{name}");
        assert_eq!(differences(&before, &host.state()), NOTHING, "{name}");
    }
}

#[test]
fn what_somebody_else_holds_is_named_and_not_moved() {
    for (name, hint) in [(APT, "apt-mark unhold docker-ce"), (DNF, "dnf versionlock delete docker-ce")] {
        let host = fresh(name);
        let runs = Runs::on(&host).version("28");
        runs.install().unwrap();
        match name {
            APT => host.be(&["apt-mark", "hold", "docker-ce"]),
            _ => host.put(LIST, format!("docker-ce-{}.*\n", host.state().packages["docker-ce"].version)),
        }
        let theirs = held(&host);
        let mut upgrade = Runs::on(&host);
        let error = upgrade.upgrade().unwrap_err();
        assert_eq!(error.exit, Exit::Refused, "{name}");
        assert!(error.to_string().contains("docker-ce") && error.next().unwrap().contains(hint), "{error}");
        // Held by others it is met, and not ours to let go.
        upgrade.flags.hold = true;
        upgrade.flags.version = Some("28".into());
        upgrade.install().unwrap();
        assert_eq!(held(&host).len(), 5, "{name}");
        upgrade.uninstall(How::default()).unwrap();
        assert_eq!(held(&host), theirs, "{name}");
    }
}

#[test]
fn an_engine_that_was_there_and_held_by_us_goes_back_to_its_version() {
    for name in [APT, DNF] {
        let host = fresh(name);
        Runs::on(&host).version("28").install().unwrap();
        let before = host.state();
        let mut runs = Runs::on(&host);
        runs.flags.hold = true;
        runs.install().unwrap();
        runs.upgrade().unwrap();
        // The data of before is kept.
        assert_eq!(runs.uninstall(How::default()).unwrap().left, 0, "{name}");
        assert_eq!(host.state().packages, before.packages, "{name}");
    }
}
