//! The distribution's own archive: where what comes along with the engine is from, in a bundle.

use super::config::{Config, SourceName};
use super::form::{Fingerprint, Profile, absolute};
use super::order::rpm_word;
use crate::error::{Error, Result};
use crate::host::Look;
use crate::trust::apt::AptSource;
use crate::trust::repomd::{RpmSource, Signed};
use crate::trust::{self, Index, Pin};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[archive]` of a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    pub keyring: Keyring,
    /// As apt reads it.
    #[serde(rename = "source", default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ArchiveSource>,
    /// As dnf does.
    #[serde(rename = "repository", default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<ArchiveRepository>,
}

/// Who signs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// Where a host has it; other certificates may be in it, which do not count.
    #[serde(deserialize_with = "absolute")]
    pub file: PathBuf,
    /// The package that brings it.
    pub package: String,
    pub fingerprints: Vec<Fingerprint>,
}

/// Suites at one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSource {
    /// The original's root, which a mirror's address replaces.
    pub root: String,
    /// Below the root, the same on every mirror.
    pub path: String,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// Those that it has, where it has not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
}

/// A repository of packages that are signed each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveRepository {
    /// `baseos`
    pub id: String,
    /// The original's root, which a mirror's address replaces.
    pub root: String,
    /// Below the root, the same on every mirror, with `{architecture}` in it as rpm names it.
    pub path: String,
}

impl Archive {
    /// Every component of every suite, or every repository, and what it lies under in a bundle. `carried`: the keyring that a bundle has
    /// with it, else that of this host.
    ///
    /// # Errors
    /// Nowhere is a keyring with a pinned key: with the package that has it.
    pub fn indexes(
        profile: &Profile,
        config: &Config,
        architecture: &str,
        carried: Option<&[u8]>,
        host: &dyn Look,
    ) -> Result<Vec<(String, Index)>> {
        let archive = Archive::of(profile)?;
        let other = config.source.get(&SourceName::Archive).cloned().unwrap_or_default();
        let pin = match (other.key, carried) {
            (Some(key), _) => Pin::of_file(key.bytes)?,
            (None, Some(bytes)) => archive.keyring.with(bytes, host)?,
            (None, None) => archive.keyring.of_host(host)?,
        };
        let mut indexes = Vec::new();
        for source in &archive.sources {
            if !source.architectures.is_empty() && !source.architectures.iter().any(|has| has == architecture)
            {
                continue;
            }
            let root = format!("{}/{}", other.url.as_deref().unwrap_or(&source.root), source.path);
            for suite in &source.suites {
                indexes.extend(source.components.iter().map(|component| {
                    let index = AptSource {
                        root: root.clone(),
                        suite: suite.clone(),
                        component: component.clone(),
                        architecture: architecture.to_owned(),
                        pin: pin.clone(),
                    };
                    (source.path.clone(), Index::Apt(index))
                }));
            }
        }
        for repository in &archive.repositories {
            let path = repository.path.replace("{architecture}", rpm_word(architecture));
            let url = format!("{}/{path}", other.url.as_deref().unwrap_or(&repository.root));
            let index = RpmSource { url, pin: pin.clone(), signed: Signed::Packages };
            indexes.push((repository.id.clone(), Index::Rpm(index)));
        }
        Ok(indexes)
    }

    /// The keyring that goes into a bundle.
    ///
    /// # Errors
    /// This machine has none: with the package that brings it.
    pub fn keyring(profile: &Profile, config: &Config, host: &dyn Look) -> Result<Vec<u8>> {
        let archive = Archive::of(profile)?;
        match config.source.get(&SourceName::Archive).and_then(|source| source.key.as_ref()) {
            Some(key) => Ok(key.bytes.clone()),
            None => Ok(archive.keyring.of_host(host)?.key),
        }
    }

    fn of(profile: &Profile) -> Result<&Archive> {
        profile.archive.as_ref().ok_or_else(|| {
            Error::refused(format!("cannot make or use a bundle for `{}`", profile.name))
                .because("its profile has no `[archive]`: nothing says where its own packages are")
        })
    }
}

impl Keyring {
    fn pin(&self, bytes: &[u8]) -> Result<Pin> {
        let fingerprints: Vec<String> =
            self.fingerprints.iter().map(|print| print.as_str().to_owned()).collect();
        Ok(Pin { key: trust::only(bytes, &fingerprints)?, fingerprints })
    }

    /// This host's own certificates, which may know of a revocation; those that it has not come from the other keyring.
    fn with(&self, carried: &[u8], host: &dyn Look) -> Result<Pin> {
        let Some(Ok(mut pin)) = host.read(&self.file)?.map(|bytes| self.pin(&bytes)) else {
            return self.pin(carried);
        };
        let has: Vec<String> =
            trust::certificates(&pin)?.iter().map(|cert| cert.fingerprint().to_hex()).collect();
        let lacks: Vec<String> = pin
            .fingerprints
            .iter()
            .filter(|print| !has.contains(&print.to_ascii_uppercase()))
            .cloned()
            .collect();
        if let Ok(more) = trust::only(carried, &lacks) {
            pin.key.extend(more);
        }
        Ok(pin)
    }

    fn of_host(&self, host: &dyn Look) -> Result<Pin> {
        let bytes = host.read(&self.file)?.ok_or_else(|| {
            Error::refused("cannot check the distribution's own packages")
                .because(format!("this machine has no `{}`", self.file.display()))
                .hint(format!(
                    "install `{0}`, or copy the file from a machine that has it; or name a key in the configuration: \
                     `[source.archive] key`",
                    self.package
                ))
        })?;
        self.pin(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::profile::Library;

    fn keyring(fingerprint: &str) -> Keyring {
        Keyring {
            file: "/usr/share/keyrings/lab.gpg".into(),
            package: "lab-keyring".into(),
            fingerprints: vec![Fingerprint::try_from(fingerprint.to_owned()).expect("is whole")],
        }
    }

    #[test]
    fn of_a_keyring_only_what_is_pinned_counts() {
        let two = [
            include_bytes!("../../profiles/keys/docker-deb.asc").as_slice(),
            include_bytes!("../../profiles/keys/docker-rpm.asc"),
        ]
        .concat();
        let docker = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88";
        let host = FakeHost::new().file("/usr/share/keyrings/lab.gpg", two);
        let pin = keyring(docker).of_host(&host).expect("has the key");
        let found = trust::certificates(&pin).expect("is pinned, all of it");
        assert_eq!(found.iter().map(|cert| cert.fingerprint().to_hex()).collect::<Vec<_>>(), [docker]);
        let error = keyring(&"0".repeat(40)).of_host(&host).expect_err("has none").to_string();
        assert!(error.contains("no key with the pinned fingerprint 0000"), "{error}");
    }

    #[test]
    fn the_hosts_own_certificate_goes_before_the_one_that_a_bundle_carries() {
        let revoked = include_bytes!("../../tests/fixtures/trust/revoked.asc");
        let other = include_bytes!("../../profiles/keys/docker-rpm.asc");
        let print = |key: &[u8]| Pin::of_file(key.to_vec()).expect("is a key").fingerprints.remove(0);
        let mut both = keyring(&print(revoked));
        both.fingerprints.push(Fingerprint::try_from(print(other)).expect("is whole"));
        let host = FakeHost::new().file("/usr/share/keyrings/lab.gpg", revoked);
        let carried = [revoked.as_slice(), other].concat();
        let pin = both.with(&carried, &host).expect("has both");
        let found: Vec<String> = trust::certificates(&pin)
            .expect("are pinned")
            .iter()
            .map(|cert| cert.fingerprint().to_hex())
            .collect();
        assert_eq!(found, [print(revoked), print(other)]);
        assert_eq!(both.with(&carried, &FakeHost::new()).expect("has both").fingerprints, pin.fingerprints);
    }

    #[test]
    fn a_machine_without_the_keyring_is_told_what_brings_it() {
        let error = keyring(&"0".repeat(40)).of_host(&FakeHost::new()).expect_err("is absent").to_string();
        for word in ["no `/usr/share/keyrings/lab.gpg`", "install `lab-keyring`", "`[source.archive] key`"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn every_profile_with_apt_names_an_archive_for_each_of_its_architectures() {
        let library = Library::shipped().expect("is right");
        for listed in library.list().filter(|listed| listed.profile.repository.kind() == "apt") {
            let archive =
                listed.profile.archive.as_ref().unwrap_or_else(|| panic!("{}", listed.profile.name));
            for architecture in &listed.profile.matches.architectures {
                let has = |source: &&ArchiveSource| {
                    source.architectures.is_empty() || source.architectures.contains(architecture)
                };
                let suites: Vec<_> =
                    archive.sources.iter().filter(has).flat_map(|source| &source.suites).collect();
                assert_eq!(suites.len(), 3, "{} on {architecture}", listed.profile.name);
            }
        }
    }
}
