//! apt with a state of its own, in which nothing is installed: it resolves and fetches for a host that is elsewhere.

use super::create::Held;
use super::{Origin, Promised};
use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::local::Rate;
use crate::host::{APT_NO_HOOKS, Command, Output, STATUS_FD, Touch};
use crate::resources::apt::{Trouble, parse_simulation, trouble};
use crate::trust::Index;
use crate::trust::apt::{AptIndex, AptSource, Record, index_at_hand};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// On a slow line a gigabyte takes its time.
const FETCH: Duration = Duration::from_secs(6 * 3600);

pub struct State {
    directory: PathBuf,
    architecture: String,
}

impl State {
    /// What an earlier run has fetched there stays. `preferences` are texts of apt_preferences(5).
    pub fn make(
        directory: &Path,
        origins: &[Origin],
        preferences: &[&str],
        architecture: &str,
    ) -> Result<State> {
        let cannot = || format!("cannot make a state for apt in `{}`", directory.display());
        for name in ["lists/partial", "archives/partial", "state", "cache", "log", "keys"] {
            let path = directory.join(name);
            fs::create_dir_all(&path).or_fail(cannot)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
        }
        fs::write(directory.join("status"), "").or_fail(cannot)?;
        fs::write(directory.join("no-hooks.conf"), APT_NO_HOOKS).or_fail(cannot)?;
        let mut text = String::new();
        for origin in origins {
            let key = write_key(origin, &directory.join("keys"))?;
            if let Index::Apt(index) = &origin.index {
                text.push_str(&stanza(index, &index.root, &key));
            }
        }
        fs::write(directory.join("bundle.sources"), text).or_fail(cannot)?;
        fs::write(directory.join("preferences"), preferences.join("\n")).or_fail(cannot)?;
        Ok(State { directory: directory.to_owned(), architecture: architecture.to_owned() })
    }

    /// apt-get on this state; of the host's it has the configuration, as proxies are in that, without its hooks.
    fn command(&self, arguments: &[&str]) -> Command {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let front = [
            "apt-get".to_owned(),
            "-q".into(),
            "-y".into(),
            format!("-c={}", at("no-hooks.conf")),
            format!("-oAPT::Architecture={}", self.architecture),
            format!("-oAPT::Architectures={}", self.architecture),
            format!("-oDir::State={}", at("state")),
            format!("-oDir::State::status={}", at("status")),
            format!("-oDir::State::lists={}", at("lists")),
            format!("-oDir::Cache={}", at("cache")),
            format!("-oDir::Cache::archives={}", at("archives")),
            format!("-oDir::Log={}", at("log")),
            format!("-oDir::Etc::sourcelist={}", at("bundle.sources")),
            "-oDir::Etc::sourceparts=/dev/null".into(),
            format!("-oDir::Etc::preferences={}", at("preferences")),
            "-oDir::Etc::preferencesparts=/dev/null".into(),
            "-oAPT::Default-Release=".into(),
            "-oAPT::Get::Always-Include-Phased-Updates=true".into(),
            "-oAcquire::GzipIndexes=false".into(),
            "-oAcquire::Retries=3".into(),
            "-oAcquire::http::Timeout=20".into(),
            "-oAcquire::https::Timeout=20".into(),
            format!("-oAPT::Status-Fd={STATUS_FD}"),
        ];
        let words = front.into_iter().chain(arguments.iter().map(|word| (*word).to_owned()));
        Command::new(words).timeout(FETCH).harmless()
    }

    pub fn update(&self, host: &dyn Touch) -> Result<()> {
        let output = host.run(&self.command(&["-oAPT::Update::Error-Mode=any", "update"]))?;
        ended("fetch the package lists", output).map(drop)
    }

    pub fn download(&self, words: &[String], host: &dyn Touch) -> Result<()> {
        let archives = self.directory.join("archives");
        let rate = Rate::of(&archives);
        let output = host.run(&self.install("--download-only", words).filling(&archives))?;
        ended("fetch the packages", output)?;
        host.tell(Event::Note { text: format!("fetched {}", rate.words()) });
        Ok(())
    }

    fn install(&self, how: &str, words: &[String]) -> Command {
        let mut arguments = vec![how, "--no-install-recommends", "install"];
        arguments.extend(words.iter().map(String::as_str));
        self.command(&arguments)
    }

