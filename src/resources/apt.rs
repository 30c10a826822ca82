//! What apt and dpkg say, parsed, and the argument lists they are run with.

use super::packages::Action;
use crate::host::{AptQuestion, AptState, Command, STATUS_FD};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::host::APT_LISTS as LISTS;

/// Which packages came along by themselves.
pub const EXTENDED_STATES: &str = "/var/lib/apt/extended_states";
/// Packages on their way: apart from the host's own, so that they can go afterwards. Not below 0700: apt downloads
/// as the user `_apt`.
pub const ARCHIVES: &str = "/var/cache/rprov";

const DOWNLOAD_ONLY: &str = "--download-only";

/// A transaction may unpack gigabytes on a slow disk; killing dpkg in the middle helps nobody.
const TRANSACTION: Duration = Duration::from_secs(2 * 3600);
const REFRESH: Duration = Duration::from_secs(900);

/// What dpkg shows of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `installed`, `config-files`, `half-configured`, `unpacked`, …
    pub status: String,
    pub hold: bool,
    pub version: String,
}

/// Lines of `dpkg-query -W -f '${Package}\t${db:Status-Want}\t${db:Status-Status}\t${Version}\n'`.
pub fn parse_dpkg(text: &str) -> BTreeMap<String, Shown> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let name = fields.next()?.to_owned();
        let hold = fields.next()? == "hold";
        let status = fields.next()?.to_owned();
        Some((name, Shown { status, hold, version: fields.next()?.to_owned() }))
    };
    text.lines().filter_map(line).collect()
}

/// The packages that `extended_states` marks as installed automatically.
pub fn parse_auto(text: &str) -> BTreeSet<String> {
    text.split("\n\n")
        .filter(|stanza| field(stanza, "Auto-Installed:").as_deref() == Some("1"))
        .filter_map(|stanza| field(stanza, "Package:"))
        .collect()
}

fn field(stanza: &str, name: &str) -> Option<String> {
    stanza.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
}

/// What apt would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulated {
    pub installs: BTreeMap<String, String>,
    /// Also what was unpacked before, and not configured.
    pub configures: BTreeMap<String, String>,
    pub removes: BTreeSet<String>,
}

/// Lines of `apt-get -s`: `Inst NAME [OLD] (NEW ORIGIN [ARCH])`, `Conf NAME (NEW ORIGIN [ARCH])`, `Remv NAME [OLD]`, `Purg NAME [OLD]`.
pub fn parse_simulation(text: &str) -> Simulated {
    let mut simulated = Simulated::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some(verb @ ("Inst" | "Conf")), Some(name)) => {
                let version = line.split_once('(').and_then(|(_, rest)| rest.split(' ').next());
                let found = if verb == "Inst" { &mut simulated.installs } else { &mut simulated.configures };
                found.insert(name.to_owned(), version.unwrap_or_default().to_owned());
            }
            (Some("Remv" | "Purg"), Some(name)) => {
                simulated.removes.insert(name.to_owned());
            }
            _ => {}
        }
    }
    simulated
}

/// Lines of `apt-cache madison`: ` NAME | VERSION | SOURCE`.
pub fn parse_madison(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('|').map(str::trim);
        if let (Some(name), Some(version)) = (fields.next(), fields.next()) {
            found.entry(name.to_owned()).or_default().push(version.to_owned());
        }
    }
    found
}

/// `Package:`, `Version:` and `SHA256:` of the stanzas of `apt-cache show`.
pub fn parse_digests(text: &str) -> BTreeMap<(String, String), String> {
    let digest = |stanza: &str| {
        Some(((field(stanza, "Package:")?, field(stanza, "Version:")?), field(stanza, "SHA256:")?))
    };
    text.split("\n\n").filter_map(digest).collect()
}

/// The words for `apt-get install`: `NAME=VERSION`, `NAME-`. With `--purge` every removal purges.
pub fn words(actions: &BTreeMap<String, Action>) -> Vec<String> {
    let word = |(name, action): (&String, &Action)| match action {
        Action::Install { version: Some(version) } => format!("{name}={version}"),
        Action::Install { version: None } => name.clone(),
        Action::Remove | Action::Purge => format!("{name}-"),
    };
    actions.iter().map(word).collect()
}

