//! A certificate in rpm's own database, which packages from files are checked by, and later upgrades.

use super::Resource;
use super::apt::ARCHIVES;
use super::file::Bytes;
use super::group::Presence;
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Owner, Question, Touch};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RpmKey {
    /// Whole, in capitals.
    pub fingerprint: String,
    /// The file that holds it, checked before.
    pub bytes: Bytes,
}

impl Resource for RpmKey {
    type State = Presence;

    fn get(&self, host: &dyn Look) -> Result<Presence> {
        Ok(if self.names(host)?.is_empty() { Presence::Absent } else { Presence::Present })
    }

    fn set(&self, state: &Presence, host: &dyn Touch) -> Result<()> {
        let names = self.names(host)?;
        match state {
            Presence::Present if names.is_empty() => self.import(host),
            Presence::Present => Ok(()),
            Presence::Absent => forget(&names, host),
        }
    }

    fn describe(&self, _before: &Presence, after: &Presence) -> Vec<Line> {
        let name = format!("key {}", self.fingerprint);
        vec![match after {
            Presence::Present => Line::add("key", name, "in rpm's database"),
            Presence::Absent => Line::remove("key", name, "in rpm's database"),
        }]
    }

    /// Which bytes it came from is no matter.
    fn same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl RpmKey {
    /// From a file of our own: the source may be one that somebody wrote, with the key under another name.
    fn import(&self, host: &dyn Touch) -> Result<()> {
        let directory = Path::new(ARCHIVES);
        let made = !host.exists(directory)?;
        if made {
            host.make_directory(directory, Owner::ROOT_0755)?;
        }
        let file = directory.join("rpm-key");
        host.write(&file, &self.bytes.0, Owner::ROOT_0644)?;
        let argv = ["rpmkeys".to_owned(), "--import".to_owned(), file.display().to_string()];
        let imported = host.run(&Command::new(argv))?;
        host.remove(&file)?;
        if made {
            host.remove(directory)?;
        }
        imported.or_failed(|| format!("cannot put the key {} into rpm's database", self.fingerprint))
    }

    /// How rpm calls it: `VERSION-RELEASE`. The version is the end of the fingerprint, and since rpm 6 the whole.
    fn names(&self, host: &dyn Look) -> Result<Vec<String>> {
        let fingerprint = self.fingerprint.to_ascii_lowercase();
        let ours = |name: &String| {
            name.split_once('-')
                .is_some_and(|(version, _)| version.len() >= 8 && fingerprint.ends_with(version))
        };
        Ok(all(host)?.into_iter().filter(ours).collect())
    }
}

/// The names of all keys that rpm knows.
pub fn all(host: &dyn Look) -> Result<Vec<String>> {
    let answer = host.query(&Question::RpmKeys)?;
    // Of no key at all rpm says that the package is not installed.
    if answer.code > 1 {
        return Err(Error::failed("cannot ask rpm which keys it knows").tail(&answer.stderr));
    }
    let is_name = |line: &&str| line.contains('-') && !line.contains(' ');
    Ok(answer.stdout.lines().filter(is_name).map(str::to_owned).collect())
}

/// Takes keys out of rpm's database, by their names there.
pub fn forget(names: &[String], host: &dyn Touch) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let packages = names.iter().map(|name| format!("gpg-pubkey-{name}"));
    let front = ["rpm", "-e", "--allmatches"].map(str::to_owned);
    let command = Command::new(front.into_iter().chain(packages));
    host.run(&command)?.or_failed(|| format!("cannot take {} out of rpm's database", names.join(", ")))
}
