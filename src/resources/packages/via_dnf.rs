//! Packages by dnf: what rpm shows, what dnf would do, and one transaction from files that were checked before.

use super::{Action, Candidate, Package, Packages, Set, Source};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::host::{Command, DnfState, Look, Output, Owner, Private, Question, Touch};
use crate::resources::Resource;
use crate::resources::apt::ARCHIVES;
use crate::resources::dnf::{self, Trouble};
use crate::resources::repository::dnf as repository;
use crate::resources::rpm_key;
use crate::trust;
use crate::version;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is installed, and who was asked for by name.
pub fn get(packages: &Packages, host: &dyn Look) -> Result<Set> {
    let mut set = glance(packages, host)?;
    if set.values().all(Package::is_gone) {
        return Ok(set);
    }
    let question = dnf::question(dnf::user_installed(), DnfState::default());
    let answer = host.query(&Question::Dnf(question))?;
    if !answer.ok() {
        return Err(
            Error::failed("cannot ask dnf which packages were asked for by name").tail(&answer.stderr)
        );
    }
    let asked_for: BTreeSet<&str> = answer.stdout.lines().map(str::trim).collect();
    for (name, package) in &mut set {
        if let Package::Installed { auto, .. } = package {
            *auto = !asked_for.contains(name.as_str());
        }
    }
    Ok(set)
}

/// The same without marks: rpm answers at once, and dnf does not.
pub fn glance(packages: &Packages, host: &dyn Look) -> Result<Set> {
    let names: Vec<String> = packages.names.iter().cloned().collect();
    let answer = host.query(&Question::RpmQuery { names })?;
    // As many are not installed as its status says; what it cannot do at all is told on standard error alone.
    if !answer.ok() && answer.stdout.trim().is_empty() {
        return Err(Error::failed("cannot ask rpm which packages are installed").tail(&answer.stderr));
    }
    let mut set: Set = packages.names.iter().map(|name| (name.clone(), Package::Absent)).collect();
    for (name, version) in dnf::parse_rpm(&answer.stdout) {
        let Some(package) = set.get_mut(&name) else { continue };
        *package = match &package {
            // A transaction that was cut off leaves the old beside the new.
            Package::Installed { version: other, .. } if *other != version => {
                let newer = version::compare_rpm(&version, other) == Ordering::Greater;
                let version = if newer { version } else { other.clone() };
                // Of a kernel and its headers several stand side by side (dnf.conf(5), `installonlypkgs`).
                if name.starts_with("kernel") {
                    *package = Package::Installed { version, auto: false, hold: false };
                    continue;
                }
                Package::Broken { version, status: "installed twice".into() }
            }
            _ => Package::Installed { version, auto: false, hold: false },
        };
    }
    Ok(set)
}

/// The files of installed packages.
pub fn contents(names: Vec<String>, host: &dyn Look) -> Result<Vec<PathBuf>> {
    let answer = host.query(&Question::RpmContents { names })?;
    Ok(answer.stdout.lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect())
}

pub fn resolve(packages: &Packages, now: &Set, want: &Set, host: &dyn Look) -> Result<(Packages, Set)> {
    not_twice(now)?;
    let actions = packages.actions(now, want, |names| packages.available(&names, host))?;
    if actions.is_empty() {
        return Ok((packages.clone(), now.clone()));
    }
    let simulated = packages.simulated(&specs(&actions), host)?;
    let names = want.keys().chain(simulated.installs.keys()).chain(&simulated.removes).cloned().collect();
    let resource = Packages { names, ..packages.clone() };
    let before = resource.get(host)?;
    let after = before.iter().map(|(name, before)| {
        // A dnf that an earlier run left at work may have brought it between our question and dnf's answer.
        let asked = actions.get(name).and_then(|action| match action {
            Action::Install { version } => version.as_ref(),
            _ => None,
        });
        let after = match simulated.installs.get(name).or(asked) {
            Some(version) => Package::Installed {
                version: version.clone(),
                auto: !actions.contains_key(name)
                    && !matches!(before, Package::Installed { auto: false, .. }),
                hold: false,
            },
            None if simulated.removes.contains(name) => Package::Absent,
            None => before.clone(),
        };
        (name.clone(), after)
    });
    Ok((resource.clone(), after.collect()))
}

