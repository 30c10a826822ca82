//! Writes a bundle: a tar of plain files, the manifest first, in one frame of zstd, and the digest of that behind it.

use super::far::Far;
use super::{Entry, MANIFEST, Manifest};
use crate::error::{Error, OrFail, Result};
use crate::host::{Look, Stream, Touch};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Packages are compressed already: more effort would gain nothing.
const LEVEL: i32 = 6;

/// A frame that zstd skips (RFC 8878, section 3.1.2), so that its own tools read a bundle too: magic number, length,
/// and the SHA-256 of all before it.
pub const SEAL: usize = 8 + 32;

pub fn seal(digest: &[u8; 32]) -> [u8; SEAL] {
    let mut seal = [0; SEAL];
    seal[..4].copy_from_slice(&0x184D_2A50_u32.to_le_bytes());
    seal[4..8].copy_from_slice(&32_u32.to_le_bytes());
    seal[8..].copy_from_slice(digest);
    seal
}

/// A file that goes into a bundle, measured.
pub fn entry(path: String, from: &Path, host: &dyn Look) -> Result<Entry> {
    let cannot = || format!("cannot read `{}`", from.display());
    let mut file = BufReader::new(opened(from, host)?);
    let mut hasher = Sha256::new();
    let size = std::io::copy(&mut file, &mut hasher).or_fail(cannot)?;
    Ok(Entry { path, size, sha256: HEXLOWER.encode(&hasher.finalize()) })
}

fn opened(from: &Path, host: &dyn Look) -> Result<Box<dyn Stream>> {
    let cannot = || Error::failed(format!("cannot read `{}`", from.display()));
    host.open(from)?.ok_or_else(|| cannot().because("it is gone"))
}

/// Writes the manifest and each of its files, `sources` in the same order.
pub fn write(place: &Path, manifest: &Manifest, sources: &[PathBuf], host: &dyn Touch) -> Result<()> {
    let cannot = || format!("cannot write `{}`", place.display());
    let out = Hashed { inner: BufWriter::new(File::create(place).or_fail(cannot)?), hasher: Sha256::new() };
    let mut encoder = zstd::Encoder::new(out, LEVEL).or_fail(cannot)?;
    encoder.include_checksum(true).or_fail(cannot)?;
    let mut tar = tar::Builder::new(encoder);
    let text = serde_json::to_vec_pretty(manifest).or_fail(cannot)?;
    let far = Far::new("writing", manifest.size(), host);
    append(&mut tar, MANIFEST, text.len() as u64, &text[..]).or_fail(cannot)?;
    for (entry, source) in manifest.files.iter().zip(sources) {
        append(&mut tar, &entry.path, entry.size, far.counts(opened(source, host)?))
            .or_fail(|| format!("cannot put `{}` into the bundle", entry.path))?;
    }
    far.over();
    let out = tar.into_inner().and_then(|encoder| encoder.finish()).or_fail(cannot)?;
    let digest: [u8; 32] = out.hasher.finalize().into();
    let mut file = out.inner;
    file.write_all(&seal(&digest)).and_then(|()| file.flush()).or_fail(cannot)?;
    file.get_ref().sync_all().or_fail(cannot)
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    size: u64,
    bytes: impl Read,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    tar.append(&header, bytes)
}

struct Hashed<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
