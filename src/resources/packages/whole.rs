//! Files that a power cut took from packages which their manager calls installed.

use super::{Manager, Package, Packages};
use crate::error::{Error, Result};
use crate::host::{Look, Question};
use crate::resources::Resource;

/// Left out of many images on purpose, by dpkg's `path-exclude`.
const LEFT_OUT: [&str; 4] = ["/usr/share/doc/", "/usr/share/info/", "/usr/share/locale/", "/usr/share/man/"];

impl Packages {
    /// Whether the packages that are installed have their files: asked where a run did not come to its end.
    ///
    /// # Errors
    /// Some have not: with the command that brings them back. A manager that calls them installed would do nothing.
    pub fn are_whole(&self, host: &dyn Look) -> Result<()> {
        let mut gone = Vec::new();
        for (name, package) in self.glance(host)? {
            if matches!(package, Package::Installed { .. }) {
                let question = match self.manager {
                    Manager::Apt => Question::DpkgVerify { name: name.clone() },
                    Manager::Dnf => Question::RpmVerify { name: name.clone() },
                };
                let missing = missing(&host.query(&question)?.stdout);
                gone.extend((!missing.is_empty()).then_some((name, missing)));
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let again = match self.manager {
            Manager::Apt => "apt-get install --reinstall",
            Manager::Dnf => "dnf -y reinstall",
        };
        let names: Vec<&str> = gone.iter().map(|(name, _)| name.as_str()).collect();
        let error =
            Error::failed("packages lack their files: a run was cut off before they were on the disk")
                .hint(format!("{again} {}; then run the same command again", names.join(" ")));
        Err(gone.iter().fold(error, |error, (name, files)| {
            error.because(format!("`{name}` is installed, and has no {}", shown(files)))
        }))
    }
}

fn shown(files: &[String]) -> String {
    match files {
        [first, rest @ ..] if !rest.is_empty() => format!("{first}, and {} more", rest.len()),
        files => files.concat(),
    }
}

/// Lines of `rpm -V` and of `dpkg --verify`: `missing     /usr/bin/x`. A letter stands before what people may remove:
/// configuration, documentation.
fn missing(text: &str) -> Vec<String> {
    let path = |line: &str| line.strip_prefix("missing").map(|rest| rest.trim().to_owned());
    let counts =
        |path: &String| path.starts_with('/') && !LEFT_OUT.iter().any(|place| path.starts_with(place));
    text.lines().filter_map(path).filter(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use std::collections::BTreeSet;

    #[test]
    fn a_package_without_its_files_is_told_with_what_brings_them_back() {
        let said = "missing     /usr/bin/docker\n??5?????? c /etc/x\nmissing   c /etc/y\nmissing     /usr/share/doc/docker/copyright\n\
                    missing     /usr/lib/z (Permission denied)\n";
        let names = ["docker-ce-cli".to_owned(), "absent".to_owned()];
        let host = FakeHost::new()
            .answer(
                Question::RpmQuery { names: BTreeSet::from(names.clone()).into_iter().collect() },
                "docker-ce-cli\t1:29.7.2-1.el9\n",
            )
            .answer(Question::RpmVerify { name: "docker-ce-cli".into() }, said);
        let packages = Packages::of(Manager::Dnf, names.into());
        let error = packages.are_whole(&host).expect_err("files are gone").to_string();
        for word in [
            "`docker-ce-cli` is installed, and has no /usr/bin/docker, and 1 more",
            "dnf -y reinstall docker-ce-cli;",
        ] {
            assert!(error.contains(word), "{error}");
        }
    }
}
