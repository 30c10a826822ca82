//! The closed list of questions, as argument lists.

use super::{LocalHost, apt_state, captured};
use crate::error::{OrFail, Result};
use crate::host::{AptQuestion, Command, Output, Question, private_directory};
use std::fs;
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
        Question::Apt(_) | Question::DockerdValidate { .. } => Vec::new(),
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
