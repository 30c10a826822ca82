//! What is told of a bundle.

use crate::bundle::{Checked, Manifest};
use std::path::Path;

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn packages(manifest: &Manifest) -> usize {
    manifest.files.iter().filter(|entry| entry.path.ends_with(".deb")).count()
}

pub fn made(file: &Path, manifest: &Manifest) -> String {
    let size = std::fs::metadata(file).map(|meta| meta.len()).unwrap_or_default();
    format!("`{}`: {} packages, {}", file.display(), packages(manifest), megabytes(size))
}

pub fn is_whole(checked: &Checked) -> String {
    format!(
        "the bundle of {} is whole: {} packages in {} signed indexes; no connection is made",
        checked.manifest.made,
        checked.packages,
        checked.origins.len()
    )
}

/// The answer of `bundle verify`.
pub fn shown(checked: &Checked, title: &str) -> String {
    let manifest = &checked.manifest;
    let mut text = format!(
        "for {title}, {}; made {} by rprov {}\n",
        manifest.architecture, manifest.made, manifest.rprov
    );
    for origin in &checked.origins {
        let index = &origin.index;
        let place = [origin.directory.as_str(), &index.suite, &index.component].join(" ");
        text.push_str(&format!(
            "  {:<40} signed by {}\n",
            place.trim_end(),
            index.pin.fingerprints.join(" or ")
        ));
    }
    text.push_str(&format!("{} packages, each as a signed index lists it:\n", checked.packages));
    for package in &manifest.packages {
        text.push_str(&format!("  {package}\n"));
    }
    let along = checked.packages.saturating_sub(manifest.packages.len());
    text.push_str(&format!("  and {along} that come along\n"));
    for image in manifest.images() {
        text.push_str(&format!("{image}: whole, and signed by nobody\n"));
    }
    text
}
