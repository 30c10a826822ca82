//! What dnf and rpm say, parsed, and the argument lists they are run with: those that dnf 4 and dnf 5 both know.

use super::apt::ARCHIVES;
use super::packages::Needs;
use crate::error::Result;
use crate::host::{Command, DnfQuestion, DnfState, Look};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// A transaction may unpack gigabytes on a slow disk; killing rpm in the middle helps nobody.
const TRANSACTION: Duration = Duration::from_secs(2 * 3600);

/// On Fedora `dnf` is a link to `dnf5`.
pub fn is_five(host: &dyn Look) -> Result<bool> {
    let program = host.link(Path::new("/usr/bin/dnf"))?;
    Ok(program.is_some_and(|path| path.file_name().is_some_and(|name| name == "dnf5")))
}

/// Whether a directory of dnf's cache is that of a repository: `ID-0123456789abcdef`, in dnf 4 and in dnf 5.
pub fn is_cache_of(id: &str, name: &str) -> bool {
    let hash = name.strip_prefix(id).and_then(|rest| rest.strip_prefix('-'));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Lines of name, version and release; what rpm says of packages that are not installed is no such line.
pub fn parse_rpm(text: &str) -> Vec<(String, String)> {
    let line =
        |line: &str| line.split_once('\t').map(|(name, version)| (name.to_owned(), version.to_owned()));
    text.lines().filter_map(line).collect()
}

/// Lines of [`available`]: the versions of each name, without an epoch of 0.
pub fn parse_available(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version) in parse_rpm(text) {
        found.entry(name).or_default().push(plain(&version).to_owned());
    }
    found
}

fn plain(version: &str) -> &str {
    version.strip_prefix("0:").unwrap_or(version)
}

/// What dnf would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulated {
    pub installs: BTreeMap<String, String>,
    pub removes: BTreeSet<String>,
    pub needs: Needs,
}

/// `Total download size: 95 M` and `Installed size: 388 M` of dnf 4; `Need to download 95 MiB.` and
/// `After this operation, 388 MiB extra will be used` of dnf 5. In powers of 1024 both.
fn parse_needs(text: &str) -> Needs {
    let behind = |words: &[&str]| {
        let (_, rest) = words.iter().find_map(|words| text.split_once(words))?;
        let mut parts = rest.split_whitespace();
        let number: f64 = parts.next()?.parse().ok()?;
        let unit = match parts.next()?.chars().next()? {
            'k' | 'K' => 1_u64 << 10,
            'M' => 1 << 20,
            'G' => 1 << 30,
            _ => 1,
        };
        // Whole tenths of a unit: enough for a question of room.
        Some((number * 10.0) as u64 * unit / 10)
    };
    Needs {
        download: behind(&["Total download size: ", "Need to download "]).unwrap_or_default(),
        installed: behind(&["Installed size: ", "After this operation, "]).unwrap_or_default(),
    }
}

const SECTIONS: [&str; 5] = ["Installing", "Upgrading", "Downgrading", "Reinstalling", "Removing"];

/// The table that dnf shows before it asks: sections, and in them rows of name, architecture, version, repository and
/// size. A row begins with one blank; where its columns are too wide it goes on in the next lines, which begin with more.
pub fn parse_transaction(text: &str) -> Option<Simulated> {
    let is_section =
        |line: &str| SECTIONS.iter().any(|section| line.starts_with(section)) && line.ends_with(':');
    let table = text.lines().skip_while(|line| !is_section(line));
    let table = table.take_while(|line| !line.starts_with("Transaction Summary"));
    let mut simulated = Simulated { needs: parse_needs(text), ..Simulated::default() };
    let (mut section, mut rows): (&str, Vec<(&str, Vec<&str>)>) = ("", Vec::new());
    for line in table {
        let words = line.split_whitespace();
        if !line.starts_with(' ') {
            section = line;
        } else if let Some(replaced) = line.trim_start().strip_prefix("replacing ") {
            // `replacing  runc.x86_64 4:1.2.4` of dnf 4, `replacing runc x86_64 4:1.2.4 …` of dnf 5.
            rows.push(("Replacing", replaced.split_whitespace().collect()));
        } else if line.starts_with("  ") {
            if let Some((_, row)) = rows.last_mut() {
                row.extend(words);
            }
        } else {
            rows.push((section, words.collect()));
        }
    }
    if rows.is_empty() {
        return None;
    }
    for (section, row) in rows {
        let Some(name) = row.first() else { continue };
        if section.starts_with("Removing") {
            simulated.removes.insert((*name).to_owned());
        } else if section == "Replacing" {
            let name =
                if row.get(1).is_some_and(|next| next.contains('-')) { without_arch(name) } else { name };
            simulated.removes.insert(name.to_owned());
        } else if SECTIONS.iter().any(|known| section.starts_with(known))
            && let Some(version) = row.get(2)
        {
            simulated.installs.insert((*name).to_owned(), plain(version).to_owned());
        }
    }
    // A newer version replaces the older one: that one does not go.
    simulated.removes.retain(|name| !simulated.installs.contains_key(name));
    Some(simulated)
}

