//! The one list that gives the order of the steps.

use super::config;
use super::form::Repository;
use super::gpu::{self, Decided};
use super::settings::{Reader, Settings};
use super::site::POOL_KEYS;
use crate::daemon_config;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::lockfile::{Lock, LockedPackage};
use crate::resources::json_keys::{Defaults, Engine, flags_without_hosts};
use crate::resources::packages::{Manager, Versions};
use crate::resources::repository::{Source, apt, dnf};
use crate::resources::trace::Trace;
use crate::resources::unit::UnitState;
use crate::steps::drop_in::DropIn;
use crate::steps::{self, Step, daemon_json, docker_group, hold, members, registry, repository, units};
use crate::trust::apt::AptSource;
use crate::trust::repomd::{RpmSource, Signed};
use crate::version;
use std::collections::{BTreeMap, BTreeSet};

/// What this host is to become, in order: group and configuration before the engine, which starts when it comes.
///
/// # Errors
/// An engine from a snap cannot live beside ours (docker-archive/docker-snap#4): refused with the way out.
pub fn steps(settings: &Settings, facts: &Facts, lock: Option<&Lock>, upgrade: bool) -> Result<Vec<Step>> {
    if facts.snap_docker {
        return Err(Error::refused("cannot install the engine")
            .because("a docker snap is installed, and two engines fight over the same containers")
            .hint("snap remove docker, and restart the machine so that its AppArmor profiles go too"));
    }
    let profile = &settings.profile;
    let source = match settings.engine {
        config::Engine::Docker => Some(source(settings, &facts.architecture)?),
        config::Engine::Distribution => None,
    };
    let manager = match profile.repository {
        Repository::Apt(_) => Manager::Apt,
        Repository::Dnf(_) => Manager::Dnf,
    };
    let starts_nothing = manager == Manager::Dnf;
    let running = if facts.is_image() { UnitState::ENABLED } else { UnitState::RUNNING };
    let gpu = settings.decide_gpu(facts, upgrade)?;
    let mut keys = daemon_config::keys_to_set(&settings.daemon_asked());
    keys.extend(settings.site.gpu_keys.clone());
    let mut steps = Vec::new();
    let toolkit: Vec<String> = gpu.iter().flat_map(|gpu| gpu.packages.keys()).cloned().collect();
    if let Some(driver) = gpu.as_ref().and_then(|gpu| gpu.driver.as_ref()) {
        if driver.stale_kernel {
            return Ok(steps);
        }
        steps.extend(driver_steps(driver, manager, &toolkit)?);
        // The rest waits: what it brings looks for the driver when it is set up.
        if driver.nouveau {
            return Ok(steps);
        }
    }
    if gpu.is_some() {
        steps.extend(
            gpu::driver::units_after_reboot(settings, facts).map(|units| steps::driver::loaded(&units)),
        );
    }
    if let Some(source) = &source {
        steps.push(repository::step(repository::TITLE, source)?);
    }
    if let Some(gpu) = &gpu {
        steps.push(repository::step("the source of the container toolkit", &gpu.toolkit)?);
    }
    steps.extend([
        docker_group::step(&profile.group),
        daemon_json::step(daemon_json::Asked {
            keys,
            engine: engine(settings, facts),
            drop_ins: drop_ins(settings),
            traces: site_traces(settings),
        }),
        steps::packages::step(steps::packages::Asked {
            manager,
            conflicts: conflicts(settings, source.is_some(), gpu.as_ref()),
            sources: source.into_iter().chain(gpu.iter().map(|gpu| gpu.toolkit.clone())).collect(),
            packages: packages(settings, facts, lock, upgrade, gpu.as_ref()),
            let_go: settings.hold.ours.clone(),
            traces: traces(settings, gpu.as_ref()),
            restarts: gpu.is_some().then(|| profile.units.engine.clone()),
        }),
        members::step(&settings.users, &profile.group),
        units::step(&profile.units.start, running, starts_nothing || settings.site.starts_forbidden),
    ]);
    let held = held(settings, facts);
    if !held.is_empty() {
        let behind =
            steps.iter().position(|step| step.title == steps::packages::TITLE).map_or(0, |place| place + 1);
        steps.insert(behind, hold::step(manager, held, settings.hold.ours.clone()));
    }
    steps.extend(settings.site.registry.as_ref().map(registry::step));
    Ok(steps)
}

