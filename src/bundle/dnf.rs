//! dnf with an install root in which there is nothing: it resolves and fetches for a host that is elsewhere.

use super::create::Held;
use super::{Origin, Promised};
use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::local::Rate;
use crate::host::{Command, Look, Output, Touch};
use crate::resources::dnf::{self, Trouble, trouble};
use crate::resources::packages::Candidate;
use crate::resources::repository::dnf as repository;
use crate::trust::Index;
use crate::trust::repomd::{self, RpmIndex, Signed, rpm_index_at_hand};
use crate::trust::rpm_file::RpmFile;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// On a slow line a gigabyte takes its time.
const FETCH: Duration = Duration::from_secs(6 * 3600);

/// Whom it is for.
pub struct Target<'a> {
    /// As rpm names it.
    pub architecture: &'a str,
    /// What dnf would make of `$releasever`: `9`.
    pub release: &'a str,
    /// The platform that modules are for: `platform:el9`.
    pub platform: Option<&'a str>,
}

pub struct State {
    directory: PathBuf,
    /// In front of every call.
    options: Vec<String>,
}

impl State {
    /// What an earlier run has fetched there stays.
    pub fn make(directory: &Path, origins: &[Origin], target: &Target, host: &dyn Look) -> Result<State> {
        let cannot = || format!("cannot make a state for dnf in `{}`", directory.display());
        for name in ["root", "cache", "history", "log", "repos"] {
            fs::create_dir_all(directory.join(name)).or_fail(cannot)?;
        }
        // Signatures are ours to check: dnf would put the keys into a database, and knows of no pin.
        let mut text = String::new();
        for origin in origins {
            let address = origin.index.address();
            let access = repository::access(host, address)?;
            text.push_str(&section(origin, address, &format!("gpgcheck=0\n{access}")));
        }
        // There may be a password in it.
        let place = directory.join("repos/bundle.repo");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(place)
            .or_fail(cannot)?;
        file.write_all(text.as_bytes()).or_fail(cannot)?;
        let at = |name: &str| directory.join(name).display().to_string();
        let mut options = vec![
            format!("--installroot={}", at("root")),
            format!("--releasever={}", target.release),
            format!("--forcearch={}", target.architecture),
        ];
        let mut settings = vec![
            format!("reposdir={}", at("repos")),
            format!("cachedir={}", at("cache")),
            format!("system_cachedir={}", at("cache")),
            format!("persistdir={}", at("history")),
            format!("logdir={}", at("log")),
            "plugins=0".to_owned(),
            "install_weak_deps=0".to_owned(),
            "keepcache=1".to_owned(),
            "best=1".to_owned(),
            "retries=3".to_owned(),
            "timeout=20".to_owned(),
        ];
        settings.extend(target.platform.map(|platform| format!("module_platform_id={platform}")));
        options.extend(settings.into_iter().map(|setting| format!("--setopt={setting}")));
        Ok(State { directory: directory.to_owned(), options })
    }

    fn command(&self, arguments: &[String]) -> Command {
        let front = ["dnf".to_owned(), "-y".to_owned()];
        Command::new(front.into_iter().chain(self.options.iter().cloned()).chain(arguments.iter().cloned()))
            .timeout(FETCH)
            .harmless()
    }

    /// The versions that there are of these names, in the sources of these ids.
    pub fn available(&self, ids: &[String], names: &[String], host: &dyn Touch) -> Result<Vec<Candidate>> {
        let output = host.run(&self.command(&dnf::available(ids, names)).capture())?;
        let output = ended("read the lists", output)?;
        let found = dnf::parse_available(&output.stdout).into_iter();
        let all = found.flat_map(|(name, versions)| {
            let candidate = move |version| Candidate { name: name.clone(), version, sha256: None };
            versions.into_iter().map(candidate)
        });
        Ok(all.collect())
    }

    /// The files of this transaction: an interrupted run may have left others.
    pub fn download(&self, words: &[String], host: &dyn Touch) -> Result<Vec<PathBuf>> {
        let planned = host.run(&self.command(&dnf::simulate_install(words, false)).capture())?;
        let Some(planned) = dnf::parse_transaction(&planned.stdout) else {
            return Err(ended("resolve the packages", planned).err().unwrap_or_else(nothing));
        };
        let cache = self.directory.join("cache");
        let rate = Rate::of(&cache);
        let arguments: Vec<String> = ["--downloadonly", "install"]
            .map(str::to_owned)
            .into_iter()
            .chain(words.iter().cloned())
            .collect();
        let command = self.command(&arguments).filling(&cache).bringing(planned.needs.download);
        ended("fetch the packages", host.run(&command)?)?;
        host.tell(Event::Note { text: format!("fetched {}", rate.words()) });
        let mut found = BTreeMap::new();
        for directory in self.caches()? {
            for path in files(&directory.join("packages"))? {
                let cannot = || format!("cannot read `{}`", path.display());
                let mut bytes = BufReader::new(File::open(&path).or_fail(cannot)?);
                // A run that was killed may have left half of one.
                let Ok(file) = RpmFile::read(&mut bytes) else { continue };
                found.insert((file.name, file.version), path);
            }
        }
        let file = |(name, version): (String, String)| {
            found.get(&(name.clone(), version)).cloned().ok_or_else(|| {
                Error::failed(format!("cannot find the package `{name}` in `{}`", self.directory.display()))
                    .because("dnf says that it comes, and did not fetch it")
            })
        };
        planned.installs.into_iter().map(file).collect()
    }

