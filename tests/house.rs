//! The allowed arrows between the rooms of `src/`: all point down.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, from the roof down. A room may use the rooms on the floors below it, and none beside it.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["ui", "smoke"],
    &["profile", "apply", "undo", "doctor", "render", "bundle"],
    &["lockfile", "plan"],
    &["steps", "receipt"],
    &["facts", "resources"],
    &["trust", "daemon_config", "addresses"],
    &["host"],
    &["json"],
    &["version", "error", "event", "clock"],
];

fn floor_of(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&room))
        .unwrap_or_else(|| panic!("`{room}` has no floor: give it one in tests/house.rs"))
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// `crate::ROOM` in code, tests left out.
fn rooms_used(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String =
        code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(inner) => inner.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let room: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !room.is_empty() {
                rooms.push(room);
            }
        }
    }
    rooms
}

fn arrows() -> BTreeMap<(String, String), PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let mut arrows = BTreeMap::new();
    for file in files {
        let below = file.strip_prefix(&source).unwrap();
        let room = below.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if room == "lib" {
            continue;
        }
        for used in rooms_used(&fs::read_to_string(&file).unwrap()) {
            if used != room {
                arrows.insert((room.clone(), used), below.to_owned());
            }
        }
    }
    arrows
}

#[test]
fn every_arrow_points_down() {
    let mut wrong = Vec::new();
    for ((from, to), file) in arrows() {
        if floor_of(&from) >= floor_of(&to) {
            wrong.push(format!("{from} -> {to} in {}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point down:\n{}", wrong.join("\n"));
}

#[test]
fn undo_knows_neither_steps_nor_profiles() {
    for ((from, to), file) in arrows() {
        let never = (from == "undo" || from == "receipt") && (to == "steps" || to == "profile");
        assert!(!never, "{from} -> {to} in {}", file.display());
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} opens with no sentence", file.display());
    }
}
