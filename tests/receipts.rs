//! Receipts of earlier builds stay readable and undoable: each is made again on the host it was written on, and undone.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod model;

use model::{Model, Runs, differences, fixture, mirror_key};
use rprov::event::Event;
use rprov::receipt::{self, Entry, Past};
use rprov::resources::consequence::Consequence;
use rprov::resources::image::{Image, Loaded};
use rprov::resources::{AnyChange, How, Resource, want};
use rprov::steps::Step;
use rprov::undo;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const NOBLE: &str = "ubuntu-24.04";
const NOTHING: Vec<String> = Vec::new();
const WHOLE: How = How { purge_data: true, force: false };

/// A receipt, the host that it was written on, and how much of its last change the host may show.
struct Case {
    name: &'static str,
    host: fn() -> Model,
    /// Whether the run ended between a `Will` and its `Did`.
    interrupted: bool,
}

const CASES: [Case; 12] = [
    Case { name: "install", host: || Model::fresh(NOBLE), interrupted: false },
    Case { name: "debian-11", host: || Model::fresh("debian-11"), interrupted: false },
    Case { name: "rhel-9", host: || Model::fresh("rhel-9"), interrupted: false },
    Case { name: "interrupted", host: || Model::fresh(NOBLE), interrupted: true },
    Case { name: "torn", host: || Model::fresh(NOBLE), interrupted: true },
    Case { name: "old-engine", host: old_engine, interrupted: false },
    Case { name: "adopted", host: by_hand, interrupted: false },
    Case { name: "paid", host: by_hand, interrupted: false },
    Case { name: "owed", host: by_hand, interrupted: false },
    Case { name: "held", host: by_hand, interrupted: false },
    Case { name: "image", host: with_archive, interrupted: false },
    Case { name: "images", host: with_images, interrupted: false },
];

fn old_engine() -> Model {
    let host = Model::fresh(NOBLE);
    host.put("/etc/docker/daemon.json", "{\n\t\"mtu\": 1400\n}\n");
    host.be(&["groupadd", "--system", "docker"]);
    host.be(&["apt-get", "install", "docker.io"]);
    host
}

/// Docker's own engine, installed by somebody who followed the documentation.
fn by_hand() -> Model {
    let host = Model::fresh(NOBLE);
    host.put("/usr/share/keyrings/docker.asc", mirror_key());
    let line = "deb [signed-by=/usr/share/keyrings/docker.asc] https://download.docker.com/linux/ubuntu noble stable\n";
    host.put("/etc/apt/sources.list.d/mine.list", line);
    host.be(&["apt-get", "update"]);
    host.be(&["groupadd", "--system", "docker"]);
    host.be(&["apt-get", "install", "docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin"]);
    host.put_directory("/etc/docker");
    host
}

/// With the archive of an image, for a registry of its own.
fn with_archive() -> Model {
    let host = Model::fresh(NOBLE);
    host.put("/srv/registry.tar", "registry:3");
    host
}

/// With an archive of three images, and one of their names in the engine.
fn with_images() -> Model {
    let host = by_hand();
    host.put("/srv/images.tar", "a:1\nb:2\nc:3\n");
    host.put("/opt/image-b:2", "another image");
    host
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receipts").join(format!("v1-{name}.jsonl"))
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(format!("receipts/v1-{name}.jsonl"))).unwrap()
}

fn past(text: &str) -> Past {
    Past { path: "old".into(), verb: "install".into(), entries: receipt::parse(text).unwrap() }
}