/// After a power cut both versions of a package may stand in rpm's database.
fn not_twice(now: &Set) -> Result<()> {
    let twice = now.iter().find(|(_, package)| matches!(package, Package::Broken { .. }));
    match twice {
        None => Ok(()),
        Some((name, _)) => Err(Error::failed("cannot plan the packages")
            .because(format!("`{name}` is installed twice: a transaction was cut off"))
            .hint("dnf -y remove --duplicates; then run the same command again")),
    }
}

/// Everything that the transaction needs; and each package of our source is held against the pinned key.
pub fn fetch(packages: &Packages, now: &Set, state: &Set, host: &dyn Touch) -> Result<()> {
    let specs = specs(&packages.actions_between(now, state));
    if specs.is_empty() {
        return Ok(());
    }
    make_archives(host)?;
    let private = DnfState { cache: Some(ARCHIVES.into()), ..packages.private(host)? };
    let command = dnf::download(&specs).on(Private::Dnf(private));
    let fetched = retrying(host, "fetch the packages", || host.run(&command))
        .and_then(|()| packages.check(state, host).map(|_| ()));
    if fetched.as_ref().is_err_and(|error| error.exit == Exit::Refused) {
        host.remove_all(Path::new(ARCHIVES))?;
    }
    fetched
}

pub fn set(packages: &Packages, state: &Set, host: &dyn Touch) -> Result<()> {
    let now = packages.get(host)?;
    let actions = packages.actions_between(&now, state);
    if !actions.is_empty() {
        packages.transact_rpms(&actions, state, host)?;
    }
    let five = is_five(host)?;
    packages.mark(state, host, |names, auto| {
        retrying(host, "mark the packages", || host.run(&dnf::mark(names, auto, five)))
    })?;
    // What was fetched stays while the transaction is not through: the next run need not fetch it again.
    if packages.others_follow { Ok(()) } else { tidy(host) }
}

/// A dnf that outlived a run that was killed may still be writing there.
fn tidy(host: &dyn Touch) -> Result<()> {
    loop {
        match host.remove_all(Path::new(ARCHIVES)) {
            Err(_) if !host.left().is_zero() => {
                host.pause("dnf, which is still at work for an earlier run")?
            }
            removed => return removed,
        }
    }
}

/// On Fedora `dnf` is a link to `dnf5`.
fn is_five(host: &dyn Look) -> Result<bool> {
    let program = host.link(Path::new("/usr/bin/dnf"))?;
    Ok(program.is_some_and(|path| path.file_name().is_some_and(|name| name == "dnf5")))
}

/// The versions of these names in the repositories that the host has.
pub fn at_hand(names: &[String], host: &dyn Look) -> Result<BTreeMap<String, Vec<String>>> {
    let question = dnf::question(dnf::available(&[], names), DnfState::default());
    Ok(dnf::parse_available(&host.query(&Question::Dnf(question))?.stdout))
}

/// What dnf would remove with these.
pub fn removes(leaving: &BTreeSet<String>, host: &dyn Look) -> Result<BTreeSet<String>> {
    let names: Vec<String> = leaving.iter().cloned().collect();
    let question = dnf::question(dnf::simulate_remove(&names), DnfState::default());
    let answer = host.query(&Question::Dnf(question))?;
    match dnf::parse_transaction(&answer.stdout) {
        Some(simulated) => Ok(simulated.removes),
        None if answer.ok() => Ok(BTreeSet::new()),
        None => Err(unresolved(&answer, host)),
    }
}

fn specs(actions: &BTreeMap<String, Action>) -> Vec<String> {
    let spec = |(name, action): (&String, &Action)| match action {
        Action::Install { version: Some(version) } => Some(dnf::spec(name, version)),
        Action::Install { version: None } => Some(name.clone()),
        Action::Remove | Action::Purge => None,
    };
    actions.iter().filter_map(spec).collect()
}

