//! A state of dnf's own in a temporary directory: the host's repositories as the plan will leave them, and copies of its history and cache.

use super::LocalHost;
use crate::error::{OrFail, Result};
use crate::host::{DNF_CACHES, DNF_PLUGINS, DNF_REPOSITORIES, DNF5_LOCKS, DnfState, private_directory};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which packages somebody asked for, where dnf 4 keeps it. dnf 5 has it below `/usr/lib/sysimage`, and only reads it.
const HISTORY: &str = "/var/lib/dnf";

const SUBSCRIPTION_PLUGIN: &str = "/etc/dnf/plugins/subscription-manager.conf";

/// Gone with this value, but for the cache.
pub struct PrivateDnf {
    _directory: tempfile::TempDir,
    /// What makes dnf use it, for the behind of its name in an argument list.
    pub options: Vec<String>,
}

/// As root even `dnf --assumeno` and `dnf repoquery` write: caches, logs, history, locks. So they get places of their
/// own. A repository that cannot be read is left out, but for the one that is needed: a third party's broken one stops
/// nobody. Signatures are not looked at here, which would put keys into rpm's database: that comes before the packages.
pub fn make(state: &DnfState, host: &LocalHost) -> Result<PrivateDnf> {
    let cannot = || "cannot make a private state for dnf".to_owned();
    let directory = private_directory("dnf").or_fail(cannot)?;
    let at = |name: &str| directory.path().join(name);
    for name in ["repositories", "history", "log"] {
        fs::create_dir(at(name)).or_fail(cannot)?;
    }
    match &host.offline {
        // Its own repositories alone.
        Some(offline) => copy_files(&offline.dnf_repositories(), &at("repositories"))?,
        None => as_planned(state, host, &at("repositories"))?,
    }
    copy_files(&host.at(Path::new(HISTORY)), &at("history"))?;
    let cache = cache(state, host)?;
    let mut options: Vec<String> = [
        format!("reposdir={}", at("repositories").display()),
        format!("persistdir={}", at("history").display()),
        format!("logdir={}", at("log").display()),
        format!("cachedir={}", cache.display()),
        "*.skip_if_unavailable=1".to_owned(),
        "gpgcheck=0".to_owned(),
        "*.gpgcheck=0".to_owned(),
        "repo_gpgcheck=0".to_owned(),
        "*.repo_gpgcheck=0".to_owned(),
    ]
    .into();
    if fs::read_link(host.at(Path::new("/usr/bin/dnf"))).is_ok_and(|program| program.ends_with("dnf5")) {
        options.push(format!("system_cachedir={}", cache.display()));
    }
    if let Some(offline) = &host.offline {
        // dnf.conf may have sections, too.
        options.push("*.enabled=0".to_owned());
        let ours = offline.places.iter().filter(|place| place.rpms);
        options.extend(ours.map(|place| format!("{}.enabled=1", place.directory)));
    }
    options.extend(without_locks(state, host, &at("plugins"))?);
    options.extend(state.needed.iter().map(|id| format!("{id}.skip_if_unavailable=0")));
    // A stream that the plan enables is not enabled yet: versions are named exactly.
    options.extend(state.needed.iter().map(|id| format!("{id}.module_hotfixes=1")));
    let mut options: Vec<String> = options.into_iter().map(|option| format!("--setopt={option}")).collect();
    options.extend(without_subscription(host));
    Ok(PrivateDnf { _directory: directory, options })
}

/// The host's repositories as the plan will leave them.
fn as_planned(state: &DnfState, host: &LocalHost, place: &Path) -> Result<()> {
    let cannot = || "cannot make a private state for dnf".to_owned();
    copy_files(&host.at(Path::new(DNF_REPOSITORIES)), place)?;
    for (path, bytes) in state.changed.iter().filter(|(path, _)| path.starts_with(DNF_REPOSITORIES)) {
        let place = place.join(path.file_name().unwrap_or_default());
        match bytes {
            Some(bytes) => fs::write(place, bytes).or_fail(cannot)?,
            None if place.exists() => fs::remove_file(place).or_fail(cannot)?,
            None => {}
        }
    }
    Ok(())
}

