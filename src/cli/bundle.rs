//! `rprov bundle`: what an install needs of the network, made into one file, checked, and installed from.

use super::arguments::{BundleCommand, Configuration, Fetched, Wanted};
use super::install;
use super::run::Run;
use crate::bundle::{self, Asked, Checked, Manifest, Origin, Unpacked};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::facts::{self, AppArmor, Distribution, Facts, Virtualisation};
use crate::host::{Look, Touch};
use crate::profile::{
    self, Archive, BaseKey, Config, Flags, Gpu, Library, Profile, Repository, Settings, from_here, rpm_word,
};
use crate::resources::repository::Source;
use crate::steps;
use crate::trust::Index;
use crate::ui;
use std::path::Path;

pub fn bundle(run: &mut Run, command: &BundleCommand) -> Result<Exit> {
    let host = run.host(None);
    host.hear_signals()?;
    match command {
        BundleCommand::Create { fetched } => or_ended(create(run, fetched), &host),
        BundleCommand::Verify { file, configuration } => or_ended(verify(run, file, configuration), &host),
        BundleCommand::Plan { file, wanted, exit_code } => {
            let _goes_with_the_run = or_ended(unpack(run, file, wanted), &host)?;
            install::plan(run, wanted, *exit_code)
        }
        BundleCommand::Install { file, wanted, changing, end } => {
            super::may_change(&facts::gather(&host)?)?;
            let _goes_with_the_run = or_ended(unpack(run, file, wanted), &host)?;
            install::install(run, wanted, changing, *end)
        }
    }
}

/// What a signal has ended failed of nothing else.
fn or_ended<T>(result: Result<T>, host: &dyn Touch) -> Result<T> {
    result.map_err(|error| match host.interrupted() {
        true => Error::new(Exit::Interrupted, "interrupted before anything was changed")
            .hint("run the same command again"),
        false => error,
    })
}

fn create(run: &mut Run, fetched: &Fetched) -> Result<Exit> {
    let output = from_here(&fetched.output)?;
    let asking = run.host(None);
    let library = Library::load(&asking)?;
    let config = install::configuration(&fetched.configuration, &asking)?;
    let profile = library.target(&fetched.target)?;
    let here = facts::gather(&asking)?;
    let name = here.distribution.name.clone();
    if !here.root {
        run.log_to(bundle::create::beside(&output).join("log"));
    }
    let architecture = fetched.architecture.clone().unwrap_or_else(|| here.architecture.clone());
    if !profile.matches.architectures.contains(&architecture) {
        return Err(Error::refused(format!("cannot make a bundle for `{}` on {architecture}", profile.name))
            .because(format!("upstream builds it for {}", profile.matches.architectures.join(", "))));
    }
    if matches!(profile.repository, Repository::Dnf(_)) && !here.root {
        return Err(Error::refused(format!("cannot make a bundle for `{}`", profile.target))
            .because("dnf fetches packages for root only")
            .hint("run the same command as root: `sudo rprov bundle create`"));
    }
    can_have_driver(fetched, &profile)?;
    let facts = of_target(here, &profile, &architecture, fetched.kernel.as_deref());
    let keyring = Archive::keyring(&profile, &config, &asking)?;
    let flags = Flags {
        version: fetched.version.clone(),
        channel: fetched.channel.map(|channel| channel.name().to_owned()),
        gpu: Some(match (fetched.gpu, &fetched.driver) {
            (true, Some(_)) => Gpu::On,
            (true, None) => Gpu::Toolkit,
            _ => Gpu::Off,
        }),
        driver: fetched.driver.clone(),
        with: fetched.with.clone(),
        mirror: fetched.mirror.clone(),
        ..Flags::default()
    };
    let title = profile.title.clone();
    let settings = Settings::merge(flags, config.clone(), profile, &library)?;
    let host = run.host(Some(settings.wait));
    run.tell(&Event::Started {
        version: env!("CARGO_PKG_VERSION").into(),
        verb: run.verb.into(),
        host: format!("{name}, for {title}, {architecture}"),
    });
    let steps = profile::steps(&settings, &facts, None, false)?;
    let origins = origins(&settings, &facts, &config, Some(&keyring), &host)?;
    let images = fetched.images.iter().map(|path| from_here(path)).collect::<Result<_>>()?;
    let manifest = bundle::create(
        &Asked {
            profile: &settings.profile.target,
            architecture: &architecture,
            dnf: of_dnf(&settings.profile, &architecture),
            steps: &steps,
            origins,
            keyring,
            images,
            output: &output,
        },
        &host,
    )?;
    run.tell(&Event::Note { text: ui::bundle::made(&output, &manifest) });
    Ok(Exit::Done)
}