/// Apart from the host's own, so that what was fetched can go afterwards.
fn make_archives(host: &dyn Touch) -> Result<()> {
    let archives = Path::new(ARCHIVES);
    if host.exists(archives)? { Ok(()) } else { host.make_directory(archives, Owner::ROOT_0755) }
}

impl Packages {
    fn dnf_sources(&self) -> impl Iterator<Item = &repository::Source> {
        self.sources.iter().filter_map(|source| match source {
            Source::Dnf(source) => Some(source),
            Source::Apt(_) => None,
        })
    }

    /// The ids under which dnf knows our repositories.
    fn ids(&self, host: &dyn Look) -> Result<Vec<String>> {
        self.dnf_sources().map(|source| repository::id(host, source)).collect()
    }

    /// The host's repositories as the plan will leave them.
    fn private(&self, host: &dyn Look) -> Result<DnfState> {
        let mut changed = Vec::new();
        for source in self.dnf_sources() {
            changed.extend(repository::changed_files(host, source)?);
        }
        Ok(DnfState { changed, needed: self.ids(host)?, cache: None })
    }

    /// What our source has of these names.
    fn available(&self, names: &[String], host: &dyn Look) -> Result<Vec<Candidate>> {
        let state = self.private(host)?;
        let arguments = dnf::available(&state.needed, names);
        let answer = host.query(&Question::Dnf(dnf::question(arguments, state)))?;
        if !answer.ok() {
            return Err(unresolved(&answer, host));
        }
        let found = dnf::parse_available(&answer.stdout).into_iter();
        let candidate = |name: String, version| Candidate { name, version, sha256: None };
        let candidates = found.flat_map(|(name, versions)| {
            versions.into_iter().map(move |version| candidate(name.clone(), version))
        });
        Ok(candidates.collect())
    }

    /// Asks dnf what an installation comes to; only where it does not go together with what is there, what would have
    /// to go for it.
    fn simulated(&self, specs: &[String], host: &dyn Look) -> Result<dnf::Simulated> {
        let state = self.private(host)?;
        let ask = |erasing: bool| {
            let arguments = dnf::simulate_install(specs, erasing);
            host.query(&Question::Dnf(dnf::question(arguments, state.clone())))
        };
        let mut answer = ask(false)?;
        let mut simulated = planned(&answer);
        if simulated.is_none() {
            answer = ask(true)?;
            simulated = planned(&answer);
        }
        let simulated = simulated.ok_or_else(|| unresolved(&answer, host))?;
        let known = |name: &&String| self.in_the_way.contains(*name);
        let others: Vec<String> = simulated.removes.iter().filter(|name| !known(name)).cloned().collect();
        if others.is_empty() {
            return Ok(simulated);
        }
        Err(Error::refused("cannot install the engine beside what is there")
            .because(format!("{} would have to go, which rprov removes for nobody", others.join(", ")))
            .hint(format!("if nothing needs it: dnf remove {}", others.join(" "))))
    }

    /// The files of our source that the state wants, each signed by the pinned key and no other.
    ///
    /// # Errors
    /// One that is not: refused. Nothing of it was run or unpacked by then.
    fn check(&self, state: &Set, host: &dyn Look) -> Result<BTreeMap<String, PathBuf>> {
        let mut wanted = BTreeMap::new();
        for source in self.dnf_sources() {
            let files = files_of(&repository::id(host, source)?, host)?;
            match source.signed {
                _ if files.is_empty() => continue,
                repository::Signed::Packages => trust::rpm::check(host, &files, &source.pin)?,
                repository::Signed::Index => repository::index(host, source)?.check(host, &files)?,
            }
            for file in files {
                let answer = host.query(&Question::RpmFiles { files: vec![file.clone()] })?;
                // What is left of an earlier run that wanted another version is passed by.
                for (name, version) in dnf::parse_rpm(&answer.stdout) {
                    if state.get(&name).and_then(Package::version) == Some(version.as_str()) {
                        wanted.insert(name, file.clone());
                    }
                }
            }
        }
        Ok(wanted)
    }

