//! Checks a bundle from the pinned keys down: each index and each package by whoever signs it, and nothing else is in it.

use super::reader::walk;
use super::{
    Entry, KEYRING, Listed, Manifest, Origin, Promised, apt, damaged, dnf, hinted, is_image, refused,
};
use crate::error::{Error, Result};
use crate::host::Touch;
use crate::resources::image::is_packed;
use crate::trust::Index;
use crate::trust::apt::{AptSource, index_at_hand};
use crate::trust::repomd::{RpmSource, Signed, rpm_index_at_hand};
use crate::trust::rpm_file::RpmFile;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// The largest index that is read into memory, Debian's `main` has some 50 MB; and of all together, with what they list
/// and the headers of rpm's packages.
const INDEX_LIMIT: u64 = 256 << 20;
const TOTAL_LIMIT: u64 = 1 << 30;
/// The largest keyring, and the largest repomd.xml.
const SMALL_LIMIT: u64 = 1 << 20;

/// A bundle that is what it says it is.
#[derive(Clone, Debug)]
pub struct Checked {
    pub manifest: Manifest,
    /// The indexes that are in it, each verified.
    pub origins: Vec<Origin>,
    /// How many packages were signed for.
    pub packages: usize,
    /// Those of rpm's: the directory of the source, and the whole name as dnf knows it.
    pub rpms: Vec<(String, String)>,
}

/// Reads the whole of it and writes nothing. `origins` says, for a manifest and the keyring that came along, which
/// indexes may be in it and who has to have signed what of them.
///
/// # Errors
/// Whatever is not what somebody pinned has signed: refused, by its name.
pub fn check(
    file: &Path,
    origins: impl FnOnce(&Manifest, Option<&[u8]>) -> Result<Vec<Origin>>,
    host: &dyn Touch,
) -> Result<Checked> {
    hinted(look(file, origins, host))
}

fn look(
    file: &Path,
    origins: impl FnOnce(&Manifest, Option<&[u8]>) -> Result<Vec<Origin>>,
    host: &dyn Touch,
) -> Result<Checked> {
    let (mut kept, now) = (Kept::default(), host.now());
    let manifest =
        walk(file, "checking", host, &mut |manifest, entry, bytes| kept.see(file, manifest, entry, bytes))?;
    let known = origins(&manifest, kept.small.get(KEYRING).map(Vec::as_slice))?;
    let mut indexes = BTreeSet::from([KEYRING.to_owned()]);
    let mut promised: BTreeMap<String, Vec<(&Origin, Promised)>> = BTreeMap::new();
    let mut checked =
        Checked { manifest: manifest.clone(), origins: Vec::new(), packages: 0, rpms: Vec::new() };
    for listed in &manifest.indexes {
        let origin =
            known.iter().find(|origin| origin.listed() == *listed).ok_or_else(|| unknown(file, listed))?;
        let index = match &origin.index {
            Index::Apt(source) => kept.apt_index(file, origin, source, now)?,
            Index::Rpm(source) => kept.rpm_index(file, &manifest, origin, source, now)?,
        };
        let listed: usize = index.promised.iter().map(Promised::takes).sum();
        kept.takes(file, &origin.directory, listed as u64, INDEX_LIMIT)?;
        indexes.extend(index.files);
        for package in index.promised {
            promised.entry(package.path.clone()).or_default().push((origin, package));
        }
        checked.origins.push(origin.clone());
    }
    let is_package = |entry: &&Entry| !indexes.contains(&entry.path) && !is_image(&entry.path);
    for entry in manifest.files.iter().filter(is_package) {
        let because = |reasons: Vec<String>| {
            reasons.into_iter().fold(refused(file), |error, reason| error.because(reason))
        };
        let (origin, package) = is_listed(entry, promised.get(&entry.path)).map_err(because)?;
        if let (Some(words), Index::Rpm(source)) = (&package.rpm, &origin.index) {
            kept.is_signed(&entry.path, words, source, now)
                .map_err(|error| untrusted(file, &entry.path, &error))?;
            let [name, version, architecture] = words;
            // Without an epoch dnf would take any.
            let epoch = if version.contains(':') { "" } else { "0:" };
            let name = format!("{name}-{epoch}{version}.{architecture}");
            checked.rpms.push((origin.directory.clone(), name));
        }
        checked.packages += 1;
    }
    let without = |origin: &&Origin| {
        let its_own = |(directory, _): &(String, String)| *directory == origin.directory;
        matches!(origin.index, Index::Rpm(_)) && !checked.rpms.iter().any(its_own)
    };
    // Whatever its list says would be shown to dnf.
    if let Some(origin) = checked.origins.iter().find(without) {
        return Err(
            refused(file).because(format!("it has an index of `{}` and no package of it", origin.directory))
        );
    }
    Ok(checked)
}

