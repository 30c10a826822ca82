//! The exact state of a host's packages and their source, as a file that another host can be made from.

use crate::error::{Error, OrFail, Result};
use crate::facts::Facts;
use crate::host::fetch::mask;
use crate::host::{AptState, Look};
use crate::resources::Resource;
use crate::resources::packages::{Manager, Package, Packages, digests};
use crate::resources::repository::{Source, apt as apt_source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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

/// What a repository is called before its channel.
const DNF_ID: &str = "docker-ce-";

impl Lock {
    /// Looks at these packages of this host; what is not installed is left out.
    pub fn look(names: BTreeSet<String>, source: &Source, facts: &Facts, host: &dyn Look) -> Result<Lock> {
        let manager = match source {
            Source::Apt(_) => Manager::Apt,
            Source::Dnf(_) => Manager::Dnf,
        };
        let packages = Packages::of(manager, names);
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
                let versions = package.iter().map(|p| (p.name.as_str(), p.version.as_str()));
                let found = digests(versions, AptState::default(), host)?;
                for package in &mut package {
                    package.sha256 = found.get(&(package.name.clone(), package.version.clone())).cloned();
                }
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
                url: mask(&source.index.url),
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

    /// Reads a lock.
    ///
    /// # Errors
    /// No such file, or it is no lock: exit 2.
    pub fn read(path: &Path, host: &dyn Look) -> Result<Lock> {
        let cannot = || Error::usage(format!("cannot use the lock `{}`", path.display()));
        let path = std::path::absolute(path).or_fail(|| format!("cannot find `{}`", path.display()))?;
        let text = host.read_text(&path)?.ok_or_else(|| {
            cannot()
                .because("there is no such file")
                .hint("rprov lock -o FILE  makes one on a host that has an engine")
        })?;
        toml::from_str(&text).map_err(|e| cannot().because(e.to_string().trim_end()))
    }

    /// The channel that its packages are from.
    pub fn channel(&self) -> &str {
        let component = &self.source.component;
        component.strip_prefix(DNF_ID).unwrap_or(component)
    }

    /// Whether it may be used on a host with these facts.
    ///
    /// # Errors
    /// It is for another distribution, version or architecture: exit 4.
    pub fn is_for(&self, facts: &Facts) -> Result<()> {
        let (theirs, ours) = (&self.host, LockedHost::of(facts));
        if *theirs == ours {
            return Ok(());
        }
        Err(Error::refused("cannot use the lock").because(format!(
            "it is for {} {} on {}, and this is {} {} on {}",
            theirs.distribution,
            theirs.version,
            theirs.architecture,
            ours.distribution,
            ours.version,
            ours.architecture
        )))
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
