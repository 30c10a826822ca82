//! Checks a bundle from the pinned keys down: each index by its signature, each package by the index, and nothing else is in it.

use super::reader::walk;
use super::{Entry, IMAGES, KEYRING, Listed, Manifest, Origin, hinted, refused};
use crate::error::{Error, OrFail, Result};
use crate::host::Look;
use crate::trust::apt::{Record, index_at_hand};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// The largest index that is read into memory, Debian's `main` has some 50 MB; and of all together.
const INDEX_LIMIT: u64 = 256 << 20;
const INDEXES_LIMIT: u64 = 1 << 30;
/// The largest keyring.
const KEYRING_LIMIT: u64 = 1 << 20;

/// A bundle that is what it says it is.
#[derive(Clone, Debug)]
pub struct Checked {
    pub manifest: Manifest,
    /// The indexes that are in it, each verified.
    pub origins: Vec<Origin>,
    /// How many packages were signed for, by an index.
    pub packages: usize,
}

/// Reads the whole of it and writes nothing. `origins` says, for a manifest and the keyring that came along, which
/// indexes may be in it and who has to have signed them.
///
/// # Errors
/// Whatever is not what somebody pinned has signed: refused, by its name.
pub fn check(
    file: &Path,
    origins: impl FnOnce(&Manifest, Option<&[u8]>) -> Result<Vec<Origin>>,
    host: &dyn Look,
) -> Result<Checked> {
    hinted(look(file, origins, host))
}

fn look(
    file: &Path,
    origins: impl FnOnce(&Manifest, Option<&[u8]>) -> Result<Vec<Origin>>,
    host: &dyn Look,
) -> Result<Checked> {
    let mut small: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut left = INDEXES_LIMIT;
    let manifest = walk(file, host, &mut |manifest, entry, bytes| {
        let limit = if entry.path == KEYRING { KEYRING_LIMIT } else { INDEX_LIMIT.min(left) };
        if is_index(manifest, &entry.path) || entry.path == KEYRING {
            let mut kept = Vec::new();
            let cannot = || format!("cannot read `{}`", entry.path);
            if entry.size > limit {
                return Err(refused(file).because(format!("`{}` is larger than {limit} bytes", entry.path)));
            }
            bytes.take(limit).read_to_end(&mut kept).or_fail(cannot)?;
            left = left.saturating_sub(entry.size);
            small.insert(entry.path.clone(), kept);
        }
        Ok(())
    })?;
    let known = origins(&manifest, small.get(KEYRING).map(Vec::as_slice))?;
    let because = |error: Error| error.because(format!("in the bundle `{}`", file.display()));
    let mut accounted: BTreeSet<String> = BTreeSet::from([KEYRING.to_owned()]);
    let mut signed: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut found = Vec::new();
    for listed in &manifest.indexes {
        let origin = known.iter().find(|origin| origin.is(listed)).ok_or_else(|| unknown(file, listed))?;
        let paths = origin.paths();
        let [in_release, packages] = paths.clone().map(|path| {
            small.get(&path).cloned().ok_or_else(|| refused(file).because(format!("it has no `{path}`")))
        });
        let name = format!("`{}`", paths[0]);
        let index = index_at_hand(&origin.index, in_release?, packages?, host.now())
            .map_err(|error| because(error.because(format!("that is {name}"))))?;
        for record in index.records {
            let path = format!("{}/{}", origin.directory, record.filename.trim_start_matches("./"));
            signed.entry(path).or_default().push(record);
        }
        accounted.extend(paths);
        found.push(origin.clone());
    }
    let mut packages = 0;
    for entry in manifest.files.iter().filter(|entry| !accounted.contains(&entry.path)) {
        if entry.path.split('/').next() == Some(IMAGES) {
            continue;
        }
        is_signed(entry, signed.get(&entry.path))
            .map_err(|why| why.into_iter().fold(refused(file), |error, reason| error.because(reason)))?;
        packages += 1;
    }
    Ok(Checked { manifest, origins: found, packages })
}

/// By the manifest alone: what of it is to be kept.
fn is_index(manifest: &Manifest, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let below =
        |listed: &Listed| path.strip_prefix(&listed.directory).is_some_and(|rest| rest.starts_with('/'));
    matches!(name, "InRelease" | "Packages") && manifest.indexes.iter().any(below)
}

fn unknown(file: &Path, listed: &Listed) -> Error {
    refused(file).because(format!(
        "`{}` {} {} is no source of the profile: nobody is pinned for it",
        listed.directory, listed.suite, listed.component
    ))
}

/// The very file that an index lists at this path.
fn is_signed(entry: &Entry, records: Option<&Vec<Record>>) -> std::result::Result<(), Vec<String>> {
    let Some(records) = records else {
        return Err(vec![format!("`{}` is listed in no signed index", entry.path)]);
    };
    match records.iter().find(|record| record.sha256 == entry.sha256 && record.size == entry.size) {
        Some(_) => Ok(()),
        None => Err(vec![
            format!("`{}` is not what was signed", entry.path),
            format!("it has {} bytes with the SHA-256 {}", entry.size, entry.sha256),
            format!("{} bytes with {} were signed", records[0].size, records[0].sha256),
        ]),
    }
}
