//! A state of apt's own in a temporary directory: the host's lists and sources linked in, what the plan changes laid beside them.

use super::LocalHost;
use super::run::captured;
use crate::error::{OrFail, Result};
use crate::host::{APT_LISTS, APT_NO_HOOKS, AptState, Command, Output, private_directory};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

const REFRESH: Duration = Duration::from_secs(600);

/// Gone with this value.
pub struct PrivateApt {
    directory: tempfile::TempDir,
    /// What makes apt use it, for the front of an argument list.
    pub options: Vec<String>,
}

/// As root even `apt-get -s`, `apt-cache` and `apt-get indextargets` write: their caches, and locks. So they get a
/// state of their own. `Err` in the inner result is what a refresh that failed has said.
pub fn make(state: &AptState, host: &LocalHost) -> Result<std::result::Result<PrivateApt, Output>> {
    let cannot = || "cannot make a private state for apt".to_owned();
    let directory = private_directory("apt").or_fail(cannot)?;
    let at = |name: &str| directory.path().join(name);
    // apt fetches as its own user.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
    for name in [
        "lists",
        "lists/partial",
        "cache",
        "cache/archives",
        "cache/archives/partial",
        "log",
        "sources.list.d",
        "preferences.d",
    ] {
        fs::create_dir(at(name)).or_fail(cannot)?;
    }
    fs::write(at("no-hooks.conf"), APT_NO_HOOKS).or_fail(cannot)?;
    let refreshed = host.refreshed.borrow().as_ref().map(|kept| kept.path().to_owned());
    let refresh = state.refresh || host.offline.is_some();
    if host.offline.is_none() {
        for (name, bytes) in &state.lists {
            fs::write(at("lists").join(name), bytes).or_fail(cannot)?;
        }
    }
    if let (true, Some(kept)) = (refresh, &refreshed) {
        link_all(kept, &at("lists"))?;
    }
    match &host.offline {
        // Its own sources alone.
        Some(offline) => link_all(&offline.apt_sources(), &at("sources.list.d"))?,
        None => link_all(&host.at(Path::new(APT_LISTS)), &at("lists"))?,
    }
    let of_sources = |path: &Path| !path.parent().is_some_and(|parent| parent.ends_with("preferences.d"));
    for (path, bytes) in &state.changed {
        if host.offline.is_some() && of_sources(path) {
            continue;
        }
        let name = path.file_name().unwrap_or_default();
        let place = match path.parent() {
            _ if path.ends_with("sources.list") => at("sources.list"),
            Some(parent) if parent.ends_with("preferences.d") => at("preferences.d").join(name),
            _ => at("sources.list.d").join(name),
        };
        // An absent file becomes an empty one, so that the host's is not linked in its place.
        fs::write(place, bytes.as_deref().unwrap_or_default()).or_fail(cannot)?;
    }
    if host.offline.is_none() {
        link_all(&host.at(Path::new("/etc/apt/sources.list.d")), &at("sources.list.d"))?;
        link_one(&host.at(Path::new("/etc/apt/sources.list")), &at("sources.list"))?;
    }
    link_all(&host.at(Path::new("/etc/apt/preferences.d")), &at("preferences.d"))?;

    let private = PrivateApt { options: options(directory.path(), host), directory };
    if refresh
        && refreshed.is_none()
        && let Some(failed) = private.refresh(host)?
    {
        return Ok(Err(failed));
    }
    Ok(Ok(private))
}

fn options(directory: &Path, host: &LocalHost) -> Vec<String> {
    let directory = directory.display();
    let mut options = vec![
        format!("-c={directory}/no-hooks.conf"),
        format!("-oDir::State::lists={directory}/lists/"),
        format!("-oDir::Cache={directory}/cache/"),
        format!("{LOG}{directory}/log/"),
        format!("-oDir::Etc::sourcelist={directory}/sources.list"),
        format!("-oDir::Etc::sourceparts={directory}/sources.list.d/"),
        format!("-oDir::Etc::preferencesparts={directory}/preferences.d/"),
        NO_LOCKING.to_owned(),
    ];
    if host.offline.is_some() {
        // Of what Ubuntu gives to some machines first, a bundle has the version that it was made with.
        options.push("-oAPT::Get::Always-Include-Phased-Updates=true".to_owned());
    }
    if host.root != Path::new("/") {
        let root = host.root.display();
        options.push(format!("-oDir::State::status={root}/var/lib/dpkg/status"));
        options.push(format!("-oDir::State::extended_states={root}/var/lib/apt/extended_states"));
    }
    options
}

/// What a transaction does is the host's to lock and to remember.
const NO_LOCKING: &str = "-oDebug::NoLocking=1";
const LOG: &str = "-oDir::Log=";

impl PrivateApt {
    /// The options for a transaction on the host itself.
    pub fn of_the_host(&self) -> Vec<String> {
        let stays = |option: &&String| *option != NO_LOCKING && !option.starts_with(LOG);
        self.options.iter().filter(stays).cloned().collect()
    }

    /// Fetches every source's lists into this state, and keeps a copy for the run. Gives back what apt says if it fails.
    fn refresh(&self, host: &LocalHost) -> Result<Option<Output>> {
        let mut argv = vec!["apt-get".to_owned(), "update".to_owned(), "-q".to_owned()];
        argv.extend(self.options.iter().cloned());
        argv.push("-oAcquire::Retries=3".into());
        argv.push("-oAcquire::http::Timeout=20".into());
        argv.push("-oAcquire::https::Timeout=20".into());
        let refreshed = captured(&Command::new(argv).timeout(REFRESH))?;
        if !refreshed.ok() {
            return Ok(Some(refreshed));
        }
        let cannot = || "cannot keep apt's lists".to_owned();
        let kept = private_directory("lists").or_fail(cannot)?;
        fs::set_permissions(kept.path(), fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
        copy_all(&self.directory.path().join("lists"), kept.path())?;
        *host.refreshed.borrow_mut() = Some(kept);
        Ok(None)
    }
}

/// Copies every file with its times: apt asks a mirror for what is newer than that.
pub fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot copy apt's lists from `{}`", from.display());
    for entry in fs::read_dir(from).or_fail(cannot)?.flatten().filter(|entry| entry.path().is_file()) {
        let place = to.join(entry.file_name());
        let modified = fs::metadata(entry.path()).and_then(|meta| meta.modified()).or_fail(cannot)?;
        fs::copy(entry.path(), &place).or_fail(cannot)?;
        let file = fs::File::options().write(true).open(&place).or_fail(cannot)?;
        file.set_modified(modified).or_fail(cannot)?;
    }
    Ok(())
}

/// Links every file of a directory that has none of its name yet.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            link_one(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn link_one(from: &Path, to: &Path) -> Result<()> {
    if from.exists() && !to.exists() {
        symlink(from, to).or_fail(|| format!("cannot link `{}`", from.display()))?;
    }
    Ok(())
}
