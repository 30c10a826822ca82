//! Packages by dnf: what rpm shows, what dnf would do, and one transaction from files that were checked before.

use super::dnf_trouble::{retrying, unresolved};
use super::{Action, Candidate, Package, Packages, Set, Source};
use crate::error::{Error, Exit, Result};
use crate::host::{Command, DnfState, Look, Output, Owner, Private, Question, Touch};
use crate::resources::Resource;
use crate::resources::apt::ARCHIVES;
use crate::resources::conffiles;
use crate::resources::dnf::{self, is_five};
use crate::resources::repository::dnf as repository;
use crate::resources::rpm_key;
use crate::resources::version_lock::{List, Lock};
use crate::trust;
use crate::trust::repomd::Signed;
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
    packages.nobody_else_locks(&actions, host)?;
    let simulated = packages.simulated(&specs(&actions), host)?;
    let names = want.keys().chain(simulated.installs.keys()).chain(&simulated.removes).cloned().collect();
    let resource = Packages { names, needs: simulated.needs, ..packages.clone() };
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
                auto: (!actions.contains_key(name) || want.get(name).is_some_and(Package::comes_along))
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
    let packages = &packages.named(host);
    let actions = packages.actions_between(now, state);
    let specs = specs(&actions);
    if specs.is_empty() {
        return Ok(());
    }
    if host.offline().is_some() {
        return packages.files(&actions, state, host).map(drop);
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
    let packages = &packages.named(host);
    let now = packages.get(host)?;
    let actions = packages.actions_between(&now, state);
    if !actions.is_empty() {
        for source in packages.dnf_sources() {
            repository::accept(host, source)?;
        }
        sweep_cut_off(&now, host)?;
        packages.transact_rpms(&actions, state, host)?;
    }
    sweep_cut_off(state, host)?;
    let five = is_five(host)?;
    packages.mark(state, host, |names, auto| {
        retrying(host, "mark the packages", || host.run(&dnf::mark(names, auto, five)))
    })?;
    // What was fetched stays while the transaction is not through: the next run need not fetch it again.
    if packages.others_follow { Ok(()) } else { tidy(host) }
}