/// Whom dnf resolves for, where it is dnf that does.
fn of_dnf<'a>(profile: &'a Profile, architecture: &'a str) -> Option<bundle::dnf::Target<'a>> {
    let is = matches!(profile.repository, Repository::Dnf(_));
    is.then(|| bundle::dnf::Target {
        architecture: rpm_word(architecture),
        release: profile.matches.version.as_deref().unwrap_or_default(),
        platform: profile.matches.derivatives.get(&BaseKey::PlatformId).map(String::as_str),
    })
}

/// # Errors
/// A driver is asked for that no bundle carries: refused.
fn can_have_driver(fetched: &Fetched, profile: &Profile) -> Result<()> {
    let Some(driver) = &fetched.driver else { return Ok(()) };
    let why = match profile.repository {
        Repository::Dnf(_) => {
            "on hosts with dnf it is built with packages that are not in the distribution's own repositories"
        }
        Repository::Apt(_) if driver.distribution || driver.none => {
            "a bundle carries NVIDIA's own, from its repository"
        }
        Repository::Apt(_) => return Ok(()),
    };
    Err(Error::refused("cannot put that driver into a bundle")
        .because(why)
        .hint("leave `--driver` out: the bundle has the container toolkit, and the driver is brought by other means"))
}

/// A host of which nothing is known but what it is: whatever some may lack is taken along. With a kernel it has a card,
/// and no driver and no headers for it.
fn of_target(here: Facts, profile: &Profile, architecture: &str, kernel: Option<&str>) -> Facts {
    let matches = &profile.matches;
    Facts {
        distribution: Distribution {
            id: matches.id.clone(),
            version_id: matches.version.clone(),
            codename: matches.codename.clone(),
            name: profile.title.clone(),
            ..Distribution::default()
        },
        architecture: architecture.to_owned(),
        apparmor: AppArmor { enabled: true, parser: false },
        engine: false,
        snap_docker: false,
        certificates: false,
        armv6: false,
        virtualisation: Virtualisation::None,
        gpu: kernel.map(|_| facts::Gpu { cards: vec![any_card()], ..facts::Gpu::default() }),
        kernel: kernel.map(str::to_owned).unwrap_or(here.kernel),
        ..here
    }
}

/// A generation that every branch knows: which driver is taken along is the maker's word, and not the card's.
fn any_card() -> facts::Card {
    facts::Card {
        address: String::new(),
        device: String::new(),
        name: None,
        family: facts::Family::Turing,
        driver: None,
    }
}

fn verify(run: &mut Run, file: &Path, named: &Configuration) -> Result<Exit> {
    let host = run.host(None);
    let config = install::configuration(named, &host)?;
    let library = Library::load(&host)?;
    let checked = checked(&from_here(file)?, None, &config, &library, &host)?;
    let profile = library.target(&checked.manifest.profile)?;
    match run.manner.json {
        true => ui::bundle::checks(&checked).into_iter().for_each(|event| run.tell(&event)),
        false => ui::answer(&ui::bundle::shown(&checked, &profile.title)),
    }
    Ok(Exit::Done)
}