    /// What goes, goes before an old engine comes back; else it is one transaction. Everything is fetched before.
    fn transact_rpms(&self, actions: &BTreeMap<String, Action>, state: &Set, host: &dyn Touch) -> Result<()> {
        make_archives(host)?;
        let run = |command: Command| retrying(host, "install the packages", || host.run(&command));
        let (keys, five) = (rpm_key::all(host)?, is_five(host)?);
        let purged: Vec<String> = actions
            .iter()
            .filter(|(_, action)| **action == Action::Purge)
            .map(|(name, _)| name.clone())
            .collect();
        let specs = specs(actions);
        if self.sources.is_empty() && !specs.is_empty() {
            let private = DnfState { cache: Some(ARCHIVES.into()), ..DnfState::default() };
            run(dnf::download(&specs).on(Private::Dnf(private)))?;
        }
        // With a source it is the way there: what is in the way goes in the transaction itself.
        if !purged.is_empty() && (self.sources.is_empty() || specs.is_empty()) {
            run(dnf::remove(&purged, five))?;
        }
        if !specs.is_empty() {
            let (files, without) = self.files(actions, state, host)?;
            // Where an index is signed and not its packages, their digests were held against it.
            let signed = self.dnf_sources().all(|source| source.signed == repository::Signed::Packages);
            run(dnf::install(&files, &without, signed, five))?;
        }
        // dnf takes the distribution's own key into rpm's database, where it was not yet: it may do so again.
        let news: Vec<String> = rpm_key::all(host)?.into_iter().filter(|key| !keys.contains(key)).collect();
        rpm_key::forget(&news, host)
    }

    /// The words for dnf: checked files for what is ours, names and versions for the rest; and our repository, which
    /// has nothing more to say.
    fn files(
        &self,
        actions: &BTreeMap<String, Action>,
        state: &Set,
        host: &dyn Look,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let checked = self.check(state, host)?;
        let others: BTreeMap<String, Action> = actions
            .iter()
            .filter(|(name, _)| !checked.contains_key(*name))
            .map(|(n, a)| (n.clone(), a.clone()))
            .collect();
        let mut words = specs(&others);
        words.extend(checked.values().map(|file| file.display().to_string()));
        Ok((words, self.ids(host)?))
    }
}

/// What dnf would do, which may be nothing; none where it finds no way.
fn planned(answer: &Output) -> Option<dnf::Simulated> {
    let nothing = answer.ok().then(dnf::Simulated::default);
    dnf::parse_transaction(&answer.stdout).or(nothing)
}

/// The package files that were fetched from one repository: `ID-HASH/packages/`, in dnf 4 and in dnf 5.
fn files_of(id: &str, host: &dyn Look) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in host.list(Path::new(ARCHIVES))? {
        let hash = name.strip_prefix(id).and_then(|rest| rest.strip_prefix('-'));
        if hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit())) {
            let directory = Path::new(ARCHIVES).join(&name).join("packages");
            let names = host.list(&directory)?.into_iter().filter(|name| name.ends_with(".rpm"));
            files.extend(names.map(|name| directory.join(name)));
        }
    }
    Ok(files)
}

/// Why dnf finds no way, in words of what is missing and not of what dnf tried.
fn unresolved(answer: &Output, host: &dyn Look) -> Error {
    let text = format!("{}\n{}", answer.stdout, answer.stderr);
    let unread = dnf::unreadable(&text);
    match dnf::trouble(&text) {
        Trouble::Unreadable { repositories } => Error::try_again("cannot read the repositories of this host")
            .because(format!("dnf could not read {}", repositories.join(", ")))
            .because(why_unreadable(&text))
            .tail(&errors_of(&text))
            .hint("dnf makecache  shows whether they can be read now"),
        Trouble::Missing { what } if unread.is_empty() => Error::refused("cannot resolve the packages")
            .because(format!("no enabled repository of this host has `{what}`"))
            .tail(&errors_of(&text))
            .hint(where_to_find(&what, host)),
        Trouble::Missing { what } => Error::try_again("cannot resolve the packages")
            .because(format!("none of the repositories that could be read has `{what}`"))
            .because(format!("dnf could not read {}", unread.join(", ")))
            .tail(&errors_of(&text))
            .hint("dnf makecache  shows whether they can be read now"),
        _ => Error::failed("cannot resolve the packages").tail(&errors_of(&text)).hint("dnf check"),
    }
}

