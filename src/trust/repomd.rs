//! How a repository of rpms is read, and one whose index is signed becomes trusted: repomd.xml by the pinned key, the list of packages by the digest in it, each package by the digest in that.

use super::{Pin, no_rollback, signed_bytes};
use crate::error::{Error, Result};
use crate::host::fetch::mask;
use crate::host::{Look, Portioned};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::io::{BufReader, Read};
use std::path::PathBuf;

/// The largest repomd.xml that is read, in bytes; the largest distributions' have some 0.01 MB.
const INDEX_LIMIT: u64 = 1 << 20;
/// The largest list of packages that is fetched, in bytes as it is packed.
const LIST_LIMIT: u64 = 64 << 20;
/// What a list of packages may unpack to, in bytes: RHEL 9's AppStream has some 150 MB.
const UNPACKED_LIMIT: u64 = 1 << 30;
/// What is kept of one list, in bytes: of Fedora's 70 000 packages some 30 MB.
const KEPT_LIMIT: usize = 96 << 20;
/// The largest tag, text or comment of an index, in bytes: a package's description has some thousand.
const EVENT_LIMIT: u64 = 1 << 20;

/// A repository, and who has to have signed what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmSource {
    /// What stands before `/repodata/`.
    pub url: String,
    pub pin: Pin,
    pub signed: Signed,
}

/// What of a repository is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Each package, and not the index: as Docker and the distributions do.
    Packages,
    /// The index, and with it the digest of each package: as NVIDIA does.
    Index,
}

/// What a repository holds; verified where its index is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpmIndex {
    pub records: Vec<RpmRecord>,
    /// The lists that it names, by their paths below the repository.
    pub lists: Vec<String>,
    /// When its list of packages was made, in seconds since the epoch.
    pub made: i64,
}

/// One package of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpmRecord {
    pub name: String,
    /// `3:29.7.2-1.el9`, without an epoch of 0.
    pub version: String,
    /// As rpm names it: `x86_64`, `noarch`.
    pub architecture: String,
    /// Below the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// In lower-case hexadecimal digits.
    pub sha256: String,
}

impl RpmRecord {
    /// What it takes of memory, in bytes.
    fn takes(&self) -> usize {
        let words = [&self.name, &self.version, &self.architecture, &self.path, &self.sha256];
        size_of::<RpmRecord>() + words.iter().map(|word| word.len()).sum::<usize>()
    }
}

impl RpmIndex {
    /// Holds files against the digests that were signed.
    ///
    /// # Errors
    /// One that is in no line of the list: refused.
    pub fn check(&self, host: &dyn Look, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let digest = hex(&host.read(file)?.unwrap_or_default());
            if !self.records.iter().any(|record| record.sha256 == digest) {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                return Err(Error::refused(format!("cannot trust {name}"))
                    .because("its digest is not in the signed index of its repository")
                    .hint(
                        "take another mirror; one that is being updated may be right again in some minutes",
                    ));
            }
        }
        Ok(())
    }
}

/// Fetches and verifies the index of a repository that signs it.
///
/// # Errors
/// None there, a signature that is not the pinned key's, one from before `newest_accepted` (seconds since the epoch), a
/// list that is not what was signed: refused.
pub fn rpm_index(host: &dyn Look, source: &RpmSource, newest_accepted: Option<i64>) -> Result<RpmIndex> {
    let url = &source.url;
    let place = format!("{url}/repodata/repomd.xml");
    let about = |error: Error| error.because(format!("that is `{}`", mask(&place)));
    let repomd = repomd(host, url)?;
    let signature = host.fetch(&format!("{place}.asc"), INDEX_LIMIT).map_err(|error| match error.absent {
        true => unsigned(url),
        false => error,
    })?;
    let signed_at = signed_bytes(&repomd, &signature, &source.pin, host.now()).map_err(|error| {
        about(error).or_hint("take another mirror, or name its key with `key` below its `[source]`")
    })?;
    let lists = parse_index(&repomd).map_err(about)?;
    let list = primary(&lists).map_err(about)?;
    let made = list.made.unwrap_or(signed_at);
    no_rollback(made, newest_accepted).map_err(about)?;
    let packed = host.fetch(&format!("{url}/{}", list.path), LIST_LIMIT)?;
    is_whole(list, &packed)?;
    Ok(RpmIndex { records: records(&packed, &list.path)?, lists: paths(&lists), made })
}

