//! One transaction of the package manager: every package that comes, goes or moves, with version and mark.

use super::apt::{self, Action, Trouble};
use super::conffiles;
use super::repository::{self, Source};
use super::{Change, How, Resource, WayBack};
use crate::error::{Error, Exit, Result};
use crate::event::{Event, Line};
use crate::host::fetch::mask;
use crate::host::{AptState, Command, Look, Output, Owner, Question, Touch};
use crate::trust::apt::{AptIndex, Record};
use crate::version;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The packages of one transaction, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Packages {
    pub manager: Manager,
    pub names: BTreeSet<String>,
    /// Where the wanted packages come from. Known while planning; a receipt can be undone without it.
    #[serde(skip)]
    pub source: Option<Source>,
    /// How much of the lists the transaction needs fetched first.
    #[serde(skip)]
    pub refresh: Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    Apt,
}

/// Which lists are fetched before the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Those of our source: the distribution's are there and fresh.
    #[default]
    Ours,
    All,
}

/// What a package is, or is wanted to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Package {
    Absent,
    /// Removed, its configuration files still there.
    Removed,
    Installed {
        version: String,
        auto: bool,
        #[serde(default)]
        hold: bool,
    },
    /// Half installed or half configured.
    Broken {
        version: String,
        status: String,
    },
    /// Only wanted, never found: any version that fits.
    Wanted(Versions),
}

/// Which versions serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The upstream version that any installed one must reach.
    pub floor: Option<String>,
    /// An upstream version or the front of one: `29`, `28.5`, `28.5.1`.
    pub prefix: Option<String>,
    /// The whole version of the package, as a lock has it.
    pub exact: Option<String>,
    /// Of the package file, as a lock has it.
    pub sha256: Option<String>,
    /// The newest that fits, even where an older one that fits is installed.
    pub newest: bool,
    /// Taken from the distribution: no version of it is ours to choose.
    pub distribution: bool,
}

impl Versions {
    fn fits(&self, found: &str) -> bool {
        let upstream = version::upstream(found);
        self.exact.as_deref().is_none_or(|exact| exact == found)
            && self.prefix.as_deref().is_none_or(|prefix| version::is_within(found, prefix))
            && self.floor.as_deref().is_none_or(|floor| version::compare(upstream, floor) != Ordering::Less)
    }
}

pub type Set = BTreeMap<String, Package>;

impl Package {
    fn version(&self) -> Option<&str> {
        match self {
            Package::Installed { version, .. } | Package::Broken { version, .. } => Some(version),
            _ => None,
        }
    }
    fn is_installed(&self) -> bool {
        matches!(self, Package::Installed { .. })
    }
    /// Absent and removed differ by configuration files only.
    fn is_gone(&self) -> bool {
        matches!(self, Package::Absent | Package::Removed)
    }
    fn meets(&self, want: &Package) -> bool {
        match (self, want) {
            (Package::Installed { version, .. }, Package::Wanted(wanted)) => {
                !wanted.newest && wanted.fits(version)
            }
            (now, Package::Absent | Package::Removed) => now.is_gone(),
            (
                Package::Installed { version: a, auto: x, .. },
                Package::Installed { version: b, auto: y, .. },
            ) => a == b && x == y,
            (now, want) => now == want,
        }
    }
}

impl Resource for Packages {
    type State = Set;

    fn get(&self, host: &dyn Look) -> Result<Set> {
        let names: Vec<String> = self.names.iter().cloned().collect();
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
        Ok(self.names.iter().map(|name| (name.clone(), state(name))).collect())
    }

    fn meets(now: &Set, want: &Set) -> bool {
        want.iter().all(|(name, want)| now.get(name).unwrap_or(&Package::Absent).meets(want))
    }

    fn resolve(&self, now: &Set, want: &Set, host: &dyn Look) -> Result<(Self, Set)> {
        let actions = self.actions(now, want, host)?;
        if actions.is_empty() {
            return Ok((self.clone(), now.clone()));
        }
        let (simulated, refresh) = self.simulate(&actions, host)?;
        let names = want.keys().chain(simulated.installs.keys()).chain(&simulated.removes).cloned().collect();
        let resource = Packages { names, refresh, ..self.clone() };
        let before = resource.get(host)?;
        let after = before.iter().map(|(name, before)| {
            let completed = simulated.configures.get(name).filter(|_| want.contains_key(name));
            let after = match simulated.installs.get(name).or(completed) {
                Some(version) => Package::Installed {
                    version: version.clone(),
                    auto: !actions.contains_key(name)
                        && !matches!(before, Package::Installed { auto: false, .. }),
                    hold: matches!(before, Package::Installed { hold: true, .. }),
                },
                None if simulated.removes.contains(name) => Package::Removed,
                None => before.clone(),
            };
            (name.clone(), after)
        });
        Ok((resource.clone(), after.collect()))
    }

