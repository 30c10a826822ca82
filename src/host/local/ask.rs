//! The closed list of questions, as argument lists.

use super::run::{PATH, captured};
use super::{LocalHost, apt_state, dnf_state};
use crate::error::{OrFail, Result};
use crate::host::{AptQuestion, Command, DnfQuestion, Output, Question, private_directory};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Whoever does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(90);

/// The engine's, whatever DOCKER_HOST or a context say.
const SOCKET: &str = "unix:///run/docker.sock";

/// What a shell says of a program that is not there.
const NOT_FOUND: i32 = 127;

pub fn ask(question: &Question, host: &LocalHost) -> Result<Output> {
    match question {
        Question::Apt(apt) => ask_apt(apt, host),
        Question::Dnf(dnf) => ask_dnf(dnf, host),
        Question::RpmCheck { key, files } => check_rpms(key, files),
        Question::DockerdValidate { config, flags } => ask_dockerd(config, flags),
        simple => run(argv(simple)),
    }
}

fn run(argv: Vec<String>) -> Result<Output> {
    ask_for(argv, PATIENCE)
}

fn ask_for(argv: Vec<String>, patience: Duration) -> Result<Output> {
    if argv.first().is_some_and(|program| which::which_in(program, Some(PATH), "/").is_err()) {
        return Ok(Output {
            code: NOT_FOUND,
            stderr: format!("{}: not found", argv[0]),
            ..Output::default()
        });
    }
    captured(&Command::new(argv).timeout(patience))
}

/// Without an epoch where there is none, as people write versions.
const RPM_LINE: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n";

/// What is asked of systemd about a unit.
const PROPERTIES: &str = "Id,LoadState,UnitFileState,ActiveState,SubState,Result,ActiveEnterTimestampMonotonic,ExecStart,\
                          MainPID,NRestarts,InvocationID,NeedDaemonReload,FragmentPath,DropInPaths";

fn argv(question: &Question) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    match question {
        Question::Getent { database, key } => words(&["getent", database, key]),
        Question::GroupsOf { user } => words(&["id", "-nG", user]),
        Question::GroupNumbersOf { user } => words(&["id", "-G", user]),
        Question::DpkgArchitecture => words(&["dpkg", "--print-architecture"]),
        Question::DpkgQuery { names } => {
            let format = "${Package}\\t${db:Status-Want}\\t${db:Status-Status}\\t${Version}\\n";
            let mut argv: Vec<String> = words(&["dpkg-query", "-W", "-f", format]);
            argv.extend(names.iter().cloned());
            argv
        }
        Question::RpmQuery { names } => {
            let mut argv = words(&["rpm", "-q", "--qf", RPM_LINE]);
            argv.extend(names.iter().cloned());
            argv
        }
        Question::RpmContents { names } => {
            let mut argv = words(&["rpm", "-ql"]);
            argv.extend(names.iter().cloned());
            argv
        }
        Question::RpmVerify { name } => {
            words(&["rpm", "-V", "--nodeps", "--noscripts", "--nofiledigest", "--nosignature", name])
        }
        Question::DpkgVerify { name } => words(&["dpkg", "--verify", name]),
        Question::RpmKeys => words(&["rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}\\n", "gpg-pubkey"]),
        Question::RpmFiles { files } => {
            let mut argv = words(&["rpm", "-qp", "--nosignature", "--qf", RPM_LINE]);
            argv.extend(files.iter().map(|file| file.display().to_string()));
            argv
        }
        Question::UnitShow { unit } => words(&["systemctl", "show", "-p", PROPERTIES, unit]),
        Question::UnitFile { unit } => words(&["systemctl", "is-enabled", unit]),
        Question::UnitsShow { units } => {
            let mut argv = words(&["systemctl", "show", "-p", PROPERTIES]);
            argv.extend(units.iter().cloned());
            argv
        }
        Question::IptablesSave { program, table } => words(&[program, "-t", table]),
        Question::Journal { unit } => {
            words(&["journalctl", "-u", unit, "-b", "-n", "60", "-o", "cat", "--no-pager", "-q"])
        }
        Question::JournalOf { invocation } => {
            let (own, about) =
                (format!("_SYSTEMD_INVOCATION_ID={invocation}"), format!("INVOCATION_ID={invocation}"));
            words(&["journalctl", "-b", "-n", "60", "-o", "cat", "--no-pager", "-q", &own, "+", &about])
        }
        Question::Image { reference } => {
            words(&["docker", "--host", SOCKET, "image", "inspect", "--format", "{{.Id}}", reference])
        }
        Question::ContainersOf { image } => {
            let filter = format!("ancestor={image}");
            words(&["docker", "--host", SOCKET, "ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])
        }
        Question::AptConfig => words(&["apt-config", "dump"]),
        Question::DockerdVersion => words(&["dockerd", "--version"]),
        Question::DetectVirt => words(&["systemd-detect-virt"]),
        Question::KernelRelease => words(&["uname", "-r"]),
        Question::Apt(_)
        | Question::Dnf(_)
        | Question::RpmCheck { .. }
        | Question::DockerdValidate { .. } => Vec::new(),
    }
}

fn ask_apt(question: &AptQuestion, host: &LocalHost) -> Result<Output> {
    let private = match apt_state::make(&question.state, host)? {
        Ok(private) => private,
        Err(refused) => return Ok(refused),
    };
    let program = std::iter::once(question.program.to_owned());
    run(program.chain(private.options.iter().cloned()).chain(question.arguments.iter().cloned()).collect())
}

/// Metadata of every repository may have to be fetched first.
const METADATA: Duration = Duration::from_secs(900);

fn ask_dnf(question: &DnfQuestion, host: &LocalHost) -> Result<Output> {
    let private = dnf_state::make(&question.state, host)?;
    let program = std::iter::once("dnf".to_owned());
    let argv = program.chain(private.options.iter().cloned()).chain(question.arguments.iter().cloned());
    ask_for(argv.collect(), METADATA)
}

/// rpm has no keyring but the one that is made here: what another key signed, or none, does not pass.
fn check_rpms(key: &[u8], files: &[PathBuf]) -> Result<Output> {
    let cannot = || "cannot make a key database for `rpmkeys`".to_owned();
    let directory = tempfile::Builder::new().prefix("rprov-rpm-").tempdir().or_fail(cannot)?;
    let path = directory.path().join("key.asc");
    fs::write(&path, key).or_fail(cannot)?;
    let database = directory.path().join("database");
    fs::create_dir(&database).or_fail(cannot)?;
    let rpmkeys = |words: &[&str]| -> Vec<String> {
        let front = ["rpmkeys".to_owned(), "--dbpath".to_owned(), database.display().to_string()];
        front.into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
    };
    let imported = run(rpmkeys(&["--import", &path.display().to_string()]))?;
    if !imported.ok() {
        return Ok(imported);
    }
    let mut argv = rpmkeys(&["--checksig"]);
    argv.extend(files.iter().map(|file| file.display().to_string()));
    run(argv)
}

/// dockerd reads a copy of the file that would be written, with the flags of its unit.
fn ask_dockerd(config: &[u8], flags: &[String]) -> Result<Output> {
    let cannot = || "cannot write a copy of daemon.json for `dockerd --validate`".to_owned();
    let directory = private_directory("validate").or_fail(cannot)?;
    let path = directory.path().join("daemon.json");
    fs::write(&path, config).or_fail(cannot)?;
    let mut argv: Vec<String> = ["dockerd", "--validate", "--config-file"].map(str::to_owned).to_vec();
    argv.push(path.display().to_string());
    argv.extend(flags.iter().cloned());
    run(argv)
}