/// Fetches what says that there is a repository.
///
/// # Errors
/// There is none: refused.
pub fn repomd(host: &dyn Look, url: &str) -> Result<Vec<u8>> {
    let fetched = host.fetch(&format!("{url}/repodata/repomd.xml"), INDEX_LIMIT);
    fetched.map_err(|error| match error.absent {
        true => Error::refused(format!("there is no repository at `{}`", mask(url)))
            .because("it has no `repodata/repomd.xml`")
            .absent()
            .hint("check the address of the source; a mirror keeps the layout of the original"),
        false => error,
    })
}

fn unsigned(url: &str) -> Error {
    Error::refused(format!("the repository at `{}` is not signed", mask(url)))
        .because("it has no `repodata/repomd.xml.asc`")
}

fn is_whole(list: &List, packed: &[u8]) -> Result<()> {
    if hex(packed) == list.sha256 {
        return Ok(());
    }
    let size = packed.len() as u64;
    // As with apt: shorter is worth another try, any other content is not.
    Err(match list.size.filter(|listed| size < *listed) {
        Some(listed) => Error::try_again(not_whole(&list.path))
            .because(format!("it has {size} bytes, and {listed} are listed"))
            .hint("the mirror is being updated, or the transfer was cut; try again in some minutes"),
        None => unlike(&list.path),
    })
}

fn unlike(path: &str) -> Error {
    Error::refused(not_whole(path))
        .because("its digest is another one")
        .hint("use another mirror; one that is being updated may be right again in some minutes")
}

fn not_whole(path: &str) -> String {
    format!("`{}` is not what its index says", mask(path))
}

/// Checks an index that is here already, from a bundle: its signature where it is to have one, and that each list that
/// is there is the one that it names. `digest` gives a file's SHA-256, `read` its bytes.
///
/// # Errors
/// What is not as it was signed, or as the index lists it: refused.
pub fn rpm_index_at_hand(
    source: &RpmSource,
    repomd: &[u8],
    signature: Option<&[u8]>,
    digest: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
    now: i64,
) -> Result<RpmIndex> {
    let signed_at = match (source.signed, signature) {
        (Signed::Packages, _) => None,
        (Signed::Index, Some(signature)) => Some(signed_bytes(repomd, signature, &source.pin, now)?),
        (Signed::Index, None) => return Err(unsigned(&source.url)),
    };
    let lists = parse_index(repomd)?;
    if let Some(list) = lists.iter().find(|list| digest(&list.path).is_some_and(|is| is != list.sha256)) {
        return Err(unlike(&list.path));
    }
    let list = primary(&lists)?;
    let packed =
        read(&list.path).ok_or_else(|| no_list().because(format!("`{}` is not there", list.path)))?;
    is_whole(list, &packed).map_err(Error::for_good)?;
    let made = list.made.or(signed_at).unwrap_or_default();
    Ok(RpmIndex { records: records(&packed, &list.path)?, lists: paths(&lists), made })
}

/// A file that the index names.
#[derive(Debug, Default)]
struct List {
    /// `primary`, `filelists`, and what else there may be.
    kind: String,
    path: String,
    sha256: String,
    /// In bytes, as it is packed.
    size: Option<u64>,
    /// In seconds since the epoch.
    made: Option<i64>,
}

fn no_list() -> Error {
    Error::refused("the index names no list of packages")
}

fn primary(lists: &[List]) -> Result<&List> {
    lists.iter().find(|list| list.kind == "primary").ok_or_else(no_list)
}

fn paths(lists: &[List]) -> Vec<String> {
    lists.iter().map(|list| list.path.clone()).collect()
}