/// The options of every transaction: nothing asked, nothing that nobody named, the host's conffiles kept.
fn transaction_options() -> Vec<String> {
    let options = [
        "-y",
        "-q",
        "--no-install-recommends",
        "--allow-downgrades",
        "-oDpkg::Options::=--force-confdef",
        "-oDpkg::Options::=--force-confold",
        "-oDpkg::Use-Pty=0",
        "-oDPkg::Lock::Timeout=0",
        "-oAcquire::Retries=3",
        "-oAcquire::http::Timeout=20",
        "-oAcquire::https::Timeout=20",
        "-oAPT::Get::AutomaticRemove=0",
    ];
    options.map(str::to_owned).to_vec()
}

const CHANGE_HELD: &str = "--allow-change-held-packages";

pub fn simulate(actions: &BTreeMap<String, Action>) -> Vec<String> {
    // Only the question: who holds what is going to move is looked at in the answer.
    let mut arguments = vec!["-s".to_owned(), CHANGE_HELD.to_owned()];
    arguments.extend(transaction_options());
    arguments.extend(transaction_words(actions));
    arguments
}

fn transaction_words(actions: &BTreeMap<String, Action>) -> Vec<String> {
    let mut arguments = Vec::new();
    if actions.values().any(|a| *a == Action::Purge) {
        arguments.push("--purge".to_owned());
    }
    arguments.push("install".to_owned());
    arguments.extend(words(actions));
    arguments
}

/// The transaction itself; `held`: also of packages that are held.
pub fn transaction(actions: &BTreeMap<String, Action>, held: bool) -> Command {
    let mut argv = vec!["apt-get".to_owned(), format!("-oDir::Cache::archives={ARCHIVES}/")];
    argv.push(format!("-oAPT::Status-Fd={STATUS_FD}"));
    argv.extend(held.then(|| CHANGE_HELD.to_owned()));
    argv.extend(transaction_options());
    argv.extend(transaction_words(actions));
    quiet(Command::new(argv).timeout(TRANSACTION))
}

/// Fetches what a transaction needs, and changes nothing else.
pub fn download(actions: &BTreeMap<String, Action>, held: bool) -> Command {
    let mut command = transaction(actions, held);
    command.argv.insert(1, DOWNLOAD_ONLY.to_owned());
    command
}

/// Completes what an earlier run of dpkg left half done.
pub fn configure_all() -> Command {
    quiet(
        Command::new(["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"])
            .timeout(TRANSACTION),
    )
}

/// Fetches the lists of one source file, or of all.
pub fn refresh(only: Option<&Path>) -> Command {
    let mut argv: Vec<String> =
        ["apt-get", "update", "-q", "-oAcquire::Retries=3", "-oAcquire::http::Timeout=20"]
            .map(str::to_owned)
            .to_vec();
    argv.push("-oAcquire::https::Timeout=20".into());
    if let Some(path) = only {
        argv.push(format!("-oDir::Etc::sourcelist={}", path.display()));
        argv.push("-oDir::Etc::sourceparts=-".into());
        // The lists of the others stay.
        argv.push("-oAPT::Get::List-Cleanup=0".into());
        argv.push("-oAPT::Update::Error-Mode=any".into());
    }
    quiet(Command::new(argv).timeout(REFRESH))
}

/// `auto`: it came along.
pub fn mark(names: &[String], auto: bool) -> Command {
    let front = ["apt-mark".to_owned(), if auto { "auto" } else { "manual" }.to_owned()];
    quiet(Command::new(front.into_iter().chain(names.iter().cloned())))
}

/// `hold` or `unhold`.
pub fn hold(word: &str, names: &[String]) -> Command {
    let front = ["apt-mark".to_owned(), word.to_owned()];
    quiet(Command::new(front.into_iter().chain(names.iter().cloned())))
}

/// No question, no restart of other people's services (needrestart asks even without a terminal on Ubuntu 22.04).
fn quiet(command: Command) -> Command {
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("APT_LISTCHANGES_FRONTEND", "none")
}

