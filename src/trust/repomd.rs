//! How a repository of rpms whose index is signed becomes trusted: repomd.xml by the pinned key, the list of packages by the digest in it, each package by the digest in that.

use super::{Pin, no_rollback, signed_bytes};
use crate::error::{Error, Result};
use crate::host::Look;
use crate::host::fetch::mask;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

/// The largest repomd.xml that is read, in bytes; the largest distributions' have some 0.01 MB.
const INDEX_LIMIT: u64 = 1 << 20;
/// The largest list of packages that is read, packed or not, in bytes.
const LIST_LIMIT: u64 = 64 << 20;

/// A verified index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpmIndex {
    /// The SHA-256 of every package, in lower-case hexadecimal digits.
    digests: BTreeSet<String>,
    /// When its list of packages was made, in seconds since the epoch.
    pub made: i64,
}

impl RpmIndex {
    /// Holds files against the digests that were signed.
    ///
    /// # Errors
    /// One that is in no line of the list: refused.
    pub fn check(&self, host: &dyn Look, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let bytes = host.read(file)?.unwrap_or_default();
            if !self.digests.contains(&hex(&bytes)) {
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

/// Fetches and verifies the index of a repository.
///
/// # Errors
/// None there, a signature that is not the pinned key's, one from before `newest_accepted` (seconds since the epoch), a
/// list that is not what was signed: refused.
pub fn rpm_index(host: &dyn Look, url: &str, pin: &Pin, newest_accepted: Option<i64>) -> Result<RpmIndex> {
    let place = format!("{url}/repodata/repomd.xml");
    let about = |error: Error| error.because(format!("that is `{}`", mask(&place)));
    let repomd = host.fetch(&place, INDEX_LIMIT).map_err(|error| unpublished(error, url))?;
    let signature = host.fetch(&format!("{place}.asc"), INDEX_LIMIT).map_err(|error| match error.absent {
        true => Error::refused(format!("the repository at `{}` is not signed", mask(url)))
            .because("it has no `repodata/repomd.xml.asc`"),
        false => error,
    })?;
    let signed_at = signed_bytes(&repomd, &signature, pin, host.now()).map_err(|error| {
        about(error).or_hint("take another mirror, or name its key with `key` below its `[source]`")
    })?;
    let text = String::from_utf8_lossy(&repomd);
    let list = primary(&text).ok_or_else(|| about(Error::refused("the index names no list of packages")))?;
    let made = list.made.unwrap_or(signed_at);
    no_rollback(made, newest_accepted).map_err(about)?;
    let packed = host.fetch(&format!("{url}/{}", list.path), LIST_LIMIT)?;
    if hex(&packed) != list.sha256 {
        let what = format!("`{}` is not what was signed", mask(&list.path));
        let size = packed.len() as u64;
        // As with apt: shorter is worth another try, any other content is not.
        return Err(match list.size.filter(|signed| size < *signed) {
            Some(signed) => Error::try_again(what)
                .because(format!("it has {size} bytes, {signed} were signed"))
                .hint("the mirror is being updated, or the transfer was cut; try again in some minutes"),
            None => Error::refused(what)
                .because("its digest is another one")
                .hint("use another mirror; one that is being updated may be right again in some minutes"),
        });
    }
    let plain = unpacked(&packed, &list.path)?;
    Ok(RpmIndex { digests: digests(&String::from_utf8_lossy(&plain)), made })
}

fn unpublished(error: Error, url: &str) -> Error {
    if !error.absent {
        return error;
    }
    Error::refused(format!("there is no repository at `{}`", mask(url)))
        .because("it has no `repodata/repomd.xml`")
        .absent()
        .hint("check the address of the source; a mirror keeps the layout of the original")
}

struct List {
    path: String,
    sha256: String,
    /// In bytes, as it is packed.
    size: Option<u64>,
    /// In seconds since the epoch.
    made: Option<i64>,
}

/// `<data type="primary"><checksum type="sha256">…</checksum>…<location href="…"/>…</data>`
fn primary(repomd: &str) -> Option<List> {
    let (_, rest) = repomd.split_once("<data type=\"primary\">")?;
    let (data, _) = rest.split_once("</data>")?;
    let (_, checksum) = data.split_once("<checksum type=\"sha256\">")?;
    let (_, location) = data.split_once("<location href=\"")?;
    let path = location.split('"').next()?.to_owned();
    let number = |element: &str| data.split_once(element)?.1.split('<').next()?.trim().parse::<u64>().ok();
    let made = number("<timestamp>").and_then(|seconds| seconds.try_into().ok());
    let inside = !path.starts_with('/') && !path.contains("..") && !path.contains("://");
    let sha256 = checksum.split('<').next()?.trim().to_ascii_lowercase();
    inside.then_some(List { path, sha256, size: number("<size>"), made })
}

/// `<checksum type="sha256" pkgid="YES">…</checksum>`, one a package.
fn digests(list: &str) -> BTreeSet<String> {
    let behind = list.split("<checksum type=\"sha256\" pkgid=\"YES\">").skip(1);
    behind
        .filter_map(|rest| rest.split('<').next())
        .map(|digest| digest.trim().to_ascii_lowercase())
        .collect()
}

/// createrepo packs with gzip unless it is told otherwise.
fn unpacked(packed: &[u8], path: &str) -> Result<Vec<u8>> {
    if path.ends_with(".xml") {
        return Ok(packed.to_vec());
    }
    if !path.ends_with(".gz") {
        return Err(Error::refused(format!("cannot read `{path}`"))
            .because("this version of rprov unpacks lists of packages by gzip only"));
    }
    let mut plain = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(packed).take(LIST_LIMIT + 1).read_to_end(&mut plain);
    read.map_err(|e| Error::refused(format!("cannot unpack `{path}`")).because(e))?;
    if plain.len() as u64 > LIST_LIMIT {
        return Err(Error::refused(format!("`{path}` unpacks to more than {LIST_LIMIT} bytes")));
    }
    Ok(plain)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_found_in_the_index_and_the_digests_in_the_list() {
        let repomd = "<repomd>\n<data type=\"filelists\"><location href=\"x\"/></data>\n<data type=\"primary\">\n\
            <checksum type=\"sha256\">AB</checksum>\n<open-checksum type=\"sha256\">cd</open-checksum>\n\
            <location href=\"repodata/ab-primary.xml.gz\"/>\n<timestamp>1795260192</timestamp>\n<size>17</size>\n</data>\n</repomd>";
        let list = primary(repomd).expect("is there");
        let found = (list.path.as_str(), list.sha256.as_str(), list.size, list.made);
        assert_eq!(found, ("repodata/ab-primary.xml.gz", "ab", Some(17), Some(1_795_260_192)));
        for outside in ["/etc/passwd", "../x", "https://elsewhere.example/x"] {
            let repomd = repomd.replace("repodata/ab-primary.xml.gz", outside);
            assert!(primary(&repomd).is_none(), "{outside}");
        }
        let text = "<package><checksum type=\"sha256\" pkgid=\"YES\">12</checksum></package>\
            <package><checksum type=\"sha256\" pkgid=\"YES\">34</checksum></package>";
        assert_eq!(digests(text), ["12".to_owned(), "34".to_owned()].into());
    }
}