    /// `ID-0123456789abcdef`, one a repository.
    fn caches(&self) -> Result<Vec<PathBuf>> {
        files(&self.directory.join("cache"))
    }

    /// Every index that came, with the lists that dnf took of it: those are what it takes on the host.
    pub fn held<'o>(&self, origins: &'o [Origin], host: &dyn Touch) -> Result<Vec<Held<'o>>> {
        let (mut all, caches) = (Vec::new(), self.caches()?);
        for origin in origins {
            let Index::Rpm(source) = &origin.index else { continue };
            let of_it = |path: &&PathBuf| {
                dnf::is_cache_of(&origin.directory, &path.file_name().unwrap_or_default().to_string_lossy())
            };
            let Some(cache) = caches.iter().find(of_it) else { continue };
            let read = |path: &str| fs::read(cache.join(path)).ok();
            let cannot =
                || Error::failed(format!("cannot find the index of `{}` in dnf's cache", origin.directory));
            let bytes = read(INDEX).ok_or_else(cannot)?;
            let mut paths = vec![INDEX.to_owned()];
            let signature = match source.signed {
                Signed::Packages => None,
                Signed::Index => {
                    let bytes = host.fetch(&format!("{}/{SIGNATURE}", source.url), 1 << 20)?;
                    let cannot = || format!("cannot write below `{}`", cache.display());
                    fs::write(cache.join(SIGNATURE), &bytes).or_fail(cannot)?;
                    paths.push(SIGNATURE.to_owned());
                    Some(bytes)
                }
            };
            let index =
                rpm_index_at_hand(source, &bytes, signature.as_deref(), &|_| None, &read, host.now())?;
            paths.extend(index.lists.iter().filter(|path| cache.join(path).exists()).cloned());
            let files = paths.iter().map(|path| (origin.at(path), cache.join(path))).collect();
            all.push(Held { origin, files, promised: promised(origin, &index) });
        }
        Ok(all)
    }
}

pub const INDEX: &str = "repodata/repomd.xml";
pub const SIGNATURE: &str = "repodata/repomd.xml.asc";

pub fn promised(origin: &Origin, index: &RpmIndex) -> Vec<Promised> {
    let promised = |record: &repomd::RpmRecord| Promised {
        path: origin.at(&record.path),
        size: record.size,
        sha256: record.sha256.clone(),
        rpm: Some([record.name.clone(), record.version.clone(), record.architecture.clone()]),
    };
    index.records.iter().map(promised).collect()
}

/// A section of a `.repo` file. What of it belongs to which stream of a module was decided where it was made.
pub fn section(origin: &Origin, address: &str, more: &str) -> String {
    let id = &origin.directory;
    format!(
        "[{id}]\nname={id}\nbaseurl={address}\nenabled=1\nmodule_hotfixes=1\nskip_if_unavailable=0\n{more}\n"
    )
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot list `{}`", directory.display());
    let listed = fs::read_dir(directory).or_fail(cannot)?;
    listed.map(|file| Ok(file.or_fail(cannot)?.path())).collect()
}

fn nothing() -> Error {
    Error::failed("cannot resolve the packages of the bundle").because("dnf says that nothing comes")
}

fn ended(what: &str, output: Output) -> Result<Output> {
    if output.ok() {
        return Ok(output);
    }
    let cannot = format!("cannot {what} of the bundle");
    let said = format!("{}\n{}", output.stdout, output.stderr);
    let error = match trouble(&said) {
        Trouble::Missing { what } => Error::refused(cannot).because(format!("nothing provides {what}")),
        Trouble::Unreadable { repositories } => {
            let names = repositories.join(", ");
            Error::try_again(cannot)
                .because(format!("{names} could not be read"))
                .hint("run the same command again: what came stays, and it goes on from there")
        }
        Trouble::Fetch => Error::try_again(cannot)
            .because("a package does not come, or not as its index says")
            .hint("run the same command again: what came stays, and it goes on from there"),
        _ => Error::failed(cannot).hint("the log has the whole output"),
    };
    let lines: Vec<&str> =
        said.lines().filter(|line| line.contains("rror") || line.starts_with(" ")).collect();
    Err(error.tail(&lines.join("\n")))
}