/// What of a bundle is kept as it streams by.
#[derive(Default)]
struct Kept {
    /// Indexes, and the keyring.
    small: BTreeMap<String, Vec<u8>>,
    rpms: BTreeMap<String, RpmFile>,
    bytes: u64,
}

/// An index that is right: its files in the bundle, and what it lists.
struct Verified {
    files: Vec<String>,
    promised: Vec<Promised>,
}

impl Kept {
    fn see(&mut self, file: &Path, manifest: &Manifest, entry: &Entry, bytes: &mut dyn Read) -> Result<()> {
        if entry.path == KEYRING || is_index(manifest, &entry.path) {
            let small = entry.path == KEYRING || is_repomd(&entry.path);
            let limit = if small { SMALL_LIMIT } else { INDEX_LIMIT };
            self.takes(file, &entry.path, entry.size, limit)?;
            let mut kept = Vec::new();
            bytes.read_to_end(&mut kept).map_err(|error| damaged(file, &error))?;
            self.small.insert(entry.path.clone(), kept);
        } else if is_image(&entry.path) {
            if is_packed(bytes).map_err(|error| damaged(file, &error))? {
                let because = format!("`{}` is packed, and nobody says what it unpacks to", entry.path);
                return Err(refused(file).because(because));
            }
        } else if entry.path.ends_with(".rpm") {
            let rpm = RpmFile::read(bytes).map_err(|error| untrusted(file, &entry.path, &error))?;
            self.takes(file, &entry.path, rpm.kept(), INDEX_LIMIT)?;
            self.rpms.insert(entry.path.clone(), rpm);
        }
        Ok(())
    }

    fn takes(&mut self, file: &Path, path: &str, bytes: u64, limit: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        match bytes > limit || self.bytes > TOTAL_LIMIT {
            true => Err(refused(file).because(format!("`{path}` takes more memory than it may"))),
            false => Ok(()),
        }
    }

    fn bytes(&self, file: &Path, path: &str) -> Result<Vec<u8>> {
        self.small.get(path).cloned().ok_or_else(|| refused(file).because(format!("it has no `{path}`")))
    }

    fn apt_index(&self, file: &Path, origin: &Origin, source: &AptSource, now: i64) -> Result<Verified> {
        let paths = apt::paths(origin, source);
        let [in_release, packages] = [&paths[0], &paths[1]].map(|path| self.bytes(file, path));
        let index = index_at_hand(source, in_release?, packages?, now)
            .map_err(|error| about(error, &paths[0], file))?;
        Ok(Verified { promised: apt::promised(origin, &index), files: paths.into() })
    }