/// What is installed from then on: the plan, the questions and the changes are those of any install.
///
/// The host is left as it is: it is a directory of this run's that is written.
fn unpack(run: &mut Run, file: &Path, wanted: &Wanted) -> Result<Unpacked> {
    let file = &from_here(file)?;
    let host = run.host(None);
    let facts = facts::gather(&host)?;
    let library = Library::load(&host)?;
    let config = install::configuration(&wanted.configuration, &host)?;
    is_for(&bundle::manifest(file, &host)?, &facts, &library)?;
    let checked = checked(file, wanted.mirror.as_ref(), &config, &library, &host)?;
    is_for(&checked.manifest, &facts, &library)?;
    let unpacked = bundle::unpack(file, &checked, &host)?;
    run.tell(&Event::Note { text: ui::bundle::is_whole(&checked) });
    run.offline = Some(unpacked.offline.clone());
    run.images = steps::images::step(&unpacked.images(&checked), &host)?;
    Ok(unpacked)
}

fn is_for(manifest: &Manifest, facts: &Facts, library: &Library) -> Result<()> {
    let ours = profile::choose(facts, library)?;
    if ours.target == manifest.profile && facts.architecture == manifest.architecture {
        return Ok(());
    }
    Err(Error::refused("cannot install from this bundle")
        .because(format!(
            "it is for {} on {}, and this is {} on {}",
            manifest.profile, manifest.architecture, ours.target, facts.architecture
        ))
        .hint(format!("rprov bundle create --for {} --arch {} -o FILE", ours.target, facts.architecture)))
}

/// The bundle, checked against what this program and this configuration pin for the hosts that it is for.
fn checked(
    file: &Path,
    mirror: Option<&String>,
    config: &Config,
    library: &Library,
    host: &dyn Touch,
) -> Result<Checked> {
    let known = |manifest: &Manifest, carried: Option<&[u8]>| {
        let profile = library.target(&manifest.profile).map_err(Error::for_good)?;
        let facts = of_target(facts::gather(host)?, &profile, &manifest.architecture, Some(""));
        let (_, channels) = profile.repository.channels();
        let mut all = Vec::new();
        for channel in channels {
            let merged = |gpu| {
                let channel = Some(channel.clone());
                let flags = Flags { channel, gpu: Some(gpu), mirror: mirror.cloned(), ..Flags::default() };
                Settings::merge(flags, config.clone(), profile.clone(), library)
            };
            let mut settings = merged(if profile.gpu.is_some() { Gpu::On } else { Gpu::Off })?;
            // Nobody is pinned for a driver: there is none in it.
            if profile.gpu.is_some() && settings.wish.cuda.trust.is_none() {
                settings = merged(Gpu::Toolkit)?;
            }
            all.extend(origins(&settings, &facts, config, carried, host)?);
        }
        Ok(all)
    };
    bundle::check(file, known, host)
}

/// Every index that packages of such an install may come from, each below the name of its source's file.
fn origins(
    settings: &Settings,
    facts: &Facts,
    config: &Config,
    carried: Option<&[u8]>,
    host: &dyn Look,
) -> Result<Vec<Origin>> {
    let engine = profile::source(settings, &facts.architecture)?;
    let gpu = settings.decide_gpu(facts, false)?;
    let of_gpu = gpu.into_iter().flat_map(|gpu| {
        [Some(gpu.toolkit), gpu.driver.and_then(|driver| driver.source)].into_iter().flatten()
    });
    let mut origins = Vec::new();
    for source in std::iter::once(engine).chain(of_gpu) {
        origins.push(match source {
            Source::Apt(source) => {
                let directory = source.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                Origin { directory, index: Index::Apt(source.index) }
            }
            Source::Dnf(source) => Origin { directory: source.id, index: Index::Rpm(source.index) },
        });
    }
    let archive = Archive::indexes(&settings.profile, config, &facts.architecture, carried, host)?;
    origins.extend(archive.into_iter().map(|(directory, index)| Origin { directory, index }));
    Ok(origins)
}