/// What a build of today writes.
fn written_today(case: &Case) -> String {
    let host = (case.host)();
    let mut runs = Runs::on(&host).users(&["alice"]);
    if matches!(case.name, "paid" | "owed" | "old-engine") {
        runs.config.daemon.0.insert("bip".into(), json!("10.9.0.1/16"));
        runs.config.daemon.0.insert("log-opts".into(), json!({ "max-size": "5m" }));
    }
    runs.flags.hold = case.name == "held";
    match case.name {
        "image" => {
            let image = Image {
                reference: "registry:3".into(),
                more: Vec::new(),
                archive: "/srv/registry.tar".into(),
            };
            let step = Step::new("the local registry", vec![want(image, Loaded::Present)]);
            runs.install_and(vec![step]).unwrap();
        }
        "images" => {
            let more = vec!["b:2".into(), "c:3".into()];
            let image = Image { reference: "a:1".into(), more, archive: "/srv/images.tar".into() };
            runs.install_and(vec![Step::new("the images", vec![want(image, Loaded::Present)])]).unwrap();
        }
        _ => runs.install().unwrap(),
    }
    let whole = std::fs::read_to_string(&runs.receipts()[0].path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let upto = |words: [&str; 2]| {
        let last = lines.iter().rposition(|line| words.iter().all(|word| line.contains(word))).unwrap();
        lines[..=last].concat()
    };
    match case.name {
        "interrupted" => upto(["\"entry\":\"will\"", "\"kind\":\"packages\""]),
        "torn" => {
            let rest = upto(["\"entry\":\"did\"", "\"kind\":\"packages\""]);
            rest[..rest.len() - 1000].to_owned()
        }
        "owed" => upto(["\"entry\":\"did\"", "\"kind\":\"member\""]),
        _ => whole,
    }
}

#[test]
fn receipts_that_are_not_there_yet_are_written_where_somebody_asks_for_it() {
    for case in &CASES {
        if std::env::var_os("NEW_RECEIPTS").is_some() && !path(case.name).exists() {
            std::fs::write(path(case.name), written_today(case)).unwrap();
        }
        assert!(path(case.name).exists(), "NEW_RECEIPTS=1 writes {}", path(case.name).display());
    }
}

/// The host as the run of a receipt left it; `but_last`: it was killed before it did what it had said last.
fn again(host: &Model, past: &Past, but_last: bool) {
    let changes = past.changes();
    let count = changes.len() - usize::from(but_last);
    for (_, change) in changes.into_iter().take(count) {
        if let AnyChange::Repository(change) = &change {
            change.resource.set(&change.after, host).unwrap();
            host.be(&["apt-get", "update"]);
        } else {
            change.make(host).unwrap();
        }
    }
}

#[test]
fn every_old_receipt_is_undone_and_the_host_is_as_before() {
    for case in &CASES {
        for but_last in [false, true].into_iter().take(1 + usize::from(case.interrupted)) {
            let host = (case.host)();
            let before = host.state();
            let past = past(&text(case.name));
            assert!(!past.changes().is_empty(), "{}", case.name);
            again(&host, &past, but_last);
            assert_ne!(before, host.state(), "{}", case.name);

            let ways = undo::simulate(std::slice::from_ref(&past), &host, WHOLE).unwrap();
            let foreseen: Vec<Event> = ways.iter().map(|way| way.event(true)).collect();
            let runs = Runs::on(&host);
            let undone = undo::undo(&[past], &mut runs.begin("uninstall"), &host, WHOLE).unwrap();
            assert_eq!(undone.left, 0, "{}", case.name);
            only_less_is_done(case.name, &foreseen, &host.undone());
            receipt::OURS.iter().for_each(|path| host.take_away(&format!("/{path}")));
            assert_eq!(differences(&before, &host.state()), NOTHING, "{}", case.name);
        }
    }
}

/// Undo does what was foreseen, or less: what the packages take with them by themselves is gone when it is looked at.
fn only_less_is_done(case: &str, foreseen: &[Event], done: &[Event]) {
    assert_eq!(foreseen.len(), done.len(), "{case}");
    for (foreseen, done) in foreseen.iter().zip(done) {
        let answer = |event: &Event| match event {
            Event::Undone { answer, .. } => answer.clone(),
            other => panic!("{other:?}"),
        };
        let by_itself = answer(foreseen) == "restored" && answer(done) == "already as before";
        assert!(by_itself || foreseen == done, "{case}: foreseen {foreseen:?}, done {done:?}");
    }
}

#[test]
fn every_old_receipt_is_undone_over_a_host_that_shows_nothing_of_it() {
    for case in &CASES {
        let host = (case.host)();
        // Data that was there before is nobody's to take.
        let before = host.state();
        let runs = Runs::on(&host);
        let undone =
            undo::undo(&[past(&text(case.name))], &mut runs.begin("uninstall"), &host, WHOLE).unwrap();
        receipt::OURS.iter().for_each(|path| host.take_away(&format!("/{path}")));
        assert_eq!((undone.restored, undone.left), (0, 0), "{}", case.name);
        assert_eq!(differences(&before, &host.state()), NOTHING, "{}", case.name);
    }
}

#[test]
fn a_receipt_with_fields_of_a_later_build_says_the_same() {
    for case in &CASES {
        let whole = text(case.name);
        let whole = &whole[..=whole.rfind('\n').unwrap()];
        let more = |line: &str| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            add_fields(&mut value, "");
            format!("{value}\n")
        };
        let later: String = whole.lines().map(more).collect();
        assert!(later.contains("of-a-later-build"));
        assert_eq!(past(whole).entries, past(&later).entries, "{}", case.name);
    }
}