/// A question that is answered from the host's lists alone.
pub fn question(program: &'static str, arguments: Vec<String>) -> AptQuestion {
    AptQuestion { program, arguments, state: AptState::default() }
}

/// Why apt or dpkg did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody else holds a lock; who, if apt says it.
    Locked {
        holder: String,
    },
    /// dpkg was killed in the middle: `dpkg --configure -a` mends it.
    Interrupted,
    /// What came is not what was signed; `shorter`: cut off, as in mid-sync.
    Mismatch {
        shorter: bool,
    },
    /// The network, the mirror, the name.
    Network,
    /// A version that was resolved is not to be had any more.
    Gone,
    Other,
}

/// Reads the reason out of what apt wrote.
pub fn trouble(output: &str) -> Trouble {
    let has = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if has(&["Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock"]) {
        return Trouble::Locked { holder: holder(output) };
    }
    if has(&["dpkg was interrupted"]) {
        return Trouble::Interrupted;
    }
    if let Some((received, expected)) = unexpected_size(output) {
        return Trouble::Mismatch { shorter: received < expected };
    }
    if has(&["Hash Sum mismatch"]) {
        return Trouble::Mismatch { shorter: hash_mismatch_is_shorter(output) };
    }
    if has(&["Sub-process /usr/bin/dpkg returned an error", "dpkg: error"]) {
        return Trouble::Other;
    }
    if has(&["was not found", "Unable to locate package", "has no installation candidate"]) {
        return Trouble::Gone;
    }
    if has(&[
        "Failed to fetch",
        "Unable to fetch",
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
    ]) {
        return Trouble::Network;
    }
    Trouble::Other
}

/// `It is held by process 1719 (unattended-upgr)`.
fn holder(output: &str) -> String {
    let found = output.split_once("held by process ").map(|(_, rest)| rest);
    match found.and_then(|rest| rest.split(['\n', '.']).next()) {
        Some(holder) => format!("process {}", holder.trim()),
        None => "another package manager".into(),
    }
}

/// `File has unexpected size (19710 != 19086). Mirror sync in progress?`: received, expected.
fn unexpected_size(output: &str) -> Option<(u64, u64)> {
    let (_, rest) = output.split_once("unexpected size (")?;
    let (received, rest) = rest.split_once(" != ")?;
    let (expected, _) = rest.split_once(')')?;
    Some((received.parse().ok()?, expected.parse().ok()?))
}

/// The two `Filesize:` lines below a hash sum mismatch: expected first, then received.
fn hash_mismatch_is_shorter(output: &str) -> bool {
    let sizes: Vec<u64> = output
        .lines()
        .filter_map(|l| l.split_once("Filesize:"))
        .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .collect();
    matches!(sizes[..], [expected, received, ..] if received < expected)
}

/// A list that an enabled source needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub list: PathBuf,
    /// The signed index of its source.
    pub release: PathBuf,
    /// Its name there: `main/binary-amd64/Packages`.
    pub key: String,
}

/// What [`parse_targets`] reads.
pub const TARGETS: &str = "$(FILENAME) $(METAKEY)";

/// Lines of `apt-get indextargets --format '$(FILENAME) $(METAKEY)'`: the lists that the enabled sources need. apt is
/// asked in a state of its own and names files there: they are looked for among the host's.
pub fn parse_targets(text: &str) -> Vec<Target> {
    let target = |line: &str| {
        let (file, key) = line.strip_prefix('/')?.split_once(' ')?;
        let name = file.rsplit('/').next()?;
        let source = name.strip_suffix(&key.replace('/', "_"))?;
        Some(Target {
            list: Path::new(LISTS).join(name),
            release: Path::new(LISTS).join(format!("{source}InRelease")),
            key: key.to_owned(),
        })
    };
    text.lines().filter_map(target).collect()
}

