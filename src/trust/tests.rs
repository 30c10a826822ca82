//! Keys and indexes made once with gpg (tests/fixtures/trust), each wrong in one way.

use super::apt::{AptIndex, AptSource, Record, apt_index, parse_packages, parse_release};
use super::*;
use crate::error::Exit;
use crate::host::{Look, Output, Question, Room, Stat};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/trust/", $name))
    };
}

const FINGERPRINTS: &[u8] = fixture!("fingerprints");
const PACKAGES: &[u8] = fixture!("Packages");
const GOOD: &[u8] = fixture!("good.InRelease");
/// 12:00 on 1 January 2026: when every InRelease is dated.
const NOON: i64 = 1_767_268_800;
const A_MONTH_LATER: i64 = NOON + 40 * 86400;
const ROOT: &str = "https://mirror.example/linux/ubuntu";
const IN_RELEASE: &str = "InRelease";
const PLAIN: &str = "stable/binary-amd64/Packages";
const GZ: &str = "stable/binary-amd64/Packages.gz";

fn fingerprint(name: &str) -> String {
    let lines = str::from_utf8(FINGERPRINTS).unwrap().lines();
    lines.filter_map(|line| line.split_once(' ')).find(|(n, _)| *n == name).unwrap().1.to_owned()
}

fn pin(name: &str) -> Pin {
    let key: &[u8] = match name {
        "good" => fixture!("good.asc"),
        "expired" => fixture!("expired.asc"),
        "revoked" => fixture!("revoked.asc"),
        "old" => fixture!("old.asc"),
        _ => fixture!("rogue.asc"),
    };
    Pin { key: key.to_owned(), fingerprints: vec![fingerprint(name)] }
}

/// Why a message is refused.
fn refusal(message: &[u8], pin: &Pin, now: i64) -> String {
    let error = signed_text(message, pin, now).err().unwrap();
    assert_eq!(error.exit, Exit::Refused, "{error}");
    error.to_string()
}

