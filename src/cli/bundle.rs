//! `rprov bundle`: what an install needs of the network, made into one file, checked, and installed from.

use super::arguments::{BundleCommand, Configuration, Fetched, Wanted};
use super::install;
use super::run::Run;
use crate::bundle::{self, Asked, Checked, Manifest, Origin, Unpacked};
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::facts::{self, AppArmor, Distribution, Facts};
use crate::host::{Look, Touch};
use crate::profile::{self, Archive, Config, Flags, Gpu, Library, Profile, Settings, from_here};
use crate::resources::repository::Source;
use crate::steps;
use crate::ui;
use std::path::Path;

pub fn bundle(run: &mut Run, command: &BundleCommand) -> Result<Exit> {
    let host = run.host(None);
    host.hear_signals()?;
    match command {
        BundleCommand::Create { fetched } => or_ended(create(run, fetched), &host),
        BundleCommand::Verify { file, configuration } => or_ended(verify(run, file, configuration), &host),
        BundleCommand::Install { file, wanted, changing, end } => {
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
    let profile = library.get(&fetched.target)?.profile.clone();
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
    let facts = of_target(here, &profile, &architecture);
    let keyring = Archive::keyring(&profile, &config, &asking)?;
    let flags = Flags {
        version: fetched.version.clone(),
        channel: fetched.channel.map(|channel| channel.name().to_owned()),
        gpu: Some(if fetched.gpu { Gpu::Toolkit } else { Gpu::Off }),
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
            profile: &settings.profile.name,
            architecture: &architecture,
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

/// A host of which nothing is known but what it is: whatever some may lack is taken along.
fn of_target(here: Facts, profile: &Profile, architecture: &str) -> Facts {
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
        gpu: None,
        ..here
    }
}

fn verify(run: &mut Run, file: &Path, named: &Configuration) -> Result<Exit> {
    let host = run.host(None);
    let config = install::configuration(named, &host)?;
    let library = Library::load(&host)?;
    let checked = checked(file, None, &config, &library, &host)?;
    let profile = &library.get(&checked.manifest.profile)?.profile;
    match run.manner.json {
        true => ui::bundle::checks(&checked).into_iter().for_each(|event| run.tell(&event)),
        false => ui::answer(&ui::bundle::shown(&checked, &profile.title)),
    }
    Ok(Exit::Done)
}

/// What is installed from then on: the plan, the questions and the changes are those of any install.
fn unpack(run: &mut Run, file: &Path, wanted: &Wanted) -> Result<Unpacked> {
    let file = &from_here(file)?;
    let host = run.host(None);
    let facts = facts::gather(&host)?;
    super::may_change(&facts)?;
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
    if ours.name == manifest.profile && facts.architecture == manifest.architecture {
        return Ok(());
    }
    Err(Error::refused("cannot install from this bundle")
        .because(format!(
            "it is for {} on {}, and this is {} on {}",
            manifest.profile, manifest.architecture, ours.name, facts.architecture
        ))
        .hint(format!("rprov bundle create --for {} --arch {} -o FILE", ours.name, facts.architecture)))
}

/// The bundle, checked against what this program and this configuration pin for the hosts that it is for.
fn checked(
    file: &Path,
    mirror: Option<&String>,
    config: &Config,
    library: &Library,
    host: &dyn Look,
) -> Result<Checked> {
    let known = |manifest: &Manifest, carried: Option<&[u8]>| {
        let profile = library.get(&manifest.profile).map_err(Error::for_good)?;
        let profile = profile.profile.clone();
        let facts = of_target(facts::gather(host)?, &profile, &manifest.architecture);
        let gpu = Some(if profile.gpu.is_some() { Gpu::Toolkit } else { Gpu::Off });
        let (_, channels) = profile.repository.channels();
        let mut all = Vec::new();
        for channel in channels {
            let channel = Some(channel.clone());
            let flags = Flags { channel, gpu, mirror: mirror.cloned(), ..Flags::default() };
            let settings = Settings::merge(flags, config.clone(), profile.clone(), library)?;
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
    let toolkit = settings.decide_gpu(facts, false)?.map(|decided| decided.toolkit);
    let mut origins = Vec::new();
    for source in std::iter::once(engine).chain(toolkit) {
        let Source::Apt(source) = source else {
            return Err(Error::refused(format!(
                "cannot make or use a bundle for `{}`",
                settings.profile.name
            ))
            .because("rprov makes bundles for hosts with apt only"));
        };
        let directory = source.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        origins.push(Origin { directory, index: source.index });
    }
    let archive = Archive::indexes(&settings.profile, config, &facts.architecture, carried, host)?;
    origins.extend(archive.into_iter().map(|(directory, index)| Origin { directory, index }));
    Ok(origins)
}
