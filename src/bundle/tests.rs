//! Bundles made here and tampered with: each is refused by its name, and nothing is written.

mod rpms;

use super::writer::{entry, seal, write};
use super::*;
use crate::error::Exit;
use crate::host::local::LocalHost;
use crate::trust::Pin;
use crate::trust::apt::AptSource;
use data_encoding::HEXLOWER;
use sequoia_openpgp as openpgp;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// This machine, whose files bundles are read from.
fn host() -> LocalHost {
    LocalHost::new(Path::new("/"), Box::new(|_| ()), Duration::ZERO, "/nowhere".into())
}

struct Signer {
    cert: openpgp::Cert,
}

impl Signer {
    fn new() -> Signer {
        let builder = openpgp::cert::CertBuilder::new().add_userid("bundles, in tests").add_signing_subkey();
        Signer { cert: builder.generate().unwrap().0 }
    }

    fn public(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        openpgp::serialize::Marshal::export(&self.cert, &mut bytes).unwrap();
        bytes
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let policy = openpgp::policy::StandardPolicy::new();
        let key = self.cert.keys().secret().with_policy(&policy, None).for_signing().next().unwrap();
        let pair = key.key().clone().into_keypair().unwrap();
        let mut signed = Vec::new();
        let message = openpgp::serialize::stream::Message::new(&mut signed);
        let signer = openpgp::serialize::stream::Signer::new(message, pair).unwrap().cleartext();
        let mut signer = signer.build().unwrap();
        signer.write_all(text.as_bytes()).unwrap();
        signer.finalize().unwrap();
        signed
    }
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

const DEB: &str = "docker/pool/docker-ce_29.deb";
const OLD: &[u8] = b"an older package, signed once";
const NEW: &[u8] = b"the package";

/// The files of a bundle with one package: the index lists an older one, too.
fn files(signer: &Signer) -> Vec<(String, Vec<u8>)> {
    let record = |name: &str, bytes: &[u8]| {
        format!(
            "Package: docker-ce\nVersion: {name}\nFilename: pool/docker-ce_{name}.deb\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            sha256(bytes)
        )
    };
    let packages = record("28", OLD) + &record("29", NEW);
    let release = format!(
        "Origin: Docker\nSuite: noble\nCodename: noble\nDate: Thu, 01 Jan 2026 12:00:00 UTC\nArchitectures: amd64\n\
         Components: stable\nSHA256:\n {} {} stable/binary-amd64/Packages\n",
        sha256(packages.as_bytes()),
        packages.len()
    );
    [
        ("docker/dists/noble/InRelease", signer.sign(&release)),
        ("docker/dists/noble/stable/binary-amd64/Packages", packages.into_bytes()),
        (DEB, NEW.to_vec()),
    ]
    .map(|(path, bytes)| (path.to_owned(), bytes))
    .into()
}

fn origin(signer: &Signer) -> Origin {
    let index = AptSource {
        root: "https://download.docker.com/linux/ubuntu".into(),
        suite: "noble".into(),
        component: "stable".into(),
        architecture: "amd64".into(),
        pin: Pin::of_file(signer.public()).unwrap(),
    };
    Origin { directory: "docker".into(), index: Index::Apt(index) }
}

fn manifest(signer: &Signer, files: &[(String, Vec<u8>)]) -> Manifest {
    let entry = |(path, bytes): &(String, Vec<u8>)| Entry {
        path: path.clone(),
        size: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    Manifest {
        format: FORMAT,
        rprov: "0.1.0".into(),
        made: "2026-01-01T12:00:00Z".into(),
        profile: "ubuntu-24.04".into(),
        architecture: "amd64".into(),
        packages: vec!["docker-ce=29".into()],
        indexes: vec![origin(signer).listed()],
        files: files.iter().map(entry).collect(),
    }
}

/// A directory, and a bundle in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("host.bundle")
    }

    /// As `rprov bundle create` writes it.
    fn written(&self, manifest: &Manifest, files: &[(String, Vec<u8>)]) -> &Place {
        let sources: Vec<PathBuf> = (0..files.len()).map(|n| self.0.path().join(n.to_string())).collect();
        for (source, (_, bytes)) in sources.iter().zip(files) {
            std::fs::write(source, bytes).unwrap();
        }
        write(&self.file(), manifest, &sources, &host()).unwrap();
        self
    }

    /// Any tar, with a right seal.
    fn sealed(&self, tar: &[u8]) -> &Place {
        self.compressed(&zstd::encode_all(tar, 3).unwrap())
    }

    fn compressed(&self, frame: &[u8]) -> &Place {
        let digest: [u8; 32] = Sha256::digest(frame).into();
        std::fs::write(self.file(), [frame, &seal(&digest)].concat()).unwrap();
        self
    }

