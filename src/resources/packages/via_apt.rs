//! Packages by apt: what dpkg shows, what apt would do, and one transaction that does it.

use super::{Action, Candidate, Needs, Package, Packages, Refresh, Set, Source, Versions};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::host::{AptQuestion, AptState, Command, Look, Output, Owner, Private, Question, Touch};
use crate::resources::apt::{self, Trouble};
use crate::resources::repository::apt as repository;
use crate::resources::{Resource, conffiles};
use crate::trust::apt::{AptIndex, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub fn get(packages: &Packages, host: &dyn Look) -> Result<Set> {
    let names: Vec<String> = packages.names.iter().cloned().collect();
    let answer = host.query(&Question::DpkgQuery { names })?;
    if answer.code > 1 {
        return Err(Error::failed("cannot ask dpkg which packages are installed").tail(&answer.stderr));
    }
    let shown = apt::parse_dpkg(&answer.stdout);
    let auto = apt::parse_auto(&host.read_text(Path::new(apt::EXTENDED_STATES))?.unwrap_or_default());
    let state = |name: &String| match shown.get(name) {
        None => Package::Absent,
        Some(found) => match found.status.as_str() {
            "installed" => Package::Installed {
                version: found.version.clone(),
                auto: auto.contains(name),
                hold: found.hold,
            },
            "not-installed" => Package::Absent,
            "config-files" => Package::Removed,
            status => Package::Broken { version: found.version.clone(), status: status.to_owned() },
        },
    };
    Ok(packages.names.iter().map(|name| (name.clone(), state(name))).collect())
}

pub fn resolve(packages: &Packages, now: &Set, want: &Set, host: &dyn Look) -> Result<(Packages, Set)> {
    let actions = packages.actions(now, want, |_| packages.candidates(host))?;
    if actions.is_empty() {
        return Ok((packages.clone(), now.clone()));
    }
    let (simulated, refresh) = packages.simulate(&actions, host)?;
    packages.files_are_as_locked(want, refresh, host)?;
    let names = want.keys().chain(simulated.installs.keys()).chain(&simulated.removes).cloned().collect();
    let needs = packages.needs(&simulated, host)?;
    let resource = Packages { names, refresh, needs, ..packages.clone() };
    let before = resource.get(host)?;
    let after = before.iter().map(|(name, before)| {
        let completed = simulated.configures.get(name).filter(|_| want.contains_key(name));
        let after = match simulated.installs.get(name).or(completed) {
            Some(version) => Package::Installed {
                version: version.clone(),
                auto: (!actions.contains_key(name) || want.get(name).is_some_and(Package::comes_along))
                    && !matches!(before, Package::Installed { auto: false, .. }),
                hold: matches!(before, Package::Installed { hold: true, .. }),
            },
            None if simulated.removes.contains(name) => Package::Removed,
            None => before.clone(),
        };
        (name.clone(), after)
    });
    let after: Set = after.collect();
    resource.nobody_else_holds(&before, &after)?;
    Ok((resource, after))
}

/// The words for an installation on a host that has nothing of it.
pub fn afresh(packages: &Packages, want: &Set, host: &dyn Look) -> Result<Vec<String>> {
    Ok(apt::words(&packages.actions(&Set::new(), want, |_| packages.candidates(host))?))
}

pub fn fetch(packages: &Packages, now: &Set, state: &Set, host: &dyn Touch) -> Result<()> {
    let actions = packages.actions_between(now, state);
    if !actions.values().any(|action| matches!(action, Action::Install { .. })) {
        return Ok(());
    }
    make_archives(host)?;
    let state = packages.state(packages.refresh == Refresh::All, host)?;
    let command = apt::download(&actions, packages.held_by_us(now)).on(Private::Apt(state));
    let fetched = retrying(host, "fetch the packages", || host.run(&command));
    if fetched.as_ref().is_err_and(|error| error.exit == Exit::Refused) {
        host.remove_all(Path::new(apt::ARCHIVES))?;
    }
    fetched
}

pub fn set(packages: &Packages, state: &Set, host: &dyn Touch) -> Result<()> {
    let now = packages.get(host)?;
    let actions = packages.actions_between(&now, state);
    if !actions.is_empty() {
        if !packages.sources.is_empty() || packages.refresh == Refresh::All {
            packages.refresh(host)?;
        }
        packages.transact(&actions, packages.held_by_us(&now), host)?;
    }
    packages.mark(state, host, |names, auto| {
        host.run(&apt::mark(names, auto))?.or_failed(|| "cannot mark the packages as they were".into())
    })
}

/// Apart from the host's own, so that what was fetched can go afterwards.
fn make_archives(host: &dyn Touch) -> Result<()> {
    let archives = Path::new(apt::ARCHIVES);
    if host.exists(archives)? { Ok(()) } else { host.make_directory(archives, Owner::ROOT_0755) }
}

/// How often a fetch that came damaged is tried.
const TRIES: usize = 3;

impl Packages {
    fn indexes(&self, host: &dyn Look) -> Result<Vec<AptIndex>> {
        self.apt_sources().map(|source| repository::index(host, source)).collect()
    }

    fn apt_sources(&self) -> impl Iterator<Item = &repository::Source> {
        self.sources.iter().filter_map(|source| match source {
            Source::Apt(source) => Some(source),
            Source::Dnf(_) => None,
        })
    }

    /// Of what our source has: it is by far the most.
    fn needs(&self, simulated: &apt::Simulated, host: &dyn Look) -> Result<Needs> {
        let records: Vec<Record> = self.indexes(host)?.into_iter().flat_map(|index| index.records).collect();
        let comes = |record: &&Record| simulated.installs.get(&record.name) == Some(&record.version);
        let sum = |needs: Needs, record: &Record| Needs {
            download: needs.download + record.size,
            installed: needs.installed + record.installed,
        };
        Ok(records.iter().filter(comes).fold(Needs::default(), sum))
    }

    fn candidates(&self, host: &dyn Look) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for source in self.apt_sources() {
            let index = repository::index(host, source)?;
            // A bundle has whole indexes, and of what they list a part.
            let at_hand = |record: &Record| {
                let url = format!("{}/{}", source.index.root.trim_end_matches('/'), record.filename);
                host.offline().is_none_or(|offline| offline.find(&url).is_some())
            };
            candidates.extend(index.records.into_iter().filter(at_hand).map(|record| Candidate {
                name: record.name,
                version: record.version,
                sha256: Some(record.sha256),
            }));
        }
        Ok(candidates)
    }

    /// Asks apt what the actions come to, on the host's lists with our verified index beside them; where that does
    /// not resolve, once more on lists that are all fetched anew (into a state of its own).
    fn simulate(
        &self,
        actions: &BTreeMap<String, Action>,
        host: &dyn Look,
    ) -> Result<(apt::Simulated, Refresh)> {
        let mut question = apt::question("apt-get", apt::simulate(actions));
        question.state = self.state(false, host)?;
        if lists_are_fresh(host, self.apt_sources())? {
            let answer = host.query(&Question::Apt(question.clone()))?;
            if answer.ok() {
                return Ok((apt::parse_simulation(&answer.stdout), Refresh::Ours));
            }
        }
        question.state.refresh = true;
        let answer = host.query(&Question::Apt(question))?;
        if answer.ok() {
            return Ok((apt::parse_simulation(&answer.stdout), Refresh::All));
        }
        Err(unresolved(&answer))
    }

    /// Ours are chosen by their digest; of the distribution's the list says what a version's file is.
    fn files_are_as_locked(&self, want: &Set, refresh: Refresh, host: &dyn Look) -> Result<()> {
        let locked = |(name, want): (&String, &Package)| match want {
            Package::Wanted(Versions {
                distribution: true,
                exact: Some(version),
                sha256: Some(sha256),
                ..
            }) => Some(((name.clone(), version.clone()), sha256.clone())),
            _ => None,
        };
        let locked: BTreeMap<(String, String), String> = want.iter().filter_map(locked).collect();
        if locked.is_empty() {
            return Ok(());
        }
        let state = self.state(refresh == Refresh::All, host)?;
        let found = digests(locked.keys().map(|(name, version)| (&**name, &**version)), state, host)?;
        match locked.iter().find(|(file, sha256)| found.get(file).is_some_and(|found| found != *sha256)) {
            None => Ok(()),
            Some(((name, version), _)) => {
                Err(Error::refused(format!("cannot install version {version} of `{name}` as it is locked"))
                    .because("its file in the distribution's list has another digest than the locked one")
                    .hint("take a newer lock"))
            }
        }
    }

    /// The host's lists and sources as the plan will leave them.
    fn state(&self, refresh: bool, host: &dyn Look) -> Result<AptState> {
        let lists = self.indexes(host)?.iter().flat_map(AptIndex::lists).collect();
        let mut changed = Vec::new();
        for source in self.apt_sources() {
            changed.extend(repository::changed_files(host, source)?);
        }
        let preference = self.preference.iter();
        changed.extend(preference.map(|(path, text)| (path.clone(), Some(text.clone().into_bytes()))));
        Ok(AptState { lists, changed, refresh })
    }

    /// What the bundle has of the lists becomes the host's, as an update would leave them.
    fn lay_lists(&self, host: &dyn Touch) -> Result<()> {
        for source in self.apt_sources() {
            for (name, bytes) in repository::index(host, source)?.lists() {
                host.write(&Path::new(apt::LISTS).join(name), &bytes, Owner::ROOT_0644)?;
            }
            repository::accept(host, source)?;
        }
        Ok(())
    }

    /// One `apt-get update`, limited to our sources where the distribution's lists serve as they are.
    fn refresh(&self, host: &dyn Touch) -> Result<()> {
        if host.offline().is_some() {
            return self.lay_lists(host);
        }
        let update =
            |only: Option<&Path>| retrying(host, "fetch the package lists", || host.run(&apt::refresh(only)));
        if self.refresh == Refresh::All && (self.sources.is_empty() || !host.adopt_lists()?) {
            update(None)?;
        }
        for source in self.apt_sources() {
            match self.refresh {
                Refresh::Ours if repository::lists_are_current(host, source)? => continue,
                Refresh::Ours => update(repository::file_of(host, source)?.as_deref())?,
                Refresh::All => {}
            }
            repository::accept(host, source)?;
        }
        Ok(())
    }

    /// apt moves held packages for nobody else, whatever is asked for.
    fn held_by_us(&self, now: &Set) -> bool {
        now.iter().any(|(name, package)| package.is_held() && self.let_go.contains(name))
    }

    /// # Errors
    /// Somebody else holds what would move: refused, with the names.
    fn nobody_else_holds(&self, before: &Set, after: &Set) -> Result<()> {
        let theirs = |(name, package): &(&String, &Package)| {
            package.is_held() && !self.let_go.contains(*name) && after.get(*name) != Some(*package)
        };
        let held: Vec<&str> = before.iter().filter(theirs).map(|(name, _)| name.as_str()).collect();
        if held.is_empty() {
            return Ok(());
        }
        Err(Error::refused("cannot move packages that somebody else holds")
            .because(held.join(", "))
            .hint(format!("if they may move: apt-mark unhold {}", held.join(" "))))
    }

    fn transact(&self, actions: &BTreeMap<String, Action>, held: bool, host: &dyn Touch) -> Result<()> {
        make_archives(host)?;
        let done = self.in_order(actions, held, host);
        // What was fetched stays while the transaction is not through: the next run need not fetch it again.
        if done.is_ok() && !self.others_follow {
            host.remove_all(Path::new(apt::ARCHIVES))?;
        }
        done
    }

    /// One transaction; but what is purged goes before an old engine comes back, for both have units of the same names,
    /// and a purge takes their links with it (deb-systemd-helper). Everything is fetched before anything goes.
    fn in_order(&self, actions: &BTreeMap<String, Action>, held: bool, host: &dyn Touch) -> Result<()> {
        let run = |command: Command| retrying(host, "install the packages", || host.run(&command));
        let (purged, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            actions.clone().into_iter().partition(|(_, action)| *action == Action::Purge);
        if purged.is_empty() {
            return run(apt::transaction(actions, held));
        }
        if !rest.is_empty() {
            run(apt::download(actions, held))?;
        }
        let leaving: Vec<String> = purged.keys().cloned().collect();
        conffiles::lay_aside(conffiles::DPKG, &leaving, host)?;
        run(apt::transaction(&purged, held))?;
        conffiles::put_back(host)?;
        if rest.is_empty() { Ok(()) } else { run(apt::transaction(&rest, held)) }
    }
}

/// The versions of these names in the lists that the host has.
pub fn at_hand(names: &[String], host: &dyn Look) -> Result<BTreeMap<String, Vec<String>>> {
    let mut arguments = vec!["madison".to_owned()];
    arguments.extend(names.iter().cloned());
    let answer = host.query(&Question::Apt(apt::question("apt-cache", arguments)))?;
    Ok(apt::parse_madison(&answer.stdout))
}

/// The SHA-256 of package files by name and version, as the lists tell them.
pub fn digests<'a>(
    versions: impl Iterator<Item = (&'a str, &'a str)>,
    state: AptState,
    host: &dyn Look,
) -> Result<BTreeMap<(String, String), String>> {
    let mut arguments = vec!["show".to_owned()];
    arguments.extend(versions.map(|(name, version)| format!("{name}={version}")));
    let question = AptQuestion { state, ..apt::question("apt-cache", arguments) };
    Ok(apt::parse_digests(&host.query(&Question::Apt(question))?.stdout))
}

