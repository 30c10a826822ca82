//! `cargo lab`: boots hosts for people and for tests.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use lab::card::Card;
use lab::lab::runs;
use lab::{Host, Identity, Lab, cargo, line, process, proxy, scenario, server, sh};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Parser)]
#[command(name = "cargo lab", about = "Boots real hosts for rprov, on this machine, as root")]
struct Cli {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Boot a fresh host and run the main job in it, as a user would see it
    Demo,
    /// Run the workspace's tests and the scenarios, or only the scenarios named
    Test {
        /// Every scenario on every host that it names
        #[arg(long, alias = "thorough")]
        all: bool,
        /// The beginning of a scenario's name, or NAME@IDENTITY
        names: Vec<String>,
    },
    /// Boot a host and leave it running
    Up {
        #[arg(default_value = "ubuntu-24.04")]
        identity: String,
        /// With a card: l4, a100, h100, b200, v100, p100, gtx1650 or k80; several times for several
        #[arg(long)]
        card: Vec<String>,
        /// With nouveau on the card
        #[arg(long, requires = "card")]
        nouveau: bool,
    },
    /// A shell in the host that is up
    Sh,
    /// Run a command in the host that is up
    Run {
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
    /// End the host that is up, and take away what killed runs have left
    Down,
    /// Measure rprov beside an install by hand, as ratios
    Bench {
        #[arg(default_value = "ubuntu-24.04")]
        identity: String,
    },
    /// List scenarios and identities
    List,
    /// Accept connections and never answer (the lab starts this itself)
    #[command(hide = true)]
    Silent,
    /// A proxy that wants a password (a scenario starts this itself)
    #[command(hide = true)]
    Proxy { log: PathBuf, address: String, login: String, names: Vec<String> },
    /// A line that is slow or breaks (a scenario starts this itself)
    #[command(hide = true)]
    Line { log: PathBuf, limits: PathBuf, address: String, to: String },
}

/// A signal has come: the thread that takes it ends the process.
static ENDING: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let result = act(Cli::parse().command);
    while ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: Do) -> Result<ExitCode> {
    if !matches!(command, Do::List | Do::Silent | Do::Proxy { .. } | Do::Line { .. }) {
        let root = sh::run(&["id", "-u"])?;
        if root.trim() != "0" {
            bail!("the lab boots hosts: run it as root");
        }
        end_on_signals()?;
    }
    match command {
        Do::Demo => demo().map(|()| ExitCode::SUCCESS),
        Do::Test { all, names } => test(all, &names),
        Do::Up { identity, card, nouveau } => up(&identity, &card, nouveau).map(|()| ExitCode::SUCCESS),
        Do::Sh => enter(&["bash".to_string(), "-l".to_string()]),
        Do::Run { argv } => enter(&argv),
        Do::Down => down().map(|()| ExitCode::SUCCESS),
        Do::Bench { identity } => lab::bench::bench(named(&identity)?).map(|()| ExitCode::SUCCESS),
        Do::List => list().map(|()| ExitCode::SUCCESS),
        Do::Silent => server::silent().map(|()| ExitCode::SUCCESS),
        Do::Proxy { log, address, login, names } => {
            proxy::serve(&log, &address, &login, &names).map(|()| ExitCode::SUCCESS)
        }
        Do::Line { log, limits, address, to } => {
            line::serve(&log, &limits, &address, &to).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Ctrl-C ends the hosts of this process before it ends the process.
fn end_on_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listening for signals")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            ENDING.store(true, Ordering::SeqCst);
            // A scenario may be in the middle of making a host: what it makes meanwhile goes, too.
            let dir = runs().join(std::process::id().to_string());
            for _ in 0..20 {
                let _ = process::sweep(&dir);
                std::thread::sleep(Duration::from_millis(100));
                if !dir.exists() {
                    break;
                }
            }
            std::process::exit(130);
        }
    });
    Ok(())
}

