//! dnf and rpm as far as rprov meets them: repositories are files, a transaction is solved from a small table and made.

use super::{Model, Output, Path, PathBuf, failure};
use rprov::host::{DnfQuestion, DnfState, Look};
use rprov::resources::repository::dnf::parse;
use rprov::trust::Pin;
use rprov::version;
use std::collections::{BTreeMap, BTreeSet};

use super::Dpkg;

const REPOSITORIES: &str = "/etc/yum.repos.d";
/// Who came along with something: dnf's history, as a list.
const REASONS: &str = "/var/lib/dnf/came-along";
const DOCKER: &str = "https://download.docker.com/";

/// Name, version without its release, and what it needs.
type Rpm = (&'static str, &'static str, &'static [&'static str]);

const OURS: &[Rpm] = &[
    (
        "docker-ce",
        "3:28.5.2-1",
        &["docker-ce-cli", "containerd.io", "container-selinux", "iptables-nft", "nftables"],
    ),
    (
        "docker-ce",
        "3:29.7.2-1",
        &["docker-ce-cli", "containerd.io", "container-selinux", "iptables-nft", "nftables"],
    ),
    ("docker-ce-cli", "1:28.5.2-1", &[]),
    ("docker-ce-cli", "1:29.7.2-1", &[]),
    ("containerd.io", "1.7.28-1", &["container-selinux"]),
    ("containerd.io", "2.2.1-1", &["container-selinux"]),
    ("docker-buildx-plugin", "0.34.1-1", &[]),
    ("docker-compose-plugin", "5.5.0-1", &[]),
];

const THEIRS: &[Rpm] = &[
    ("ca-certificates", "2025.2.80-1", &[]),
    ("container-selinux", "4:2.235.0-1", &["policycoreutils-python-utils"]),
    ("iptables-libs", "1.8.10-1", &[]),
    ("iptables-nft", "1.8.10-1", &["iptables-libs"]),
    ("nftables", "1.0.9-1", &[]),
    ("policycoreutils-python-utils", "3.6-1", &[]),
];

/// What a package puts on the host: files, and units that it neither enables nor starts.
fn contents(name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match name {
        "docker-ce" => (&["/usr/bin/dockerd"], &["docker.socket", "docker.service"]),
        "containerd.io" => (&["/usr/bin/containerd"], &["containerd.service"]),
        "docker-ce-cli" => (&["/usr/bin/docker"], &[]),
        "docker-buildx-plugin" => (&["/usr/libexec/docker/cli-plugins/docker-buildx"], &[]),
        _ => (&[], &[]),
    }
}

fn said(stdout: String) -> Output {
    Output { stdout, ..Output::default() }
}

impl Model {
    /// What can be had, by name and whole version: ours only where an enabled repository has its address.
    fn rpms(&self, private: &DnfState) -> Vec<(String, String, Rpm)> {
        let directory = Path::new(REPOSITORIES);
        let mut files: Vec<PathBuf> =
            self.list(directory).unwrap().iter().map(|name| directory.join(name)).collect();
        files.extend(private.changed.iter().map(|(path, _)| path.clone()));
        files.sort();
        files.dedup();
        let is_ours = |file: &PathBuf| {
            let bytes = match private.changed.iter().find(|(path, _)| path == file) {
                Some((_, bytes)) => bytes.clone(),
                None => self.read(file).unwrap(),
            };
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
            let ours = parse(file, &text).into_iter().filter(|section| section.is_enabled());
            ours.flat_map(|section| section.values["baseurl"].clone()).any(|url| url.starts_with(DOCKER))
        };
        let ours: &[Rpm] = if files.iter().any(is_ours) { OURS } else { &[] };
        let whole = |rpm: &Rpm| (rpm.0.to_owned(), format!("{}.{}", rpm.1, self.release.suite), *rpm);
        let all = ours.iter().chain(THEIRS).map(whole);
        let gone = self.gone.borrow();
        all.filter(|(_, version, _)| !gone.contains(version)).collect()
    }

