//! One file per command; each wires rooms together and decides nothing.

pub mod arguments;
mod bundle;
mod doctor;
mod install;
mod lock;
mod man;
mod mend;
mod profile;
mod render;
mod result;
mod resume;
mod run;
mod smoke;
mod status;
mod uninstall;
mod verify;

use crate::error::{Error, Exit, OrFail, Result};
use crate::facts;
use arguments::{Cli, Command};
use clap::CommandFactory;
use run::Run;

/// Runs one command and says with which code to end.
pub fn run(cli: Cli) -> Exit {
    let manner = cli.told.manner();
    manner.trace();
    match cli.command {
        Command::Install { wanted, changing, end } => {
            Run::new("install", manner).carry_out(|run| install::install(run, &wanted, &changing, end))
        }
        Command::Resume => Run::new("install", manner).carry_out(resume::resume),
        Command::Plan { wanted, exit_code } => {
            Run::new("plan", manner).carry_out(|run| install::plan(run, &wanted, exit_code))
        }
        Command::Lock { output, configuration } => {
            Run::new("lock", manner).carry_out(|run| lock::lock(run, output.as_deref(), &configuration))
        }
        Command::Status => Run::new("status", manner).carry_out(status::status),
        Command::Doctor { asked, changing } => {
            Run::new("doctor", manner).carry_out(|run| doctor::doctor(run, &asked, &changing))
        }
        Command::Uninstall { dry_run, force, purge_data, changing } => Run::new("uninstall", manner)
            .carry_out(|run| {
                uninstall::uninstall(run, dry_run, crate::resources::How { force, purge_data }, &changing)
            }),
        Command::Smoke { changing, gpu, pull } => {
            Run::new("smoke", manner).carry_out(|run| smoke::smoke(run, &changing, gpu, pull.as_deref()))
        }
        Command::Facts => Run::new("facts", manner).carry_out(show_facts),
        Command::Profile { command } => {
            Run::new("profile", manner).carry_out(|run| profile::profile(run, &command))
        }
        Command::Render { command } => {
            Run::new("render", manner).carry_out(|run| render::render(run, &command))
        }
        Command::Bundle { command } => {
            Run::new(command.verb(), manner).carry_out(|run| bundle::bundle(run, &command))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "rprov", &mut script);
            crate::ui::answer(&String::from_utf8_lossy(&script));
            Exit::Done
        }
        Command::Man => {
            crate::ui::answer(&man::page());
            Exit::Done
        }
        Command::Inside { nonce, gpu } => match inside(&nonce, gpu) {
            Ok(said) => {
                crate::ui::answer(&said);
                Exit::Done
            }
            Err(error) => error.exit,
        },
    }
}

fn inside(nonce: &str, gpu: bool) -> Result<String> {
    if gpu { crate::smoke::gpu::inside(nonce) } else { crate::smoke::inside(nonce) }
}

fn show_facts(run: &mut Run) -> Result<Exit> {
    let facts = facts::gather(&run.host(None))?;
    // Facts are an answer for programs as for people: one form for both.
    let text = serde_json::to_string_pretty(&facts).or_fail(|| "cannot show the facts".into())?;
    crate::ui::answer(&text);
    Ok(Exit::Done)
}

/// The arguments of this run as they can be shown, passwords masked.
fn typed() -> Vec<String> {
    std::env::args_os()
        .skip(1)
        .map(|argument| crate::host::fetch::mask(&argument.to_string_lossy()))
        .collect()
}

/// Every command that changes something is root's, on a host that systemd runs.
fn may_change(facts: &facts::Facts) -> Result<()> {
    is_root(facts)?;
    systemd_runs(facts)
}

/// The same, or the files of an image: what is wanted of one tells whether it may be prepared.
fn may_change_files(facts: &facts::Facts) -> Result<()> {
    if facts.is_image() { is_root(facts) } else { may_change(facts) }
}

fn is_root(facts: &facts::Facts) -> Result<()> {
    if !facts.root {
        return Err(Error::refused("cannot change this host")
            .because("rprov does not run as root")
            .hint(format!("sudo rprov {}", typed().join(" "))));
    }
    Ok(())
}

fn systemd_runs(facts: &facts::Facts) -> Result<()> {
    if facts.init != facts::Init::Systemd {
        let where_we_are = match facts.init {
            facts::Init::Chroot => "this is a chroot".to_owned(),
            _ => format!("process 1 is `{}`", facts.first_process),
        };
        return Err(Error::refused("cannot change this host")
            .because(format!("systemd does not run here: {where_we_are}"))
            .hint("run rprov on the host itself, not in a chroot or a container; `--gpu=toolkit` prepares an image; in WSL 2 put `systemd=true` below `[boot]` in /etc/wsl.conf"));
    }
    Ok(())
}