/// `runc.x86_64`.
fn without_arch(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

/// `docker-ce-3:29.7.2-1.el9`, as dnf's command line says it.
pub fn spec(name: &str, version: &str) -> String {
    format!("{name}-{version}")
}

pub fn question(arguments: Vec<String>, state: DnfState) -> DnfQuestion {
    DnfQuestion { arguments, state }
}

/// Which packages somebody asked for by name.
pub fn user_installed() -> Vec<String> {
    ["-q", "--setopt=*.enabled=0", "repoquery", "--userinstalled", "--qf", "%{name}\n"]
        .map(str::to_owned)
        .to_vec()
}

/// All versions of these names, in these repositories or in all.
pub fn available(repositories: &[String], names: &[String]) -> Vec<String> {
    let mut arguments = vec!["-q".to_owned(), "repoquery".to_owned()];
    arguments.extend(repositories.iter().map(|id| format!("--repo={id}")));
    arguments.extend(["--qf", "%{name}\t%{epoch}:%{version}-%{release}\n"].map(str::to_owned));
    arguments.extend(names.iter().cloned());
    arguments
}

/// The options of every transaction: nothing asked, nothing that nobody named, nothing else taken along or away.
const OPTIONS: [&str; 3] = [
    "--setopt=install_weak_deps=0",
    "--setopt=clean_requirements_on_remove=0",
    // dnf would wait by itself and for ever: we wait, and tell for whom (dnf.conf(5)).
    "--setopt=exit_on_lock=1",
];

fn install_words(specs: &[String], erasing: bool) -> Vec<String> {
    let mut arguments: Vec<String> = OPTIONS.map(str::to_owned).to_vec();
    arguments.extend(erasing.then(|| "--allowerasing".to_owned()));
    arguments.push("install".to_owned());
    arguments.extend(specs.iter().cloned());
    arguments
}

fn remove_words(names: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> = OPTIONS.map(str::to_owned).to_vec();
    arguments.extend(["--setopt=*.enabled=0", "remove"].map(str::to_owned));
    arguments.extend(names.iter().cloned());
    arguments
}

pub fn simulate_install(specs: &[String], erasing: bool) -> Vec<String> {
    std::iter::once("--assumeno".to_owned()).chain(install_words(specs, erasing)).collect()
}

pub fn simulate_remove(names: &[String]) -> Vec<String> {
    std::iter::once("--assumeno".to_owned()).chain(remove_words(names)).collect()
}

fn dnf(arguments: impl IntoIterator<Item = String>) -> Command {
    let front = ["dnf".to_owned(), "-y".to_owned()];
    Command::new(front.into_iter().chain(arguments)).timeout(TRANSACTION)
}

/// Fetches what an installation needs, and changes nothing else.
pub fn download(specs: &[String]) -> Command {
    dnf(std::iter::once("--downloadonly".to_owned()).chain(install_words(specs, true)))
}

/// The installation itself, from what was fetched. Ours are files, each checked; so its repository has no say here.
pub fn install(specs: &[String], without: &[String], signed: bool, five: bool) -> Command {
    let mut arguments = aside(five);
    arguments.push(format!("--setopt=localpkg_gpgcheck={}", u8::from(signed)));
    // A dnf that outlives us does not take the files from under the next run: we take them away ourselves.
    arguments.push("--setopt=keepcache=1".to_owned());
    arguments.push("--setopt=*.skip_if_unavailable=1".to_owned());
    arguments.extend(without.iter().map(|id| format!("--setopt={id}.enabled=0")));
    arguments.extend(install_words(specs, true));
    dnf(arguments)
}

pub fn remove(names: &[String], five: bool) -> Command {
    dnf(aside(five).into_iter().chain(remove_words(names)))
}

/// A cache apart from the host's, which dnf would leave traces in, and which knows nothing of our repository.
/// To dnf 5 root's has a name of its own (dnf5.conf(5), `system_cachedir`).
fn aside(five: bool) -> Vec<String> {
    let mut options = vec![format!("--setopt=cachedir={ARCHIVES}")];
    options.extend(five.then(|| format!("--setopt=system_cachedir={ARCHIVES}")));
    options
}

/// dnf 4 says `mark install` and `mark remove` (dnf(8)), dnf 5 `mark user` and `mark dependency` (dnf5-mark(8)).
pub fn mark(names: &[String], auto: bool, five: bool) -> Command {
    let word = match (auto, five) {
        (true, false) => "remove",
        (false, false) => "install",
        (true, true) => "dependency",
        (false, true) => "user",
    };
    let front = ["--setopt=*.enabled=0", "--setopt=exit_on_lock=1", "mark", word].map(str::to_owned);
    dnf(aside(five).into_iter().chain(front).chain(names.iter().cloned()))
}

/// Why dnf or rpm did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody else holds a lock; who, if dnf says it.
    Locked {
        holder: String,
    },
    /// Repositories that could not be read.
    Unreadable {
        repositories: Vec<String>,
    },
    /// A package does not come, or not as the index says.
    Fetch,
    /// What nothing provides that is to be had.
    Missing {
        what: String,
    },
    /// A package whose signature the host's own rules do not accept.
    Signature,
    Other,
}