    fn fetch(&self, now: &Set, state: &Set, host: &dyn Touch) -> Result<()> {
        let actions = self.actions_between(now, state);
        if !actions.values().any(|action| matches!(action, Action::Install { .. })) {
            return Ok(());
        }
        make_archives(host)?;
        let command = apt::download(&actions).on(self.state(self.refresh == Refresh::All, host)?);
        let fetched = retrying(host, "fetch the packages", || host.run(&command));
        if fetched.as_ref().is_err_and(|error| error.exit == Exit::Refused) {
            host.remove_all(Path::new(apt::ARCHIVES))?;
        }
        fetched
    }

    fn set(&self, state: &Set, host: &dyn Touch) -> Result<()> {
        let now = self.get(host)?;
        let actions = self.actions_between(&now, state);
        if !actions.is_empty() {
            if self.source.is_some() || self.refresh == Refresh::All {
                self.refresh(host)?;
            }
            self.transact(&actions, host)?;
        }
        self.mark(state, host)
    }

    fn still_ours(now: &Set, after: &Set) -> bool {
        after.iter().all(|(name, after)| {
            let now = now.get(name).unwrap_or(&Package::Absent);
            match (now, after) {
                // A newer version, by the host's own tool, is still ours to uninstall.
                (Package::Installed { version: now, .. }, Package::Installed { version: after, .. }) => {
                    version::compare(now, after) != Ordering::Less
                }
                (now, after) => now == after || (now.is_gone() && after.is_gone()),
            }
        })
    }

    fn describe(&self, before: &Set, after: &Set) -> Vec<Line> {
        let line = |(name, after): (&String, &Package)| {
            let before = before.get(name).unwrap_or(&Package::Absent);
            let kind = "package";
            match (before, after) {
                (before, after) if before == after => None,
                (Package::Installed { version, .. } | Package::Broken { version, .. }, after)
                    if after.is_gone() =>
                {
                    Some(Line::remove(kind, name, version))
                }
                (before, after) if before.is_gone() && after.is_gone() => None,
                (before, Package::Installed { version, auto, .. }) if before.is_gone() => Some(Line::add(
                    kind,
                    name,
                    if *auto { format!("{version} (comes along)") } else { version.clone() },
                )),
                (before, Package::Installed { version, auto, .. }) if before.version() == Some(version) => {
                    let words = if before.is_installed() {
                        format!(
                            "{version}, marked as installed {}",
                            if *auto { "automatically" } else { "by hand" }
                        )
                    } else {
                        format!("{version}, configured")
                    };
                    Some(Line::change(kind, name, words))
                }
                (before, Package::Installed { version, .. }) => {
                    Some(Line::change(kind, name, format!("{} → {version}", before.version().unwrap_or("?"))))
                }
                (_, after) => Some(Line::change(kind, name, format!("{after:?}").to_lowercase())),
            }
        };
        after.iter().filter_map(line).collect()
    }

    /// All transactions of one package manager are one resource: undo makes one transaction.
    fn same(&self, other: &Self) -> bool {
        self.manager == other.manager
    }

    fn join(earlier: Change<Self>, later: Change<Self>) -> Change<Self> {
        let mut joined = earlier;
        for (name, after) in later.after {
            joined.after.insert(name, after);
        }
        for (name, before) in later.before {
            joined.before.entry(name).or_insert(before);
        }
        joined.resource.names.extend(later.resource.names);
        joined
    }

    fn way_back(&self, change: &Change<Self>, host: &dyn Look, _how: How) -> Result<WayBack<Set>> {
        let now = self.get(host)?;
        let mut to = now.clone();
        for (name, before) in &change.before {
            let (Some(at), Some(after)) = (now.get(name), change.after.get(name)) else { continue };
            if before != after && !at.meets(before) {
                to.insert(name.clone(), before.clone());
            }
        }
        let mut told = Vec::new();
        self.to_versions_at_hand(&now, &mut to, host, &mut told)?;
        self.keep_what_others_need(&now, &mut to, host, &mut told)?;
        Ok(if to != now {
            WayBack::Restore { now, to, told }
        } else if told.is_empty() {
            WayBack::AlreadyAsBefore
        } else {
            WayBack::Kept { why: told.join("; ") }
        })
    }
}

