//! A source as apt reads it: one-line and deb822 files, their keys, and the index behind them.

use super::{Files, Repository, Source as AnySource, accepted, place_of, same_address, shortened};
use crate::error::{Error, Result};
use crate::host::fetch::mask;
use crate::host::{Look, Touch};
use crate::resources::Resource;
use crate::resources::apt;
use crate::resources::file::Node;
use crate::trust::apt::{AptIndex, AptSource, apt_index, parse_release};
use crate::trust::{self, Pin};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A source, and where its two files are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What is fetched and verified.
    pub index: AptSource,
    /// Asked for in this order where the suite is not published: older ones that work here too.
    pub fallbacks: Vec<String>,
    /// The address at the original: a mirror's source and the original's contradict each other.
    pub original: String,
    /// Whatever lies below these is of the same maker, for other releases or before it moved: it goes.
    pub others: Vec<String>,
    pub file: PathBuf,
    /// By its ending apt tells armor (`.asc`) from binary (`.gpg`).
    pub key_file: PathBuf,
}

impl Source {
    /// The source as it is written, in deb822 style (sources.list(5)).
    fn text(&self) -> String {
        let components = match self.index.is_flat() {
            true => String::new(),
            false => format!("Components: {}\n", self.index.component),
        };
        include_str!("../../../templates/apt.sources")
            .replace("{address}", &self.index.root)
            .replace("{suite}", &self.index.suite)
            .replace("Components: {component}\n", &components)
            .replace("{architecture}", &self.index.architecture)
            .replace("{key}", &self.key_file.display().to_string())
    }

    /// The same source with each suite that serves, the wanted one first.
    fn each_suite(&self) -> impl Iterator<Item = Source> {
        let suites = std::iter::once(&self.index.suite).chain(&self.fallbacks);
        suites.map(|suite| Source {
            index: AptSource { suite: suite.clone(), ..self.index.clone() },
            ..self.clone()
        })
    }

    /// How apt names the lists of this source, whichever suite it comes to.
    pub fn list_names(&self) -> Vec<String> {
        self.each_suite().flat_map(|source| source.index.list_names()).collect()
    }

    fn in_release(&self) -> PathBuf {
        let [name, _] = self.index.list_names();
        Path::new(apt::LISTS).join(name)
    }

    /// Whether a key file holds nothing but pinned certificates.
    fn pins(&self, key: &[u8]) -> bool {
        let pin = Pin { key: key.to_vec(), fingerprints: self.index.pin.fingerprints.clone() };
        trust::certificates(&pin).is_ok()
    }
}

const SOURCES_LIST: &str = "/etc/apt/sources.list";
const SOURCES_PARTS: &str = "/etc/apt/sources.list.d";
const TRUSTED_PARTS: &str = "/etc/apt/trusted.gpg.d";

/// One source as apt reads it, from a one-line or a deb822 file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptEntry {
    pub file: PathBuf,
    pub uri: String,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub types: Vec<String>,
    pub architectures: Vec<String>,
    pub signed_by: Option<String>,
    pub enabled: bool,
    /// The lines of the file that make it, from and to, the latter excluded.
    pub lines: (usize, usize),
}

impl AptEntry {
    /// With apt's own word for the architecture filled in.
    fn uri_for(&self, architecture: &str) -> String {
        self.uri.replace("$(ARCH)", architecture)
    }
}

pub fn is_source(path: &Path) -> bool {
    path == Path::new(SOURCES_LIST) || path.parent() == Some(Path::new(SOURCES_PARTS))
}

/// Whether there is one right entry and nothing beside it; and the files that have a part in it.
pub fn look(source: &Source, addresses: &[String], host: &dyn Look) -> Result<(bool, Vec<PathBuf>)> {
    let found = Found::look(addresses, host)?;
    Ok((found.is_right(source, host)?, found.files(source, host)?))
}

/// Every file as it has to be: the right entry with the suite that serves, and no other.
pub fn wanted(
    source: &Source,
    addresses: &[String],
    now: &Files,
    host: &dyn Look,
) -> Result<BTreeMap<PathBuf, Node>> {
    let source = &settled(host, source)?;
    let mut files = shortened(Found::look(addresses, host)?.cleaned(host)?, now);
    for path in global_keys(source, host)? {
        files.insert(path, Node::Absent);
    }
    // apt ships the directory for keys since 2.4 only; where we make it, it goes with us.
    if let Some(directory) = source.key_file.parent().filter(|path| !files.contains_key(*path))
        && !host.exists(directory)?
    {
        files.insert(directory.to_owned(), Node::directory());
    }
    files.insert(source.file.clone(), Node::file(source.text()));
    files.insert(source.key_file.clone(), Node::file(source.index.pin.key.clone()));
    Ok(files)
}

