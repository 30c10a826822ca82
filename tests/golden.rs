//! Facts of a host become its plan: files that people can read. `UPDATE=1 cargo test --test golden` writes them anew.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod model;

use model::{Model, RELEASES, Runs, differences};
use rprov::facts::Facts;
use rprov::plan::Plan;
use rprov::profile::Config;
use rprov::receipt::joined;
use rprov::resources::How;
use rprov::ui::{self, Color, Manner};
use std::fs;
use std::path::{Path, PathBuf};

fn file(name: &str, of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(of).join(name)
}

/// As `rprov plan` shows it.
fn text(plan: &Plan) -> String {
    if plan.is_empty() {
        return "nothing to change\n".to_owned();
    }
    let manner = Manner { color: Color::Never, ..Manner::default() };
    format!("{}\n", ui::plan(&plan.shown(), manner))
}

fn is_golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, text).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap_or_default();
    let path = path.display();
    assert!(text == golden, "{path} is another one; UPDATE=1 writes it\n--- is\n{text}--- was\n{golden}");
}

#[test]
fn a_fresh_host_of_every_release_is_planned_as_its_golden_file_says() {
    for release in RELEASES {
        let host = Model::fresh(release.name);
        let before = host.state();
        let plan = Runs::on(&host).users(&["alice"]).plan().unwrap();
        is_golden(&file("fresh.plan", release.name), &text(&plan));
        assert_eq!(differences(&before, &host.state()), Vec::<String>::new(), "a plan changes nothing");
        assert_eq!(host.commands(), Vec::<String>::new(), "a plan runs nothing");
    }
}

/// What a site writes: a mirror, users, a hold, and a daemon of its own.
const SITE: &str = r#"
users = ["alice"]
hold = true

[daemon]
data-root = "/srv/docker"
hosts = ["tcp://127.0.0.1:2375"]
registry-mirrors = ["https://registry.example"]
insecure-registries = ["registry.example:5000"]
live-restore = true
"#;

#[test]
fn the_configuration_of_a_site_is_planned_as_its_golden_file_says() {
    for name in ["ubuntu-24.04", "rhel-9"] {
        let host = Model::fresh(name);
        if name == "rhel-9" {
            host.put_directory("/etc/dnf/plugins");
            let list = "/etc/dnf/plugins/versionlock.list";
            host.put(
                "/etc/dnf/plugins/versionlock.conf",
                format!("[main]\nenabled = 1\nlocklist = {list}\n"),
            );
            host.put(list, "");
        }
        let mut runs = Runs::on(&host);
        let site: Config = toml::from_str(SITE).unwrap();
        runs.config = Config { source: runs.config.source.clone(), ..site };
        is_golden(&file("site.plan", name), &text(&runs.plan().unwrap()));
        let before = host.state();
        runs.install().unwrap();
        let plan = runs.plan().unwrap();
        assert!(plan.is_empty(), "{name}: {}", text(&plan));
        let undone = runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
        assert_eq!(undone.left, 0, "{name}");
        assert_eq!(differences(&before, &host.state()), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn an_installed_host_of_every_release_needs_nothing_and_asks_the_network_nothing() {
    for release in RELEASES {
        let host = Model::fresh(release.name);
        let runs = Runs::on(&host).users(&["alice"]);
        runs.install().unwrap();
        host.fetched.take();
        let plan = runs.plan().unwrap();
        is_golden(&file("installed.plan", release.name), &text(&plan));
        assert!(plan.is_empty(), "{}", release.name);
        assert_eq!(host.fetched.take(), Vec::<String>::new(), "{}", release.name);
        for (step, change) in joined(&runs.receipts()) {
            assert_eq!(change.drift(&host).unwrap(), None, "{}: {step} has not drifted", release.name);
        }
    }
}

#[test]
fn a_fresh_host_of_every_release_is_as_before_after_install_and_uninstall() {
    for release in RELEASES {
        let host = Model::fresh(release.name);
        let before = host.state();
        let runs = Runs::on(&host).users(&["alice"]);
        runs.install().unwrap();
        let undone = runs.uninstall(How { purge_data: true, ..How::default() }).unwrap();
        assert_eq!(undone.left, 0, "{}", release.name);
        assert_eq!(differences(&before, &host.state()), Vec::<String>::new(), "{}", release.name);
    }
}

#[test]
fn the_install_makes_just_one_refresh_of_the_lists_and_one_transaction_and_starts_the_engine_once() {
    for release in RELEASES {
        let host = Model::fresh(release.name);
        Runs::on(&host).users(&["alice"]).install().unwrap();
        let commands = host.commands();
        let count = |word: &str| commands.iter().filter(|c| c.contains(word)).count();
        // dnf fetches what a repository has when it is asked for the first time, apart from the host's own.
        assert_eq!(count("apt-get update"), usize::from(!release.is_dnf()), "{commands:#?}");
        let fetches = |c: &&String| c.contains("--download-only") || c.contains("--downloadonly");
        let (fetches, transactions): (Vec<&String>, Vec<&String>) =
            commands.iter().filter(|c| c.contains(" install ")).partition(fetches);
        assert_eq!((fetches.len(), transactions.len()), (1, 1), "{commands:#?}");
        assert_eq!(count("restart"), 0, "the package starts it: {commands:#?}");
    }
}

#[test]
fn every_facts_file_is_as_rprov_facts_writes_it() {
    for release in RELEASES {
        let text = fs::read_to_string(file("facts.json", release.name)).unwrap();
        let facts: Facts = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{}\n", serde_json::to_string_pretty(&facts).unwrap()), text, "{}", release.name);
    }
}
