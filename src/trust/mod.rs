//! How a key becomes trusted: its whole fingerprint is pinned, and what it signed is read and nothing else.

pub mod apt;
pub mod client_certificate;
pub mod repomd;
pub mod rpm;
pub mod rpm_file;
#[cfg(test)]
mod tests;

use crate::error::{Error, OrFail, Result};
use apt::AptSource;
use openpgp::cert::amalgamation::key::ValidErasedKeyAmalgamation;
use openpgp::cert::prelude::*;
use openpgp::packet::key::PublicParts;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationError, VerificationHelper,
    VerifierBuilder,
};
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::policy::{HashAlgoSecurity, StandardPolicy};
use openpgp::types::{HashAlgorithm, RevocationStatus};
use repomd::RpmSource;
use sequoia_openpgp as openpgp;
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An index of packages, by who reads it, and whom something in it must be signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Index {
    Apt(AptSource),
    Rpm(RpmSource),
}

impl Index {
    pub fn pin(&self) -> &Pin {
        match self {
            Index::Apt(source) => &source.pin,
            Index::Rpm(source) => &source.pin,
        }
    }

    /// The address that its packages lie below.
    pub fn address(&self) -> &str {
        match self {
            Index::Apt(source) => &source.root,
            Index::Rpm(source) => &source.url,
        }
    }
}

/// A key file, and the whole fingerprints of every certificate that may be in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    /// Armored or binary, one certificate or more.
    pub key: Vec<u8>,
    /// 40 or 64 hexadecimal digits each, in either case.
    pub fingerprints: Vec<String>,
}

impl Pin {
    /// The pin that an administrator's own key file is: it vouches for what is in it. Refuses a file without a certificate.
    pub fn of_file(key: Vec<u8>) -> Result<Pin> {
        let fingerprints = parse(&key)?.iter().map(|cert| cert.fingerprint().to_hex()).collect();
        Ok(Pin { key, fingerprints })
    }
}

/// The certificates of a pinned key file. Refuses the file unless the whole fingerprint of every one is pinned.
pub fn certificates(pin: &Pin) -> Result<Vec<Cert>> {
    let whole = |f: &String| matches!(f.len(), 40 | 64) && f.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(short) = pin.fingerprints.iter().find(|f| !whole(f)) {
        return Err(Error::refused(format!("cannot pin `{short}`"))
            .because("a fingerprint is 40 or 64 hexadecimal digits, without spaces"));
    }
    let certs = parse(&pin.key)?;
    for found in certs.iter().map(|cert| cert.fingerprint().to_hex()) {
        if !pin.fingerprints.iter().any(|pinned| pinned.eq_ignore_ascii_case(&found)) {
            return Err(Error::refused(format!("the key {found} is not trusted"))
                .because(format!("the pinned fingerprint is {}", pin.fingerprints.join(" or "))));
        }
    }
    Ok(certs)
}

/// The certificates of a keyring that have one of these whole fingerprints, and no other.
///
/// # Errors
/// There is none.
pub fn only(keyring: &[u8], fingerprints: &[String]) -> Result<Vec<u8>> {
    let pinned =
        |cert: &Cert| fingerprints.iter().any(|f| f.eq_ignore_ascii_case(&cert.fingerprint().to_hex()));
    let mut bytes = Vec::new();
    for cert in parse(keyring)?.iter().filter(|cert| pinned(cert)) {
        openpgp::serialize::Marshal::export(cert, &mut bytes)
            .or_fail(|| "cannot write a certificate".into())?;
    }
    match bytes.is_empty() {
        false => Ok(bytes),
        true => Err(Error::refused("the keyring is not trusted")
            .because(format!("it has no key with the pinned fingerprint {}", fingerprints.join(" or ")))),
    }
}

/// A pinned key file as rpm reads it: armored.
pub fn armored(pin: &Pin) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for cert in certificates(pin)? {
        let written = openpgp::serialize::Marshal::export(&cert.armored(), &mut bytes);
        written.or_fail(|| "cannot write a certificate".into())?;
    }
    Ok(bytes)
}

/// # Errors
/// A certificate that has expired or is revoked at `now` (seconds since the epoch): refused.
pub fn none_has_ended(certs: &[Cert], now: i64) -> Result<()> {
    let policy = policy();
    let when = UNIX_EPOCH + Duration::from_secs(now.max(0).unsigned_abs());
    for cert in certs {
        let ended = match cert.with_policy(&policy, when) {
            Err(error) => Some(format!("{error:#}")),
            Ok(valid) => match (valid.alive(), valid.revocation_status()) {
                (Err(error), _) => Some(format!("{error:#}")),
                (Ok(()), RevocationStatus::Revoked(_)) => Some("it is revoked".to_owned()),
                (Ok(()), _) => None,
            },
        };
        if let Some(why) = ended {
            return Err(Error::refused(format!("cannot trust the key {}", cert.fingerprint().to_hex()))
                .because(why)
                .hint("take a newer key of that source, by `[source.docker] key`"));
        }
    }
    Ok(())
}

