//! How a package of rpm's is checked as it streams by: its header by the pinned key, its payload by the digest in that.
//!
//! Not by rpmkeys(8), which wants a file: nothing of a package is written before it is known to be good. Nor by the
//! `rpm` crate, which follows offsets as a file states them and panics on one that lies.

use super::{Pin, signed_bytes};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::Read;

/// The lead, which says nothing but that it is a package (rpm's `docs/manual/format_v4.md`).
const LEAD: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// The largest header that is read, in bytes; that of kernel-devel has some 4 MB.
const HEADER_LIMIT: u64 = 32 << 20;
/// The same of the signatures before it, and how many of them count.
const SIGNATURES_LIMIT: u64 = 1 << 20;
const SIGNATURES_MOST: usize = 8;

/// Tags (rpm's `include/rpm/rpmtag.h`): of the signatures over the header, by the kind of key and as rpm 6 has them.
const SIGNATURES: [u32; 2] = [268, 267];
const OPENPGP: u32 = 278;
/// And in the header itself.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const PAYLOAD_DIGEST: u32 = 5092;
const PAYLOAD_ALGORITHM: u32 = 5093;
/// OpenPGP's number of SHA-256.
const SHA256: u32 = 8;

/// A package file that was read to its end.
#[derive(Clone, Debug)]
pub struct RpmFile {
    pub name: String,
    /// `3:29.7.2-1.el9`, without an epoch of 0.
    pub version: String,
    /// As rpm names it: `x86_64`, `noarch`.
    pub architecture: String,
    header: Header,
    signatures: Vec<Vec<u8>>,
}

impl RpmFile {
    /// # Errors
    /// What rpm would not take, or a payload that is not the one of its header: refused.
    pub fn read(bytes: &mut dyn Read) -> Result<RpmFile> {
        let mut lead = [0; LEAD];
        fill(bytes, &mut lead)?;
        if lead[..4] != LEAD_MAGIC {
            return Err(Error::refused("it is no package of rpm's"));
        }
        let signatures = Header::read(bytes, SIGNATURES_LIMIT)?;
        // The header of signatures is filled up to eight bytes.
        let padding = (8 - signatures.bytes.len() % 8) % 8;
        fill(bytes, &mut [0; 8][..padding])?;
        let header = Header::read(bytes, HEADER_LIMIT)?;
        let mut hasher = Sha256::new();
        std::io::copy(bytes, &mut hasher)
            .map_err(|error| Error::refused("it cannot be read").because(error))?;
        header.is_of(&data_encoding::HEXLOWER.encode(&hasher.finalize()))?;
        let word = |tag| header.text(tag).ok_or_else(|| Error::refused("its header does not say what it is"));
        let epoch = header.number(EPOCH).filter(|epoch| *epoch != 0);
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        Ok(RpmFile {
            name: word(NAME)?,
            version: format!("{epoch}{}-{}", word(VERSION)?, word(RELEASE)?),
            architecture: word(ARCH)?,
            signatures: signatures.signatures(),
            header,
        })
    }

    /// How many bytes of it are kept.
    pub fn kept(&self) -> u64 {
        self.signatures.iter().chain([&self.header.bytes]).map(|bytes| bytes.len() as u64).sum()
    }

    /// # Errors
    /// No signature over its header is the pinned key's: refused.
    pub fn check(&self, pin: &Pin, now: i64) -> Result<()> {
        let mut against = Error::refused("nobody has signed it");
        for signature in &self.signatures {
            match signed_bytes(&self.header.bytes, signature, pin, now) {
                Ok(_) => return Ok(()),
                Err(error) => against = error,
            }
        }
        Err(against)
    }
}

fn fill(bytes: &mut dyn Read, into: &mut [u8]) -> Result<()> {
    bytes.read_exact(into).map_err(|_| too_short())
}

fn too_short() -> Error {
    Error::refused("it ends too early")
}

/// Entries of sixteen bytes, and behind them what they point to.
#[derive(Clone, Debug)]
struct Header {
    /// From its magic number on, as it is signed.
    bytes: Vec<u8>,
}

impl Header {
    /// Magic number, four bytes of nothing, how many entries, how many bytes behind them.
    const FRONT: usize = 16;
    const ENTRY: usize = 16;

