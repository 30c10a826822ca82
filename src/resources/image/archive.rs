//! The names in an archive of images, which is read as it streams by: it may be larger than memory.

use crate::error::{Error, OrFail, Result};
use crate::host::{Look, Portioned, Stream};
use serde::Deserialize;
use std::cell::Cell;
use std::io::{self, Read};
use std::path::Path;

/// The largest `manifest.json`: a thousand images have some 2 MB.
const MANIFEST_LIMIT: u64 = 16 << 20;

/// What the headers of one file may have: a name that is longer than others has some hundred bytes.
const HEADERS_LIMIT: u64 = 1 << 20;

const MADE_BY: &str = "docker save --output images.tar registry:3";

/// An image, and by which files the archive has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

pub fn wrong(path: &Path) -> Error {
    Error::usage(format!("cannot use `{}` as an image", path.display()))
        .hint(format!("make it by `{MADE_BY}`"))
}

/// Each name once, in the archive's order.
///
/// # Errors
/// There is no such file, or it is no archive of images that all have a name: exit 2.
pub fn names(path: &Path, host: &dyn Look) -> Result<Vec<String>> {
    let file = host.open(path)?.ok_or_else(|| {
        wrong(path)
            .because("there is no such file")
            .hint(format!("`{MADE_BY}` writes one, where the images are"))
    })?;
    let none = "it is no archive of `docker save`";
    let found = look(file).map_err(|error| wrong(path).because(none).because(error))?;
    let manifest = match found {
        Found::Manifest(bytes) => bytes,
        // The engine's own store knows images by `manifest.json` alone; only containerd's reads an index.
        Found::Layout => {
            return Err(wrong(path)
                .because("it is an OCI layout without a `manifest.json`, which not every engine loads")
                .hint(format!(
                    "skopeo copy oci-archive:{} docker-archive:images.tar:NAME:TAG",
                    path.display()
                )));
        }
        Found::Neither => return Err(wrong(path).because(format!("it has no `manifest.json`: {none}"))),
    };
    let images: Vec<Saved> = serde_json::from_slice(&manifest)
        .map_err(|error| wrong(path).because("its `manifest.json` is not understood").because(error))?;
    let mut names: Vec<String> = Vec::new();
    for tags in images.into_iter().map(|image| image.repo_tags.unwrap_or_default()) {
        if tags.is_empty() {
            return Err(wrong(path).because("an image in it has no name"));
        }
        for name in tags {
            if !is_reference(&name) {
                return Err(wrong(path).because("an image in it has a name that is none").because(name));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

enum Found {
    Manifest(Vec<u8>),
    Layout,
    Neither,
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const OTHERS: [&[u8]; 2] = [b"BZh", b"\xfd7zXZ"];

/// An archive without what is packed around it.
enum Opened {
    Plain(Box<dyn Stream>),
    Unpacked(Box<dyn Read>),
}

fn opened(mut file: Box<dyn Stream>) -> io::Result<Opened> {
    let magic = magic(&mut file)?;
    file.rewind()?;
    Ok(if magic.starts_with(GZIP) {
        Opened::Unpacked(Box::new(flate2::read::MultiGzDecoder::new(file)))
    } else if magic.starts_with(ZSTD) {
        Opened::Unpacked(Box::new(zstd::Decoder::new(file)?))
    } else if OTHERS.iter().any(|other| magic.starts_with(other)) {
        return Err(io::Error::other("it is compressed, and not by gzip or zstd: unpack it first"));
    } else {
        Opened::Plain(file)
    })
}

fn magic(bytes: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::new();
    bytes.take(6).read_to_end(&mut magic)?;
    Ok(magic)
}

/// Whether an archive is packed in any way, by its first bytes.
///
/// # Errors
/// They cannot be read.
pub fn is_packed(bytes: &mut dyn Read) -> io::Result<bool> {
    let magic = magic(bytes)?;
    Ok([GZIP, ZSTD].iter().chain(&OTHERS).any(|kind| magic.starts_with(kind)))
}

/// The bytes of an archive without what is packed around it; none where there is nothing.
pub fn plain(path: &Path, host: &dyn Look) -> Result<Option<Box<dyn Read>>> {
    let Some(file) = host.open(path)? else { return Ok(None) };
    Ok(match opened(file).or_fail(|| format!("cannot read `{}`", path.display()))? {
        Opened::Plain(_) => None,
        Opened::Unpacked(bytes) => Some(bytes),
    })
}

/// Whatever lies between is passed over, by a leap where the file is plain.
fn look(file: Box<dyn Stream>) -> io::Result<Found> {
    let left = Cell::new(HEADERS_LIMIT);
    match opened(file)? {
        Opened::Plain(inner) => {
            let mut archive = tar::Archive::new(Portioned { inner, left: &left });
            passed(archive.entries_with_seek()?, &left, |_| Ok(()))
        }
        Opened::Unpacked(inner) => {
            let mut archive = tar::Archive::new(Portioned { inner, left: &left });
            passed(archive.entries()?, &left, |rest| io::copy(rest, &mut io::sink()).map(drop))
        }
    }
}

/// `left` is what may be read on the way to the next file; `skip` passes over a file.
fn passed<R: Read>(
    entries: tar::Entries<R>,
    left: &Cell<u64>,
    skip: fn(&mut dyn Read) -> io::Result<()>,
) -> io::Result<Found> {
    let mut found = Found::Neither;
    for entry in entries {
        let mut entry = entry?;
        left.set(u64::MAX);
        let path = entry.path()?.into_owned();
        match path.strip_prefix(".").unwrap_or(&path).to_str() {
            // The engine would take the other one.
            Some("manifest.json") if matches!(found, Found::Manifest(_)) => {
                return Err(io::Error::other("it has two `manifest.json`"));
            }
            Some("manifest.json") => {
                let mut manifest = Vec::new();
                (&mut entry).take(MANIFEST_LIMIT).read_to_end(&mut manifest)?;
                found = Found::Manifest(manifest);
            }
            Some("index.json" | "oci-layout") if matches!(found, Found::Neither) => found = Found::Layout,
            _ => {}
        }
        skip(&mut entry)?;
        left.set(HEADERS_LIMIT);
    }
    Ok(found)
}

/// It becomes a word of a unit's command line: nothing there that systemd or docker would read as something else.
fn is_reference(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:._-@".contains(&b);
    !name.starts_with('-') && name.contains(':') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::Image;
    use super::*;
    use crate::error::Exit;
    use crate::host::fake::FakeHost;
    use crate::host::local::LocalHost;
    use std::time::Duration;

    const TWO: &str = r#"[{"RepoTags":["a:1","also-a:1"]},{"RepoTags":["b:2"]},{"RepoTags":["a:1"]}]"#;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Image> {
        let path = Path::new("/srv/images.tar");
        Image::of_archive(path, &FakeHost::new().file(path, bytes))
    }

    fn refused(made: Result<Image>, reason: &str) {
        let error = made.unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.to_string().contains(reason), "{error}");
    }

    #[test]
    fn headers_that_would_fill_the_memory_are_refused() {
        // A name of GNU's kind that goes on for 2 MiB.
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(2 * HEADERS_LIMIT);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, io::repeat(b'a').take(2 * HEADERS_LIMIT)).unwrap();
        let large = [&tar.into_inner().unwrap()[..], &archive(&[("manifest.json", TWO)])].concat();
        for bytes in [&large, &zstd::encode_all(&large[..], 1).unwrap()] {
            refused(read(bytes), "larger than it may be");
        }
        // A layer may be as large as it is.
        let layer = "a".repeat(4 * HEADERS_LIMIT as usize);
        let saved = archive(&[("layer.tar", &layer), ("manifest.json", TWO), ("more", &layer)]);
        for bytes in [&saved, &zstd::encode_all(&saved[..], 1).unwrap()] {
            assert_eq!(read(bytes).unwrap().names().count(), 3);
        }
    }

    #[test]
    fn the_names_are_read_from_an_archive_compressed_or_not_and_what_is_none_is_refused() {
        use std::io::Write;
        let saved = archive(&[("layer.tar", "layer"), ("manifest.json", TWO)]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&saved).unwrap();
        // As Docker 25 writes it, and a tar that somebody made of a directory.
        let both = [("index.json", "{}"), ("manifest.json", TWO), ("oci-layout", "{}")];
        for bytes in [
            &gzip.finish().unwrap(),
            &zstd::encode_all(&saved[..], 3).unwrap(),
            &archive(&both),
            &archive(&[("./layer.tar", "layer"), ("./manifest.json", TWO)]),
            &saved,
        ] {
            let image = read(bytes).unwrap();
            assert_eq!(image.names().collect::<Vec<_>>(), ["a:1", "also-a:1", "b:2"]);
        }
        for (manifest, reason) in [
            ("{}", "not understood"),
            ("[]", "holds no image"),
            (r#"[{"RepoTags":null}]"#, "has no name"),
            (r#"[{"RepoTags":["a:1"]},{"RepoTags":[]}]"#, "has no name"),
            (r#"[{"RepoTags":["a:1 --privileged"]}]"#, "a name that is none"),
        ] {
            refused(read(&archive(&[("manifest.json", manifest)])), reason);
        }
        let twice = [("manifest.json", TWO), ("layer.tar", "layer"), ("./manifest.json", "[]")];
        refused(read(&archive(&twice)), "it has two `manifest.json`");
        refused(read(&archive(&[("layer.tar", "layer")])), "no `manifest.json`");
        refused(read(&archive(&[("oci-layout", "{}"), ("index.json", "{}")])), "an OCI layout without");
        refused(read(b"no tar at all"), "no archive of `docker save`");
        refused(read(b"\xfd7zXZ\0..."), "not by gzip or zstd");
        refused(Image::of_archive(Path::new("/srv/gone.tar"), &FakeHost::new()), "there is no such file");
    }

    #[test]
    fn where_one_image_is_wanted_several_are_refused() {
        let path = Path::new("/srv/images.tar");
        let one = |text: &str| {
            Image::of_one(path, &FakeHost::new().file(path, archive(&[("manifest.json", text)])))
        };
        assert_eq!(one(r#"[{"RepoTags":["registry:3"]}]"#).unwrap().reference, "registry:3");
        refused(one(TWO), "more than one image");
    }

    /// A layer of a terabyte of holes, by the header of either kind, and the list behind it.
    #[test]
    fn an_archive_larger_than_memory_is_read() {
        use std::os::unix::fs::FileExt;
        let size: u64 = 1 << 40;
        let mut header = tar::Header::new_gnu();
        header.set_path("layer.tar").unwrap();
        header.set_size(size);
        header.set_cksum();
        let gnu = header.as_bytes().to_vec();
        // As Go writes what octal digits cannot say.
        let mut pax = tar::Builder::new(Vec::new());
        pax.append_pax_extensions([("size", size.to_string().as_bytes())]).unwrap();
        header.set_size(0);
        header.set_cksum();
        let pax = [&pax.get_ref()[..], header.as_bytes()].concat();
        for head in [gnu, pax] {
            let directory = tempfile::tempdir().unwrap();
            let file = std::fs::File::create(directory.path().join("large.tar")).unwrap();
            file.write_all_at(&head, 0).unwrap();
            let rest = archive(&[("manifest.json", r#"[{"RepoTags":["a:1"]}]"#)]);
            file.write_all_at(&rest, head.len() as u64 + size).unwrap();
            let host = LocalHost::new(directory.path(), Box::new(|_| ()), Duration::ZERO, "/nowhere".into());
            assert_eq!(Image::of_archive(Path::new("/large.tar"), &host).unwrap().reference, "a:1");
        }
    }
}
