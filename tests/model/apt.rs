//! apt and dpkg as far as rprov meets them: sources and lists are files, a transaction is solved and then made.

use super::{Model, Output, Path, PathBuf, failure, fixture};
use rprov::host::{AptQuestion, AptState, Look};
use rprov::resources::repository::apt::parse_sources;
use rprov::version;
use std::collections::{BTreeMap, BTreeSet};

const LISTS: &str = "/var/lib/apt/lists";
const EXTENDED_STATES: &str = "/var/lib/apt/extended_states";
const DOCKER: &str = "https://download.docker.com/";

/// What dpkg knows of a package.
#[derive(Clone, Debug, PartialEq)]
pub struct Dpkg {
    pub version: String,
    /// Else only its configuration files are left.
    pub installed: bool,
    pub hold: bool,
    pub depends: Vec<String>,
}

/// A package that a list offers.
#[derive(Clone, Debug, PartialEq)]
struct Deb {
    name: String,
    version: String,
    depends: Vec<String>,
    conflicts: Vec<String>,
}

/// What a package puts on the host: files, conffiles, units.
fn contents(name: &str) -> (&'static [&'static str], &'static [&'static str], &'static [&'static str]) {
    match name {
        "docker-ce" => (&["/usr/bin/dockerd"], &[], &["docker.socket", "docker.service"]),
        "docker.io" => {
            (&["/usr/bin/dockerd"], &["/etc/default/docker"], &["docker.socket", "docker.service"])
        }
        "containerd.io" => {
            (&["/usr/bin/containerd"], &["/etc/containerd/config.toml"], &["containerd.service"])
        }
        "containerd" => (&["/usr/bin/containerd"], &[], &["containerd.service"]),
        "docker-ce-cli" => (&["/usr/bin/docker"], &[], &[]),
        _ => (&[], &[], &[]),
    }
}

/// What apt makes of its words.
#[derive(Default)]
struct Solution {
    installs: BTreeMap<String, Deb>,
    removes: BTreeSet<String>,
    named: BTreeSet<String>,
}

fn list_name(url: &str) -> String {
    url.split_once("://").unwrap().1.replace('/', "_")
}