/// What the host has about one address.
struct Found {
    /// All entries of all files, in apt's order.
    all: Vec<AptEntry>,
    /// Those of our address.
    ours: Vec<AptEntry>,
}

impl Found {
    fn look(addresses: &[String], host: &dyn Look) -> Result<Found> {
        let mut all = Vec::new();
        let mut paths = vec![PathBuf::from(SOURCES_LIST)];
        paths.extend(
            host.list(Path::new(SOURCES_PARTS))?.into_iter().map(|n| Path::new(SOURCES_PARTS).join(n)),
        );
        for path in paths {
            let known = path.extension().is_some_and(|e| e == "list" || e == "sources");
            if let (true, Some(text)) = (known, host.read_text(&path)?) {
                all.extend(parse_sources(&path, &text));
            }
        }
        let ours = all.iter().filter(|e| addresses.iter().any(|a| lies_at(&e.uri, a))).cloned().collect();
        Ok(Found { all, ours })
    }

    /// One enabled entry serves, none contradicts it.
    fn is_right(&self, source: &Source, host: &dyn Look) -> Result<bool> {
        let live: Vec<_> =
            self.ours.iter().filter(|e| e.enabled && e.types.iter().any(|t| t == "deb")).collect();
        let [entry] = live[..] else { return Ok(false) };
        let fits = source.each_suite().any(|source| entry.suites == [source.index.suite])
            && (source.index.is_flat() || entry.components.contains(&source.index.component))
            && (entry.architectures.is_empty() || entry.architectures.contains(&source.index.architecture))
            && same_address_exactly(&entry.uri_for(&source.index.architecture), &source.index.root);
        Ok(fits && key_is_pinned(entry, source, host)?)
    }

    /// The files that have a part: sources that name the address, their keys, and where ours go.
    fn files(&self, source: &Source, host: &dyn Look) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = self.ours.iter().map(|e| e.file.clone()).collect();
        paths.extend(self.keys_of_ours_alone());
        paths.extend([source.file.clone(), source.key_file.clone()]);
        paths.extend(global_keys(source, host)?);
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Keyrings that only our entries name.
    fn keys_of_ours_alone(&self) -> Vec<PathBuf> {
        let named = |e: &AptEntry| e.signed_by.as_deref().filter(|s| s.starts_with('/')).map(PathBuf::from);
        let others: Vec<PathBuf> =
            self.all.iter().filter(|e| !self.ours.contains(e)).filter_map(named).collect();
        self.ours.iter().filter_map(named).filter(|key| !others.contains(key)).collect()
    }

    /// The files without our address: shorter, or gone.
    fn cleaned(&self, host: &dyn Look) -> Result<Vec<(PathBuf, Option<Vec<u8>>)>> {
        let mut cleaned = Vec::new();
        let mut paths: Vec<&PathBuf> = self.ours.iter().map(|e| &e.file).collect();
        paths.dedup();
        for path in paths {
            let text = host.read_text(path)?.unwrap_or_default();
            let ours: Vec<_> = self.ours.iter().filter(|e| e.file == *path).collect();
            let others = self.all.iter().any(|e| e.file == *path && !self.ours.contains(e));
            let rest = without_lines(&text, &ours);
            cleaned
                .push((path.clone(), (others || path == Path::new(SOURCES_LIST)).then(|| rest.into_bytes())));
        }
        cleaned.extend(self.keys_of_ours_alone().into_iter().map(|key| (key, None)));
        Ok(cleaned)
    }
}

/// At the address; below it, where it ends in a slash.
fn lies_at(uri: &str, address: &str) -> bool {
    match address.ends_with('/') {
        true => format!("{}/", place_of(uri)).starts_with(&format!("{}/", place_of(address))),
        false => same_address(uri, address),
    }
}

/// How the files of keys begin that older guides name.
const KEYRINGS: [&str; 4] = ["docker", "nvidia", "libnvidia", "cuda"];

