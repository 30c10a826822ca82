//! What is told of a bundle.

use crate::bundle::{Checked, Manifest, Origin};
use crate::event::Event;
use crate::trust::Index;
use crate::trust::repomd::Signed;
use std::path::Path;

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn packages(manifest: &Manifest) -> usize {
    let is_one = |path: &str| path.ends_with(".deb") || path.ends_with(".rpm");
    manifest.files.iter().filter(|entry| is_one(&entry.path)).count()
}

pub fn made(file: &Path, manifest: &Manifest) -> String {
    let size = std::fs::metadata(file).map(|meta| meta.len()).unwrap_or_default();
    format!("`{}`: {} packages, {}", file.display(), packages(manifest), megabytes(size))
}

pub fn is_whole(checked: &Checked) -> String {
    format!(
        "the bundle of {} is whole: {} packages, each signed for; no connection is made",
        checked.manifest.made, checked.packages
    )
}

/// The same as events: a check an index, and one of all packages.
pub fn checks(checked: &Checked) -> Vec<Event> {
    let check = |id: String, text: String| Event::Check { id, ok: true, text };
    let index = |origin: &Origin| check(format!("index {}", place(origin)), signer(origin));
    let mut checks: Vec<Event> = checked.origins.iter().map(index).collect();
    checks.push(check(
        "packages".into(),
        format!("{}, each signed for, by itself or by its index", checked.packages),
    ));
    checks
}

fn signer(origin: &Origin) -> String {
    let what = match &origin.index {
        Index::Rpm(index) if index.signed == Signed::Packages => "packages signed by",
        _ => "signed by",
    };
    format!("{what} {}", origin.index.pin().fingerprints.join(" or "))
}

fn place(origin: &Origin) -> String {
    match &origin.index {
        Index::Apt(index) => {
            let words = [origin.directory.as_str(), &index.suite, &index.component];
            words.join(" ").trim_end().to_owned()
        }
        Index::Rpm(_) => origin.directory.clone(),
    }
}

/// The answer of `bundle verify`.
pub fn shown(checked: &Checked, title: &str) -> String {
    let manifest = &checked.manifest;
    let mut text = format!(
        "for {title}, {}; made {} by rprov {}\n",
        manifest.architecture, manifest.made, manifest.rprov
    );
    for origin in &checked.origins {
        text.push_str(&format!("  {:<40} {}\n", place(origin), signer(origin)));
    }
    text.push_str(&format!("{} packages, each signed for, by itself or by its index\n", checked.packages));
    text.push_str("asked for, by its own word:\n");
    for package in &manifest.packages {
        text.push_str(&format!("  {package}\n"));
    }
    for image in manifest.images() {
        text.push_str(&format!("{image}: whole, and signed by nobody\n"));
    }
    text
}
