//! The container toolkit: its packages, its runtime in daemon.json, and its own configuration.

use super::super::Severity::{Degraded, Info};
use super::super::case::DAEMON_JSON;
use super::super::{Answer, Case, Finding, Fix, words};
use super::{RUNTIME, cards, debs, fine, found, named, shown, working};
use crate::error::{Error, Result};
use crate::host::Question;
use crate::version;
use serde_json::Value;
use std::cmp::Ordering;

/// A program of the package that everything else of the toolkit stands on.
const BASE: &str = "nvidia-ctk";

const PACKAGES: [&str; 4] = [
    "libnvidia-container1",
    "libnvidia-container-tools",
    "nvidia-container-toolkit-base",
    "nvidia-container-toolkit",
];

/// Below it containers can break out to the host (CVE-2025-23266).
const SAFE: &str = "1.17.8";

const INSTALL: &str = "rprov install --gpu=toolkit";

/// The name or path that daemon.json has for NVIDIA's runtime.
fn path(case: &Case) -> Option<String> {
    let config = case.config().ok()?;
    config.get("runtimes")?.get("nvidia")?.get("path")?.as_str().map(str::to_owned)
}

/// Containers run under it without being asked.
fn is_default(case: &Case) -> bool {
    let config = case.config().unwrap_or_default();
    config.get("default-runtime").and_then(Value::as_str) == Some("nvidia")
}

pub fn missing(case: &Case) -> Result<Answer> {
    if cards(case).is_none()
        || !case.engine()
        || case.program(RUNTIME).is_some()
        || case.program(BASE).is_some()
    {
        return fine();
    }
    // Not everybody who has a card wants it in containers: asked for is what daemon.json names.
    let asked_for = case.config().is_ok_and(|config| named(&config));
    if working(case).is_none() && !asked_for {
        return fine();
    }
    let fix = Fix::told("install NVIDIA's container toolkit").types(INSTALL);
    let gpu = cards(case).map(|gpu| gpu.cards.as_slice()).unwrap_or_default();
    let cause = match (asked_for, is_default(case)) {
        (_, true) => "daemon.json runs every container under NVIDIA's runtime, and the toolkit is not there",
        (true, _) => {
            "daemon.json names NVIDIA's runtime, and the toolkit is not there: no container gets the card"
        }
        _ => "the driver works, and no container gets the card: the toolkit is not there",
    };
    let finding =
        Finding::new(cause, fix).all(shown(gpu)).saw(format!("there is neither {BASE} nor {RUNTIME}"));
    found(match (asked_for, is_default(case)) {
        (_, true) => finding,
        (true, _) => finding.only(Degraded),
        _ => finding.only(Info),
    })
}

pub fn no_binary(case: &Case) -> Result<Answer> {
    if cards(case).is_none() || !case.engine() || case.program(BASE).is_none() {
        return fine();
    }
    let named = path(case);
    let wanted = named.as_deref().unwrap_or(RUNTIME);
    let there = if wanted.starts_with('/') { case.exists(wanted) } else { case.program(wanted).is_some() };
    if there {
        return fine();
    }
    let fix = match case.program(RUNTIME) {
        Some(other) => Fix::told(format!("name {} there, and reload docker", other.display()))
            .types(format!("sudoedit {DAEMON_JSON}"))
            .types("systemctl reload docker.service"),
        None if debs(case) => Fix::told("install its package again")
            .types("apt-get install -y --reinstall nvidia-container-toolkit-base"),
        None => {
            Fix::told("install its package again").types("dnf reinstall -y nvidia-container-toolkit-base")
        }
    };
    let whose = if named.is_some() { "daemon.json names it" } else { "the toolkit is installed without it" };
    let finding = Finding::new(format!("NVIDIA's runtime is gone: {wanted} is not there"), fix)
        .saw(format!("{whose}; {BASE} is there"));
    found(if is_default(case) { finding } else { finding.only(Degraded) })
}

pub fn not_named(case: &Case) -> Result<Answer> {
    let Some(program) = case.program(RUNTIME).filter(|_| cards(case).is_some() && case.engine()) else {
        return fine();
    };
    if named(&case.config()?) || case.flags()?.iter().any(|flag| flag.contains("nvidia=")) {
        return fine();
    }
    let cause = "the toolkit is there, and the engine does not know its runtime: `--runtime nvidia` fails";
    let fix = Fix::told("name it in daemon.json, and restart the engine").types(INSTALL);
    found(
        Finding::new(cause, fix)
            .saw(format!("{} is there; daemon.json has no `runtimes.nvidia`", program.display())),
    )
}