    fn came_along(&self) -> BTreeSet<String> {
        let text = self.read(Path::new(REASONS)).unwrap().unwrap_or_default();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    fn reason(&self, name: &str, auto: bool) {
        let mut names = self.came_along();
        if auto {
            names.insert(name.to_owned())
        } else {
            names.remove(name)
        };
        self.put(REASONS, names.into_iter().map(|name| name + "\n").collect::<String>());
    }

    /// Which packages of which version a transaction brings; named ones are names, `NAME-VERSION` or files.
    fn dnf_solve(
        &self,
        words: &[&str],
        private: &DnfState,
    ) -> Result<BTreeMap<String, (String, Rpm, bool)>, Output> {
        let mut rpms = self.rpms(private);
        let mut files = BTreeMap::new();
        for word in words.iter().filter(|word| word.starts_with('/')) {
            let text = self.text(word);
            let (name, version) = text.trim().split_once('\t').unwrap();
            let short = version.strip_suffix(&format!(".{}", self.release.suite)).unwrap();
            let rpm = OURS.iter().find(|rpm| rpm.0 == name && rpm.1 == short).unwrap();
            files.insert(*word, (name.to_owned(), version.to_owned(), *rpm));
        }
        rpms.extend(files.values().cloned());
        rpms.sort_by(|a, b| version::compare_rpm(&a.1, &b.1));
        let state = self.state.borrow();
        let mut solved: BTreeMap<String, (String, Rpm, bool)> = BTreeMap::new();
        let mut open: Vec<&'static str> = Vec::new();
        for word in words {
            let fits = |(name, version, _): &&(String, String, Rpm)| {
                files.get(word).map_or(word == name || **word == format!("{name}-{version}"), |file| {
                    file.0 == *name && file.1 == *version
                })
            };
            let Some((name, version, rpm)) = rpms.iter().rfind(fits) else {
                return Err(failure(1, &format!("Error: Unable to find a match: {word}\n")));
            };
            solved.insert(name.clone(), (version.clone(), *rpm, true));
            open.extend(rpm.2);
        }
        while let Some(needed) = open.pop() {
            if state.packages.contains_key(needed) || solved.contains_key(needed) {
                continue;
            }
            let Some((name, version, rpm)) = rpms.iter().rfind(|(name, ..)| name == needed) else {
                return Err(failure(1, &format!("Error: \n - nothing provides {needed} needed by x\n")));
            };
            solved.insert(name.clone(), (version.clone(), *rpm, false));
            open.extend(rpm.2);
        }
        solved.retain(|name, (version, ..)| state.packages.get(name).is_none_or(|p| p.version != *version));
        Ok(solved)
    }

    /// These, and what needs them.
    fn goes(&self, names: &[&str]) -> BTreeSet<String> {
        let state = self.state.borrow();
        let mut goes: BTreeSet<String> =
            names.iter().filter(|n| state.packages.contains_key(**n)).map(|n| (*n).to_owned()).collect();
        loop {
            let needs = |p: &Dpkg| p.depends.iter().any(|needed| goes.contains(needed));
            match state.packages.iter().find(|(name, p)| !goes.contains(*name) && needs(p)) {
                Some((name, _)) => goes.insert(name.clone()),
                None => return goes,
            };
        }
    }

    pub(super) fn rpm_query(&self, names: &[String]) -> Output {
        let state = self.state.borrow();
        let line = |name: &String| match state.packages.get(name) {
            Some(found) => format!("{name}\t{}\n", found.version),
            None => format!("package {name} is not installed\n"),
        };
        let missing = names.iter().filter(|name| !state.packages.contains_key(*name)).count();
        Output { code: i32::try_from(missing).unwrap(), ..said(names.iter().map(line).collect()) }
    }

    pub(super) fn rpm_contents(&self, names: &[String]) -> Output {
        said(names.iter().flat_map(|name| contents(name).0).map(|path| format!("{path}\n")).collect())
    }

    pub(super) fn rpm_keys(&self) -> Output {
        let state = self.state.borrow();
        let keys = state.packages.keys().filter_map(|name| name.strip_prefix("gpg-pubkey-"));
        said(keys.map(|name| format!("{name}\n")).collect())
    }

    pub(super) fn rpm_files(&self, files: &[PathBuf]) -> Output {
        said(files.iter().map(|file| self.text(&file.display().to_string())).collect())
    }

    pub(super) fn rpm_check(&self, files: &[PathBuf]) -> Output {
        said(files.iter().map(|file| format!("{}: digests signatures OK\n", file.display())).collect())
    }

    pub(super) fn dnf_question(&self, question: &DnfQuestion) -> Output {
        let words: Vec<&str> =
            question.arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        let has = |option: &str| question.arguments.iter().any(|word| word == option);
        match &words[..] {
            ["repoquery", _] if has("--userinstalled") => {
                let auto = self.came_along();
                let state = self.state.borrow();
                let named = state.packages.keys().filter(|name| !auto.contains(*name));
                said(named.map(|name| format!("{name}\n")).collect())
            }
            ["repoquery", _, names @ ..] => {
                let found =
                    self.rpms(&question.state).into_iter().filter(|rpm| names.contains(&rpm.0.as_str()));
                said(found.map(|(name, version, _)| format!("{name}\t{version}\n")).collect())
            }
            ["install", specs @ ..] if has("--assumeno") => match self.dnf_solve(specs, &question.state) {
                Ok(solved) => {
                    let row = |(name, (version, ..)): (&String, &(String, Rpm, bool))| {
                        format!(" {name}  x86_64  {version}  a-repository  1 k\n")
                    };
                    Output {
                        code: 1,
                        ..said(format!(
                            "Installing:\n{}\nTransaction Summary\n",
                            solved.iter().map(row).collect::<String>()
                        ))
                    }
                }
                Err(output) => output,
            },
            ["remove", names @ ..] if has("--assumeno") => {
                let row = |name: String| format!(" {name}  x86_64  1-1  @System  1 k\n");
                let rows: String = self.goes(names).into_iter().map(row).collect();
                Output { code: 1, ..said(format!("Removing:\n{rows}\nTransaction Summary\n")) }
            }
            other => panic!("the model was not taught {other:?}"),
        }
    }

    pub(super) fn dnf(&self, argv: &[&str], private: &DnfState) -> Output {
        let words: Vec<&str> = argv.iter().filter(|word| !word.starts_with('-')).copied().collect();
        match &words[..] {
            ["install", specs @ ..] => {
                let solved = match self.dnf_solve(specs, private) {
                    Ok(solved) => solved,
                    Err(output) => return output,
                };
                for (name, (version, rpm, named)) in solved {
                    if argv.contains(&"--downloadonly") {
                        let from = if OURS.contains(&rpm) { "docker-ce-stable" } else { "theirs" };
                        let directory = format!("/var/cache/rprov/{from}-0123456789abcdef/packages");
                        self.put(&format!("{directory}/{name}.rpm"), format!("{name}\t{version}\n"));
                    } else {
                        self.rpm_install(&name, &version, rpm, named);
                    }
                }
                Output::default()
            }
            ["remove", names @ ..] => {
                self.goes(names).iter().for_each(|name| self.rpm_remove(name));
                Output::default()
            }
            ["mark", "install", names @ ..] => {
                names.iter().for_each(|name| self.reason(name, false));
                Output::default()
            }
            ["mark", "remove", names @ ..] => {
                names.iter().for_each(|name| self.reason(name, true));
                Output::default()
            }
            other => panic!("the model was not taught {other:?}"),
        }
    }

    fn rpm_install(&self, name: &str, version: &str, rpm: Rpm, named: bool) {
        let (files, units) = contents(name);
        files.iter().for_each(|path| self.put(path, version));
        units.iter().for_each(|unit| self.put(&format!("/usr/lib/systemd/system/{unit}"), ""));
        let dpkg = Dpkg {
            version: version.to_owned(),
            installed: true,
            hold: false,
            depends: rpm.2.iter().map(|needed| (*needed).to_owned()).collect(),
        };
        let was = self.state.borrow_mut().packages.insert(name.to_owned(), dpkg);
        if named || was.is_none() {
            self.reason(name, !named);
        }
    }

    fn rpm_remove(&self, name: &str) {
        let (files, units) = contents(name);
        for unit in units {
            self.stop(unit);
            self.disable(unit);
            self.take_away(&format!("/usr/lib/systemd/system/{unit}"));
        }
        files.iter().for_each(|path| self.take_away(path));
        self.state.borrow_mut().packages.remove(name);
        self.reason(name, false);
    }

    pub(super) fn rpmkeys(&self, argv: &[&str]) -> Output {
        let ["--import", file] = argv else { panic!("the model was not taught rpmkeys {argv:?}") };
        let pin = Pin::of_file(self.read(Path::new(file)).unwrap().unwrap()).unwrap();
        for fingerprint in pin.fingerprints {
            let name = format!("gpg-pubkey-{}-5f000000", fingerprint[fingerprint.len() - 8..].to_lowercase());
            let key = Dpkg { version: "1".into(), installed: true, hold: false, depends: Vec::new() };
            self.state.borrow_mut().packages.insert(name, key);
        }
        Output::default()
    }

    pub(super) fn rpm(&self, argv: &[&str]) -> Output {
        if argv.first() == Some(&"--verify") {
            return Output::default();
        }
        let ["-e", "--allmatches", names @ ..] = argv else {
            panic!("the model was not taught rpm {argv:?}")
        };
        names.iter().for_each(|name| drop(self.state.borrow_mut().packages.remove(*name)));
        Output::default()
    }
}