/// `<data type="primary"><checksum type="sha256">…</checksum><location href="…"/>…</data>`, once a file.
fn parse_index(repomd: &[u8]) -> Result<Vec<List>> {
    let mut found: Vec<List> = Vec::new();
    elements(repomd, &mut |element| {
        if (element.name, element.depth) == ("data", 2) {
            found.push(List { kind: element.attribute("type"), ..List::default() });
        }
        let Some(list) = found.last_mut().filter(|_| element.depth == 3) else { return Ok(()) };
        match element.name {
            "checksum" if element.attribute("type") == "sha256" => list.sha256 = element.lower_case(),
            "location" => list.path = element.location()?,
            "size" => list.size = element.text.parse().ok(),
            "timestamp" => list.made = element.text.parse().ok(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// What a list of packages says of each that it has a SHA-256 of.
fn records(packed: &[u8], path: &str) -> Result<Vec<RpmRecord>> {
    let mut found: Vec<RpmRecord> = Vec::new();
    let mut kept = 0;
    elements(unpacked(packed, path)?, &mut |element| {
        if (element.name, element.depth) == ("package", 2) {
            // One that says nothing of itself takes no room.
            match found.last() {
                Some(record) if record.path.is_empty() || record.sha256.is_empty() => drop(found.pop()),
                record => kept += record.map_or(0, RpmRecord::takes),
            }
            if kept > KEPT_LIMIT {
                return Err(Error::refused("a list of packages takes more memory than it may"));
            }
            found.push(RpmRecord::default());
        }
        let Some(record) = found.last_mut().filter(|_| element.depth == 3) else { return Ok(()) };
        match element.name {
            "name" => record.name = element.text.to_owned(),
            "arch" => record.architecture = element.text.to_owned(),
            "version" => {
                let epoch = Some(element.attribute("epoch")).filter(|epoch| !matches!(&**epoch, "" | "0"));
                let epoch = epoch.map(|epoch| epoch + ":").unwrap_or_default();
                record.version = format!("{epoch}{}-{}", element.attribute("ver"), element.attribute("rel"));
            }
            "checksum" if element.attribute("type") == "sha256" => record.sha256 = element.lower_case(),
            "size" => record.size = element.attribute("package").parse().unwrap_or_default(),
            "location" => record.path = element.location()?,
            _ => {}
        }
        Ok(())
    })
    .map_err(|error| error.because(format!("that is `{path}`")))?;
    found.retain(|record| !record.sha256.is_empty() && !record.path.is_empty());
    Ok(found)
}

fn is_inside(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && !path.contains("..") && !path.contains("://")
}

/// An element with the text that stands first in it.
struct Element<'e> {
    name: &'e str,
    /// Of the outermost it is 1.
    depth: usize,
    start: &'e BytesStart<'e>,
    text: &'e str,
}

impl Element<'_> {
    /// Empty where there is none.
    fn attribute(&self, name: &str) -> String {
        let found = self.start.try_get_attribute(name).ok().flatten();
        let value = found.and_then(|found| {
            found.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
        });
        value.unwrap_or_default()
    }

    /// # Errors
    /// It leads out of the repository, as a base that it is to be read from does.
    fn location(&self) -> Result<String> {
        let path = self.attribute("xml:base") + &self.attribute("href");
        match is_inside(&path) {
            true => Ok(path),
            false => {
                Err(Error::refused("an index names a file elsewhere").because(format!("`{}`", mask(&path))))
            }
        }
    }

    fn lower_case(&self) -> String {
        self.text.to_ascii_lowercase()
    }
}

/// Shows every element, in its order.
fn elements(xml: impl Read, see: &mut dyn FnMut(&Element) -> Result<()>) -> Result<()> {
    let left = Cell::new(EVENT_LIMIT);
    let mut reader = quick_xml::Reader::from_reader(BufReader::new(Portioned { inner: xml, left: &left }));
    let wrong = |error: quick_xml::Error| Error::refused("an index is not understood").because(error);
    let (mut bytes, mut open, mut above) = (Vec::new(), None::<BytesStart<'static>>, 0_usize);
    let mut show = |start: &BytesStart, text: &str, depth: usize| {
        let name = start.name();
        see(&Element { name: name.as_ref(), depth, start, text: text.trim() })
    };
    loop {
        bytes.clear();
        left.set(EVENT_LIMIT);
        let event = reader.read_event_into(&mut bytes).map_err(wrong)?;
        let text = match &event {
            Event::Text(text) => text.xml10_content().into_owned(),
            _ => String::new(),
        };
        if let Some(start) = open.take() {
            show(&start, &text, above)?;
        }
        match event {
            Event::Start(start) => {
                open = Some(start.into_owned());
                above += 1;
            }
            Event::Empty(start) => show(&start, "", above + 1)?,
            Event::End(_) => above = above.saturating_sub(1),
            // By it another parser would read something else than this one.
            Event::DocType(_) => return Err(Error::refused("an index has a document type")),
            Event::Eof if above > 0 => return Err(Error::refused("an index ends too early")),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// By the ending of its name, as createrepo packs it.
fn unpacked<'p>(packed: &'p [u8], path: &str) -> Result<Box<dyn Read + 'p>> {
    let plain: Box<dyn Read> = match path.rsplit('.').next() {
        Some("xml") => Box::new(packed),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Some("zst") => Box::new(
            zstd::Decoder::with_buffer(packed)
                .map_err(|e| Error::refused(format!("cannot unpack `{path}`")).because(e))?,
        ),
        _ => {
            return Err(Error::refused(format!("cannot read `{path}`"))
                .because("this version of rprov unpacks lists of packages by gzip and zstd only"));
        }
    };
    // Cut off there, it ends too early.
    Ok(Box::new(plain.take(UNPACKED_LIMIT)))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_found_in_the_index_and_the_packages_in_the_list() {
        let repomd = "<?xml version=\"1.0\"?>\n<repomd>\n<data type=\"filelists\"><location href=\"x\"/></data>\n\
            <data type=\"primary\">\n<checksum type=\"sha256\">AB</checksum>\n\
            <open-checksum type=\"sha256\">cd</open-checksum>\n<location href=\"repodata/ab-primary.xml.gz\"/>\n\
            <timestamp>1795260192</timestamp>\n<size>17</size>\n</data>\n</repomd>";
        let lists = parse_index(repomd.as_bytes()).expect("reads");
        let list = primary(&lists).expect("is there");
        let found = (list.path.as_str(), list.sha256.as_str(), list.size, list.made);
        assert_eq!(found, ("repodata/ab-primary.xml.gz", "ab", Some(17), Some(1_795_260_192)));
        for outside in ["/etc/passwd", "../x", "https://elsewhere.example/x"] {
            let repomd = repomd.replace("repodata/ab-primary.xml.gz", outside);
            assert!(parse_index(repomd.as_bytes()).is_err(), "{outside}");
        }
        let elsewhere = repomd.replace("href=\"x\"", "xml:base=\"https://elsewhere.example/\" href=\"x\"");
        let error = parse_index(elsewhere.as_bytes()).expect_err("dnf would ask there").to_string();
        assert!(error.contains("`https://elsewhere.example/x`"), "{error}");
        let text = "<metadata><package type=\"rpm\"><name>docker-ce</name><arch>x86_64</arch>\
            <version epoch=\"3\" ver=\"29.7.2\" rel=\"1.el9\"/><checksum type=\"sha256\" pkgid=\"YES\">12</checksum>\
            <size package=\"7\" installed=\"9\"/><location href=\"Packages/d.rpm\"/>\
            <format><rpm:provides><rpm:entry name=\"docker\"/></rpm:provides><file>/usr/bin/d</file></format></package>\
            <package type=\"rpm\"><name>tar</name><version epoch=\"0\" ver=\"1\" rel=\"2\"/>\
            <checksum type=\"sha256\" pkgid=\"YES\">34</checksum><location href=\"tar.rpm\"/></package>\
            <package><name>nothing</name><checksum type=\"sha\">56</checksum></package></metadata>";
        let found = records(text.as_bytes(), "primary.xml").expect("reads");
        let docker = RpmRecord {
            name: "docker-ce".into(),
            version: "3:29.7.2-1.el9".into(),
            architecture: "x86_64".into(),
            path: "Packages/d.rpm".into(),
            size: 7,
            sha256: "12".into(),
        };
        assert_eq!(found[0], docker);
        assert_eq!((found[1].name.as_str(), found[1].version.as_str(), found.len()), ("tar", "1-2", 2));
        let package = |inner: &str| {
            let text = format!(
                "<metadata><package><name>a</name><checksum type=\"sha256\">12</checksum>{inner}</package></metadata>"
            );
            records(text.as_bytes(), "primary.xml")
        };
        // What stands deeper is of something else.
        let found =
            package("<location href=\"a.rpm\"/><format><location href=\"b.rpm\"/></format>").expect("reads");
        assert_eq!(found[0].path, "a.rpm");
        for elsewhere in
            ["xml:base=\"https://elsewhere.example/\" href=\"a.rpm\"", "href=\"../a.rpm\"", "href=\"/a\""]
        {
            let error = package(&format!("<location {elsewhere}/>")).expect_err(elsewhere).to_string();
            assert!(error.contains("an index names a file elsewhere"), "{error}");
        }
        for wrong in ["<metadata><package", "<metadata><package></package>", "<!DOCTYPE metadata><metadata/>"]
        {
            assert!(records(wrong.as_bytes(), "primary.xml").is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_index_takes_no_more_memory_than_it_may() {
        const LARGE: usize = EVENT_LIMIT as usize;
        let many = |what: &str, bytes: usize| what.repeat(bytes / what.len());
        let package = |inner: &str| {
            format!(
                "<package><checksum type=\"sha256\">12</checksum><location href=\"a.rpm\"/>{inner}</package>"
            )
        };
        let large = many("a", 2 * LARGE);
        for inner in [
            format!("<name>{large}</name>"),
            format!("<version ver=\"{large}\"/>"),
            format!("<!-- {} -->", many("<a>", 2 * LARGE)),
            format!("<![CDATA[{}]]>", many("<a>", 2 * LARGE)),
        ] {
            let error = records(format!("<metadata>{}", package(&inner)).as_bytes(), "primary.xml");
            let error = error.expect_err("is too large").to_string();
            assert!(error.contains("larger than it may be"), "{error}");
        }
        let name = package(&format!("<name>{}</name>", many("a", LARGE / 2)));
        let text = format!("<metadata>{}</metadata>", many(&name, 2 * KEPT_LIMIT));
        let error = records(text.as_bytes(), "primary.xml").expect_err("keeps too much").to_string();
        assert!(error.contains("more memory than it may"), "{error}");
    }

    #[test]
    fn an_index_at_hand_needs_its_signature_only_where_the_index_is_what_is_signed() {
        let list = b"<metadata/>".as_slice();
        let repomd = format!(
            "<repomd><data type=\"primary\"><checksum type=\"sha256\">{}</checksum>\
             <location href=\"repodata/primary.xml\"/></data></repomd>",
            hex(list)
        );
        let pin = Pin { key: Vec::new(), fingerprints: Vec::new() };
        let check = |signed, bytes: &[u8]| {
            let source = RpmSource { url: "https://a.example".into(), pin: pin.clone(), signed };
            let bytes = bytes.to_vec();
            let read = |_: &str| Some(bytes.clone());
            rpm_index_at_hand(&source, repomd.as_bytes(), None, &|_| Some(hex(&bytes)), &read, 0)
        };
        assert!(check(Signed::Packages, list).expect("is whole").records.is_empty());
        let error = check(Signed::Packages, b"<metadata></metadata>").expect_err("is another");
        assert!(error.to_string().contains("is not what its index says"), "{error}");
        let error = check(Signed::Index, list).expect_err("is not signed");
        assert!(error.to_string().contains("no `repodata/repomd.xml.asc`"), "{error}");
    }
}
