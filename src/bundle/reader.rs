//! Reads a bundle from its first byte to its last, and takes nothing that is not exactly as `rprov bundle create` writes it.

use super::far::Far;
use super::writer::{SEAL, seal};
use super::{Entry, FORMAT, MANIFEST, Manifest, damaged, hinted, is_plain, refused};
use crate::error::{Error, OrFail, Result};
use crate::host::{Look, Stream, Touch};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, SeekFrom};
use std::path::Path;

/// The largest manifest: ten thousand files have some 2 MB.
const MANIFEST_LIMIT: u64 = 8 << 20;
/// The most bytes that a bundle may unpack to.
const TOTAL: u64 = 64 << 30;
/// The largest window that zstd may ask memory for, as a power of two.
const WINDOW: u32 = 27;

/// Of a tar.
const BLOCK: usize = 512;

/// The manifest of a bundle, whose file is then read again as a whole.
pub fn manifest(file: &Path, host: &dyn Touch) -> Result<Manifest> {
    let mut found = None;
    hinted(walk_until(file, "reading", host, &mut |manifest, _, _| {
        found = Some(manifest.clone());
        Ok(false)
    }))?;
    found.ok_or_else(|| refused(file).because("it holds nothing"))
}

/// Shows each file of a bundle in its order, as it streams by; what the visitor leaves unread is read all the same.
/// `doing` is what somebody who waits is told of it.
///
/// # Errors
/// Anything that is not as the manifest says, or as a bundle is written: refused. By then the visitor has seen the
/// files before it, and the bytes of that one.
pub fn walk(
    file: &Path,
    doing: &'static str,
    host: &dyn Touch,
    visit: &mut dyn FnMut(&Manifest, &Entry, &mut dyn Read) -> Result<()>,
) -> Result<Manifest> {
    walk_until(file, doing, host, &mut |manifest, entry, bytes| visit(manifest, entry, bytes).map(|()| true))
}

fn walk_until(
    file: &Path,
    doing: &'static str,
    host: &dyn Touch,
    visit: &mut dyn FnMut(&Manifest, &Entry, &mut dyn Read) -> Result<bool>,
) -> Result<Manifest> {
    let damaged = |error: io::Error| damaged(file, &error);
    let (frame, digest) = opened(file, host)?;
    let mut decoder = zstd::Decoder::new(Hashing::new(frame)).map_err(damaged)?.single_frame();
    decoder.window_log_max(WINDOW).map_err(damaged)?;
    let mut archive = tar::Archive::new(decoder);
    let mut entries = archive.entries().map_err(damaged)?.raw(true);
    let mut next = |wanted: &str| match entries.next() {
        None => Err(refused(file).because(format!("it ends before `{wanted}`"))),
        Some(entry) => {
            entry.map_err(|error| damaged(error).because(format!("that is where `{wanted}` follows")))
        }
    };
    let mut first = next(MANIFEST)?;
    is_file(&first, MANIFEST, None).map_err(|why| refused(file).because(why))?;
    let mut text = Vec::new();
    (&mut first).take(MANIFEST_LIMIT + 1).read_to_end(&mut text).map_err(damaged)?;
    let manifest = parsed(&text).map_err(|why| refused(file).because(why))?;
    let far = Far::new(doing, manifest.size(), host);
    for entry in &manifest.files {
        let mut found = next(&entry.path)?;
        is_file(&found, &entry.path, Some(entry.size)).map_err(|why| refused(file).because(why))?;
        let mut hashing = Hashing::new(far.counts(&mut found));
        let all = visit(&manifest, entry, &mut hashing)?;
        if !all {
            return Ok(manifest);
        }
        io::copy(&mut hashing, &mut io::sink())
            .map_err(|error| damaged(error).because(format!("in the middle of `{}`", entry.path)))?;
        let found = hashing.digest();
        if found != entry.sha256 {
            return Err(refused(file)
                .because(format!("`{}` is not what the manifest says", entry.path))
                .because(format!("it has the SHA-256 {found}, and {} is written there", entry.sha256)));
        }
    }
    far.over();
    if let Some(more) = entries.next() {
        let name = more.map(|entry| name(&entry)).unwrap_or_else(|error| error.to_string());
        return Err(refused(file).because(format!("it holds `{name}`, which its manifest does not name")));
    }
    let mut decoder = archive.into_inner();
    // A tar ends in two blocks of zeros; the first has told that it ends.
    let mut rest = Vec::new();
    (&mut decoder).take(BLOCK as u64 + 1).read_to_end(&mut rest).map_err(damaged)?;
    let mut frame = decoder.finish();
    if rest != [0; BLOCK] || frame.read(&mut [0]).map_err(damaged)? > 0 {
        return Err(refused(file).because("something follows behind its end"));
    }
    if frame.into_inner().digest() != HEXLOWER.encode(&digest) {
        return Err(refused(file).because("it is not whole: its own digest is another one"));
    }
    Ok(manifest)
}