    /// The tar of the bundle that is there.
    fn tar(&self) -> Vec<u8> {
        zstd::decode_all(&std::fs::read(self.file()).unwrap()[..]).unwrap()
    }

    fn check(&self, signer: &Signer) -> Result<Checked> {
        check(&self.file(), |_, _| Ok(vec![origin(signer)]), &host())
    }

    /// Refused, and each of the words is said.
    fn is_refused(&self, signer: &Signer, words: &[&str]) {
        let error = self.check(signer).expect_err("is refused");
        assert_eq!(error.exit, Exit::Refused, "{error}");
        for word in words.iter().chain(&["host.bundle"]) {
            assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
        }
    }
}

fn tar(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(*kind);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn what_is_written_is_checked_from_the_pinned_key_down() {
    let signer = Signer::new();
    let files = files(&signer);
    let place = Place::new();
    let manifest = manifest(&signer, &files);
    let checked = place.written(&manifest, &files).check(&signer).expect("is right");
    assert_eq!((checked.manifest, checked.packages), (manifest, 1));
    assert_eq!(checked.origins, [origin(&signer)]);
}

#[test]
fn an_image_that_is_packed_is_refused() {
    let signer = Signer::new();
    let mut files = files(&signer);
    files.push(("images/a.tar".into(), zstd::encode_all(&[0; 4096][..], 1).unwrap()));
    let place = Place::new();
    place.written(&manifest(&signer, &files), &files).is_refused(&signer, &["`images/a.tar` is packed"]);
}

#[test]
fn one_flipped_byte_anywhere_is_refused() {
    let signer = Signer::new();
    let files = files(&signer);
    let place = Place::new();
    place.written(&manifest(&signer, &files), &files);
    let right = std::fs::read(place.file()).unwrap();
    for at in 0..right.len() {
        let mut bytes = right.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(place.file(), bytes).unwrap();
        let error = place.check(&signer).expect_err(&format!("byte {at} of {}", right.len()));
        assert_eq!(error.exit, Exit::Refused, "byte {at}: {error}");
    }
}

#[test]
fn what_is_cut_off_or_followed_by_more_is_refused() {
    let signer = Signer::new();
    let files = files(&signer);
    let place = Place::new();
    place.written(&manifest(&signer, &files), &files);
    let right = std::fs::read(place.file()).unwrap();
    let tar = place.tar();
    for length in [0, 1, 39, 40, 100, right.len() / 2, right.len() - 1] {
        std::fs::write(place.file(), &right[..length]).unwrap();
        place.is_refused(&signer, &[]);
    }
    std::fs::write(place.file(), [&right[..], b"more"].concat()).unwrap();
    place.is_refused(&signer, &["does not end as a bundle does"]);
    let frame = zstd::encode_all(&tar[..], 3).unwrap();
    for more in [&b"more"[..], &frame] {
        place.compressed(&[&frame, more].concat()).is_refused(&signer, &["behind its end"]);
    }
    place.sealed(&[&tar[..], &[0; 512]].concat()).is_refused(&signer, &["behind its end"]);
    place.sealed(&[&tar[..], b"more"].concat()).is_refused(&signer, &["behind its end"]);
}

#[test]
fn another_package_is_refused_also_one_that_was_signed_once() {
    let signer = Signer::new();
    let right = files(&signer);
    let place = Place::new();
    // The older one under the name of the newer: the manifest agrees, the index does not.
    let mut swapped = right.clone();
    swapped[2].1 = OLD.to_vec();
    place
        .written(&manifest(&signer, &swapped), &swapped)
        .is_refused(&signer, &[DEB, "is not what its index lists"]);
    // The manifest alone lies.
    let mut lying = manifest(&signer, &right);
    lying.files[2].sha256 = sha256(OLD);
    place.written(&lying, &right).is_refused(&signer, &[DEB, "is not what the manifest says"]);
    let mut more = right.clone();
    more.push(("docker/pool/evil.deb".into(), b"evil".to_vec()));
    let words = ["docker/pool/evil.deb", "listed in no index"];
    place.written(&manifest(&signer, &more), &more).is_refused(&signer, &words);
}

#[test]
fn an_index_that_the_pinned_key_did_not_sign_is_refused() {
    let (signer, other) = (Signer::new(), Signer::new());
    let place = Place::new();
    let theirs = files(&other);
    let words = ["signature is not that of the pinned key", "docker/dists/noble/InRelease"];
    place.written(&manifest(&signer, &theirs), &theirs).is_refused(&signer, &words);
    // Another list of packages under a right signature.
    let mut right = files(&signer);
    right[1].1.extend_from_slice(b"\nPackage: evil\n");
    let words = ["is not what was signed", "Packages"];
    place.written(&manifest(&signer, &right), &right).is_refused(&signer, &words);
    // A source that nobody knows.
    let right = files(&signer);
    let mut lying = manifest(&signer, &right);
    lying.indexes[0].suite = "jammy".into();
    place.written(&lying, &right).is_refused(&signer, &["jammy", "nobody is pinned"]);
    lying.indexes = vec![manifest(&signer, &right).indexes[0].clone(); 2];
    place.written(&lying, &right).is_refused(&signer, &["names an index twice"]);
    lying.packages = vec!["docker-ce\n\u{1b}[1A".into()];
    place.written(&lying, &right).is_refused(&signer, &["its manifest says `docker-ce"]);
    lying.packages.clear();
    lying.indexes.clear();
    place.written(&lying, &right).is_refused(&signer, &["listed in no index"]);
}

#[test]
fn paths_that_lead_elsewhere_and_links_are_refused() {
    let signer = Signer::new();
    let place = Place::new();
    for path in ["/etc/passwd", "../x", "docker/../../x", "docker//x", "./x", "docker/", "", "a\\b", "a\nb"] {
        let mut files = files(&signer);
        files[2].0 = path.to_owned();
        let text = serde_json::to_vec(&manifest(&signer, &files)).unwrap();
        place.sealed(&tar(&[(MANIFEST, tar::EntryType::Regular, &text)]));
        place.is_refused(&signer, &["leads elsewhere"]);
    }
    let mut twice = files(&signer);
    twice.push(twice[2].clone());
    let text = serde_json::to_vec(&manifest(&signer, &twice)).unwrap();
    place.sealed(&tar(&[(MANIFEST, tar::EntryType::Regular, &text)])).is_refused(&signer, &["twice"]);

    let files = files(&signer);
    let text = serde_json::to_vec(&manifest(&signer, &files)).unwrap();
    let first = files[0].0.as_str();
    use tar::EntryType as Is;
    for kind in [
        Is::Symlink,
        Is::Link,
        Is::Directory,
        Is::Char,
        Is::Fifo,
        Is::GNUSparse,
        Is::XHeader,
        Is::GNULongName,
    ] {
        let entries = [(MANIFEST, Is::Regular, &text[..]), (first, kind, &files[0].1)];
        place.sealed(&tar(&entries)).is_refused(&signer, &["is no plain file", first]);
    }
    let entries = [(MANIFEST, Is::Regular, &text[..]), ("../../etc/passwd", Is::Regular, &files[0].1)];
    place.sealed(&tar(&entries)).is_refused(&signer, &["../../etc/passwd", "should follow"]);
    place.sealed(&tar(&[("x", Is::Regular, &text)])).is_refused(&signer, &["`x` is where `manifest.json`"]);
    let mut all = vec![(MANIFEST, Is::Regular, &text[..])];
    all.extend(files.iter().map(|(path, bytes)| (path.as_str(), Is::Regular, &bytes[..])));
    all.push(("evil", Is::Regular, b"evil"));
    place.sealed(&tar(&all)).is_refused(&signer, &["`evil`, which its manifest does not name"]);
}

#[test]
fn what_would_fill_the_disk_is_refused_before_it_is_unpacked() {
    let signer = Signer::new();
    let place = Place::new();
    let right = files(&signer);
    let huge = |size: u64| {
        let mut lying = manifest(&signer, &right);
        lying.files[2].size = size;
        lying
    };
    place.written(&huge(100 << 30), &right).is_refused(&signer, &["would unpack to 100 GiB"]);
    place.written(&huge(u64::MAX), &right).is_refused(&signer, &["would unpack to"]);
    place.written(&huge(1 << 30), &right).is_refused(&signer, &[]);
    // More than the manifest says: a gigabyte of zeros, of which nothing is read.
    let text = serde_json::to_vec(&manifest(&signer, &right)).unwrap();
    let zeros = vec![0; 1 << 28];
    let entries =
        [(MANIFEST, tar::EntryType::Regular, &text[..]), (&right[0].0, tar::EntryType::Regular, &zeros)];
    place.sealed(&tar(&entries)).is_refused(&signer, &["InRelease", "268435456 bytes"]);
    place
        .sealed(&tar(&[(MANIFEST, tar::EntryType::Regular, &zeros)]))
        .is_refused(&signer, &["manifest is larger"]);
}

#[test]
fn a_file_is_measured_as_it_is() {
    let place = Place::new();
    std::fs::write(place.file(), NEW).unwrap();
    let measured = entry("a".into(), &place.file(), &host()).unwrap();
    assert_eq!(measured, Entry { path: "a".into(), size: NEW.len() as u64, sha256: sha256(NEW) });
}
