//! What is left after a reboot: a unit that finishes it with a copy of this program, and goes when it has.

use super::arguments::{BundleCommand, Changing, Cli, Command as Typed, Wanted};
use super::run::Run;
use super::{bundle, install};
use crate::error::{Error, Exit, OrFail, Result};
use crate::event::Event;
use crate::host::{Command, Look, Owner, Touch};
use crate::receipt::{self, Entry};
use crate::steps::drop_in::is_plain;
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const UNIT: &str = "rprov-resume.service";
const UNIT_FILE: &str = "/etc/systemd/system/rprov-resume.service";
/// Neither /tmp, which a boot empties, nor /var/lib: SELinux lets systemd run nothing there.
const PROGRAM: &str = "/usr/local/libexec/rprov/rprov";
const DIRECTORIES: [&str; 2] = ["/usr/local/libexec", "/usr/local/libexec/rprov"];
const STATE: &str = "/var/lib/rprov/resume.json";
/// How often it is tried: a machine that needs a third one needs a person.
const ATTEMPTS: u32 = 2;
/// How long one attempt waits for what may come by itself: a mirror, a lock. Right after a boot much is away.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Between two looks, in seconds.
const PAUSE: u64 = 15;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// How often the unit has begun.
    attempts: u32,
    /// Directories that were made for the copy.
    made: Vec<String>,
    /// The configuration that the environment named then: the unit has another one.
    #[serde(default)]
    config: Option<PathBuf>,
}

fn state(host: &dyn Look) -> Result<Option<State>> {
    let Some(text) = host.read_text(Path::new(STATE))? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).or_fail(|| format!("cannot read `{STATE}`"))
}

fn keep(state: &State, host: &dyn Touch) -> Result<()> {
    let text = serde_json::to_vec(state).or_fail(|| format!("cannot write `{STATE}`"))?;
    let directory = Path::new(STATE).parent().unwrap_or(Path::new("/"));
    if !host.exists(directory)? {
        host.make_directory(directory, Owner { uid: 0, gid: 0, mode: 0o700 })?;
    }
    host.write(Path::new(STATE), &text, Owner { uid: 0, gid: 0, mode: 0o600 })
}

fn systemctl(host: &dyn Touch, words: &[&str]) -> Result<()> {
    let argv = ["systemctl"].iter().chain(words).copied();
    host.run(&Command::new(argv))?.or_failed(|| format!("cannot `systemctl {}`", words.join(" ")))
}

/// Makes the next boot go on. To be called while there is a receipt: its directory holds the state.
pub fn arm(host: &dyn Touch) -> Result<()> {
    let mut state = state(host)?.unwrap_or_default();
    if state.attempts >= ATTEMPTS {
        return Err(Error::failed("cannot finish what needed a reboot")
            .because(format!("after {ATTEMPTS} reboots it needs another one"))
            .hint("look whether the kernel's own driver is loaded (`lsmod | grep nouveau`), and whether the kernel that runs has modules (`ls /lib/modules; uname -r`); then run rprov again"));
    }
    for directory in DIRECTORIES {
        if !host.exists(Path::new(directory))? {
            host.make_directory(Path::new(directory), Owner::ROOT_0755)?;
            state.made.push(directory.to_owned());
        }
    }
    state.config = install::configuration_of_the_environment().or(state.config);
    keep(&state, host)?;
    let program = std::fs::read("/proc/self/exe").or_fail(|| "cannot read this program".into())?;
    host.write(Path::new(PROGRAM), &program, Owner::ROOT_0755)?;
    let here = std::env::current_dir().unwrap_or_default();
    let here = if is_plain(&here) && here.is_absolute() { here } else { "/".into() };
    let text =
        include_str!("../../templates/resume.service").replace("{directory}", &here.display().to_string());
    host.write(Path::new(UNIT_FILE), text.as_bytes(), Owner::ROOT_0644)?;
    systemctl(host, &["daemon-reload"])?;
    systemctl(host, &["enable", UNIT])
}

