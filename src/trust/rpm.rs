//! How packages of a source that signs these and not its index become trusted: each by the pinned key, and by no other.

use super::{Pin, certificates, none_has_ended};
use crate::error::{Error, Result};
use crate::host::{Look, Question};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What rpmkeys(8) says of a file whose digests and signatures are all good. Of one that nobody signed it says
/// `digests OK`, and is content with it.
const GOOD: &str = "digests signatures OK";

/// Checks every file against a database of rpm's own that holds only the pinned key.
///
/// # Errors
/// A key file with another certificate, or one that has expired, a file that nobody or somebody else signed, or that is not whole: refused.
pub fn check(host: &dyn Look, files: &[PathBuf], pin: &Pin) -> Result<()> {
    // rpm 4 takes what a key signed that has expired since: nothing of ours is by such a one.
    none_has_ended(&certificates(pin)?, host.now())?;
    if files.is_empty() {
        return Ok(());
    }
    let answer = host.query(&Question::RpmCheck { key: pin.key.clone(), files: files.to_vec() })?;
    let good: BTreeSet<&str> = answer.stdout.lines().filter_map(good_file).collect();
    let bad: Vec<String> = files
        .iter()
        .filter(|file| !good.contains(file.to_string_lossy().as_ref()))
        .map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    if bad.is_empty() && answer.ok() {
        return Ok(());
    }
    let text = format!("{}\n{}", answer.stdout, answer.stderr);
    let what = match bad.is_empty() {
        true => "cannot check the packages".to_owned(),
        false => format!("cannot trust {}", bad.join(", ")),
    };
    Err(Error::refused(what)
        .because(format!("not signed by the pinned key {}", pin.fingerprints.join(" or ")))
        .tail(&said(&text))
        .hint("take another mirror, or name its key with `key` below its `[source]`"))
}

/// `FILE: digests signatures OK`.
fn good_file(line: &str) -> Option<&str> {
    line.strip_suffix(GOOD)?.strip_suffix(": ")
}

/// What rpm says of those that are not good.
fn said(text: &str) -> String {
    let bad: Vec<&str> =
        text.lines().filter(|line| !line.trim().is_empty() && good_file(line).is_none()).collect();
    bad.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::host::fake::FakeHost;

    const KEY: &[u8] = include_bytes!("../../profiles/keys/docker-rpm.asc");

    fn checked(answer: &str) -> Result<()> {
        let pin = Pin {
            key: KEY.to_vec(),
            fingerprints: vec!["060A61C51B558A7F742B77AAC52FEB6B621E9F35".to_owned()],
        };
        let files = vec![PathBuf::from("/c/a.rpm"), PathBuf::from("/c/b.rpm")];
        let question = Question::RpmCheck { key: KEY.to_vec(), files: files.clone() };
        check(&FakeHost::new().at(1_768_478_400).answer(question, answer), &files, &pin)
    }

    #[test]
    fn only_a_file_with_a_good_signature_counts() {
        let good = "/c/a.rpm: digests signatures OK\n/c/b.rpm: digests signatures OK\n";
        checked(good).expect("is good");
        for bad in [
            "/c/a.rpm: digests signatures OK\n/c/b.rpm: digests OK\n",
            "/c/a.rpm: digests signatures OK\n/c/b.rpm: digests SIGNATURES NOT OK\n",
            "/c/a.rpm: digests signatures OK\n/c/b.rpm: DIGESTS signatures NOT OK\n",
            "/c/a.rpm: digests signatures OK\n",
            "",
        ] {
            let error = checked(bad).expect_err(bad);
            assert_eq!(error.exit, Exit::Refused);
            assert!(error.what().contains("b.rpm"), "{error}");
        }
    }

    #[test]
    fn a_key_that_has_expired_or_is_revoked_vouches_for_nothing() {
        let keys: [&[u8]; 2] = [
            include_bytes!("../../tests/fixtures/trust/expired.asc"),
            include_bytes!("../../tests/fixtures/trust/revoked.asc"),
        ];
        for key in keys {
            let pin = Pin::of_file(key.to_vec()).expect("reads");
            let host = FakeHost::new().at(1_768_478_400);
            let error = check(&host, &[PathBuf::from("/c/a.rpm")], &pin).expect_err("has ended");
            assert_eq!(error.exit, Exit::Refused);
            assert!(error.what().contains("cannot trust the key"), "{error}");
            assert!(["Expired on", "revoked"].iter().any(|why| error.to_string().contains(why)), "{error}");
        }
    }

    #[test]
    fn a_key_file_with_another_certificate_is_refused_before_rpm_is_asked() {
        let pin = Pin { key: KEY.to_vec(), fingerprints: vec!["0".repeat(40)] };
        let error = check(&FakeHost::new(), &[PathBuf::from("/c/a.rpm")], &pin).expect_err("is another");
        assert_eq!(error.exit, Exit::Refused);
    }
}