/// The driver, and where it can be loaded now, loaded.
fn driver_steps(driver: &gpu::driver::Decided, manager: Manager, toolkit: &[String]) -> Result<Vec<Step>> {
    let source = driver.source.as_ref();
    let mut steps: Vec<Step> = source
        .map(|source| repository::step("the source of the driver", source))
        .transpose()?
        .into_iter()
        .collect();
    steps.push(steps::driver::step(steps::driver::Asked {
        manager,
        source: driver.source.clone(),
        packages: driver.packages.clone(),
        stream: driver.stream.as_deref().map(gpu::driver::stream_file),
        preference: (manager == Manager::Apt && source.is_some())
            .then(|| gpu::driver::preference_file(&driver.branch, toolkit)),
        made: driver.made.clone(),
        nouveau: driver.nouveau,
    }));
    if !driver.nouveau {
        steps.push(steps::driver::loaded(&driver.units));
    }
    Ok(steps)
}

/// The engine's and the toolkit's: one transaction.
fn packages(
    settings: &Settings,
    facts: &Facts,
    lock: Option<&Lock>,
    upgrade: bool,
    gpu: Option<&Decided>,
) -> BTreeMap<String, Versions> {
    let mut wanted = match lock {
        Some(lock) => locked_packages(settings, lock),
        None => wanted_packages(settings, facts, upgrade),
    };
    for (name, versions) in gpu.iter().flat_map(|gpu| &gpu.packages) {
        wanted.entry(name.clone()).or_insert_with(|| versions.clone());
    }
    wanted
}

fn conflicts(settings: &Settings, upstreams: bool, gpu: Option<&Decided>) -> Vec<String> {
    let others = upstreams.then_some(&settings.profile.conflicts.remove);
    let former = gpu.iter().flat_map(|gpu| &gpu.remove);
    others.into_iter().flatten().chain(former).cloned().collect()
}

/// What stays at its version: the engine's own packages where that is asked for, and what an earlier run held.
fn held(settings: &Settings, facts: &Facts) -> BTreeSet<String> {
    let ours = settings.hold.ours.iter().cloned();
    let asked = settings.engine_packages(facts).filter(|_| settings.hold.asked);
    ours.chain(asked).collect()
}

/// What cannot be said in daemon.json, or not there alone.
fn drop_ins(settings: &Settings) -> Vec<DropIn> {
    let hosts = settings.daemon.asked.contains_key("hosts").then(DropIn::docker_hosts);
    hosts.into_iter().chain(settings.site.containerd_root.as_deref().map(DropIn::containerd_root)).collect()
}

/// A `data-root` that is not there yet: what was there before is nobody's to remove.
fn site_traces(settings: &Settings) -> Vec<Trace> {
    let made = settings.site.made.iter().map(|path| Trace { path: path.clone(), data: false });
    made.chain(settings.site.data.iter().map(|path| Trace { path: path.clone(), data: true })).collect()
}