/// Keys of the pinned fingerprint that an older guide put where they speak for every source.
fn global_keys(source: &Source, host: &dyn Look) -> Result<Vec<PathBuf>> {
    let names = host.list(Path::new(TRUSTED_PARTS))?;
    let paths = names.into_iter().filter(|n| KEYRINGS.iter().any(|start| n.starts_with(start)));
    let paths = paths.map(|n| Path::new(TRUSTED_PARTS).join(n));
    let mut found = Vec::new();
    for path in paths {
        if let Some(bytes) = host.read(&path)?
            && source.pins(&bytes)
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether the key that the entry names is ours alone.
fn key_is_pinned(entry: &AptEntry, source: &Source, host: &dyn Look) -> Result<bool> {
    let Some(signed_by) = &entry.signed_by else { return Ok(false) };
    if !signed_by.starts_with('/') {
        return Ok(source.pins(signed_by.as_bytes()));
    }
    Ok(host.read(Path::new(signed_by))?.is_some_and(|bytes| source.pins(&bytes)))
}

fn same_address_exactly(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// The entries of one file, by its ending.
pub fn parse_sources(path: &Path, text: &str) -> Vec<AptEntry> {
    if path.extension().is_some_and(|e| e == "sources") {
        parse_deb822(path, text)
    } else {
        parse_one_line(path, text)
    }
}

/// `deb [options] uri suite components…`, a line an entry.
fn parse_one_line(path: &Path, text: &str) -> Vec<AptEntry> {
    let parse = |(number, line): (usize, &str)| {
        let line = line.split('#').next()?.trim();
        let (kind, rest) = line.split_once(char::is_whitespace)?;
        if kind != "deb" && kind != "deb-src" {
            return None;
        }
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => ("", rest),
        };
        let option = |name: &str| {
            let found =
                options.split_whitespace().find_map(|o| o.split_once('=').filter(|(k, _)| *k == name));
            found.map(|(_, value)| value.to_owned())
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(AptEntry {
            file: path.to_owned(),
            types: vec![kind.to_owned()],
            uri: words.next()?,
            suites: vec![words.next()?],
            components: words.collect(),
            architectures: option("arch")
                .map(|a| a.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
            signed_by: option("signed-by"),
            enabled: true,
            lines: (number, number + 1),
        })
    };
    text.lines().enumerate().filter_map(parse).collect()
}

/// Stanzas of fields (deb822, sources.list(5)); one with several URIs is one entry for each.
fn parse_deb822(path: &Path, text: &str) -> Vec<AptEntry> {
    let mut entries = Vec::new();
    for (from, to, fields) in stanzas(text) {
        let words = |name: &str| -> Vec<String> {
            fields.get(name).map(|v| v.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
        };
        for uri in words("uris") {
            entries.push(AptEntry {
                file: path.to_owned(),
                uri,
                suites: words("suites"),
                components: words("components"),
                types: words("types"),
                architectures: words("architectures"),
                signed_by: fields.get("signed-by").map(|v| v.trim().to_owned()),
                enabled: !fields.get("enabled").is_some_and(|v| v.trim().eq_ignore_ascii_case("no")),
                lines: (from, to),
            });
        }
    }
    entries
}

type Stanza = (usize, usize, BTreeMap<String, String>);

fn stanzas(text: &str) -> Vec<Stanza> {
    let mut found: Vec<Stanza> = Vec::new();
    let mut open = false;
    let mut last = String::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        if !open {
            found.push((number, number, BTreeMap::new()));
            open = true;
        }
        let Some((_, to, fields)) = found.last_mut() else { continue };
        *to = number + 1;
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            // A line of a key that stands in the file itself; "." is an empty one.
            let more = if line.trim() == "." { "" } else { line.trim() };
            let value = fields.entry(last.clone()).or_default();
            value.push('\n');
            value.push_str(more);
        } else if let Some((name, value)) = line.split_once(':') {
            last = name.trim().to_ascii_lowercase();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    found
}

/// The text without the lines of these entries, byte for byte otherwise.
fn without_lines(text: &str, entries: &[&AptEntry]) -> String {
    let gone = |number: usize| entries.iter().any(|e| (e.lines.0..e.lines.1).contains(&number));
    text.split_inclusive('\n')
        .enumerate()
        .filter(|(number, _)| !gone(*number))
        .map(|(_, line)| line)
        .collect()
}

fn addresses(source: &Source) -> Vec<String> {
    Repository::of(&AnySource::Apt(source.clone())).addresses
}

/// The source with the suite that serves: that of the right entry which is there, else the first that is published.
fn settled(host: &dyn Look, source: &Source) -> Result<Source> {
    let found = Found::look(&addresses(source), host)?;
    if found.is_right(source, host)? {
        let there =
            |suite: &String| found.ours.iter().any(|entry| entry.enabled && entry.suites.contains(suite));
        return Ok(source.each_suite().find(|s| there(&s.index.suite)).unwrap_or_else(|| source.clone()));
    }
    let mut unpublished = None;
    for candidate in source.each_suite() {
        match index_of(host, &candidate) {
            Ok(_) => return Ok(candidate),
            Err(error) if error.absent => _ = unpublished.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    Err(unpublished.unwrap_or_else(|| Error::failed("a source without a suite")))
}

/// The verified index of a source: fetched once a run, never older than what was accepted before.
pub fn index(host: &dyn Look, source: &Source) -> Result<AptIndex> {
    index_of(host, &settled(host, source)?)
}

fn index_of(host: &dyn Look, source: &Source) -> Result<AptIndex> {
    apt_index(host, &source.index, newest_accepted(host, source)?)
}

/// The source files as the plan will leave them, for a simulation.
pub fn changed_files(host: &dyn Look, source: &Source) -> Result<Vec<(PathBuf, Option<Vec<u8>>)>> {
    let repository = Repository::of(&AnySource::Apt(source.clone()));
    let now = repository.get(host)?;
    if now.right {
        return Ok(Vec::new());
    }
    let (_, after) = repository.resolve(&now, &Files::right(), host)?;
    let changed = after.files.into_iter().filter(|(path, _)| is_source(path));
    Ok(changed.map(|(path, node)| (path, node.bytes().map(<[u8]>::to_vec))).collect())
}

/// The file whose entry serves this source.
pub fn file_of(host: &dyn Look, source: &Source) -> Result<Option<PathBuf>> {
    let found = Found::look(&addresses(source), host)?;
    Ok(found.ours.into_iter().find(|e| e.enabled && e.types.iter().any(|t| t == "deb")).map(|e| e.file))
}

/// Whether apt's lists of this source are the bytes that were verified.
pub fn lists_are_current(host: &dyn Look, source: &Source) -> Result<bool> {
    for (name, bytes) in index(host, source)?.lists() {
        if host.read(&Path::new(apt::LISTS).join(name))?.as_deref() != Some(&bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether apt has a list, compressed or not.
pub fn is_listed(host: &dyn Look, target: &Path) -> Result<bool> {
    for ending in ["", ".lz4", ".gz", ".xz", ".zst"] {
        if host.exists(&PathBuf::from(format!("{}{ending}", target.display())))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// After apt fetched the lists: they are verified again by our own rules, and their date is remembered.
pub fn accept(host: &dyn Touch, source: &Source) -> Result<()> {
    let source = &settled(host, source)?;
    let bytes = host.read(&source.in_release())?.ok_or_else(|| {
        Error::try_again(format!("cannot use the index of `{}`", mask(&source.index.root)))
            .because("apt did not fetch it")
    })?;
    let (before, now) = (accepted::newest(host, &id(source))?, date(&bytes, source, host)?);
    if before.is_some_and(|before| now < before) {
        return Err(Error::refused(format!("cannot use the index of `{}`", mask(&source.index.root)))
            .because("apt fetched one that is older than one that was accepted before")
            .hint("use a mirror that is kept up to date"));
    }
    accepted::remember(host, &id(source), now)
}

/// Date and SHA-256 of the index that apt has of the source, if it has one that the pinned key signed.
pub fn accepted_index(host: &dyn Look, source: &Source) -> Result<Option<(i64, String)>> {
    let source = &settled(host, source)?;
    let Some(bytes) = host.read(&source.in_release())? else { return Ok(None) };
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    Ok(date(&bytes, source, host).ok().map(|date| (date, digest)))
}

fn id(source: &Source) -> String {
    format!("{} {}", source.index.root, source.index.suite)
}

/// When an index was made, if the pinned key signed it.
fn date(in_release: &[u8], source: &Source, host: &dyn Look) -> Result<i64> {
    let signed = trust::signed_text(in_release, &source.index.pin, host.now())?;
    Ok(parse_release(&signed.text)?.date)
}

/// The date of the newest index that this host has accepted from the source: by our record, and by apt's own list.
fn newest_accepted(host: &dyn Look, source: &Source) -> Result<Option<i64>> {
    let recorded = accepted::newest(host, &id(source))?;
    let listed = host.read(&source.in_release())?.and_then(|bytes| date(&bytes, source, host).ok());
    Ok(recorded.max(listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_entries_are_read_with_their_options() {
        let text = "# a comment\ndeb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] \
            https://download.docker.com/linux/ubuntu noble stable\n";
        let [entry] = &parse_sources(Path::new("/etc/apt/sources.list.d/docker.list"), text)[..] else {
            panic!()
        };
        assert_eq!(entry.uri, "https://download.docker.com/linux/ubuntu");
        assert_eq!(entry.signed_by.as_deref(), Some("/etc/apt/keyrings/docker.asc"));
        assert_eq!((entry.suites[0].as_str(), entry.components[0].as_str()), ("noble", "stable"));
        assert_eq!(entry.lines, (1, 2));
    }

    #[test]
    fn deb822_stanzas_are_read_and_cut_out() {
        let text = "Types: deb\nURIs: https://a/x\nSuites: s\nComponents: main\n\nTypes: deb\nURIs: https://b/y/\n\
            Suites: noble\nComponents: stable\nSigned-By:\n -----BEGIN\n .\n line\nEnabled: no\n";
        let entries = parse_sources(Path::new("a.sources"), text);
        assert_eq!(entries.len(), 2);
        assert!(!entries[1].enabled);
        assert_eq!(entries[1].signed_by.as_deref(), Some("-----BEGIN\n\nline"));
        assert_eq!(
            without_lines(text, &[&entries[1]]),
            "Types: deb\nURIs: https://a/x\nSuites: s\nComponents: main\n\n"
        );
    }
}