/// What apt would remove.
pub fn removes(actions: &BTreeMap<String, Action>, host: &dyn Look) -> Result<BTreeSet<String>> {
    // What somebody holds would go too, were it not held: so it needs what goes.
    let mut arguments = apt::simulate(actions);
    arguments.insert(1, "--ignore-hold".to_owned());
    let answer = host.query(&Question::Apt(apt::question("apt-get", arguments)))?;
    if !answer.ok() {
        return Err(unresolved(&answer));
    }
    Ok(apt::parse_simulation(&answer.stdout).removes)
}

/// What an archive has is not all enabled on every image.
const PARTS: &str = "look at the components of the distribution's sources: `contrib` and `non-free` on Debian, `universe` and \
                     `restricted` on Ubuntu";

fn unresolved(answer: &Output) -> Error {
    let text = format!("{}\n{}", answer.stdout, answer.stderr);
    match apt::trouble(&text) {
        Trouble::Interrupted => Error::failed("cannot plan the packages")
            .because("dpkg was interrupted in the middle of a transaction")
            .hint("dpkg --configure -a"),
        Trouble::Network => Error::try_again("cannot fetch the package lists").tail(&text),
        Trouble::Gone => {
            let gone = Error::refused("cannot resolve the packages").tail(&text);
            match text.contains("Unable to locate package") {
                true => gone.because("a package is in no source of this host").hint(PARTS),
                false => gone.because("a version is not to be had"),
            }
        }
        _ => Error::failed("cannot resolve the packages").tail(&text).hint("apt-get check"),
    }
}