/// A text, and when (seconds since the epoch) a pinned key signed it.
pub struct Signed {
    pub text: String,
    pub at: i64,
}

/// The text that a pinned key signed, of a cleartext-signed message such as apt's InRelease (RFC 9580, section 7).
///
/// Refuses text outside the signed part, and wants one good signature at least, by a key that may sign and was
/// neither expired nor revoked when it signed, nor is at `now` (seconds since the epoch). A message without an end
/// is worth another try.
pub fn signed_text(message: &[u8], pin: &Pin, now: i64) -> Result<Signed> {
    check_frame(message)?;
    let policy = policy();
    // A clock that is behind must not look like a bad signature: the caller compares `at` with its clock.
    let when = (UNIX_EPOCH + Duration::from_secs(now.max(0).unsigned_abs())).max(claimed_time(message));
    let judge = Judge { certs: certificates(pin)?, policy: &policy, when, at: None, against: Vec::new() };
    let refuse = |why: String| Error::refused("the signature is not that of the pinned key").because(why);
    let mut verifier = VerifierBuilder::from_bytes(message)
        .and_then(|builder| builder.with_policy(&policy, when, judge))
        .map_err(|e| refuse(format!("{e:#}")))?;
    let mut text = String::new();
    verifier.read_to_string(&mut text).map_err(|e| refuse(format!("{e:#}")))?;
    let judge = verifier.helper_ref();
    match judge.at {
        Some(at) if verifier.message_processed() => Ok(Signed { text, at: seconds(at) }),
        _ => Err(refuse(judge.against.join("; "))),
    }
}

/// When (seconds since the epoch) a pinned key signed these bytes, by a signature of its own as dnf's `repomd.xml.asc`
/// is. The same rules as for a signed text.
pub fn signed_bytes(bytes: &[u8], signature: &[u8], pin: &Pin, now: i64) -> Result<i64> {
    let policy = policy();
    let when = (UNIX_EPOCH + Duration::from_secs(now.max(0).unsigned_abs())).max(claimed_time(signature));
    let judge = Judge { certs: certificates(pin)?, policy: &policy, when, at: None, against: Vec::new() };
    let refuse = |why: String| Error::refused("the signature is not that of the pinned key").because(why);
    let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
        .and_then(|builder| builder.with_policy(&policy, when, judge))
        .map_err(|e| refuse(format!("{e:#}")))?;
    verifier.verify_bytes(bytes).map_err(|e| refuse(format!("{e:#}")))?;
    let judge = verifier.helper_ref();
    judge.at.map(seconds).ok_or_else(|| refuse(judge.against.join("; ")))
}

/// Sequoia's standard policy, save one thing: SHA-1 in the signatures that bind a certificate together may count,
/// for the certificate is pinned by its whole fingerprint. Over data SHA-1 never counts.
fn policy() -> StandardPolicy<'static> {
    let mut policy = StandardPolicy::new();
    policy.accept_hash_property(HashAlgorithm::SHA1, HashAlgoSecurity::SecondPreImageResistance);
    policy
}

/// Sequoia asks it for certificates, and shows it every signature.
struct Judge<'p> {
    certs: Vec<Cert>,
    policy: &'p StandardPolicy<'p>,
    when: SystemTime,
    at: Option<SystemTime>,
    against: Vec<String>,
}

impl VerificationHelper for Judge<'_> {
    fn get_certs(&mut self, _: &[openpgp::KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self.certs.clone())
    }
    fn check(&mut self, structure: MessageStructure) -> openpgp::Result<()> {
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else { continue };
            for result in results {
                // The verifier has judged the key at the time of signing; we judge it at `when` too.
                let judged = result
                    .map_err(|error| why_not(&error))
                    .and_then(|good| self.still_good(&good.ka).map(|()| good.sig.signature_creation_time()));
                match judged {
                    Ok(at) => self.at = self.at.max(at),
                    Err(why) => self.against.push(why),
                }
            }
        }
        // The verdict is the caller's: without a time in `at`, nothing of the text counts.
        Ok(())
    }
}

