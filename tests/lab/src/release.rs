//! Writes the Release file of an apt suite, with any date and any fault, and signs it.

use crate::keys::{Key, Signer};
use crate::{cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a Release file says of itself.
pub struct Release<'a> {
    pub origin: &'a str,
    pub label: &'a str,
    /// None where it is flat: one index, beside the Release file.
    pub suite: &'a str,
    pub components: &'a str,
    /// Seconds since 1970.
    pub date: i64,
    pub valid_until: Option<i64>,
}

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(|d| d.as_secs() as i64).unwrap_or_default()
}

/// Writes `Packages` of a component, and the compressed ones beside it.
pub fn packages(dir: &Path, text: &str) -> Result<()> {
    sh::write(&dir.join("Packages"), text)?;
    sh::run_in(dir, &["gzip", "-9nkf", "Packages"])?;
    sh::run_in(dir, &["bzip2", "-9kf", "Packages"]).map(drop)
}

/// Writes Release, InRelease and Release.gpg of the suite in `dir`, over the indexes that lie there.
pub fn write(dir: &Path, release: &Release, key: Key, signer: &Signer) -> Result<()> {
    write_by(dir, release, &[key], signer)
}

/// The same, signed by several.
pub fn write_by(dir: &Path, release: &Release, keys: &[Key], signer: &Signer) -> Result<()> {
    let mut text = format!("Origin: {}\nLabel: {}\n", release.origin, release.label);
    if !release.suite.is_empty() {
        text += &format!("Suite: {0}\nCodename: {0}\n", release.suite);
    }
    text += &format!("Date: {}\n", date(release.date)?);
    if let Some(until) = release.valid_until {
        text += &format!("Valid-Until: {}\n", date(until)?);
    }
    text += "Architectures: amd64\n";
    if !release.components.is_empty() {
        text += &format!("Components: {}\n", release.components);
    }
    text += "SHA256:\n";
    let flat = release.components.is_empty().then(String::new);
    let components = release.components.split_whitespace().map(|name| format!("{name}/binary-amd64/"));
    for component in components.chain(flat) {
        for name in ["Packages", "Packages.gz", "Packages.bz2"] {
            let path = format!("{component}{name}");
            let bytes = fs::read(dir.join(&path)).with_context(|| format!("reading {path}"))?;
            text += &format!(" {} {:>8} {path}\n", cache::sha256(&bytes), bytes.len());
        }
    }
    let path = dir.join("Release");
    sh::write(&path, text)?;
    signer.sign(keys, &path)
}

fn date(seconds: i64) -> Result<String> {
    let said = sh::run(&["date", "-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S UTC"])?;
    Ok(said.trim().to_string())
}
