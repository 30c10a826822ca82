//! The README's table of distributions holds: each has a profile and a golden plan, and what it calls booted is
//! booted.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, unused_imports)]
mod model;

use model::RELEASES;
use rprov::facts::Facts;
use rprov::profile::{Library, choose};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

struct Row {
    title: String,
    profile: String,
    end_of_life: String,
    golden: String,
    tested: String,
}

fn at(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn table() -> Vec<Row> {
    let text = fs::read_to_string(at("README.md")).unwrap();
    let section = text.split("\n## Distributions\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    lines
        .map(|line| {
            let cells: Vec<String> =
                line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
            let [title, profile, end_of_life, golden, tested] = cells.try_into().unwrap();
            let plain = |cell: String| cell.trim_matches('`').to_owned();
            Row { title, profile: plain(profile), end_of_life, golden: plain(golden), tested }
        })
        .collect()
}

/// Whether a scenario of the lab is on the identity of this name.
fn is_booted(name: &str) -> bool {
    let identities = fs::read_to_string(at("tests/lab/src/identity.rs")).unwrap();
    let of_apt = format!(" => \"{name}\",");
    // Those of the dnf family are told by a constant of their own.
    let dnf = fs::read_to_string(at("tests/lab/src/dnf_identity.rs")).unwrap();
    let constant =
        dnf.split("\nconst ").find(|text| text.contains(&format!("name: \"{name}\","))).unwrap_or_default();
    let of_dnf = format!(" => Some(&{}),", constant.split(':').next().unwrap_or_default());
    let mut lines = identities.lines().chain(dnf.lines()).map(str::trim);
    let named = lines.find_map(|line| line.strip_suffix(&of_apt).or_else(|| line.strip_suffix(&of_dnf)));
    let identity = named.unwrap_or_else(|| panic!("the lab has no identity `{name}`"));
    // All with dnf are one list there.
    let listed = identities.split("DNF: [").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
    let scenarios = fs::read_dir(at("tests/lab/src/scenarios")).unwrap().flatten();
    scenarios.map(|file| fs::read_to_string(file.path()).unwrap()).any(|text| {
        let lists = text.split("on: &[").skip(1).map(|rest| rest.split(']').next().unwrap());
        let of_dnf = text.contains("on: Identity::DNF_SUPPORTED,").then_some(listed);
        lists.chain(of_dnf).flat_map(|list| list.split(',')).any(|one| one.trim() == identity)
    })
}

#[test]
fn every_distribution_of_the_table_has_a_profile_and_a_golden_plan_and_is_booted_where_it_says_so() {
    let library = Library::shipped().unwrap();
    for Row { title, profile, end_of_life, golden, tested } in table() {
        let directory = at("tests/golden").join(&golden);
        let facts = fs::read_to_string(directory.join("facts.json"))
            .unwrap_or_else(|e| panic!("{title} has no golden facts: {e}"));
        let facts: Facts = serde_json::from_str(&facts).unwrap();
        let chosen = choose(&facts, &library).unwrap();
        assert_eq!((chosen.name, chosen.end_of_life.to_string()), (profile, end_of_life), "{title}");
        for plan in ["fresh.plan", "installed.plan"] {
            assert!(directory.join(plan).is_file(), "{title} has no {plan}");
        }
        match tested.strip_prefix("booted as `").and_then(|rest| rest.split('`').next()) {
            Some(name) => assert!(is_booted(name), "no scenario is on `{name}`"),
            None => assert_eq!(tested, "golden plan only", "{title}"),
        }
    }
}

#[test]
fn the_table_leaves_nothing_out() {
    let rows = table();
    let titles: BTreeSet<&str> = rows.iter().map(|row| row.title.as_str()).collect();
    let library = Library::shipped().unwrap();
    for listed in library.list() {
        let derivatives = library.based_on(&listed.profile).map(|(_, release)| &release.title);
        for title in derivatives.chain([&listed.profile.title]) {
            assert!(titles.contains(title.as_str()), "{title} is not in the README's table");
        }
    }
    let goldens: BTreeSet<String> = rows.into_iter().map(|row| row.golden).collect();
    let planned: BTreeSet<String> = RELEASES.iter().map(|release| release.name.to_owned()).collect();
    let there = fs::read_dir(at("tests/golden")).unwrap().flatten();
    let there: BTreeSet<String> = there.map(|e| e.file_name().into_string().unwrap()).collect();
    assert_eq!(goldens, planned, "the table, and what the golden plans are made for");
    assert_eq!(goldens, there, "the table, and tests/golden");
}