    /// The files of this transaction: an interrupted run may have left others.
    pub fn fetched(&self, words: &[String], host: &dyn Touch) -> Result<Vec<PathBuf>> {
        let output = ended("resolve the packages", host.run(&self.install("-s", words))?)?;
        let comes = parse_simulation(&output.stdout).installs;
        let archives = self.directory.join("archives");
        let cannot = || format!("cannot list `{}`", archives.display());
        let mut found = BTreeMap::new();
        for file in fs::read_dir(&archives).or_fail(cannot)? {
            let path = file.or_fail(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // apt writes `NAME_VERSION_ARCHITECTURE.deb`, a colon as %3a.
            let mut fields = name.strip_suffix(".deb").unwrap_or_default().splitn(3, '_');
            if let (Some(name), Some(version)) = (fields.next(), fields.next()) {
                found.insert((name.to_owned(), version.replace("%3a", ":")), path);
            }
        }
        let file = |(name, version): (String, String)| {
            let plain = name.split(':').next().unwrap_or_default().to_owned();
            found.get(&(plain, version)).cloned().ok_or_else(|| {
                Error::failed(format!("cannot find the package `{name}` in `{}`", archives.display()))
                    .because("apt says that it comes, and did not fetch it")
            })
        };
        comes.into_iter().map(file).collect()
    }

    /// Every index that came, verified by our own rules; apt keeps no file for an empty one.
    pub fn held<'o>(&self, origins: &'o [Origin], now: i64) -> Result<Vec<Held<'o>>> {
        let mut all = Vec::new();
        for origin in origins {
            let Index::Apt(source) = &origin.index else { continue };
            let [in_release, packages] =
                source.list_names().map(|name| self.directory.join("lists").join(name));
            if packages.exists() {
                let read =
                    |path: &Path| fs::read(path).or_fail(|| format!("cannot read `{}`", path.display()));
                let index = index_at_hand(source, read(&in_release)?, read(&packages)?, now)?;
                let files = paths(origin, source).into_iter().zip([in_release, packages]).collect();
                all.push(Held { origin, files, promised: promised(origin, &index) });
            }
        }
        Ok(all)
    }
}

/// Where InRelease and Packages lie in the bundle.
pub fn paths(origin: &Origin, source: &AptSource) -> [String; 2] {
    [source.in_release_path(), source.packages_path()].map(|path| origin.at(&path))
}

pub fn promised(origin: &Origin, index: &AptIndex) -> Vec<Promised> {
    let promised = |record: &Record| Promised {
        path: origin.at(&record.filename),
        size: record.size,
        sha256: record.sha256.clone(),
        rpm: None,
    };
    index.records.iter().map(promised).collect()
}

/// The pinned key of a source, in one file for all of its indexes: apt wants that. By its ending apt tells armor from
/// binary.
pub fn write_key(origin: &Origin, directory: &Path) -> Result<PathBuf> {
    let bytes = &origin.index.pin().key;
    let ending = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
    let path = directory.join(format!("{}.{ending}", origin.directory));
    let cannot = || format!("cannot write `{}`", path.display());
    fs::write(&path, bytes).or_fail(cannot)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).or_fail(cannot)?;
    Ok(path)
}

/// A source in deb822 style (sources.list(5)): of its indexes the packages alone.
pub fn stanza(index: &AptSource, root: &str, key: &Path) -> String {
    let components = match index.is_flat() {
        true => String::new(),
        false => format!("Components: {}\n", index.component),
    };
    format!(
        "Types: deb\nURIs: {root}\nSuites: {}\n{components}Architectures: {}\nSigned-By: {}\n\
         Languages: none\nTargets: Packages\n\n",
        index.suite,
        index.architecture,
        key.display()
    )
}

fn ended(what: &str, output: Output) -> Result<Output> {
    if output.ok() {
        return Ok(output);
    }
    let cannot = format!("cannot {what} of the bundle");
    let unsigned =
        ["is not signed", "NO_PUBKEY", "GPG error"].iter().any(|word| output.stdout.contains(word));
    let error = match trouble(&output.stdout) {
        _ if unsigned => Error::refused(cannot)
            .because("the signature is not that of the pinned key")
            .hint("take another mirror, or name its key with `key` below its `[source]`"),
        Trouble::Mismatch { shorter: false } => {
            Error::refused(cannot).because("what came is not what was signed").hint("take another mirror")
        }
        Trouble::Network | Trouble::Mismatch { .. } => Error::try_again(cannot)
            .because("the mirror could not be read")
            .hint("run the same command again: what came stays, and it goes on from there"),
        _ => Error::failed(cannot).hint("the log has the whole output"),
    };
    let lines: Vec<&str> = output
        .stdout
        .lines()
        .filter(|l| l.starts_with("E:") || l.starts_with("Err:") || l.contains("Depends:"))
        .collect();
    Err(error.tail(if lines.is_empty() { output.stdout.clone() } else { lines.join("\n") }.as_str()))
}