/// Apart from the host's own, so that what was fetched can go afterwards.
fn make_archives(host: &dyn Touch) -> Result<()> {
    let archives = Path::new(apt::ARCHIVES);
    if host.exists(archives)? { Ok(()) } else { host.make_directory(archives, Owner::ROOT_0755) }
}

/// How often a fetch that came damaged is tried.
const TRIES: usize = 3;

impl Packages {
    /// What apt is told to reach the wants: exact versions for what our source has, the distribution's own for the
    /// rest, and `name-` for what must go in the same transaction.
    fn actions(&self, now: &Set, want: &Set, host: &dyn Look) -> Result<BTreeMap<String, Action>> {
        let unmet: Vec<_> = want
            .iter()
            .filter(|(name, want)| !now.get(*name).unwrap_or(&Package::Absent).meets(want))
            .collect();
        let needs_index = unmet.iter().any(|(_, want)| matches!(want, Package::Wanted(w) if !w.distribution));
        let index = if needs_index { self.index(host)? } else { None };
        let mut actions = BTreeMap::new();
        for (name, want) in unmet {
            let action = match want {
                Package::Wanted(versions) if versions.distribution => {
                    Action::Install { version: versions.exact.clone() }
                }
                Package::Wanted(versions) => {
                    let version = choose(name, versions, index.as_ref(), &self.place())?;
                    // One that is half there gets the same version once more.
                    if matches!(now.get(name), Some(Package::Installed { version: at, .. }) if *at == version)
                    {
                        continue;
                    }
                    Action::Install { version: Some(version) }
                }
                Package::Installed { version, .. } => Action::Install { version: Some(version.clone()) },
                _ => Action::Remove,
            };
            actions.insert(name.clone(), action);
        }
        Ok(actions)
    }

    fn place(&self) -> String {
        self.source.as_ref().map(|s| format!("{} {}", mask(&s.index.root), s.index.suite)).unwrap_or_default()
    }