/// Whether every enabled source of the distribution has its list, and none is older than a day. Our own may lack it:
/// once its file is written, it is fetched by itself.
fn lists_are_fresh<'s>(host: &dyn Look, ours: impl Iterator<Item = &'s repository::Source>) -> Result<bool> {
    let arguments =
        ["indextargets", "--format", apt::TARGETS, "Created-By: Packages"].map(str::to_owned).to_vec();
    let answer = host.query(&Question::Apt(apt::question("apt-get", arguments)))?;
    let targets = apt::parse_targets(&answer.stdout);
    if !answer.ok() || targets.is_empty() {
        return Ok(false);
    }
    let ours: Vec<String> = ours.flat_map(repository::Source::list_names).collect();
    for target in targets.iter().filter(|target| !ours.iter().any(|name| target.list.ends_with(name))) {
        if repository::is_listed(host, &target.list)? {
            continue;
        }
        let release = host.read_text(&target.release)?;
        if release.is_none_or(|release| apt::has_content(&release, &target.key)) {
            return Ok(false);
        }
    }
    // The lists carry the mirror's times; their directory moves with every update.
    let updated = [apt::LISTS, "/var/lib/apt/periodic/update-success-stamp"].iter().map(Path::new);
    let newest = updated.filter_map(|path| host.stat(path).ok().flatten()).map(|stat| stat.modified).max();
    Ok(newest.is_some_and(|then| host.now() - then < 86_400))
}