fn edited(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = str::from_utf8(message).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

#[test]
fn a_key_counts_only_by_its_whole_fingerprint() {
    let good = pin("good");
    assert_eq!(certificates(&good).unwrap().len(), 1);
    let with = |fingerprints: &[&str]| {
        let fingerprints = fingerprints.iter().map(|f| (*f).to_owned()).collect();
        certificates(&Pin { fingerprints, ..good.clone() }).err().map(|e| e.exit)
    };
    let whole = fingerprint("good");
    assert_eq!(with(&[&whole.to_lowercase()]), None);
    assert_eq!(with(&[&fingerprint("rogue"), &whole]), None);
    assert_eq!(with(&[]), Some(Exit::Refused));
    assert_eq!(with(&[&fingerprint("rogue")]), Some(Exit::Refused));
    for short in [&whole[24..], &whole[32..], &format!("0x{}", &whole[2..]), &format!("{whole} "), ""] {
        assert_eq!(with(&[&whole, short]), Some(Exit::Refused), "{short}");
    }
}

#[test]
fn one_certificate_that_is_not_pinned_spoils_a_key_file() {
    let mut key = pin("good").key;
    key.extend(pin("rogue").key);
    let both = Pin { key, ..pin("good") };
    assert!(certificates(&both).unwrap_err().to_string().contains(&fingerprint("rogue")));
    let all = Pin { fingerprints: vec![fingerprint("good"), fingerprint("rogue")], ..both };
    assert_eq!(certificates(&all).unwrap().len(), 2);
}

#[test]
fn an_administrators_file_is_its_own_pin_armored_or_binary() {
    use openpgp::serialize::Serialize;
    let mut binary = Vec::new();
    for name in ["good", "rogue"] {
        certificates(&pin(name)).unwrap()[0].serialize(&mut binary).unwrap();
    }
    for key in [pin("good").key, binary] {
        let own = Pin::of_file(key).unwrap();
        assert_eq!(own.fingerprints[0], fingerprint("good"));
        assert!(signed_text(GOOD, &own, NOON).is_ok());
    }
    for junk in [&b""[..], b"<html>", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"] {
        assert_eq!(Pin::of_file(junk.to_owned()).unwrap_err().exit, Exit::Refused);
    }
}

#[test]
fn the_keys_that_ship_are_read() {
    let docker = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/keys/docker-deb.asc"));
    let pin = Pin::of_file(docker.to_vec()).unwrap();
    assert_eq!(pin.fingerprints, ["9DC858229FC7DD38854AE2D88D81803C0EBFCD88"]);
}

#[test]
fn a_good_signature_gives_the_signed_text_and_its_time() {
    let signed = signed_text(GOOD, &pin("good"), A_MONTH_LATER).unwrap();
    assert!(signed.text.starts_with("Origin: Docker\n"), "{}", signed.text);
    assert!(!signed.text.contains("PGP"));
    assert_eq!(signed.at, NOON);
}

#[test]
fn a_clock_that_is_behind_does_not_make_a_signature_bad() {
    assert_eq!(signed_text(GOOD, &pin("good"), 0).unwrap().at, NOON);
}

#[test]
fn a_changed_text_and_a_foreign_key_are_refused() {
    refusal(&edited(GOOD, "Suite: noble", "Suite: jammy"), &pin("good"), NOON);
    refusal(fixture!("rogue.InRelease"), &pin("good"), NOON);
    refusal(GOOD, &pin("rogue"), NOON);
}

#[test]
fn a_key_that_has_expired_or_was_revoked_since_it_signed_is_refused() {
    let (expired, revoked) = (fixture!("expired.InRelease"), fixture!("revoked.InRelease"));
    assert!(signed_text(expired, &pin("expired"), NOON - 86400 * 10).is_ok());
    let why = refusal(expired, &pin("expired"), NOON);
    assert!(why.contains("xpired on 2026-01-01"), "{why}");
    assert!(refusal(revoked, &pin("revoked"), A_MONTH_LATER).contains("revoked"));
}

#[test]
fn sha1_counts_within_a_pinned_certificate_and_never_over_data() {
    assert!(signed_text(fixture!("old.InRelease"), &pin("old"), NOON).is_ok());
    let why = refusal(fixture!("sha1-data.InRelease"), &pin("good"), NOON);
    assert!(why.contains("Policy rejected"), "{why}");
    let cuda = Pin::of_file(fixture!("nvidia-cuda-3bf863cc.asc").to_vec()).unwrap();
    let cert = &certificates(&cuda).unwrap()[0];
    assert_eq!(cuda.fingerprints, ["EB693B3035CD5710E231E123A4B469963BF863CC"]);
    assert!(cert.with_policy(&StandardPolicy::new(), None).is_err());
    assert!(cert.with_policy(&policy(), None).is_ok());
}

#[test]
fn text_outside_the_signed_part_is_refused() {
    let text = str::from_utf8(GOOD).unwrap();
    for forged in [
        format!("Suite: jammy\n\n{text}"),
        format!("\n{text}"),
        format!("{text}Suite: jammy\n"),
        format!("{text}{text}"),
        text.replace(
            "-----BEGIN PGP SIGNATURE",
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n-----BEGIN PGP SIGNATURE",
        ),
        text.replace("\n-----BEGIN PGP SIGNATURE-----\n", "\n-----BEGIN PGP SIGNATURE-----\n-----NO\n"),
        text.replace("Hash: SHA512\n", "Hash: SHA512\nSuite: jammy\n"),
        "<html>log in first</html>".to_owned(),
    ] {
        refusal(forged.as_bytes(), &pin("good"), NOON);
    }
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_worth_another_try() {
    for length in 0..GOOD.len() - "-----END PGP SIGNATURE-----\n".len() {
        assert_eq!(
            signed_text(&GOOD[..length], &pin("good"), NOON).err().unwrap().exit,
            Exit::TryAgain,
            "{length}"
        );
    }
}

/// A mirror: bodies by their path below the suite; each further fetch gets the next body, the last one stays.
#[derive(Default)]
struct Mirror {
    now: i64,
    bodies: RefCell<HashMap<String, Vec<Vec<u8>>>>,
    asked: RefCell<Vec<String>>,
    down: bool,
}

impl Mirror {
    fn new(in_release: &[u8]) -> Self {
        Mirror { now: NOON, ..Mirror::default() }.with(IN_RELEASE, &[in_release])
    }
    fn with(self, path: &str, bodies: &[&[u8]]) -> Self {
        let bodies = bodies.iter().map(|body| body.to_vec()).collect();
        self.bodies.borrow_mut().insert(path.to_owned(), bodies);
        self
    }
    fn at(self, now: i64) -> Self {
        Mirror { now, ..self }
    }
    fn index(&self) -> Result<AptIndex> {
        apt_index(self, &source("good"), None)
    }
    fn error(&self) -> Error {
        self.index().unwrap_err()
    }
}

impl Look for Mirror {
    fn read(&self, _: &Path) -> Result<Option<Vec<u8>>> {
        unreachable!()
    }
    fn stat(&self, _: &Path) -> Result<Option<Stat>> {
        unreachable!()
    }
    fn link(&self, _: &Path) -> Result<Option<PathBuf>> {
        unreachable!()
    }
    fn list(&self, _: &Path) -> Result<Vec<String>> {
        unreachable!()
    }
    fn read_plain(&self, _: &Path, _: u64) -> Result<Option<Vec<u8>>> {
        unreachable!()
    }
    fn room(&self, _: &Path) -> Result<Option<Room>> {
        unreachable!()
    }
    fn attribute(&self, _: &Path, _: &str) -> Result<Option<Vec<u8>>> {
        unreachable!()
    }
    fn query(&self, _: &Question) -> Result<Output> {
        unreachable!()
    }
    fn fetch(&self, url: &str, _: u64) -> Result<Vec<u8>> {
        let path = url.strip_prefix(&format!("{ROOT}/dists/noble/")).unwrap();
        self.asked.borrow_mut().push(path.to_owned());
        if self.down {
            return Err(Error::try_again("down"));
        }
        match self.bodies.borrow_mut().get_mut(path) {
            Some(bodies) if bodies.len() > 1 => Ok(bodies.remove(0)),
            Some(bodies) => Ok(bodies[0].clone()),
            None => Err(Error::failed("404").absent()),
        }
    }
    fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        self.fetch(url, limit)
    }
    fn now(&self) -> i64 {
        self.now
    }
}

fn source(key: &str) -> AptSource {
    AptSource {
        root: ROOT.to_owned(),
        suite: "noble".to_owned(),
        component: "stable".to_owned(),
        architecture: "amd64".to_owned(),
        pin: pin(key),
    }
}

#[test]
fn an_index_is_verified_down_to_its_packages() {
    let mirror = Mirror::new(GOOD).with(PLAIN, &[PACKAGES]);
    let index = mirror.index().unwrap();
    assert_eq!(
        (index.date(), index.packages.as_slice(), index.in_release.as_slice()),
        (NOON, PACKAGES, GOOD)
    );
    let versions: Vec<&str> = index.records.iter().map(|record| record.version.as_str()).collect();
    assert_eq!(versions, ["5:29.7.1-1~ubuntu.24.04~noble", "5:29.7.2-1~ubuntu.24.04~noble"]);
    assert_eq!(*mirror.asked.borrow(), [IN_RELEASE, PLAIN]);
}

#[test]
fn lists_are_named_as_apt_names_them() {
    let names = |root: &str, suite: &str| {
        AptSource { root: root.to_owned(), suite: suite.to_owned(), ..source("good") }.list_names()
    };
    assert_eq!(
        names("https://download.docker.com/linux/ubuntu", "noble"),
        [
            "download.docker.com_linux_ubuntu_dists_noble_InRelease",
            "download.docker.com_linux_ubuntu_dists_noble_stable_binary-amd64_Packages"
        ]
    );
    assert_eq!(
        names("https://u:p@mirror:8443/a_b/~c/", "noble")[0],
        "mirror:8443_a%5fb_%7ec_dists_noble_InRelease"
    );
}

#[test]
fn a_compressed_index_or_one_by_its_digest_serves_as_well() {
    let gz: &[u8] = fixture!("Packages.gz");
    assert_eq!(Mirror::new(GOOD).with(GZ, &[gz]).index().unwrap().packages, PACKAGES);
    let by_hash = fixture!("by-hash.InRelease");
    let release = parse_release(&signed_text(by_hash, &pin("good"), NOON).unwrap().text).unwrap();
    let path = format!("stable/binary-amd64/by-hash/SHA256/{}", release.indexes[PLAIN].sha256);
    let mirror = Mirror::new(by_hash).with(&path, &[PACKAGES]).with(PLAIN, &[b"of tomorrow"]);
    assert!(mirror.index().is_ok());
    assert_eq!(mirror.asked.borrow().len(), 2);
    assert!(Mirror::new(by_hash).with(PLAIN, &[PACKAGES]).index().is_ok());
}

#[test]
fn what_is_not_published_is_refused_and_what_is_down_is_worth_another_try() {
    let error = Mirror::default().error();
    assert_eq!(error.exit, Exit::Refused);
    assert_eq!(error.what(), "`noble` is not published at `https://mirror.example/linux/ubuntu`");
    assert_eq!(Mirror { down: true, ..Mirror::default() }.error().exit, Exit::TryAgain);
    let mirror = Mirror::new(GOOD).with(PLAIN, &[PACKAGES]);
    for (component, architecture) in [("main", "amd64"), ("stable", "s390x")] {
        let source =
            AptSource { component: component.into(), architecture: architecture.into(), ..source("good") };
        let error = apt_index(&mirror, &source, None).unwrap_err();
        assert_eq!(error.exit, Exit::Refused);
        assert!(error.to_string().contains("stable test"), "{error}");
    }
}

#[test]
fn a_tampered_index_is_refused() {
    let forged = edited(GOOD, "Suite: noble", "Suite: jammy");
    assert_eq!(Mirror::new(&forged).with(PLAIN, &[PACKAGES]).error().exit, Exit::Refused);
    let rogue = Mirror::new(fixture!("rogue.InRelease")).with(PLAIN, &[PACKAGES]).error();
    assert_eq!(rogue.exit, Exit::Refused);
    assert!(rogue.to_string().contains("mirror.example"), "{rogue}");
}

#[test]
fn another_suite_of_the_same_key_is_refused() {
    let mirror = Mirror::new(GOOD).with(PLAIN, &[PACKAGES]);
    mirror.bodies.borrow_mut().insert("../jammy/InRelease".to_owned(), vec![GOOD.to_vec()]);
    let jammy = AptSource { suite: "noble/../jammy".to_owned(), ..source("good") };
    let error = apt_index(&mirror, &jammy, None).unwrap_err();
    assert_eq!(error.exit, Exit::Refused);
    assert!(error.to_string().contains("it says that it is `noble`"), "{error}");
}

#[test]
fn a_body_that_is_mended_by_the_next_fetch_is_taken() {
    let mirror = Mirror::new(GOOD).with(PLAIN, &[b"half", b"other", PACKAGES]);
    assert!(mirror.index().is_ok());
    let cut = Mirror::new(GOOD).with(IN_RELEASE, &[&GOOD[..300], GOOD]).with(PLAIN, &[PACKAGES]);
    assert!(cut.index().is_ok());
}

#[test]
fn a_body_that_stays_shorter_is_worth_another_try_and_any_other_is_refused() {
    let longer = [PACKAGES, b"x"].concat();
    let other = edited(PACKAGES, "docker-ce", "docker-co");
    for (body, exit) in [
        (&PACKAGES[..600], Exit::TryAgain),
        (b"", Exit::TryAgain),
        (longer.as_slice(), Exit::Refused),
        (other.as_slice(), Exit::Refused),
    ] {
        let mirror = Mirror::new(GOOD).with(PLAIN, &[body]);
        assert_eq!(mirror.error().exit, exit);
        let times = mirror.asked.borrow().iter().filter(|path| *path == PLAIN).count();
        assert_eq!(times, 4);
    }
    assert_eq!(Mirror::new(GOOD).error().exit, Exit::TryAgain);
    assert_eq!(Mirror::new(&GOOD[..300]).error().exit, Exit::TryAgain);
}

#[test]
fn an_index_from_the_future_waits_for_the_clock() {
    let mirror = |now| Mirror::new(GOOD).with(PLAIN, &[PACKAGES]).at(now);
    assert!(mirror(NOON - 10).index().is_ok());
    for now in [NOON - 11, NOON - 86400 * 4000, 0] {
        let error = mirror(now).error();
        assert_eq!((error.exit, error.waits_for), (Exit::TryAgain, Some("the clock")));
    }
}

#[test]
fn an_index_past_its_date_is_refused() {
    let mirror = |now| Mirror::new(fixture!("valid-until.InRelease")).with(PLAIN, &[PACKAGES]).at(now);
    assert!(mirror(NOON + 7 * 86400).index().is_ok());
    assert_eq!(mirror(NOON + 7 * 86400 + 1).error().exit, Exit::Refused);
}

#[test]
fn an_index_older_than_one_accepted_before_is_a_rollback() {
    let mirror = Mirror::new(GOOD).with(PLAIN, &[PACKAGES]);
    let after = |newest| apt_index(&mirror, &source("good"), Some(newest));
    assert!(after(NOON).is_ok());
    let error = after(NOON + 1).unwrap_err();
    assert_eq!(error.exit, Exit::Refused);
    assert!(error.to_string().contains("2026-01-01T12:00:00Z"), "{error}");
}

#[test]
fn a_release_is_read_field_by_field() {
    let digest = "ab".repeat(32);
    let text = format!(
        "Suite: noble\nDate: Sat,  1 Nov 2025 09:08:07 +0000\nComponents: a b\nMD5Sum:\n 00 1 x\nSHA256:\n {digest} 12 a/Packages\nDescription: x\n"
    );
    let release = parse_release(&text).unwrap();
    assert_eq!((release.date, release.valid_until, release.by_hash), (1_761_988_087, None, false));
    assert_eq!(release.components, ["a", "b"]);
    assert_eq!(release.indexes.len(), 1);
    assert_eq!(release.indexes["a/Packages"].size, 12);
    for broken in ["", "Date: today\nSHA256:\n", "Date: Sat, 01 Nov 2025 09:08:07 UTC\n", "SHA256:\n"] {
        assert_eq!(parse_release(broken).unwrap_err().exit, Exit::Refused, "{broken}");
    }
    assert!(parse_release(&text.replace(&digest, "ab")).is_err());
}

#[test]
fn packages_are_read_record_by_record() {
    let digest = "AB".repeat(32);
    let text = format!(
        "Package: a\nVersion: 1:2-3\nDescription: x\n Version: no\nFilename: pool/a.deb\nSize: 7\nInstalled-Size: 12\nSHA256: {digest}\n"
    );
    let record = Record {
        name: "a".into(),
        version: "1:2-3".into(),
        filename: "pool/a.deb".into(),
        size: 7,
        installed: 12 << 10,
        sha256: digest.to_lowercase(),
    };
    let twice = format!("{text}\n\n{text}");
    assert_eq!(parse_packages(twice.as_bytes()).unwrap(), [record.clone(), record]);
    assert_eq!(parse_packages(b"").unwrap(), []);
    let error = parse_packages(text.replace("Size", "Sise").as_bytes()).unwrap_err();
    assert!(error.to_string().contains("`Package: a` lacks a field"), "{error}");
}