/// The repository that has it, where each distribution calls it something else; on RHEL there is none at all before
/// the machine is registered.
fn where_to_find(what: &str, host: &dyn Look) -> String {
    let has = |path: &str| host.exists(Path::new(path)).unwrap_or(false);
    if has(SUBSCRIPTION_MANAGER) && !has("/etc/pki/consumer/cert.pem") && !has("/etc/pki/rhui") {
        return "this system is not registered: subscription-manager register".into();
    }
    if what.starts_with("dkms") {
        return "`dkms` is in EPEL: dnf install epel-release, or on RHEL the package that docs.fedoraproject.org/en-US/epel names".into();
    }
    format!(
        "`{what}` is in AppStream (of Oracle Linux too; CentOS calls a part of it extras): `dnf repolist --all` shows \
         what it is called here, and `dnf config-manager --set-enabled ID` enables it"
    )
}

const SUBSCRIPTION_MANAGER: &str = "/usr/sbin/subscription-manager";

/// What stands behind it on the hosts of a cloud, where a certificate of the image opens the repositories.
fn why_unreadable(text: &str) -> &'static str {
    let certificate =
        ["certificate has expired", "certificate expired", "Status code: 403", "SSL peer rejected"];
    match certificate.iter().any(|words| text.contains(words)) {
        true => {
            "the certificate of this machine for them may have expired: its owner is the RHUI client package"
        }
        false => "the network is away, or they are",
    }
}

/// How often a fetch that came damaged is tried.
const TRIES: usize = 3;

/// Runs dnf until it is through: waits for locks, fetches what did not come again.
fn retrying(host: &dyn Touch, what: &str, run: impl Fn() -> Result<Output>) -> Result<()> {
    let mut tries = 0;
    loop {
        let output = run()?;
        if output.ok() {
            return Ok(());
        }
        match dnf::trouble(&output.stdout) {
            Trouble::Locked { holder } if !host.left().is_zero() => {
                host.pause(&format!("{holder}, which holds dnf's lock"))?;
            }
            Trouble::Locked { holder } => {
                return Err(Error::try_again(format!("cannot {what}"))
                    .because(format!("{holder} holds dnf's lock"))
                    .tail(&errors_of(&output.stdout))
                    .hint("wait for it, or give a longer --wait"));
            }
            Trouble::Fetch | Trouble::Unreadable { .. } if tries + 1 < TRIES => {
                tries += 1;
                host.tell(Event::Note { text: "what came is not whole: it is fetched again".into() });
            }
            trouble => return Err(ended(what, &trouble, &output)),
        }
    }
}

fn ended(what: &str, trouble: &Trouble, output: &Output) -> Error {
    let cannot = format!("cannot {what}");
    let errors = errors_of(&output.stdout);
    match trouble {
        Trouble::Fetch | Trouble::Unreadable { .. } => Error::try_again(cannot)
            .because("a repository could not be read, or a package in it is not what its index says")
            .tail(&errors)
            .hint("run the same command again"),
        Trouble::Signature => Error::refused(cannot)
            .because("a package is not signed by a key that this host knows")
            .tail(&errors)
            .hint("look at `gpgkey` of the repository that it is from"),
        _ => Error::failed(cannot).tail(&errors).hint("the log has the whole output"),
    }
}

/// dnf's own error lines, or the end of all that it wrote.
fn errors_of(output: &str) -> String {
    let mut lines =
        output.lines().skip_while(|line| !(line.starts_with("Error") || line.contains("rror:"))).peekable();
    match lines.peek() {
        Some(_) => lines.collect::<Vec<_>>().join("\n"),
        None => output.to_owned(),
    }
}