/// Runs apt until it is through: waits for locks, completes an interrupted dpkg, fetches damaged files again.
fn retrying(host: &dyn Touch, what: &str, run: impl Fn() -> Result<Output>) -> Result<()> {
    let mut damaged = 0;
    let mut configured = false;
    loop {
        let output = run()?;
        if output.ok() {
            return Ok(());
        }
        match apt::trouble(&output.stdout) {
            Trouble::Locked { holder } if !host.left().is_zero() => {
                host.pause(&format!("{holder}, which holds apt's lock"))?
            }
            Trouble::Locked { holder } => {
                return Err(Error::try_again(format!("cannot {what}"))
                    .because(format!("{holder} holds apt's lock"))
                    .tail(&output.stdout)
                    .hint("wait for it, or give a longer --wait"));
            }
            Trouble::Interrupted if !configured => {
                configured = true;
                host.tell(Event::Note {
                    text: "dpkg was interrupted earlier: its half-done work is completed first".into(),
                });
                host.run(&apt::configure_all())?;
            }
            Trouble::Mismatch { .. } | Trouble::Network if damaged + 1 < TRIES => {
                damaged += 1;
                host.tell(Event::Note { text: "what came is not whole: it is fetched again".into() });
            }
            trouble => return Err(ended(what, &trouble, &output)),
        }
    }
}

