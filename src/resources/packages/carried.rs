//! Packages of rpm's out of a bundle: all of a transaction are files that were checked, and no list of it has a say.

use super::{Package, Packages, Set};
use crate::error::{Error, Result};
use crate::host::{Look, Offline, Question, Touch};
use crate::resources::Resource;
use crate::resources::dnf;
use crate::resources::file::Bytes;
use crate::resources::group::Presence;
use crate::resources::repository::dnf as repository;
use crate::resources::rpm_key::RpmKey;
use crate::trust::{self, Pin};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Packages {
    /// From a bundle everything is named, as a file that was checked: what a list says comes along is not known to be it.
    pub(super) fn named(&self, host: &dyn Look) -> Packages {
        Packages { in_full: self.in_full || host.offline().is_some(), ..self.clone() }
    }

    /// The files of a bundle that the state wants, the distribution's own among them.
    pub(super) fn carried(
        &self,
        offline: &Offline,
        state: &Set,
        host: &dyn Look,
    ) -> Result<BTreeMap<String, PathBuf>> {
        let mut wanted = BTreeMap::new();
        for place in offline.places.iter().filter(|place| place.rpms) {
            let files = offline.packages(&place.directory)?;
            match &place.key {
                Some(key) => trust::rpm::check(host, &files, &key_of(key, host)?)?,
                None => {
                    for source in self.dnf_sources().filter(|source| source.id == place.directory) {
                        repository::index(host, source)?.check(host, &files)?;
                    }
                }
            }
            let answer = host.query(&Question::RpmFiles { files: files.clone() })?;
            let found = dnf::parse_rpm(&answer.stdout);
            if found.len() != files.len() {
                return Err(Error::failed("cannot ask rpm what is in the bundle").tail(&answer.stderr));
            }
            for ((name, version), file) in found.into_iter().zip(files) {
                if state.get(&name).and_then(Package::version) == Some(version.as_str()) {
                    wanted.insert(name, file);
                }
            }
        }
        Ok(wanted)
    }

    /// Each key that a bundle's packages are signed by, until the transaction is through: rpm asks for it.
    pub(super) fn lend_keys(&self, host: &dyn Touch) -> Result<()> {
        let offline = host.offline().cloned();
        for key in offline.iter().flat_map(|offline| &offline.places).filter_map(|place| place.key.as_ref()) {
            let pin = key_of(key, host)?;
            for fingerprint in pin.fingerprints {
                let key =
                    RpmKey { fingerprint: fingerprint.to_ascii_uppercase(), bytes: Bytes(pin.key.clone()) };
                key.set(&Presence::Present, host)?;
            }
        }
        Ok(())
    }
}

fn key_of(file: &Path, host: &dyn Look) -> Result<Pin> {
    let cannot = || Error::failed(format!("cannot read `{}`", file.display()));
    Pin::of_file(host.read(file)?.ok_or_else(cannot)?)
}