/// Reads the reason out of what dnf wrote.
pub fn trouble(output: &str) -> Trouble {
    let has = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if has(&["Waiting for process with pid", "already locked by", "Failed to obtain rpm transaction lock"]) {
        return Trouble::Locked { holder: holder(output) };
    }
    if has(&["GPG check FAILED", "Signature verification failed", "PGP check for package"]) {
        return Trouble::Signature;
    }
    if let Some(what) = missing(output) {
        return Trouble::Missing { what };
    }
    let repositories = unreadable(output);
    if !repositories.is_empty() {
        return Trouble::Unreadable { repositories };
    }
    if has(&[
        "Error downloading packages",
        "Cannot download",
        "Failed to download",
        "Curl error",
        "No more mirrors",
    ]) {
        return Trouble::Fetch;
    }
    Trouble::Other
}

/// `RPMDB already locked by 17`, and below it `The application with PID 17 is: dnf`.
fn holder(output: &str) -> String {
    let behind = |words: &str| output.split_once(words).and_then(|(_, rest)| rest.split_whitespace().next());
    let pid = behind("locked by ").or_else(|| behind("with pid ")).map(|pid| pid.trim_end_matches('.'));
    match (pid, pid.and_then(|pid| behind(&format!("with PID {pid} is: ")))) {
        (Some(pid), Some(name)) => format!("process {pid} ({name})"),
        (Some(pid), None) => format!("process {pid}"),
        _ => "another package manager".into(),
    }
}

/// `Failed to download metadata for repo 'x': …`, of dnf 5 `… for repository "x"`; and what was left out for it,
/// `Ignoring repositories: x, y`.
pub fn unreadable(output: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for line in output.lines() {
        for (words, end) in [("metadata for repo '", '\''), ("for repository \"", '"')] {
            found.extend(
                line.split_once(words).and_then(|(_, rest)| rest.split(end).next()).map(str::to_owned),
            );
        }
        if let Some((_, names)) = line.split_once("Ignoring repositories: ") {
            found.extend(names.split(", ").map(|name| name.trim().to_owned()));
        }
    }
    found.into_iter().filter(|name| !name.is_empty()).collect()
}