fn ended(what: &str, trouble: &Trouble, output: &Output) -> Error {
    let cannot = format!("cannot {what}");
    let (error, because) = match trouble {
        Trouble::Mismatch { shorter: false } => (Error::refused(cannot), "what came is not what was signed"),
        Trouble::Mismatch { shorter: true } => {
            (Error::try_again(cannot), "what came is shorter than what was signed")
        }
        Trouble::Network => (Error::try_again(cannot), "the mirror could not be read"),
        Trouble::Gone => {
            (Error::try_again(cannot), "the mirror has other versions now than when it was asked")
        }
        _ => {
            return Error::failed(cannot)
                .tail(&errors_of(&output.stdout))
                .hint("the log has the whole output");
        }
    };
    let hint = match error.exit {
        Exit::Refused => "ask the mirror's owner, or take another one with `[source.docker] url`",
        _ => "run the same command again",
    };
    error.because(because).tail(&errors_of(&output.stdout)).hint(hint)
}

/// apt's own error lines, or the end of all that it wrote.
fn errors_of(output: &str) -> String {
    let speaks = |l: &&str| l.starts_with("E:") || l.starts_with("dpkg: ") || l.starts_with("Err:");
    let errors: Vec<&str> = output.lines().filter(speaks).collect();
    if errors.is_empty() { output.to_owned() } else { errors.join("\n") }
}