/// Everything of it goes. Where nothing was armed nothing is done.
pub fn disarm(host: &dyn Touch) -> Result<()> {
    let armed = host.exists(Path::new(UNIT_FILE))?;
    if armed {
        systemctl(host, &["disable", UNIT])?;
    }
    if let Some(state) = state(host)? {
        host.remove(Path::new(PROGRAM))?;
        for directory in state.made.iter().rev() {
            if host.list(Path::new(directory))?.is_empty() {
                host.remove(Path::new(directory))?;
            }
        }
        host.remove(Path::new(STATE))?;
    }
    // Last: where it is gone, all is.
    if armed {
        host.remove(Path::new(UNIT_FILE))?;
        systemctl(host, &["daemon-reload"])?;
    }
    Ok(())
}

/// What the unit runs: the same command as before the reboot, asked nothing.
///
/// # Errors
/// The second attempt failed too: the unit is no longer started at boot, and shows as failed. Where only time was missing
/// it was no attempt, and the next boot tries again.
pub fn resume(run: &mut Run) -> Result<Exit> {
    let host = run.host(None);
    let Some(mut state) = state(&host)? else {
        return Err(Error::refused("cannot go on").because("nothing is left from before a reboot"));
    };
    state.attempts += 1;
    keep(&state, &host)?;
    let last = state.attempts >= ATTEMPTS;
    run.tell(&Event::Note {
        text: format!("going on after the reboot, attempt {} of {ATTEMPTS}", state.attempts),
    });
    let outcome = patiently(run, state.config.as_deref());
    match &outcome {
        Err(error) if error.exit == Exit::TryAgain => {
            state.attempts -= 1;
            keep(&state, &host)?;
        }
        // A boot after this one must not begin it again.
        Err(_) if last => systemctl(&host, &["disable", UNIT])?,
        _ => {}
    }
    outcome
}

fn patiently(run: &mut Run, config: Option<&Path>) -> Result<Exit> {
    let host = run.host(Some(PATIENCE));
    loop {
        match again(run, config) {
            Err(error) if error.exit == Exit::TryAgain && !host.left().is_zero() => {
                run.tell(&Event::Note { text: format!("{}: that is tried again", error.what()) });
                for _ in 0..PAUSE {
                    host.pause("what could not be had")?;
                }
            }
            outcome => return outcome,
        }
    }
}

fn again(run: &mut Run, config: Option<&Path>) -> Result<Exit> {
    let receipts = receipt::all(Path::new("/"))?;
    let typed_then = receipts.iter().rev().filter(|past| past.verb == "install").find_map(|past| {
        match past.entries.first() {
            // An attempt before this one has a receipt too.
            Some(Entry::Header { arguments, .. }) if arguments != &["resume"] => Some(arguments.clone()),
            _ => None,
        }
    });
    let arguments = typed_then
        .ok_or_else(|| Error::failed("cannot go on").because("no receipt says what was asked for"))?;
    let typed = Cli::try_parse_from(std::iter::once("rprov".to_owned()).chain(arguments))
        .or_fail(|| "cannot read what was asked for before the reboot".into())?;
    let by_environment = |mut wanted: Wanted| {
        wanted.configuration.config = wanted.configuration.config.or(config.map(Path::to_owned));
        wanted
    };
    match typed.command {
        Typed::Install { wanted, changing, end } => {
            let (wanted, changing) = (by_environment(wanted), Changing { yes: true, ..changing });
            install::install(run, &wanted, &changing, end)
        }
        Typed::Bundle { command: BundleCommand::Install { file, wanted, changing, end } } => {
            let (wanted, changing) = (by_environment(wanted), Changing { yes: true, ..changing });
            bundle::bundle(run, &BundleCommand::Install { file, wanted, changing, end })
        }
        _ => Err(Error::failed("cannot go on").because("what was asked for was no install")),
    }
}

/// Tells what is left, and does it where that was asked for.
pub fn reboot(run: &Run, unasked: bool, host: &dyn Touch) -> Result<Exit> {
    let text = match unasked {
        true => "the driver needs a reboot: the machine reboots now, and the rest follows by itself",
        false => {
            "the driver needs a reboot: `systemctl reboot`; the rest follows by itself, or by the same command again"
        }
    };
    run.tell(&Event::Note { text: text.to_owned() });
    if unasked {
        systemctl(host, &["--no-block", "reboot"])?;
    }
    Ok(Exit::Reboot)
}