/// A field more in every object that is a form, not a map from names and not the content of a file.
fn add_fields(value: &mut Value, name: &str) {
    let Value::Object(object) = value else { return };
    let packages = object.get("kind").is_some_and(|kind| kind == "packages" || kind == "hold");
    for (name, inner) in object.iter_mut() {
        if packages && matches!(name.as_str(), "before" | "after") {
            inner.as_object_mut().unwrap().values_mut().for_each(|package| add_fields(package, "package"));
        } else {
            add_fields(inner, name);
        }
    }
    if !matches!(name, "bytes" | "files") {
        object.insert("of-a-later-build".into(), json!({ "is": true }));
    }
}

#[test]
fn what_is_written_today_is_read_as_it_was_written() {
    for case in &CASES {
        for line in text(case.name).lines().filter(|line| line.ends_with('}') && !line.is_empty()) {
            let Ok(entry) = serde_json::from_str::<Entry>(line) else {
                assert_eq!(case.name, "torn", "only a torn line is no entry: {line}");
                continue;
            };
            let again: Value = serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap();
            let was: Value = serde_json::from_str(line).unwrap();
            assert_eq!(again, was, "{}", case.name);
        }
    }
}

#[test]
fn a_torn_last_line_counts_as_not_written() {
    let text = text("torn");
    assert!(!text.ends_with('\n'));
    assert_eq!(past(&text).entries, past(&text[..=text.rfind('\n').unwrap()]).entries);
    let middle = text.replacen("{\"entry\":\"will\"", "{\"entry\":", 1);
    let error = receipt::parse(&middle).unwrap_err();
    assert!(error.to_string().contains("line 2"), "a line that is torn in the middle is a mistake: {error}");
}

#[test]
fn a_restart_that_was_owed_is_still_owed_and_one_that_was_paid_is_not() {
    let owed = |name: &str| receipt::owed(&[past(&text(name))]);
    let restart = Consequence::RestartUnit { unit: "docker.service".into() };
    let then: Vec<Consequence> = owed("owed").into_iter().map(|(then, _)| then).collect();
    assert_eq!(then, [restart]);
    for name in ["paid", "install", "old-engine"] {
        assert_eq!(owed(name), [], "{name}");
    }
}

#[test]
fn a_debt_of_an_old_receipt_is_paid_once_by_the_next_run() {
    let host = by_hand();
    let old = past(&text("owed"));
    again(&host, &old, false);
    host.commands();
    let runs = Runs::on(&host);
    // The unit started long ago, as far as the receipt can tell: before its debt.
    host.forget_starts();
    for (run, restarts) in [("the next", 1), ("the one after", 0)] {
        let mut earlier = vec![old.clone()];
        earlier.extend(runs.receipts());
        rprov::apply::pay(&earlier, &mut runs.begin("install"), &host).unwrap();
        let restarted = host.commands().iter().filter(|c| *c == "systemctl restart docker.service").count();
        assert_eq!(restarted, restarts, "{run}");
    }
}