fn test(all: bool, names: &[String]) -> Result<ExitCode> {
    let (mut passed, mut failed) = (0, 0);
    if names.is_empty() {
        (passed, failed) = cargo::test()?;
    }
    let chosen = scenario::chosen(names, all);
    if chosen.is_empty() {
        bail!("no scenario is called {}: `cargo lab list` names them", names.join(" or "));
    }
    let lab = Lab::open()?;
    let (good, bad) = scenario::run(&lab, &chosen);
    drop(lab);
    passed += good;
    failed += bad;
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a user would do, and see, on a fresh Ubuntu 24.04.
fn demo() -> Result<()> {
    let rprov = cargo::rprov()?;
    let lab = Lab::open()?;
    println!("lab: booting a fresh host that says it is {}", Identity::Ubuntu2404.name());
    let host = Host::booted(&lab, Identity::Ubuntu2404)?;
    host.with_rprov(&rprov)?;
    host.add_user("alice")?;
    show(&host, "rprov plan")?;
    show(&host, "rprov install --yes --user alice")?;
    host.copy_in(&lab.image()?, "/home/alice/image.tar")?;
    show(&host, "su - alice -c 'docker import image.tar tiny'")?;
    show(&host, "su - alice -c 'docker run --rm tiny echo hello from a container'")?;
    show(&host, "rprov install --yes --user alice")?;
    show(&host, "rprov uninstall --yes")
}

/// Runs a command on a terminal in the host, and shows what it shows.
fn show(host: &Host, line: &str) -> Result<()> {
    println!("\n\x1b[1mroot@host:~# {line}\x1b[0m");
    let mut running = host.on_terminal(line)?;
    let mut shown = 0;
    loop {
        let over = !running.running();
        if over {
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = running.said();
        if let Some(new) = said.get(shown..) {
            print!("{new}");
            let _ = std::io::stdout().flush();
            shown = said.len();
        }
        if over {
            break;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    let code = running.wait(Duration::from_secs(5))?.code;
    if code != 0 {
        bail!("`{line}` ended with {code}");
    }
    Ok(())
}

/// The name of the run that stays: one a checkout.
fn up_id() -> String {
    format!("up-{}", &lab::cache::sha256(lab::cache::dir().to_string_lossy().as_bytes())[..6])
}

fn named(identity: &str) -> Result<Identity> {
    Identity::by_name(identity).with_context(|| {
        let names: Vec<&str> = Identity::all().map(|identity| identity.name()).collect();
        format!("no identity is called {identity}: there are {}", names.join(", "))
    })
}

fn up(identity: &str, cards: &[String], nouveau: bool) -> Result<()> {
    let identity = named(identity)?;
    let cards: Result<Vec<Card>> = cards
        .iter()
        .map(|word| Card::by_word(word).with_context(|| format!("the lab has no card called {word}")))
        .collect();
    let cards = cards?;
    let rprov = cargo::rprov()?;
    let lab = Lab::open_to_stay(&up_id())?;
    let mut host = Host::fresh(&lab, identity)?;
    if !cards.is_empty() {
        host.cards(&cards)?;
    }
    if nouveau {
        host.nouveau()?;
    }
    host.boot()?;
    host.with_rprov(&rprov)?;
    let enter = host.enter()?.join(" ");
    let (number, leader) = host.stay()?;
    sh::write(&lab.dir().join("up"), format!("{} {number} {leader}\n", identity.name()))?;
    println!("A host that says it is {} is up, with rprov in it.", identity.name());
    println!("  cargo lab sh                 a shell in it\n  cargo lab run -- rprov plan  a command in it");
    println!("  {enter} bash\n  cargo lab down               ends it");
    Ok(())
}

fn enter(argv: &[String]) -> Result<ExitCode> {
    let text =
        sh::read(&runs().join(up_id()).join("up")).context("no host is up: `cargo lab up` boots one")?;
    let leader = text.split_whitespace().nth(2).context("the note of the host that is up is broken")?;
    let mut command = Command::new("nsenter");
    command.args(["-t", leader, "-a", "--", "sh", "-c", "cd /root; exec \"$@\"", "sh"]).args(argv);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", "/root").env("LANG", "C.UTF-8");
    command.env("TERM", std::env::var_os("TERM").unwrap_or_else(|| "dumb".into()));
    let status = command.status().context("entering the host")?;
    Ok(ExitCode::from(status.code().unwrap_or(1) as u8))
}

fn down() -> Result<()> {
    let dir = runs().join(up_id());
    if dir.exists() {
        process::sweep(&dir)?;
    }
    process::sweep_leftovers(&runs())
}

fn list() -> Result<()> {
    for scenario in scenario::all() {
        let hosts: Vec<&str> = scenario.on.iter().map(|identity| identity.name()).collect();
        println!("{}\n    {}\n    {}", scenario.name, scenario.about, hosts.join(" "));
    }
    let names: Vec<&str> = Identity::all().map(|identity| identity.name()).collect();
    println!("\nidentities: {}", names.join(" "));
    Ok(())
}
