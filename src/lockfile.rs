//! The exact state of a host's packages and their source, as a file that another host can be made from.

use crate::error::{Error, OrFail, Result};
use crate::facts::Facts;
use crate::host::fetch::mask;
use crate::host::{Look, Question};
use crate::resources::packages::{Manager, Package, Packages, Refresh};
use crate::resources::repository::{Source, apt as apt_source};
use crate::resources::{Resource, apt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    pub format: u32,
    pub host: LockedHost,
    pub source: LockedSource,
    #[serde(default)]
    pub package: Vec<LockedPackage>,
}

/// The hosts that a lock is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedHost {
    pub distribution: String,
    pub version: String,
    pub architecture: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSource {
    pub url: String,
    pub suite: String,
    pub component: String,
    /// When the index that this host has was made: seconds since the epoch.
    pub date: Option<i64>,
    /// SHA-256 of that index's `InRelease`.
    pub digest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    pub name: String,
    pub version: String,
    /// Of the package file; not known where no list has the version any more.
    pub sha256: Option<String>,
    /// Whether it came with the others, not by name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
}

const FORMAT: u32 = 1;

impl Lock {
    /// Looks at these packages of this host; what is not installed is left out.
    pub fn look(names: BTreeSet<String>, source: &Source, facts: &Facts, host: &dyn Look) -> Result<Lock> {
        let packages = Packages {
            manager: match source {
                Source::Apt(_) => Manager::Apt,
                Source::Dnf(_) => Manager::Dnf,
            },
            names,
            sources: Vec::new(),
            preference: None,
            others_follow: false,
            refresh: Refresh::Ours,
            in_the_way: BTreeSet::new(),
        };
        let mut package = Vec::new();
        for (name, state) in packages.get(host)? {
            if let Package::Installed { version, auto, .. } = state {
                package.push(LockedPackage { name, version, sha256: None, automatic: auto });
            }
        }
        if package.is_empty() {
            return Err(Error::failed("cannot lock this host")
                .because("no engine is installed")
                .hint("rprov install"));
        }
        let source = match source {
            Source::Apt(source) => {
                add_digests(&mut package, host)?;
                let accepted = apt_source::accepted_index(host, source)?;
                LockedSource {
                    url: mask(&source.index.root),
                    suite: source.index.suite.clone(),
                    component: source.index.component.clone(),
                    date: accepted.as_ref().map(|(date, _)| *date),
                    digest: accepted.map(|(_, digest)| digest),
                }
            }
            // Its index is not signed: a date or a digest of it would say nothing.
            Source::Dnf(source) => LockedSource {
                url: mask(&source.url),
                suite: String::new(),
                component: source.id.clone(),
                date: None,
                digest: None,
            },
        };
        Ok(Lock { format: FORMAT, host: LockedHost::of(facts), source, package })
    }

    pub fn text(&self) -> Result<String> {
        let body = toml::to_string(self).or_fail(|| "cannot write the lock".into())?;
        Ok(format!(
            "# The exact packages of a host. Make another one so: rprov install --locked FILE\n{body}"
        ))
    }

    /// Reads a lock for this host.
    ///
    /// # Errors
    /// No such file, or it is no lock: exit 2. A lock for another distribution or architecture: exit 4.
    pub fn read(path: &Path, facts: &Facts, host: &dyn Look) -> Result<Lock> {
        let cannot = || Error::usage(format!("cannot use the lock `{}`", path.display()));
        let path = std::path::absolute(path).or_fail(|| format!("cannot find `{}`", path.display()))?;
        let text = host.read_text(&path)?.ok_or_else(|| {
            cannot()
                .because("there is no such file")
                .hint("rprov lock -o FILE  makes one on a host that has an engine")
        })?;
        let lock: Lock = toml::from_str(&text).map_err(|e| cannot().because(e.to_string().trim_end()))?;
        let (theirs, ours) = (&lock.host, LockedHost::of(facts));
        if *theirs != ours {
            return Err(Error::refused(format!("cannot use the lock `{}`", path.display())).because(
                format!(
                    "it is for {} {} on {}, and this is {} {} on {}",
                    theirs.distribution,
                    theirs.version,
                    theirs.architecture,
                    ours.distribution,
                    ours.version,
                    ours.architecture
                ),
            ));
        }
        Ok(lock)
    }
}

impl LockedHost {
    fn of(facts: &Facts) -> LockedHost {
        LockedHost {
            distribution: facts.distribution.id.clone(),
            version: facts.distribution.version_id.clone().unwrap_or_default(),
            architecture: facts.architecture.clone(),
        }
    }
}

/// The digests of the package files, from the lists that this host has.
fn add_digests(packages: &mut [LockedPackage], host: &dyn Look) -> Result<()> {
    let mut arguments = vec!["show".to_owned()];
    arguments.extend(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
    let answer = host.query(&Question::Apt(apt::question("apt-cache", arguments)))?;
    let digests = parse_digests(&answer.stdout);
    for package in packages {
        package.sha256 = digests.get(&(package.name.clone(), package.version.clone())).cloned();
    }
    Ok(())
}

/// `Package:`, `Version:` and `SHA256:` of the stanzas of `apt-cache show`.
fn parse_digests(text: &str) -> BTreeMap<(String, String), String> {
    let field = |stanza: &str, name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let digest = |stanza: &str| {
        Some(((field(stanza, "Package:")?, field(stanza, "Version:")?), field(stanza, "SHA256:")?))
    };
    text.split("\n\n").filter_map(digest).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn digests_are_read_from_what_apt_shows() {
        let text = "Package: a\nVersion: 1\nSHA256: ff\n\nPackage: b\nVersion: 2\n";
        let found = super::parse_digests(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&("a".to_owned(), "1".to_owned())], "ff");
    }
}