/// The source as it is fetched and written; an administrator's own key file is the pin.
pub fn source(settings: &Settings, architecture: &str) -> Result<Source> {
    let wanted = &settings.source;
    let pin = wanted.trust.pin()?;
    let (suite, fallbacks) = match &wanted.reader {
        Reader::Apt { suite, fallbacks } => (suite.clone(), fallbacks.clone()),
        Reader::Dnf { addresses } => {
            let architecture = rpm_word(architecture);
            return Ok(Source::Dnf(dnf::Source {
                id: format!("docker-ce-{}", wanted.channel),
                index: RpmSource {
                    url: format!("{}/{architecture}/{}", wanted.uri, wanted.channel),
                    pin,
                    signed: Signed::Packages,
                },
                addresses: addresses.clone(),
                file: wanted.file.clone(),
                key_file: wanted.key_file.clone(),
                without: Vec::new(),
            }));
        }
    };
    Ok(Source::Apt(apt::Source {
        index: AptSource {
            root: wanted.uri.clone(),
            suite,
            component: wanted.channel.clone(),
            architecture: architecture.to_owned(),
            pin,
        },
        fallbacks,
        original: wanted.original.clone(),
        others: Vec::new(),
        file: wanted.file.clone(),
        key_file: wanted.key_file.clone(),
    }))
}

/// What rpm calls an architecture that dpkg calls so.
pub fn rpm_word(dpkg: &str) -> &str {
    match dpkg {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// On a host that has an engine already nothing of ours is written that nobody asked for.
fn engine(settings: &Settings, facts: &Facts) -> Engine {
    let defaults = if facts.engine { Vec::new() } else { defaults(settings) };
    Engine {
        unit: settings.profile.units.engine.clone(),
        version: settings.version.as_deref().map(|asked| version::upstream(asked).to_owned()),
        flags: settings.daemon.asked.contains_key("hosts").then(flags_without_hosts),
        to_come: !facts.engine,
        defaults,
    }
}

fn defaults(settings: &Settings) -> Vec<Defaults> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let logs = Defaults {
        keys: daemon_config::keys_to_set(&settings.daemon.defaults),
        unless_named: names(&["log-driver", "log-opts"]),
    };
    let pools = settings.site.pools.iter().map(|pools| Defaults {
        keys: vec![(names(&["default-address-pools"]), pools.clone())],
        unless_named: names(&POOL_KEYS),
    });
    std::iter::once(logs).filter(|logs| !logs.keys.is_empty()).chain(pools).collect()
}

fn wanted_packages(settings: &Settings, facts: &Facts, upgrade: bool) -> BTreeMap<String, Versions> {
    let packages = &settings.profile.packages;
    // What only some hosts need is the distribution's own: its version is not ours to choose.
    let distributions: BTreeSet<&String> = packages.when.values().flatten().collect();
    let own = settings.engine == config::Engine::Distribution;
    let versions = |name: &String| {
        let versioned = packages.versioned.contains(name);
        let distribution = own || distributions.contains(name);
        Versions {
            // Whoever asks for an older engine gets it.
            floor: (versioned && settings.version.is_none()).then(|| packages.floor.clone()),
            prefix: settings.version.clone().filter(|_| versioned),
            newest: upgrade && !distribution,
            distribution,
            ..Versions::default()
        }
    };
    settings.packages(facts).iter().map(|name| (name.clone(), versions(name))).collect()
}

/// Every package of a lock in its exact version, whether named or come along.
fn locked_packages(settings: &Settings, lock: &Lock) -> BTreeMap<String, Versions> {
    let packages = &settings.profile.packages;
    let ours: BTreeSet<&String> = packages.engine.iter().chain(packages.with.values().flatten()).collect();
    let versions = |locked: &LockedPackage| Versions {
        exact: Some(locked.version.clone()),
        sha256: locked.sha256.clone(),
        distribution: !ours.contains(&locked.name),
        along: locked.automatic,
        ..Versions::default()
    };
    lock.package.iter().map(|locked| (locked.name.clone(), versions(locked))).collect()
}

fn traces(settings: &Settings, gpu: Option<&Decided>) -> Vec<Trace> {
    let traces = &settings.profile.traces;
    let toolkit = gpu.iter().flat_map(|gpu| &gpu.made);
    let made = traces.made.iter().chain(toolkit).map(|path| Trace { path: path.clone(), data: false });
    let data = traces.data.iter().map(|path| Trace { path: path.clone(), data: true });
    made.chain(data).collect()
}
