//! The closed list of questions as argument lists, and apt asked on a state of its own.

use super::{LocalHost, captured};
use crate::error::{OrFail, Result};
use crate::host::{AptQuestion, Command, Output, Question};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

/// Whoever does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a shell says of a program that is not there.
const NOT_FOUND: i32 = 127;

pub fn ask(question: &Question, host: &LocalHost) -> Result<Output> {
    match question {
        Question::Apt(apt) => ask_apt(apt, host),
        Question::DockerdValidate { config, flags } => ask_dockerd(config, flags),
        simple => run(argv(simple)),
    }
}

fn run(argv: Vec<String>) -> Result<Output> {
    if argv.first().is_some_and(|program| which::which_in(program, Some(super::PATH), "/").is_err()) {
        return Ok(Output {
            code: NOT_FOUND,
            stderr: format!("{}: not found", argv[0]),
            ..Output::default()
        });
    }
    captured(&Command::new(argv).timeout(PATIENCE))
}

fn argv(question: &Question) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    match question {
        Question::Getent { database, key } => words(&["getent", database, key]),
        Question::GroupsOf { user } => words(&["id", "-nG", user]),
        Question::DpkgArchitecture => words(&["dpkg", "--print-architecture"]),
        Question::DpkgQuery { names } => {
            let format = "${Package}\\t${db:Status-Want}\\t${db:Status-Status}\\t${Version}\\n";
            let mut argv: Vec<String> = words(&["dpkg-query", "-W", "-f", format]);
            argv.extend(names.iter().cloned());
            argv
        }
        Question::UnitShow { unit } => words(&[
            "systemctl",
            "show",
            "-p",
            "LoadState,UnitFileState,ActiveState,Result,ActiveEnterTimestampMonotonic,ExecStart",
            unit,
        ]),
        Question::Journal { unit } => {
            words(&["journalctl", "-u", unit, "-b", "-n", "60", "-o", "cat", "--no-pager", "-q"])
        }
        Question::DockerdVersion => words(&["dockerd", "--version"]),
        Question::DetectVirt => words(&["systemd-detect-virt"]),
        Question::KernelRelease => words(&["uname", "-r"]),
        Question::Apt(_) | Question::DockerdValidate { .. } => Vec::new(),
    }
}

/// As root even `apt-get -s`, `apt-cache` and `apt-get indextargets` write: their caches, and locks. So they get a
/// state of their own: the host's lists and sources linked in, ours laid beside them.
fn ask_apt(question: &AptQuestion, host: &LocalHost) -> Result<Output> {
    let cannot = || "cannot make a private state for apt".to_owned();
    let state = tempfile::Builder::new().prefix("rprov-apt-").tempdir().or_fail(cannot)?;
    let at = |name: &str| state.path().join(name);
    // apt fetches as its own user.
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
    for name in [
        "lists",
        "lists/partial",
        "cache",
        "cache/archives",
        "cache/archives/partial",
        "log",
        "sources.list.d",
    ] {
        fs::create_dir(at(name)).or_fail(cannot)?;
    }
    for (name, bytes) in &question.lists {
        fs::write(at("lists").join(name), bytes).or_fail(cannot)?;
    }
    let refreshed = host.refreshed.borrow().as_ref().map(|kept| kept.path().to_owned());
    if let (true, Some(kept)) = (question.refresh, &refreshed) {
        link_all(kept, &at("lists"))?;
    }
    link_all(&host.at(Path::new(crate::host::APT_LISTS)), &at("lists"))?;
    for (path, bytes) in &question.changed {
        let place = if path.ends_with("sources.list") {
            at("sources.list")
        } else {
            at("sources.list.d").join(file_name(path))
        };
        // An absent file becomes an empty one, so that the host's is not linked in its place.
        fs::write(place, bytes.as_deref().unwrap_or_default()).or_fail(cannot)?;
    }
    link_all(&host.at(Path::new("/etc/apt/sources.list.d")), &at("sources.list.d"))?;
    link_one(&host.at(Path::new("/etc/apt/sources.list")), &at("sources.list"))?;

    let directory = state.path().display();
    let mut options = vec![
        format!("-oDir::State::lists={directory}/lists/"),
        format!("-oDir::Cache={directory}/cache/"),
        format!("-oDir::Log={directory}/log/"),
        format!("-oDir::Etc::sourcelist={directory}/sources.list"),
        format!("-oDir::Etc::sourceparts={directory}/sources.list.d/"),
        "-oDebug::NoLocking=1".to_owned(),
    ];
    if host.root != Path::new("/") {
        let root = host.root.display();
        options.push(format!("-oDir::State::status={root}/var/lib/dpkg/status"));
        options.push(format!("-oDir::State::extended_states={root}/var/lib/apt/extended_states"));
    }
    if question.refresh && refreshed.is_none() {
        let mut argv = vec!["apt-get".to_owned(), "update".to_owned(), "-q".to_owned()];
        argv.extend(options.iter().cloned());
        argv.push("-oAcquire::Retries=3".into());
        argv.push("-oAcquire::http::Timeout=20".into());
        argv.push("-oAcquire::https::Timeout=20".into());
        let refreshed = captured(&Command::new(argv).timeout(Duration::from_secs(600)))?;
        if !refreshed.ok() {
            return Ok(refreshed);
        }
        *host.refreshed.borrow_mut() = Some(keep(&at("lists"))?);
    }
    let mut argv = vec![question.program.to_owned()];
    argv.extend(options);
    argv.extend(question.arguments.iter().cloned());
    run(argv)
}

/// A copy of the lists, so that a run that looks again does not fetch them again.
fn keep(lists: &Path) -> Result<tempfile::TempDir> {
    let cannot = || "cannot keep apt's lists".to_owned();
    let kept = tempfile::Builder::new().prefix("rprov-lists-").tempdir().or_fail(cannot)?;
    for entry in fs::read_dir(lists).or_fail(cannot)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), kept.path().join(entry.file_name())).or_fail(cannot)?;
    }
    fs::set_permissions(kept.path(), fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
    Ok(kept)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
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

/// dockerd reads a copy of the file that would be written, with the flags of its unit.
fn ask_dockerd(config: &[u8], flags: &[String]) -> Result<Output> {
    let cannot = || "cannot write a copy of daemon.json for `dockerd --validate`".to_owned();
    let directory = tempfile::Builder::new().prefix("rprov-validate-").tempdir().or_fail(cannot)?;
    let path = directory.path().join("daemon.json");
    fs::write(&path, config).or_fail(cannot)?;
    let mut argv: Vec<String> = ["dockerd", "--validate", "--config-file"].map(str::to_owned).to_vec();
    argv.push(path.display().to_string());
    argv.extend(flags.iter().cloned());
    run(argv)
}