/// What makes a transaction on the host itself take the files that it is told and nothing of any repository.
pub fn offline(host: &LocalHost) -> Vec<String> {
    let none = "--setopt=*.enabled=0".to_owned();
    std::iter::once(none).chain(without_subscription(host)).collect()
}

/// It writes redhat.repo anew at any call of dnf, and asks the network (subscription-manager's dnf plugin).
fn without_subscription(host: &LocalHost) -> Option<String> {
    let plugin = host.at(Path::new(SUBSCRIPTION_PLUGIN)).exists();
    plugin.then(|| "--disableplugin=subscription-manager,product-id".to_owned())
}

/// With other locks than the host's. dnf 4 reads them by a plugin, whose configuration is copied beside them; dnf 5,
/// whose file has one place only, is told to heed none (dnf5.conf(5), `disable_excludes`).
fn without_locks(state: &DnfState, host: &LocalHost, plugins: &Path) -> Result<Option<String>> {
    let mut lists = state.changed.iter().filter(|(path, _)| !path.starts_with(DNF_REPOSITORIES));
    let Some((path, Some(text))) = lists.next_back() else { return Ok(None) };
    if path == Path::new(DNF5_LOCKS) {
        return Ok(Some("disable_excludes=*".to_owned()));
    }
    let cannot = || "cannot make a private configuration for dnf".to_owned();
    fs::create_dir(plugins).or_fail(cannot)?;
    copy_files(&host.at(Path::new(DNF_PLUGINS)), plugins)?;
    let list = plugins.join("versionlock.list");
    fs::write(&list, text).or_fail(cannot)?;
    let conf = format!("[main]\nenabled = 1\nlocklist = {}\n", list.display());
    fs::write(plugins.join("versionlock.conf"), conf).or_fail(cannot)?;
    Ok(Some(format!("pluginconfpath={}", plugins.display())))
}

/// The run's own cache, begun with what the host's knows of the repositories; or the place where what is fetched
/// stays, begun with that.
fn cache(state: &DnfState, host: &LocalHost) -> Result<PathBuf> {
    let cannot = || "cannot make a private cache for dnf".to_owned();
    let mut kept = host.dnf_cache.borrow_mut();
    let of_the_run = match kept.as_ref() {
        Some(kept) => kept.path().to_owned(),
        None => {
            let made = private_directory("dnf-cache").or_fail(cannot)?;
            // A bundle is read where it lies.
            for cache in DNF_CACHES.iter().filter(|_| host.offline.is_none()) {
                copy_metadata(&host.at(Path::new(cache)), made.path())?;
            }
            let path = made.path().to_owned();
            *kept = Some(made);
            path
        }
    };
    let Some(place) = &state.cache else { return Ok(of_the_run) };
    let place = host.at(place);
    fs::create_dir_all(&place).or_fail(cannot)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
    copy_metadata(&of_the_run, &place)?;
    Ok(place)
}

/// What a cache knows of repositories, without the packages that lie there. What cannot be read is fetched instead.
fn copy_metadata(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && name != "packages" => {
                let below = to.join(&name);
                fs::create_dir_all(&below).or_fail(|| format!("cannot make `{}`", below.display()))?;
                copy_metadata(&entry.path(), &below)?;
            }
            Ok(kind) if kind.is_file() && !name.to_string_lossy().ends_with(".pid") => {
                copy(&entry.path(), &to.join(name))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if entry.path().is_file() && !name.to_string_lossy().ends_with(".pid") {
            copy(&entry.path(), &to.join(name))?;
        }
    }
    Ok(())
}

/// With its times: dnf goes by them to tell what is too old.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("cannot copy `{}`", from.display());
    let Ok(mut source) = fs::File::open(from) else { return Ok(()) };
    let modified = source.metadata().and_then(|meta| meta.modified()).or_fail(cannot)?;
    let mut target = fs::File::create(to).or_fail(cannot)?;
    std::io::copy(&mut source, &mut target).or_fail(cannot)?;
    target.set_modified(modified).or_fail(cannot)
}