/// Why a signature does not count, in words for whoever runs the mirror.
fn why_not(error: &VerificationError) -> String {
    match error {
        VerificationError::MissingKey { sig } => {
            let keys: Vec<String> = sig.get_issuers().iter().map(|key| format!("{key:X}")).collect();
            format!("it was made by another key: {}", keys.join(", "))
        }
        other => format!("{other:#}"),
    }
}

impl Judge<'_> {
    fn still_good(&self, key: &ValidErasedKeyAmalgamation<PublicParts>) -> std::result::Result<(), String> {
        let key = key.clone().with_policy(self.policy, self.when).map_err(|e| format!("{e:#}"))?;
        key.alive().and_then(|()| key.valid_cert().alive()).map_err(|e| format!("{e:#}"))?;
        for status in [key.revocation_status(), key.valid_cert().revocation_status()] {
            if let RevocationStatus::Revoked(_) = status {
                return Err(format!("the key {} is revoked", key.key().fingerprint()));
            }
        }
        Ok(())
    }
}

/// Every certificate of a key file; several armored blocks in one file are all read.
fn parse(key: &[u8]) -> Result<Vec<Cert>> {
    const ARMOR: &str = "-----BEGIN ";
    let refuse = |why: String| Error::refused("the key file is not usable").because(why);
    let text = str::from_utf8(key).unwrap_or_default();
    let blocks: Vec<String> = match text.split_once(ARMOR) {
        Some((_, rest)) => rest.split(ARMOR).map(|block| format!("{ARMOR}{block}")).collect(),
        None => Vec::new(),
    };
    let mut certs = Vec::new();
    let armored = blocks.iter().map(String::as_bytes);
    for block in armored.chain(blocks.is_empty().then_some(key)) {
        for cert in CertParser::from_bytes(block).map_err(|e| refuse(format!("{e:#}")))? {
            certs.push(cert.map_err(|e| refuse(format!("{e:#}")))?);
        }
    }
    match certs.is_empty() {
        true => Err(refuse("there is no certificate in it".to_owned())),
        false => Ok(certs),
    }
}

/// Nothing stands before, after or between the parts of a signed message: whoever reads it as text sees what was signed.
fn check_frame(message: &[u8]) -> Result<()> {
    const MARKS: [&str; 3] = [
        "-----BEGIN PGP SIGNED MESSAGE-----",
        "-----BEGIN PGP SIGNATURE-----",
        "-----END PGP SIGNATURE-----",
    ];
    let text = String::from_utf8_lossy(message);
    let begun = text.starts_with(MARKS[0]) || MARKS[0].starts_with(text.as_ref());
    if begun && !text.contains(&format!("\n{}", MARKS[2])) {
        return Err(Error::try_again("the signed message is cut off").because("its signature does not end"));
    }
    let mut head = text.lines().skip(1).take_while(|line| !line.is_empty());
    // A line of the signed text that begins with a dash is written as `- -…`.
    let marks: Vec<&str> = text.lines().filter(|line| line.starts_with("-----")).collect();
    if marks != MARKS
        || text.lines().next() != Some(MARKS[0])
        || !text.trim_end().ends_with(MARKS[2])
        || !head.all(|line| line.starts_with("Hash: "))
    {
        return Err(Error::refused("this is not one cleartext-signed message"));
    }
    Ok(())
}

/// The newest time that the signatures themselves claim; nothing is trusted by it.
fn claimed_time(message: &[u8]) -> SystemTime {
    let mut newest = UNIX_EPOCH;
    let text = String::from_utf8_lossy(message);
    let signature = text.find("-----BEGIN PGP SIGNATURE-----").map_or("", |start| &text[start..]);
    let mut next = PacketParser::from_bytes(signature.as_bytes());
    while let Ok(PacketParserResult::Some(parser)) = next {
        if let openpgp::Packet::Signature(signature) = &parser.packet {
            newest = newest.max(signature.signature_creation_time().unwrap_or(UNIX_EPOCH));
        }
        next = parser.next().map(|(_, rest)| rest);
    }
    newest
}

/// An older index may lack what mends a hole: whoever serves it has stopped, or wants it so.
fn no_rollback(made: i64, newest_accepted: Option<i64>) -> Result<()> {
    let Some(newest) = newest_accepted.filter(|newest| made < *newest) else { return Ok(()) };
    Err(Error::refused("the index is older than one that was accepted before")
        .because(format!("it was made at {}, the other at {}", utc(made), utc(newest)))
        .hint("use a mirror that is kept up to date"))
}

fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_secs()).ok()).unwrap_or(i64::MAX)
}
