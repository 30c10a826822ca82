//! `rprov render`: the options of an install become user-data, a script, or a playbook.

mod ansible;

use super::arguments::{ProgramSource, RenderCommand, Rendered, Wanted};
use super::run::Run;
use crate::error::{Error, Exit, OrFail, Result};
use crate::event::Event;
use crate::host::Look;
use crate::lockfile::Lock;
use crate::profile::{Config, from_here};
use crate::render::{self, File, Program, Unattended};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::time::Duration;
use toml::{Table, Value};

/// Where a version's release is, once there is one.
const RELEASE: &str =
    "https://github.com/rprov/rprov/releases/download/v{version}/rprov-{architecture}-linux";

const CONFIGURATION: &str = "/etc/rprov/config.toml";
const LOCK: &str = "/etc/rprov/rprov.lock";

pub fn render(run: &mut Run, command: &RenderCommand) -> Result<Exit> {
    is_text(&std::env::args_os().skip(1).collect::<Vec<_>>())?;
    let host = run.host(None);
    let text = match command {
        RenderCommand::CloudInit { rendered, source, embed } => {
            let program = if *embed { Program::Embedded(this_program()?) } else { fetched(source)? };
            let unattended = unattended(rendered, program, &host)?;
            let text = render::cloud_init(&unattended, &note(source.url.is_some() || *embed));
            if *embed {
                run.tell(&Event::Note { text: limits(text.len()) });
            }
            text
        }
        RenderCommand::Script { rendered, source } => {
            let mut unattended = unattended(rendered, fetched(source)?, &host)?;
            if unattended.reboots {
                // Nobody else does.
                unattended.arguments.push("--reboot".into());
            }
            render::script(&unattended, &note(source.url.is_some()))
        }
        RenderCommand::Ansible { rendered, output } => {
            ansible::write(run, rendered, output)?;
            return Ok(Exit::Done);
        }
    };
    crate::ui::answer(&text);
    Ok(Exit::Done)
}

/// What is typed becomes lines of a script, of YAML and of their comments: what ends a line there would begin another.
fn is_text(words: &[OsString]) -> Result<()> {
    let is = |word: &OsString| word.to_str().is_some_and(|word| word.chars().all(render::is_plain));
    let Some(at) = words.iter().position(|word| !is(word)) else { return Ok(()) };
    // Its own name, or the word before it.
    let words = [at, at.saturating_sub(1)].map(|at| words[at].to_string_lossy());
    let option = words.iter().find(|word| word.starts_with('-')).and_then(|word| word.split('=').next());
    Err(Error::usage(format!("cannot write down `{}`", option.unwrap_or("the options").escape_debug()))
        .because(format!("{:?} has a control character, or is not UTF-8", words[0]))
        .hint("give it without"))
}

fn unattended(rendered: &Rendered, program: Program, host: &dyn Look) -> Result<Unattended> {
    let wanted = &rendered.wanted;
    if wanted.registry_image.is_some() {
        return Err(Error::usage("cannot carry the registry's image to another machine")
            .because("user-data and scripts have no room for it")
            .hint("put it on the machine, and name it in the configuration: `[registry] image`"));
    }
    let mut files = Vec::new();
    let mut table = Table::new();
    if let Some(path) = &wanted.configuration.config {
        let path = from_here(path)?;
        let config = Config::load(host, Some(&path), None)?;
        table =
            host.read_text(&path)?.unwrap_or_default().parse().or_fail(|| "cannot read it again".into())?;
        let keys = config.source.into_values().filter_map(|source| source.key);
        files.extend(keys.map(|key| File { path: key.file, bytes: key.bytes }));
    }
    lay_over(&mut table, wanted, rendered.wait);
    let text = toml::to_string(&table).or_fail(|| "cannot write the configuration".into())?;
    Config::parse("the options", &text)?;
    if !table.is_empty() {
        files.push(File { path: CONFIGURATION.into(), bytes: text.into_bytes() });
    }
    if let Some(path) = &wanted.locked {
        Lock::read(path, host)?;
        let bytes = host.read(&from_here(path)?)?.unwrap_or_default();
        files.push(File { path: LOCK.into(), bytes });
    }
    let arguments = arguments(rendered);
    Ok(Unattended { program, files, arguments, reboots: rendered.end.reboot })
}