type Frame = io::Take<BufReader<Box<dyn Stream>>>;

/// What is compressed, and the digest of that which stands behind it.
fn opened(path: &Path, host: &dyn Look) -> Result<(Frame, [u8; 32])> {
    let cannot = || format!("cannot read the bundle `{}`", path.display());
    let mut file = host.open(path)?.ok_or_else(|| {
        Error::usage(cannot())
            .because("there is no such file")
            .hint("rprov bundle create --for NAME --arch ARCH -o FILE  makes one on a machine with a network")
    })?;
    let size = file.seek(SeekFrom::End(0)).or_fail(cannot)?;
    let cut = || refused(path).because("it does not end as a bundle does: it is cut off, or is none");
    let length = size.checked_sub(SEAL as u64).ok_or_else(cut)?;
    let mut end = [0; SEAL];
    file.seek(SeekFrom::Start(length)).and_then(|_| file.read_exact(&mut end)).or_fail(cannot)?;
    let mut digest = [0; 32];
    digest.copy_from_slice(&end[SEAL - 32..]);
    if end != seal(&digest) {
        return Err(cut());
    }
    file.rewind().or_fail(cannot)?;
    Ok((BufReader::new(file).take(length), digest))
}

fn parsed(text: &[u8]) -> std::result::Result<Manifest, String> {
    if text.len() as u64 > MANIFEST_LIMIT {
        return Err(format!("its manifest is larger than {MANIFEST_LIMIT} bytes"));
    }
    let manifest: Manifest =
        serde_json::from_slice(text).map_err(|error| format!("its manifest is not understood: {error}"))?;
    if manifest.format != FORMAT {
        return Err(format!("it is of format {}, and this rprov knows {FORMAT}", manifest.format));
    }
    let words = [&manifest.rprov, &manifest.made, &manifest.profile, &manifest.architecture];
    let of_indexes =
        manifest.indexes.iter().flat_map(|index| [&index.directory, &index.suite, &index.component]);
    if let Some(odd) =
        words.into_iter().chain(&manifest.packages).chain(of_indexes).find(|word| !is_word(word))
    {
        return Err(format!("its manifest says `{}`", odd.escape_default()));
    }
    let indexes: BTreeSet<_> = manifest.indexes.iter().collect();
    if indexes.len() != manifest.indexes.len() {
        return Err("its manifest names an index twice".to_owned());
    }
    let mut seen = BTreeSet::new();
    for entry in &manifest.files {
        if !is_plain(&entry.path) {
            return Err(format!(
                "its manifest names the path `{}`, which leads elsewhere",
                entry.path.escape_default()
            ));
        }
        if !seen.insert(&entry.path) {
            return Err(format!("its manifest names `{}` twice", entry.path));
        }
    }
    match manifest.size() {
        size if size > TOTAL => {
            Err(format!("it would unpack to {} GiB, and {} are the most", size >> 30, TOTAL >> 30))
        }
        _ => Ok(manifest),
    }
}

/// It is shown on a terminal.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn name<R: Read>(entry: &tar::Entry<R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

/// A plain file of that name and size, and nothing else: no link, no extension of the format.
fn is_file<R: Read>(
    entry: &tar::Entry<R>,
    wanted: &str,
    size: Option<u64>,
) -> std::result::Result<(), String> {
    let name = name(entry);
    let kind = entry.header().entry_type();
    if name != wanted {
        return Err(format!("`{}` is where `{wanted}` should follow", name.escape_default()));
    }
    if kind != tar::EntryType::Regular {
        return Err(format!("`{wanted}` is no plain file, but {kind:?}"));
    }
    match (entry.header().entry_size(), size) {
        (Ok(found), Some(size)) if found != size => {
            Err(format!("`{wanted}` has {found} bytes, and its manifest says {size}"))
        }
        (Ok(_), _) => Ok(()),
        (Err(error), _) => Err(format!("`{wanted}` has a size that is none: {error}")),
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Hashing<R> {
        Hashing { inner, hasher: Sha256::new() }
    }
    fn digest(self) -> String {
        HEXLOWER.encode(&self.hasher.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.hasher.update(&into[..length]);
        Ok(length)
    }
}