/// Name and upstream's version of the toolkit's packages that are installed; none where it came without packages.
fn packages<'c>(case: &'c Case) -> Result<&'c [(String, String)]> {
    if cards(case).is_none() || case.program(BASE).is_none() {
        return Ok(&[]);
    }
    let ask = || {
        let names = PACKAGES.map(str::to_owned).to_vec();
        let debs = debs(case);
        let question = if debs { Question::DpkgQuery { names } } else { Question::RpmQuery { names } };
        let said = case.host.query(&question).map_err(|error| words(&error))?.stdout;
        let installed = said.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            if debs && fields.get(2) != Some(&"installed") {
                return None;
            }
            let version = if debs { fields.get(3)? } else { fields.get(1)? };
            Some((fields[0].to_owned(), version::upstream(version).to_owned()))
        });
        Ok(installed.collect())
    };
    case.cards().packages.get_or_init(ask).as_deref().map_err(|why: &String| Error::failed(why.clone()))
}

fn told(packages: &[(String, String)]) -> impl Iterator<Item = String> + '_ {
    packages.iter().map(|(name, version)| format!("{name} {version}"))
}

pub fn versions(case: &Case) -> Result<Answer> {
    let packages = packages(case)?;
    if packages.iter().all(|(_, version)| *version == packages[0].1) {
        return fine();
    }
    let fix = Fix::told("bring all of them to one version").types("rprov install --gpu=toolkit --upgrade");
    let cause = "the toolkit's packages are of different versions, and work only in one";
    found(Finding::new(cause, fix).all(told(packages)))
}

pub fn old(case: &Case) -> Result<Answer> {
    let packages = packages(case)?;
    if packages.iter().all(|(_, version)| version::compare(version, SAFE) != Ordering::Less) {
        return fine();
    }
    let fix = Fix::told(format!("go to {SAFE} or newer")).types("rprov install --gpu=toolkit --upgrade");
    let cause = format!("the toolkit is older than {SAFE}: a container can break out of it (CVE-2025-23266)");
    found(Finding::new(cause, fix).all(told(packages)))
}

const CONFIG: &str = "/etc/nvidia-container-runtime/config.toml";

/// The toolkit's configuration, where toolkit and card are; an absent one says nothing.
fn config(case: &Case) -> Result<Option<std::result::Result<toml::Table, String>>> {
    if cards(case).is_none() || case.program(BASE).is_none() {
        return Ok(None);
    }
    Ok(case.text(CONFIG)?.map(|text| text.parse::<toml::Table>().map_err(|error| error.to_string())))
}

fn value(case: &Case, section: &str, key: &str) -> Result<Option<toml::Value>> {
    let Some(Ok(table)) = config(case)? else { return Ok(None) };
    Ok(table.get(section).and_then(|section| section.get(key)).cloned())
}

pub fn config_invalid(case: &Case) -> Result<Answer> {
    let Some(Err(why)) = config(case)? else { return fine() };
    let fix = Fix::told("mend the line; or move the file away, and let the toolkit write it anew")
        .types(format!("mv {CONFIG} {CONFIG}.broken"))
        .types(format!("nvidia-ctk config --config-file={CONFIG} --in-place"));
    let cause = format!("{CONFIG} is no TOML: containers with a card do not start");
    found(Finding::new(cause, fix).all(why.lines().map(str::to_owned)))
}

pub fn no_cgroups(case: &Case) -> Result<Answer> {
    if value(case, "nvidia-container-cli", "no-cgroups")? != Some(true.into()) || !case.engine() {
        return fine();
    }
    let fix = Fix::told("switch it off: it is for rootless engines alone")
        .types("nvidia-ctk config --set nvidia-container-cli.no-cgroups=false --in-place");
    let cause = "the toolkit may not allow containers the cards' devices: nvidia-smi fails in them";
    found(Finding::new(cause, fix).saw(format!("{CONFIG}: no-cgroups = true")))
}

pub fn ldconfig(case: &Case) -> Result<Answer> {
    let Some(toml::Value::String(path)) = value(case, "nvidia-container-cli", "ldconfig")? else {
        return fine();
    };
    let program = path.trim_start_matches('@');
    if !path.starts_with('@') || case.exists(program) {
        return fine();
    }
    let fix = Fix::told("name the one that is there")
        .types("nvidia-ctk config --set nvidia-container-cli.ldconfig=@/sbin/ldconfig --in-place");
    let cause =
        format!("the toolkit calls {program}, which is not there: containers with a card do not start");
    found(Finding::new(cause, fix).saw(format!("{CONFIG}: ldconfig = \"{path}\"")))
}

pub fn mode(case: &Case) -> Result<Answer> {
    let Some(toml::Value::String(mode)) = value(case, "nvidia-container-runtime", "mode")? else {
        return fine();
    };
    if ["auto", "legacy"].contains(&mode.as_str()) || !case.engine() {
        return fine();
    }
    let fix = Fix::told("let it choose by itself")
        .types("nvidia-ctk config --set nvidia-container-runtime.mode=auto --in-place");
    let cause = format!("the toolkit's mode is `{mode}`: its hook refuses `docker run --gpus`");
    found(Finding::new(cause, fix).saw(format!("{CONFIG}: mode = \"{mode}\"")))
}