/// The command line over the configuration: so the machine keeps what it was made with.
fn lay_over(table: &mut Table, wanted: &Wanted, wait: Option<Duration>) {
    // Whole, so that an option which is new is not forgotten.
    let Wanted {
        users,
        version,
        channel,
        engine,
        gpu,
        driver: _,
        gpu_default_runtime,
        hold,
        with,
        mirror,
        registry_image: _,
        locked: _,
        upgrade: _,
        allow_downgrade: _,
        configuration: _,
    } = wanted;
    let list = |names: &[String]| (!names.is_empty()).then(|| Value::from(names.to_vec()));
    let values = [
        ("users", list(users)),
        ("version", version.clone().map(Value::from)),
        ("channel", channel.map(|channel| channel.name().into())),
        ("engine", engine.and_then(|engine| Value::try_from(engine).ok())),
        ("gpu", gpu.and_then(|gpu| Value::try_from(gpu).ok())),
        ("gpu-default-runtime", gpu_default_runtime.then_some(Value::from(true))),
        ("hold", hold.then_some(Value::from(true))),
        ("with", list(with)),
        ("mirror", mirror.clone().map(Value::from)),
        ("wait", wait.map(|wait| format!("{}s", wait.as_secs()).into())),
    ];
    table.extend(values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
}

/// What no configuration says.
fn arguments(rendered: &Rendered) -> Vec<String> {
    let wanted = &rendered.wanted;
    let given = [
        (true, vec!["install", "--yes", "--json"]),
        (wanted.upgrade, vec!["--upgrade"]),
        (wanted.allow_downgrade, vec!["--allow-downgrade"]),
        (wanted.locked.is_some(), vec!["--locked", LOCK]),
        (rendered.end.no_smoke, vec!["--no-smoke"]),
    ];
    let words = given.into_iter().filter(|(is, _)| *is).flat_map(|(_, words)| words).map(str::to_owned);
    words.chain(wanted.driver.iter().map(|driver| format!("--driver={driver}"))).collect()
}

fn fetched(source: &ProgramSource) -> Result<Program> {
    let sha256 = HEXLOWER.encode(&Sha256::digest(this_program()?));
    let url = source.url.clone().unwrap_or_else(release);
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Program::At { url, sha256 });
    }
    Err(Error::usage(format!("cannot have rprov fetched from `{url}`"))
        .because("it is no address of the web")
        .hint("--url https://HOST/rprov"))
}

fn this_program() -> Result<Vec<u8>> {
    std::fs::read("/proc/self/exe").or_fail(|| "cannot read this program".into())
}

fn release() -> String {
    RELEASE.replace("{version}", env!("CARGO_PKG_VERSION")).replace("{architecture}", std::env::consts::ARCH)
}

/// What whoever reads it has to know.
fn note(is_reachable: bool) -> String {
    let mut lines = vec![format!(
        "# Rendered by rprov {} for {}: rprov {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        super::typed().join(" ")
    )];
    if !is_reachable {
        lines.push(
            "# The address of rprov is that of this version's release, and has to exist: see --url.".into(),
        );
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Source: the clouds' documentation of user-data.
fn limits(length: usize) -> String {
    format!(
        "the user-data has {} KiB: NoCloud takes that; Amazon EC2 takes 16 KiB, Azure 64, Google Cloud 256, \
         OpenStack 48, Hetzner 32, DigitalOcean 64, Oracle Cloud 23",
        length.div_ceil(1024)
    )
}