fn parse_packages(text: &str) -> Vec<Deb> {
    let deb = |stanza: &str| {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        let names = |name: &str| {
            field(name).split(", ").filter(|n| !n.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        Deb {
            name: field("Package"),
            version: field("Version"),
            depends: names("Depends"),
            conflicts: names("Conflicts"),
        }
    };
    text.split("\n\n").filter(|stanza| stanza.starts_with("Package: ")).map(deb).collect()
}

impl Model {
    /// What the mirrors hold at an address.
    pub(super) fn served(&self, url: &str) -> Option<Vec<u8>> {
        match url.strip_prefix(DOCKER) {
            Some(below) if below.ends_with("/stable/repodata/repomd.xml") => Some(b"<repomd/>".to_vec()),
            Some(below) => {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mirror");
                std::fs::read(root.join(below)).ok()
            }
            None => url
                .ends_with("/Packages")
                .then(|| fixture(format!("fixtures/mirror/archive/{}", self.release.suite))),
        }
    }

    /// The lists that the enabled sources need, by file name and address; `changed` as a simulation lays it over.
    fn targets(&self, changed: &[(PathBuf, Option<Vec<u8>>)], only: Option<&str>) -> Vec<(String, String)> {
        let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
        let parts = Path::new("/etc/apt/sources.list.d");
        files.extend(self.list(parts).unwrap().iter().map(|name| parts.join(name)));
        files.extend(changed.iter().map(|(path, _)| path.clone()));
        files.sort();
        files.dedup();
        files.retain(|file| only.is_none_or(|only| file == Path::new(only)));
        let mut targets = Vec::new();
        for file in files {
            let bytes = match changed.iter().find(|(path, _)| *path == file) {
                Some((_, bytes)) => bytes.clone(),
                None => self.read(&file).unwrap(),
            };
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
            for entry in parse_sources(&file, &text).into_iter().filter(|entry| entry.enabled) {
                let suite = format!("{}/dists/{}", entry.uri.trim_end_matches('/'), entry.suites[0]);
                let packages =
                    format!("{suite}/{}/binary-{}/Packages", entry.components[0], self.release.architecture);
                targets.push((list_name(&packages), packages));
                if suite.starts_with(DOCKER) {
                    let in_release = format!("{suite}/InRelease");
                    targets.push((list_name(&in_release), in_release));
                }
            }
        }
        targets
    }

    /// Every package that can be had, by the lists of the enabled sources.
    fn candidates(&self, private: &AptState) -> Vec<Deb> {
        let mut found = Vec::new();
        for (name, url) in self.targets(&private.changed, None) {
            let laid_beside = private.lists.iter().find(|(list, _)| *list == name).map(|(_, b)| b.clone());
            let own = self.read(&Path::new(LISTS).join(&name)).unwrap();
            let fetched = if private.refresh { self.served(&url) } else { None };
            let bytes = laid_beside.or(fetched).or(own).unwrap_or_default();
            if name.ends_with("_Packages") {
                found.extend(parse_packages(&String::from_utf8(bytes).unwrap()));
            }
        }
        let gone = self.gone.borrow();
        found.retain(|deb| !gone.contains(&deb.version));
        found
    }

    fn solve(&self, words: &[&str], private: &AptState) -> Result<Solution, Output> {
        let candidates = self.candidates(private);
        let state = self.state.borrow();
        let newest = |name: &str| {
            let of_name = candidates.iter().filter(|deb| deb.name == name);
            of_name.max_by(|a, b| version::compare(&a.version, &b.version)).cloned()
        };
        let unknown = |name: &str| failure(100, &format!("E: Unable to locate package {name}\n"));
        let mut solution = Solution::default();
        for word in words {
            if let Some(name) = word.strip_suffix('-') {
                if !state.packages.contains_key(name) && newest(name).is_none() {
                    return Err(unknown(name));
                }
                solution.removes.insert(name.to_owned());
                continue;
            }
            let (name, wanted) = word.split_once('=').map_or((*word, None), |(n, v)| (n, Some(v)));
            let found = match wanted {
                None => newest(name).ok_or_else(|| unknown(name))?,
                Some(v) => {
                    candidates.iter().find(|d| d.name == name && d.version == v).cloned().ok_or_else(
                        || failure(100, &format!("E: Version '{v}' for '{name}' was not found\n")),
                    )?
                }
            };
            solution.named.insert(name.to_owned());
            solution.installs.insert(name.to_owned(), found);
        }
        let installed = |name: &str| state.packages.get(name).is_some_and(|p| p.installed);
        // What comes along.
        let mut open: Vec<Deb> = solution.installs.values().cloned().collect();
        while let Some(deb) = open.pop() {
            for needed in &deb.depends {
                let there = installed(needed) && !solution.removes.contains(needed);
                if there || solution.installs.contains_key(needed) {
                    continue;
                }
                if solution.removes.contains(needed) {
                    return Err(failure(
                        100,
                        "E: Unable to correct problems, you have held broken packages.\n",
                    ));
                }
                let found = newest(needed).ok_or_else(|| unknown(needed))?;
                open.push(found.clone());
                solution.installs.insert(needed.clone(), found);
            }
        }
        let conflicts = solution.installs.values().flat_map(|deb| &deb.conflicts);
        let conflicts: Vec<String> = conflicts.filter(|name| installed(name)).cloned().collect();
        solution.removes.extend(conflicts);
        // What needs something that goes, goes too.
        loop {
            let stays = |name: &str| {
                solution.installs.contains_key(name) || (installed(name) && !solution.removes.contains(name))
            };
            let broken = state.packages.iter().find(|(name, dpkg)| {
                stays(name)
                    && !solution.installs.contains_key(*name)
                    && !dpkg.depends.iter().all(|d| stays(d))
            });
            match broken {
                Some((name, _)) => solution.removes.insert(name.clone()),
                None => break,
            };
        }
        Ok(solution)
    }

    pub(super) fn apt_question(&self, question: &AptQuestion) -> Output {
        self.refreshed.set(self.refreshed.get() || question.state.refresh);
        let arguments: Vec<&str> = question.arguments.iter().map(String::as_str).collect();
        match (question.program, arguments.as_slice()) {
            // apt names the lists in the state that it was asked in, which is not the host's.
            ("apt-get", ["indextargets", "--format", "$(FILENAME) $(METAKEY)", "Created-By: Packages"]) => {
                let line = |(name, url): (String, String)| {
                    let key = url.rsplit('/').take(3).collect::<Vec<_>>();
                    let key = key.into_iter().rev().collect::<Vec<_>>().join("/");
                    name.ends_with("_Packages").then(|| format!("/tmp/private/lists/{name} {key}\n"))
                };
                let stdout =
                    self.targets(&question.state.changed, None).into_iter().filter_map(line).collect();
                Output { stdout, ..Output::default() }
            }
            ("apt-cache", ["madison", names @ ..]) => {
                let lines =
                    self.candidates(&question.state).into_iter().filter(|d| names.contains(&d.name.as_str()));
                let stdout = lines.map(|d| format!(" {} | {} | a source\n", d.name, d.version)).collect();
                Output { stdout, ..Output::default() }
            }
            ("apt-get", ["-s", rest @ ..]) => {
                let (purge, words) = transaction(rest);
                match self.solve(&words, &question.state) {
                    Ok(solution) => Output { stdout: self.told(&solution, purge), ..Output::default() },
                    Err(output) => output,
                }
            }
            other => panic!("the model was not taught {other:?}"),
        }
    }

    /// As `apt-get -s` tells it.
    fn told(&self, solution: &Solution, purge: bool) -> String {
        let state = self.state.borrow();
        let architecture = self.release.architecture;
        let mut text = "NOTE: This is only a simulation!\n".to_owned();
        for name in &solution.removes {
            let Some(dpkg) = state.packages.get(name).filter(|p| p.installed || purge) else { continue };
            text.push_str(&format!("{} {name} [{}]\n", if purge { "Purg" } else { "Remv" }, dpkg.version));
        }
        for (name, deb) in &solution.installs {
            let now = state.packages.get(name).filter(|p| p.installed);
            let was = now.map(|p| format!("[{}] ", p.version)).unwrap_or_default();
            if now.is_none_or(|p| p.version != deb.version) {
                text.push_str(&format!("Inst {name} {was}({} a source [{architecture}])\n", deb.version));
            }
        }
        text
    }

    pub(super) fn apt_get(&self, argv: &[&str], private: &AptState) -> Output {
        if argv.first() == Some(&"update") {
            let only = argv.iter().find_map(|a| a.strip_prefix("-oDir::Etc::sourcelist="));
            return self.put_lists(only);
        }
        let (purge, words) = transaction(argv);
        let solution = match self.solve(&words, private) {
            Ok(solution) => solution,
            Err(output) => return output,
        };
        if argv.contains(&"--download-only") {
            return Output::default();
        }
        let moves_held = |(name, p): (&String, &Dpkg)| {
            p.hold
                && (solution.removes.contains(name)
                    || solution.installs.get(name).is_some_and(|deb| deb.version != p.version))
        };
        if !argv.contains(&"--allow-change-held-packages")
            && self.state.borrow().packages.iter().any(moves_held)
        {
            return failure(
                100,
                "E: Held packages were changed and -y was used without --allow-change-held-packages.\n",
            );
        }
        solution.removes.iter().for_each(|name| self.dpkg_remove(name, purge));
        // Dependencies are configured before what needs them.
        let mut started: Vec<&str> = Vec::new();
        for (name, deb) in &solution.installs {
            started.extend(self.dpkg_install(deb, solution.named.contains(name)));
        }
        for unit in started.into_iter().filter(|unit| !self.is_masked(unit)) {
            let output = self.start(unit);
            if !output.ok() {
                return failure(100, "E: Sub-process /usr/bin/dpkg returned an error code (1)\n");
            }
        }
        Output::default()
    }

    pub(super) fn put_lists(&self, only: Option<&str>) -> Output {
        for (name, url) in self.targets(&[], only) {
            match self.served(&url) {
                Some(bytes) => self.put(&format!("{LISTS}/{name}"), bytes),
                None => return failure(100, &format!("E: Failed to fetch {url}  404  Not Found\n")),
            }
        }
        Output::default()
    }

    fn dpkg_install(&self, deb: &Deb, named: bool) -> &'static [&'static str] {
        let (files, conffiles, units) = contents(&deb.name);
        for path in files {
            self.put(path, &deb.version);
        }
        for path in conffiles {
            if !self.exists(Path::new(path)).unwrap() {
                self.put(path, &deb.name);
            }
        }
        for unit in units {
            self.put(&format!("/usr/lib/systemd/system/{unit}"), "");
            self.enable(unit);
        }
        let was = self.state.borrow().packages.get(&deb.name).cloned();
        let fresh = was.as_ref().is_none_or(|p| !p.installed);
        let dpkg = Dpkg {
            version: deb.version.clone(),
            installed: true,
            hold: was.is_some_and(|p| p.hold),
            depends: deb.depends.clone(),
        };
        self.state.borrow_mut().packages.insert(deb.name.clone(), dpkg);
        if named {
            self.mark(&deb.name, false);
        } else if fresh {
            self.mark(&deb.name, true);
        }
        units
    }

    fn dpkg_remove(&self, name: &str, purge: bool) {
        let Some(dpkg) = self.state.borrow().packages.get(name).cloned() else { return };
        let (files, conffiles, units) = contents(name);
        if dpkg.installed {
            for unit in units {
                self.stop(unit);
                self.take_away(&format!("/usr/lib/systemd/system/{unit}"));
            }
            files.iter().for_each(|path| self.take_away(path));
            self.mark(name, false);
        }
        if purge {
            units.iter().for_each(|unit| self.disable(unit));
            for path in conffiles {
                self.take_away(path);
                // dpkg takes the directory of a conffile too, once it is empty.
                let parent = Path::new(path).parent().unwrap();
                if parent != Path::new("/etc/default") && self.list(parent).unwrap().is_empty() {
                    self.take_away(&parent.display().to_string());
                }
            }
        }
        let mut state = self.state.borrow_mut();
        if purge || conffiles.is_empty() {
            state.packages.remove(name);
        } else {
            state.packages.insert(name.to_owned(), Dpkg { installed: false, ..dpkg });
        }
    }

    pub(super) fn dpkg_query(&self, names: &[String]) -> Output {
        let state = self.state.borrow();
        let line = |name: &String| {
            let dpkg = state.packages.get(name)?;
            let want = match (dpkg.hold, dpkg.installed) {
                (true, _) => "hold",
                (false, true) => "install",
                (false, false) => "deinstall",
            };
            let status = if dpkg.installed { "installed" } else { "config-files" };
            Some(format!("{name}\t{want}\t{status}\t{}\n", dpkg.version))
        };
        let lines: Vec<String> = names.iter().filter_map(line).collect();
        Output { code: i32::from(lines.len() < names.len()), stdout: lines.concat(), ..Output::default() }
    }

    pub(super) fn apt_mark(&self, argv: &[&str]) -> Output {
        if let "hold" | "unhold" = argv[0] {
            let mut state = self.state.borrow_mut();
            argv[1..].iter().for_each(|name| state.packages.get_mut(*name).unwrap().hold = argv[0] == "hold");
            return Output::default();
        }
        let auto = match argv[0] {
            "auto" => true,
            "manual" => false,
            other => panic!("the model was not taught apt-mark {other}"),
        };
        argv[1..].iter().for_each(|name| self.mark(name, auto));
        Output::default()
    }

    fn mark(&self, name: &str, auto: bool) {
        let text = self.read(Path::new(EXTENDED_STATES)).unwrap().unwrap_or_default();
        let mut marked = rprov::resources::apt::parse_auto(&String::from_utf8(text).unwrap());
        if auto {
            marked.insert(name.to_owned());
        } else {
            marked.remove(name);
        }
        let architecture = self.release.architecture;
        let stanza = |name| format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n");
        self.put(EXTENDED_STATES, marked.into_iter().map(stanza).collect::<String>());
    }
}

/// Whether a transaction purges, and its words; an option that nobody thought of is a panic.
fn transaction<'a>(argv: &[&'a str]) -> (bool, Vec<&'a str>) {
    const KNOWN: [&str; 13] = [
        "--ignore-hold",
        "--allow-change-held-packages",
        "--download-only",
        "-y",
        "-q",
        "--no-install-recommends",
        "--allow-downgrades",
        "-oDpkg::",
        "-oDPkg::Lock::Timeout=0",
        "-oAcquire::",
        "-oAPT::Get::AutomaticRemove=0",
        "-oAPT::Status-Fd=",
        "-oDir::Cache::archives=",
    ];
    let (options, words): (Vec<&str>, Vec<&str>) = argv.iter().partition(|word| word.starts_with('-'));
    for option in &options {
        let known = *option == "--purge" || KNOWN.iter().any(|known| option.starts_with(known));
        assert!(known, "the model was not taught the option `{option}`");
    }
    let Some(("install", words)) = words.split_first().map(|(verb, words)| (*verb, words)) else {
        panic!("the model was not taught {argv:?}");
    };
    (options.contains(&"--purge"), words.to_vec())
}