/// rpm writes each file under a name of its own first, `FILE;01234567`: an rpm that was killed leaves it there, and
/// none takes it away.
fn sweep_cut_off(state: &Set, host: &dyn Touch) -> Result<()> {
    let names = state.iter().filter(|(_, package)| package.is_installed()).map(|(name, _)| name.clone());
    let mut files: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for file in contents(names.collect(), host)? {
        if let (Some(directory), Some(name)) = (file.parent(), file.file_name()) {
            files.entry(directory.to_owned()).or_default().insert(name.to_string_lossy().into_owned());
        }
    }
    for (directory, ours) in files {
        for name in host.list(&directory)? {
            let cut_off = name.rsplit_once(';').is_some_and(|(file, stamp)| {
                ours.contains(file) && stamp.len() == 8 && stamp.bytes().all(|b| b.is_ascii_hexdigit())
            });
            if cut_off {
                host.remove(&directory.join(name))?;
            }
        }
    }
    Ok(())
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

/// The versions of these names in the repositories that the host has.
pub fn at_hand(names: &[String], host: &dyn Look) -> Result<BTreeMap<String, Vec<String>>> {
    let question = dnf::question(dnf::available(&[], names), DnfState::default());
    Ok(dnf::parse_available(&host.query(&Question::Dnf(question))?.stdout))
}

/// Answers which versions of names the sources of these ids have.
pub type Available<'a> = dyn Fn(&[String], &[String]) -> Result<Vec<Candidate>> + 'a;

/// The words for an installation on a host that has nothing of it.
pub fn afresh(packages: &Packages, want: &Set, available: &Available) -> Result<Vec<String>> {
    let ids: Vec<String> = packages.dnf_sources().map(|source| source.id.clone()).collect();
    Ok(specs(&packages.actions(&Set::new(), want, |names| available(&ids, &names))?))
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
    pub(super) fn dnf_sources(&self) -> impl Iterator<Item = &repository::Source> {
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
        if !self.sources.is_empty() {
            changed.extend(self.without_our_locks(host)?);
        }
        Ok(DnfState { changed, needed: self.ids(host)?, cache: None })
    }

    /// dnf's list without the locks of ours: what they hold may move all the same.
    fn without_our_locks(&self, host: &dyn Look) -> Result<Option<(PathBuf, Option<Vec<u8>>)>> {
        let Some(mut list) = List::of(host)?.filter(|_| !self.let_go.is_empty()) else { return Ok(None) };
        let locks = list.locks()?;
        for lock in locks.iter().filter(|lock| self.let_go.contains(&lock.name)) {
            list.remove(&lock.name, &lock.version);
        }
        Ok(Some((list.path, Some(list.text.into_bytes()))))
    }

    /// # Errors
    /// Somebody else locks what would come at another version: refused, with the names.
    fn nobody_else_locks(&self, actions: &BTreeMap<String, Action>, host: &dyn Look) -> Result<()> {
        let Some(list) = List::of(host)? else { return Ok(()) };
        let locks = list.locks()?;
        let in_the_way = |lock: &&Lock| {
            let comes = match actions.get(&lock.name) {
                Some(Action::Install { version: Some(version) }) => Some(version),
                _ => None,
            };
            comes.is_some_and(|version| *version != lock.version) && !self.let_go.contains(&lock.name)
        };
        let theirs: Vec<&Lock> = locks.iter().filter(in_the_way).collect();
        if theirs.is_empty() {
            return Ok(());
        }
        let held: Vec<String> =
            theirs.iter().map(|lock| format!("{} is locked at {}", lock.name, lock.version)).collect();
        let names: Vec<&str> = theirs.iter().map(|lock| lock.name.as_str()).collect();
        Err(Error::refused("cannot move packages that somebody else holds")
            .because(held.join(", "))
            .hint(format!("if they may move: dnf versionlock delete {}", names.join(" "))))
    }

    /// What our source has of these names.
    ///
    /// # Errors
    /// The index is signed, and is not what it has to be: dnf would take an older one.
    fn available(&self, names: &[String], host: &dyn Look) -> Result<Vec<Candidate>> {
        for source in self.dnf_sources().filter(|source| source.index.signed == Signed::Index) {
            repository::index(host, source)?;
        }
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
        if let Some(offline) = host.offline() {
            return self.carried(offline, state, host);
        }
        let mut wanted = BTreeMap::new();
        for source in self.dnf_sources() {
            let files = files_of(&repository::id(host, source)?, host)?;
            match source.index.signed {
                _ if files.is_empty() => continue,
                Signed::Packages => trust::rpm::check(host, &files, &source.index.pin)?,
                Signed::Index => repository::index(host, source)?.check(host, &files)?,
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
            conffiles::lay_aside(conffiles::RPM, &purged, host)?;
            run(dnf::remove(&purged, five))?;
            conffiles::put_back(host)?;
        }
        if !specs.is_empty() {
            let (files, without) = self.files(actions, state, host)?;
            self.lend_keys(host)?;
            // Where an index is signed and not its packages, their digests were held against it.
            let signed = self.dnf_sources().all(|source| source.index.signed == Signed::Packages);
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
        if host.offline().is_some() && !words.is_empty() {
            return Err(Error::refused(format!("cannot install {}", words.join(", ")))
                .because("it is not in the bundle")
                .hint("make the bundle with the options that you install with"));
        }
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
        if dnf::is_cache_of(id, &name) {
            let directory = Path::new(ARCHIVES).join(&name).join("packages");
            let names = host.list(&directory)?.into_iter().filter(|name| name.ends_with(".rpm"));
            files.extend(names.map(|name| directory.join(name)));
        }
    }
    Ok(files)
}