    fn rpm_index(
        &self,
        file: &Path,
        manifest: &Manifest,
        origin: &Origin,
        source: &RpmSource,
        now: i64,
    ) -> Result<Verified> {
        let (path, signature) = (origin.at(dnf::INDEX), origin.at(dnf::SIGNATURE));
        let repomd = self.bytes(file, &path)?;
        let entries: BTreeMap<&str, &Entry> =
            manifest.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let entry = |list: &str| entries.get(origin.at(list).as_str()).copied();
        let digest = |list: &str| entry(list).map(|entry| entry.sha256.clone());
        let read = |list: &str| self.small.get(&origin.at(list)).cloned();
        let signed = self.small.get(&signature).map(Vec::as_slice);
        let index = rpm_index_at_hand(source, &repomd, signed, &digest, &read, now)
            .map_err(|error| about(error, &path, file))?;
        let odd = |list: &&String| {
            let large = entry(list).is_some_and(|entry| entry.size > INDEX_LIMIT);
            !list.starts_with("repodata/") || list.ends_with(".rpm") || large
        };
        if let Some(odd) = index.lists.iter().find(odd) {
            return Err(refused(file).because(format!("`{}` is no list of an index", origin.at(odd))));
        }
        let mut files: Vec<String> = index.lists.iter().map(|list| origin.at(list)).collect();
        files.push(path);
        if source.signed == Signed::Index {
            files.push(signature);
        }
        Ok(Verified { promised: dnf::promised(origin, &index), files })
    }

    /// The package is what the index says of it, and the pinned key's where that signs packages.
    fn is_signed(&self, path: &str, words: &[String; 3], source: &RpmSource, now: i64) -> Result<()> {
        let Some(rpm) = self.rpms.get(path) else { return Err(Error::refused("it is no package of rpm's")) };
        let [name, version, architecture] = words;
        if (&rpm.name, &rpm.version, &rpm.architecture) != (name, version, architecture) {
            return Err(Error::refused(format!(
                "it is {}-{}.{}, and {name}-{version}.{architecture} is listed there",
                rpm.name, rpm.version, rpm.architecture
            )));
        }
        match source.signed {
            Signed::Packages => rpm.check(&source.pin, now),
            Signed::Index => Ok(()),
        }
    }
}

fn untrusted(file: &Path, path: &str, error: &Error) -> Error {
    let why = refused(file).because(format!("`{path}` cannot be trusted")).because(error.what());
    error.reasons().iter().fold(why, |why, reason| why.because(reason))
}

fn about(error: Error, path: &str, file: &Path) -> Error {
    error.because(format!("that is `{path}`")).because(format!("in the bundle `{}`", file.display()))
}

/// By the manifest alone: what of it is to be kept.
fn is_index(manifest: &Manifest, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let below =
        |listed: &Listed| path.strip_prefix(&listed.directory).is_some_and(|rest| rest.starts_with('/'));
    let of_apt = matches!(name, "InRelease" | "Packages");
    let of_rpm = is_repomd(path) || name.contains("primary.xml");
    (of_apt || of_rpm) && manifest.indexes.iter().any(below)
}

fn is_repomd(path: &str) -> bool {
    path.ends_with(dnf::INDEX) || path.ends_with(dnf::SIGNATURE)
}

fn unknown(file: &Path, listed: &Listed) -> Error {
    let words = [listed.directory.as_str(), &listed.suite, &listed.component].join(" ");
    refused(file)
        .because(format!("`{}` is no source of the profile: nobody is pinned for it", words.trim_end()))
}

/// The very file that an index lists at this path.
fn is_listed<'p>(
    entry: &Entry,
    listed: Option<&'p Vec<(&'p Origin, Promised)>>,
) -> std::result::Result<(&'p Origin, &'p Promised), Vec<String>> {
    let Some(listed) = listed else {
        return Err(vec![format!("`{}` is listed in no index", entry.path)]);
    };
    let same = |(_, one): &&(&Origin, Promised)| one.sha256 == entry.sha256 && one.size == entry.size;
    match listed.iter().find(same) {
        Some((origin, promised)) => Ok((origin, promised)),
        None => Err(vec![
            format!("`{}` is not what its index lists", entry.path),
            format!("it has {} bytes with the SHA-256 {}", entry.size, entry.sha256),
            format!("{} bytes with {} are listed", listed[0].1.size, listed[0].1.sha256),
        ]),
    }
}