    fn read(from: &mut dyn Read, limit: u64) -> Result<Header> {
        let mut header = Header { bytes: vec![0; Header::FRONT] };
        fill(from, &mut header.bytes)?;
        if header.bytes[..4] != HEADER_MAGIC {
            return Err(Error::refused("its header is none of rpm's"));
        }
        let store = u64::from(header.word(12).unwrap_or_default());
        let length = header.entries() as u64 * Header::ENTRY as u64 + store;
        if length > limit {
            return Err(Error::refused(format!("its header is larger than {} MiB", limit >> 20)));
        }
        let read = from.take(length).read_to_end(&mut header.bytes).map_err(|_| too_short())?;
        if read as u64 == length { Ok(header) } else { Err(too_short()) }
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn entries(&self) -> usize {
        self.word(8).unwrap_or_default() as usize
    }

    /// What a tag points to, up to the header's end, and how many there are of it.
    fn find(&self, tag: u32) -> Option<(&[u8], usize)> {
        let mut entries = (0..self.entries()).map(|n| Header::FRONT + n * Header::ENTRY);
        let entry = entries.find(|at| self.word(*at) == Some(tag))?;
        let (offset, count) = (self.word(entry + 8)? as usize, self.word(entry + 12)? as usize);
        let store = self.bytes.get(Header::FRONT + self.entries() * Header::ENTRY..)?;
        Some((store.get(offset..)?, count))
    }

    /// A string, or the first of several.
    fn text(&self, tag: u32) -> Option<String> {
        let (bytes, _) = self.find(tag)?;
        String::from_utf8(bytes.split(|byte| *byte == 0).next()?.to_vec()).ok()
    }

    fn number(&self, tag: u32) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(tag)?.0.get(..4)?.try_into().ok()?))
    }

    fn signatures(&self) -> Vec<Vec<u8>> {
        let binary = SIGNATURES.iter().filter_map(|tag| {
            let (bytes, length) = self.find(*tag)?;
            Some(bytes.get(..length)?.to_vec())
        });
        let lines = self.find(OPENPGP).map(|(bytes, count)| bytes.split(|byte| *byte == 0).take(count));
        let lines = lines.into_iter().flatten().filter_map(|line| data_encoding::BASE64.decode(line).ok());
        binary.chain(lines).filter(|signature| !signature.is_empty()).take(SIGNATURES_MOST).collect()
    }

    /// # Errors
    /// It names the digest of another payload, or none that counts.
    fn is_of(&self, payload: &str) -> Result<()> {
        // Since rpm 6 the algorithm need not be named.
        let is_sha256 = self.number(PAYLOAD_ALGORITHM).is_none_or(|algorithm| algorithm == SHA256);
        let named = self.text(PAYLOAD_DIGEST).filter(|_| is_sha256);
        match named {
            Some(named) if named.eq_ignore_ascii_case(payload) => Ok(()),
            Some(named) => Err(Error::refused("its payload is not the one that its header names")
                .because(format!("it has the SHA-256 {payload}, and {named} is written there"))),
            None => Err(Error::refused("its header names no SHA-256 of its payload")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Built by rpmbuild and signed by rpmsign.
    const FILE: &[u8] = include_bytes!("../../tests/fixtures/trust/hello.rpm");
    const KEY: &[u8] = include_bytes!("../../tests/fixtures/trust/rpms.asc");

    fn now() -> i64 {
        jiff::Timestamp::now().as_second()
    }

    #[test]
    fn a_package_that_the_pinned_key_signed_is_taken_and_says_what_it_is() {
        let file = RpmFile::read(&mut &*FILE).expect("reads");
        assert_eq!((&*file.name, &*file.version, &*file.architecture), ("hello", "2:1.0-3.el9", "noarch"));
        file.check(&Pin::of_file(KEY.to_vec()).expect("is a key"), now()).expect("is signed by it");
        let other =
            Pin::of_file(include_bytes!("../../profiles/keys/docker-rpm.asc").to_vec()).expect("is a key");
        let error = file.check(&other, now()).expect_err("is signed by another").to_string();
        assert!(error.contains("not that of the pinned key"), "{error}");
    }

    #[test]
    fn no_byte_of_what_is_signed_can_change_and_nothing_that_lies_panics() {
        let pin = Pin::of_file(KEY.to_vec()).expect("is a key");
        let taken =
            |bytes: &[u8]| RpmFile::read(&mut &*bytes).is_ok_and(|file| file.check(&pin, now()).is_ok());
        assert!(taken(FILE));
        // Behind the header of signatures everything counts: it begins with the second magic number.
        let magic = |from: usize| (from..).find(|at| FILE[*at..].starts_with(&HEADER_MAGIC));
        let header = magic(magic(LEAD).expect("is there") + 4).expect("is there");
        let mut bytes = FILE.to_vec();
        for at in (0..bytes.len()).step_by(11) {
            bytes[at] ^= 0x40;
            let fine = taken(&bytes);
            assert!(!fine || at < header, "byte {at} of {} changed, and nobody noticed", bytes.len());
            bytes[at] ^= 0x40;
        }
        for length in (0..FILE.len()).step_by(7) {
            assert!(!taken(&FILE[..length]), "{length} of {} bytes", FILE.len());
        }
        // A header of signatures that would fill the memory.
        let mut bytes = FILE[..LEAD].to_vec();
        bytes.extend(HEADER_MAGIC);
        bytes.extend([[0; 4], [0, 0, 0, 1], [0, 0x20, 0, 0]].concat());
        bytes.resize(bytes.len() + (2 << 20) + 16, 0);
        let error = RpmFile::read(&mut &*bytes).expect_err("is too large").to_string();
        assert!(error.contains("larger than 1 MiB"), "{error}");
        // Counts, offsets and lengths that lead elsewhere.
        for at in (LEAD..FILE.len() - 4).step_by(4) {
            let mut bytes = FILE.to_vec();
            bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
            let _ = taken(&bytes);
        }
    }
}