/// Whether an index names a list with something in it: apt keeps no file for an empty one, or for one that the source
/// does not have.
pub fn has_content(release: &str, key: &str) -> bool {
    let names = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, size, name] if name == key && size != "0")
    };
    release.lines().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_from_what_apt_shows() {
        let text = "Package: a\nVersion: 1\nSHA256: ff\n\nPackage: b\nVersion: 2\n";
        let found = parse_digests(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&("a".to_owned(), "1".to_owned())], "ff");
    }

    #[test]
    fn a_simulation_says_what_comes_and_what_goes() {
        let text = "NOTE: This is only a simulation!\n\
            Remv docker.io [20.10.24+dfsg1-1+b3]\n\
            Inst iptables (1.8.9-2 Debian:12.5/stable [amd64])\n\
            Inst docker-ce [5:28.5.2-1] (5:29.7.2-1~debian.12~bookworm Docker CE:bookworm [amd64])\n\
            Conf docker-ce (5:29.7.2-1~debian.12~bookworm Docker CE:bookworm [amd64])\n";
        let found = parse_simulation(text);
        assert_eq!(found.installs["docker-ce"], "5:29.7.2-1~debian.12~bookworm");
        assert_eq!(found.installs["iptables"], "1.8.9-2");
        assert_eq!(found.configures.keys().collect::<Vec<_>>(), ["docker-ce"]);
        assert_eq!(found.removes.iter().collect::<Vec<_>>(), ["docker.io"]);
    }

    #[test]
    fn automatic_marks_are_read_from_extended_states() {
        let text = "Package: iptables\nArchitecture: amd64\nAuto-Installed: 1\n\n\
            Package: sudo\nArchitecture: amd64\nAuto-Installed: 0\n\n";
        assert_eq!(parse_auto(text).into_iter().collect::<Vec<_>>(), ["iptables"]);
    }

    #[test]
    fn the_reason_of_a_failure_is_read_from_apts_words() {
        let table = [
            (
                "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 17 (unattended-upgr)\n",
                Trouble::Locked { holder: "process 17 (unattended-upgr)".into() },
            ),
            ("E: dpkg was interrupted, you must manually run 'dpkg --configure -a'", Trouble::Interrupted),
            (
                "E: Failed to fetch https://x  File has unexpected size (10 != 20). Mirror sync in progress?",
                Trouble::Mismatch { shorter: true },
            ),
            (
                "E: Failed to fetch https://x  Hash Sum mismatch\n   Hashes of expected file:\n    - SHA256:a\n    \
                 - Filesize:20 [weak]\n   Hashes of received file:\n    - SHA256:b\n    - Filesize:20 [weak]",
                Trouble::Mismatch { shorter: false },
            ),
            ("E: Failed to fetch https://x  503  Service Unavailable", Trouble::Network),
            ("E: Version '1' for 'docker-ce' was not found", Trouble::Gone),
            ("E: Sub-process /usr/bin/dpkg returned an error code (1)", Trouble::Other),
        ];
        for (text, expected) in table {
            assert_eq!(trouble(text), expected, "{text}");
        }
    }

    #[test]
    fn the_lists_that_apt_names_are_the_hosts() {
        let text = "/tmp/rprov-apt-x/lists/a.lab_dists_noble_main_binary-amd64_Packages main/binary-amd64/Packages\nW: x\n";
        let [target] = &parse_targets(text)[..] else { panic!() };
        assert_eq!(target.list, Path::new("/var/lib/apt/lists/a.lab_dists_noble_main_binary-amd64_Packages"));
        assert_eq!(target.release, Path::new("/var/lib/apt/lists/a.lab_dists_noble_InRelease"));
        let release = "SHA256:\n e3b0 0 main/binary-amd64/Packages\n ffff 17 extra/binary-amd64/Packages\n";
        assert!(!has_content(release, &target.key), "it is empty");
        assert!(has_content(release, "extra/binary-amd64/Packages"));
        assert!(!has_content(release, "main/binary-i386/Packages"), "the source does not have it");
    }

    #[test]
    fn removals_are_words_of_the_same_transaction() {
        let actions = BTreeMap::from([
            ("docker-ce".to_owned(), Action::Install { version: Some("5:29".into()) }),
            ("docker.io".to_owned(), Action::Remove),
        ]);
        assert_eq!(words(&actions), ["docker-ce=5:29", "docker.io-"]);
        assert!(!transaction(&actions, false).argv.contains(&"--purge".to_owned()));
    }
}