/// `nothing provides container-selinux >= 2:2.74 needed by docker-ce-…`.
fn missing(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("nothing provides ")?;
    let what = rest.split(" needed by").next()?.lines().next()?;
    Some(what.split_whitespace().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Last metadata expiration check: 0:00:33 ago on Sat Nov 21 06:29:00 2026.\n\
Dependencies resolved.\n\
================================================================================\n \
Package             Arch    Version         Repository                      Size\n\
================================================================================\n\
Installing:\n containerd.io       x86_64  2.2.1-1.el9     docker-ce-stable                33 M\n     \
replacing  runc.x86_64 4:1.2.4-1.el9\n docker-ce           x86_64  3:29.7.2-1.el9  docker-ce-stable                26 M\n\
Installing dependencies:\n policycoreutils-python-utils\n                     noarch  3.6-1.el9       rhel-9-for-x86_64-appstream-rpms\n                                                                            5.6 k\n\
Removing dependent packages:\n buildah             x86_64  2:1.39.4-1.el9  @appstream                       0  \n\n\
Transaction Summary\n================\nInstall  3 Packages\n";

    #[test]
    fn the_table_of_dnf_4_says_what_comes_and_what_goes() {
        let found = parse_transaction(TABLE).expect("is a table");
        assert_eq!(found.installs["docker-ce"], "3:29.7.2-1.el9");
        assert_eq!(found.installs["policycoreutils-python-utils"], "3.6-1.el9");
        assert_eq!(found.installs.len(), 3);
        assert_eq!(Vec::from_iter(&found.removes), ["buildah", "runc"]);
    }

    #[test]
    fn the_table_of_dnf_5_says_the_same() {
        let text = "Updating and loading repositories:\nRepositories loaded.\n\
Package            Arch   Version         Repository            Size\n\
Upgrading:\n docker-ce         x86_64 3:29.7.2-1.fc44 docker-ce-stable  92.1 MiB\n   \
replacing docker-ce x86_64 3:28.5.2-1.fc44 docker-ce-stable  90.0 MiB\n\
Installing dependencies:\n nftables          x86_64 0:1.1.1-1.fc44  fedora             1.1 MiB\n\
Removing:\n runc              x86_64 2:1.2.4-1.fc44  fedora            10.0 MiB\n\n\
Transaction Summary:\n Installing:        1 packages\n";
        let found = parse_transaction(text).expect("is a table");
        assert_eq!(found.installs["docker-ce"], "3:29.7.2-1.fc44");
        assert_eq!(found.installs["nftables"], "1.1.1-1.fc44");
        assert_eq!(Vec::from_iter(&found.removes), ["runc"]);
    }

    #[test]
    fn what_is_no_table_is_none() {
        assert_eq!(parse_transaction("Error: Unable to find a match: x\n"), None);
    }

    #[test]
    fn the_reason_of_a_failure_is_read_from_dnfs_words() {
        let table = [
            (
                "RPMDB already locked by 17\n  The application with PID 17 is: dnf-automatic\n    Memory: 1\n",
                Trouble::Locked { holder: "process 17 (dnf-automatic)".into() },
            ),
            (
                "Error: Failed to download metadata for repo 'x': Cannot download repomd.xml\n",
                Trouble::Unreadable { repositories: vec!["x".into()] },
            ),
            (
                " - nothing provides container-selinux >= 2:2.74 needed by docker-ce-3:29.7.2-1.el9.x86_64\n",
                Trouble::Missing { what: "container-selinux".into() },
            ),
            ("Error: Error downloading packages:\n  Cannot download x", Trouble::Fetch),
            ("Error: GPG check FAILED", Trouble::Signature),
            ("Error: Transaction failed", Trouble::Other),
        ];
        for (text, expected) in table {
            assert_eq!(trouble(text), expected, "{text}");
        }
    }
}