    fn index(&self, host: &dyn Look) -> Result<Option<AptIndex>> {
        self.source.as_ref().map(|source| repository::index(host, source)).transpose()
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
        if lists_are_fresh(host, self.source.as_ref())? {
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

    /// The host's lists and sources as the plan will leave them.
    fn state(&self, refresh: bool, host: &dyn Look) -> Result<AptState> {
        let Some(source) = &self.source else { return Ok(AptState { refresh, ..AptState::default() }) };
        let lists = self.index(host)?.map(|index| index.lists()).unwrap_or_default();
        Ok(AptState { lists, changed: repository::changed_files(host, source)?, refresh })
    }

    /// One `apt-get update`, limited to our source where the distribution's lists serve as they are.
    fn refresh(&self, host: &dyn Touch) -> Result<()> {
        let Some(source) = &self.source else {
            return retrying(host, "fetch the package lists", || host.run(&apt::refresh(None)));
        };
        let only = match self.refresh {
            Refresh::Ours => {
                if repository::lists_are_current(host, source)? {
                    return Ok(());
                }
                repository::file_of(host, source)?
            }
            Refresh::All if host.adopt_lists()? => return repository::accept(host, source),
            Refresh::All => None,
        };
        retrying(host, "fetch the package lists", || host.run(&apt::refresh(only.as_deref())))?;
        repository::accept(host, source)
    }

    fn transact(&self, actions: &BTreeMap<String, Action>, host: &dyn Touch) -> Result<()> {
        make_archives(host)?;
        let done = self.in_order(actions, host);
        // What was fetched stays while the transaction is not through: the next run need not fetch it again.
        if done.is_ok() {
            host.remove_all(Path::new(apt::ARCHIVES))?;
        }
        done
    }

    /// One transaction; but what is purged goes before an old engine comes back, for both have units of the same names,
    /// and a purge takes their links with it (deb-systemd-helper). Everything is fetched before anything goes.
    fn in_order(&self, actions: &BTreeMap<String, Action>, host: &dyn Touch) -> Result<()> {
        let run = |command: Command| retrying(host, "install the packages", || host.run(&command));
        let (purged, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            actions.clone().into_iter().partition(|(_, action)| *action == Action::Purge);
        if purged.is_empty() {
            return run(apt::transaction(actions));
        }
        if !rest.is_empty() {
            run(apt::download(actions))?;
        }
        let leaving: Vec<String> = purged.keys().cloned().collect();
        conffiles::lay_aside(&leaving, host)?;
        run(apt::transaction(&purged))?;
        conffiles::put_back(host)?;
        if rest.is_empty() { Ok(()) } else { run(apt::transaction(&rest)) }
    }

    /// From what is there to the state: exact versions, removals and purges. What comes along by itself is not
    /// named, so that apt marks it so; on the way back everything is named.
    fn actions_between(&self, now: &Set, state: &Set) -> BTreeMap<String, Action> {
        let absent = Package::Absent;
        let way_back =
            state.iter().any(|(name, to)| *to == Package::Absent && now.get(name) != Some(&absent));
        let action = |(name, to): (&String, &Package)| {
            let at = now.get(name).unwrap_or(&absent);
            let action = match (at, to) {
                (at, to) if at == to => None,
                (Package::Absent, Package::Absent | Package::Removed) => None,
                (Package::Installed { version: a, .. }, Package::Installed { version: b, .. }) if a == b => {
                    None
                }
                (at, Package::Installed { auto: true, .. }) if at.is_gone() && !way_back => None,
                (_, Package::Installed { version, .. }) => {
                    Some(Action::Install { version: Some(version.clone()) })
                }
                (_, Package::Absent) => Some(Action::Purge),
                (at, Package::Removed) if !at.is_gone() => Some(Action::Remove),
                _ => None,
            };
            action.map(|action| (name.clone(), action))
        };
        state.iter().filter_map(action).collect()
    }

    fn mark(&self, state: &Set, host: &dyn Touch) -> Result<()> {
        let now = self.get(host)?;
        let differing = |wanted: bool| -> Vec<String> {
            let differs = |(name, to): &(&String, &Package)| match (now.get(*name), to) {
                (Some(Package::Installed { auto: at, .. }), Package::Installed { auto, .. }) => {
                    *auto == wanted && at != auto
                }
                _ => false,
            };
            state.iter().filter(differs).map(|(name, _)| name.clone()).collect()
        };
        for (names, command) in
            [(differing(true), apt::mark_auto as fn(&[String]) -> _), (differing(false), apt::mark_manual)]
        {
            if !names.is_empty() {
                host.run(&command(&names))?.or_failed(|| "cannot mark the packages as they were".into())?;
            }
        }
        Ok(())
    }

    /// Replaces versions that the archive has no more by the nearest that it has, and says so.
    fn to_versions_at_hand(
        &self,
        now: &Set,
        to: &mut Set,
        host: &dyn Look,
        told: &mut Vec<String>,
    ) -> Result<()> {
        let wanted: Vec<(String, String)> = to
            .iter()
            .filter(|(name, state)| now.get(*name).and_then(Package::version) != state.version())
            .filter_map(|(name, state)| Some((name.clone(), state.version()?.to_owned())))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut arguments = vec!["madison".to_owned()];
        arguments.extend(wanted.iter().map(|(name, _)| name.clone()));
        let answer = host.query(&Question::Apt(apt::question("apt-cache", arguments)))?;
        let at_hand = apt::parse_madison(&answer.stdout);
        for (name, version) in wanted {
            let versions = at_hand.get(&name).map(Vec::as_slice).unwrap_or_default();
            if versions.contains(&version) {
                continue;
            }
            match nearest(&version, versions) {
                Some(near) => {
                    told.push(format!(
                        "`{name}` {version} is not to be had any more: {near} comes back instead"
                    ));
                    if let Some(Package::Installed { version, .. }) = to.get_mut(&name) {
                        *version = near.to_owned();
                    }
                }
                None => {
                    told.push(format!("`{name}` {version} cannot come back: no source of this host has it"));
                    to.insert(name.clone(), now.get(&name).cloned().unwrap_or(Package::Absent));
                }
            }
        }
        Ok(())
    }

    /// What came along and is needed by something else now stays. apt itself is asked: what else would go?
    fn keep_what_others_need(
        &self,
        now: &Set,
        to: &mut Set,
        host: &dyn Look,
        told: &mut Vec<String>,
    ) -> Result<()> {
        loop {
            let actions = self.actions_between(now, to);
            let goes = |actions: &BTreeMap<String, Action>| -> BTreeSet<String> {
                actions
                    .iter()
                    .filter(|(_, a)| !matches!(a, Action::Install { .. }))
                    .map(|(n, _)| n.clone())
                    .collect()
            };
            let leaving = goes(&actions);
            if leaving.is_empty() {
                return Ok(());
            }
            let others = self.others_that_go(&actions, &leaving, host)?;
            if others.is_empty() {
                return Ok(());
            }
            let mut kept_one = false;
            for name in &leaving {
                let alone = BTreeMap::from([(name.clone(), actions[name].clone())]);
                let needed_by = self.others_that_go(&alone, &leaving, host)?;
                if !needed_by.is_empty() {
                    let names = needed_by.into_iter().collect::<Vec<_>>().join(", ");
                    told.push(format!("`{name}` stays: {names} needs it now"));
                    to.insert(name.clone(), now[name].clone());
                    kept_one = true;
                }
            }
            if !kept_one {
                let names = others.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::failed("cannot take the packages back")
                    .because(format!("apt would remove {names} with them"))
                    .hint(format!(
                        "look at why: apt-get -s purge {}",
                        leaving.into_iter().collect::<Vec<_>>().join(" ")
                    )));
            }
        }
    }

    fn others_that_go(
        &self,
        actions: &BTreeMap<String, Action>,
        ours: &BTreeSet<String>,
        host: &dyn Look,
    ) -> Result<BTreeSet<String>> {
        let answer = host.query(&Question::Apt(apt::question("apt-get", apt::simulate(actions))))?;
        if !answer.ok() {
            return Err(unresolved(&answer));
        }
        Ok(apt::parse_simulation(&answer.stdout).removes.difference(ours).cloned().collect())
    }
}

/// The exact version that serves a want: the newest in the index that fits.
fn choose(name: &str, wanted: &Versions, index: Option<&AptIndex>, place: &str) -> Result<String> {
    let found = index.iter().flat_map(|index| &index.records).filter(|record| record.name == name);
    // A locked package of another digest is another package, whatever its version says.
    let same = |record: &Record| wanted.sha256.as_ref().is_none_or(|sha256| *sha256 == record.sha256);
    let records: Vec<&Record> = found.collect();
    let newest = |fits: &dyn Fn(&Record) -> bool| {
        let versions = records.iter().filter(|record| fits(record)).map(|record| record.version.as_str());
        versions.max_by(|a, b| version::compare(a, b)).map(str::to_owned)
    };
    if let Some(found) = newest(&|record| wanted.fits(&record.version) && same(record)) {
        return Ok(found);
    }
    let words = match (wanted.exact.as_ref().or(wanted.prefix.as_ref()), &wanted.floor) {
        (Some(prefix), _) => format!("version {prefix} of `{name}`"),
        (None, Some(floor)) => format!("`{name}` at or above {floor}"),
        (None, None) => format!("`{name}`"),
    };
    let has = match (newest(&|record| wanted.fits(&record.version)), newest(&|_| true)) {
        (Some(_), _) => "its file there has another digest than the locked one".into(),
        (None, Some(newest)) => format!("the newest there is {newest}"),
        (None, None) => "it has no version of it".into(),
    };
    let hint = match wanted.exact {
        Some(_) => "take a newer lock, or `[source.docker] url` of a mirror that keeps old versions",
        None => "rprov plan  shows what would come",
    };
    Err(Error::refused(format!("cannot find {words} in {place}")).because(has).hint(hint))
}

/// The version closest to the one that is gone: the next newer, else the newest older.
fn nearest<'a>(gone: &str, versions: &'a [String]) -> Option<&'a str> {
    let mut sorted: Vec<&str> = versions.iter().map(String::as_str).collect();
    sorted.sort_by(|a, b| version::compare(a, b));
    let newer = sorted.iter().find(|v| version::compare(v, gone) == Ordering::Greater);
    newer.or(sorted.last()).copied()
}

