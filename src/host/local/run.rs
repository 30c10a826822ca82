//! How a program is run: found in root's PATH, in root's environment, deaf to our signals, and ended when its time is over.

use crate::error::{Error, OrFail, Result};
use crate::host::{Command, Output};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// Where programs are looked for, whatever the caller's PATH says.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Root's environment, and nothing else of the caller's but the proxies.
fn environment() -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> =
        [("PATH", PATH), ("LC_ALL", "C"), ("LANGUAGE", ""), ("HOME", "/root")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
    for name in ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"] {
        for name in [name.to_owned(), name.to_uppercase()] {
            if let Ok(value) = std::env::var(&name) {
                environment.push((name, value));
            }
        }
    }
    environment
}

/// duct's expression for an argument list: found in root's PATH, deaf to our signals, stdin closed.
pub fn expression(argv: &[String], env: &[(String, String)]) -> Result<duct::Expression> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Error::failed("an empty command"));
    };
    let found = which::which_in(program, Some(PATH), "/").map_err(|_| {
        Error::failed(format!("cannot run `{program}`")).because(format!("it is not in {PATH}"))
    })?;
    let environment: Vec<(String, String)> = environment().into_iter().chain(env.iter().cloned()).collect();
    Ok(duct::cmd(found, arguments).full_env(environment).dir("/").stdin_null().unchecked().before_spawn(
        |child| {
            child.process_group(0);
            Ok(())
        },
    ))
}

/// How often somebody looks how far a command is.
const GLANCE: Duration = Duration::from_millis(200);

/// Waits for a child until its time is over; then it is ended, and that is an error.
pub fn finish(
    handle: &duct::Handle,
    command: &Command,
    mut glance: impl FnMut() -> Result<()>,
) -> Result<std::process::Output> {
    let cannot = || format!("cannot run `{}`", command.argv.join(" "));
    let end = Instant::now() + command.timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if let Some(output) = handle.wait_timeout(left.min(GLANCE)).or_fail(cannot)? {
            return Ok(output.clone());
        }
        if let Err(error) = glance() {
            ask_to_end(handle).or_fail(cannot)?;
            return Err(error);
        }
        if left.is_zero() {
            handle.kill().or_fail(cannot)?;
            let because = format!("it was not done after {} s", command.timeout.as_secs());
            return Err(Error::try_again(cannot()).because(because));
        }
    }
}

/// How long a command has that was asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// Asks a child and its own children to end: apt's then leave what has come as the next run can go on from. One that
/// does not is killed.
fn ask_to_end(handle: &duct::Handle) -> std::io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process_group};
    let leader = handle.pids().first().and_then(|pid| i32::try_from(*pid).ok()).and_then(Pid::from_raw);
    if let Some(leader) = leader {
        // Whoever is gone need not be asked.
        let _gone = kill_process_group(leader, Signal::TERM);
    }
    match handle.wait_timeout(GRACE)? {
        Some(_) => Ok(()),
        None => handle.kill(),
    }
}

/// Runs a command and gives back what it wrote.
pub fn captured(command: &Command) -> Result<Output> {
    let running = expression(&command.argv, &command.env)?.stdout_capture().stderr_capture().start();
    let running = running.or_fail(|| format!("cannot run `{}`", command.argv.join(" ")))?;
    let output = finish(&running, command, || Ok(()))?;
    Ok(Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Asks a program of the host about this program: read-only.
pub fn ask_program(argv: &[&str]) -> Result<Output> {
    captured(&Command::new(argv.iter().copied()).timeout(Duration::from_secs(30)))
}
