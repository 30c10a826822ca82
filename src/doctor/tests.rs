//! The table and its page, and each check on a host where it speaks and on one where it is silent.

use super::{checks, document, explain};
use std::path::Path;

#[test]
fn the_page_of_the_checks_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, document()).expect("writes docs/checks.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document(), "docs/checks.md is not the table: UPDATE=1 cargo test doctor");
}

#[test]
fn ids_are_unique_and_follow_from_ids_that_exist() {
    let ids: Vec<&str> = checks().map(|check| check.id).collect();
    for check in checks() {
        assert_eq!(ids.iter().filter(|id| **id == check.id).count(), 1, "{}", check.id);
        for above in check.depends_on {
            assert!(ids.contains(above), "{} follows from `{above}`, which is no check", check.id);
        }
    }
}

#[test]
fn every_text_that_is_known_is_explained_by_its_own_cause() {
    for cause in explain::causes() {
        for way in &cause.text {
            let text = way.replace("...", " something between ");
            let found = explain::first(&text).expect("a known text");
            assert_eq!(found.id, cause.id, "{text}");
        }
    }
}