fn unresolved(answer: &Output) -> Error {
    let text = format!("{}\n{}", answer.stdout, answer.stderr);
    match apt::trouble(&text) {
        Trouble::Interrupted => Error::failed("cannot plan the packages")
            .because("dpkg was interrupted in the middle of a transaction")
            .hint("dpkg --configure -a"),
        Trouble::Network => Error::try_again("cannot fetch the package lists").tail(&text),
        Trouble::Gone => {
            Error::refused("cannot resolve the packages").because("a version is not to be had").tail(&text)
        }
        _ => Error::failed("cannot resolve the packages").tail(&text).hint("apt-get check"),
    }
}

/// Whether every enabled source of the distribution has its list, and none is older than a day. Our own may lack it:
/// once its file is written, it is fetched by itself.
fn lists_are_fresh(host: &dyn Look, ours: Option<&Source>) -> Result<bool> {
    let arguments =
        ["indextargets", "--format", apt::TARGETS, "Created-By: Packages"].map(str::to_owned).to_vec();
    let answer = host.query(&Question::Apt(apt::question("apt-get", arguments)))?;
    let targets = apt::parse_targets(&answer.stdout);
    if !answer.ok() || targets.is_empty() {
        return Ok(false);
    }
    let ours = ours.map(Source::list_names).unwrap_or_default();
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
