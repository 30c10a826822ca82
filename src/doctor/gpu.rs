//! Whether containers get the cards that this machine has: the driver, the toolkit, and what the engine knows of them.

mod cdi;
mod driver;
mod sources;
mod toolkit;

use super::Severity::{Block, Degraded, Warn};
use super::case::Units;
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::error::Result;
use crate::facts::gpu::{Card, Gpu};
use crate::resources::unit::Shown;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::path::Path;

/// What keeps containers from CDI, in this order: who has the cards, the driver, the toolkit.
const LISTED: &[&str] = &[
    "gpu-nouveau-loaded",
    "gpu-bound-elsewhere",
    "gpu-secure-boot",
    "gpu-dkms-not-built",
    "gpu-module-not-loaded",
    "gpu-libraries-missing",
    "gpu-library-mismatch",
    "gpu-card-refused",
    "gpu-toolkit-missing",
    "gpu-cdi-refresh-failed",
];
/// What keeps the driver from working: the rest follows from it.
const DRIVER: &[&str] = LISTED.split_at(8).0;
/// What keeps the module from the kernel.
const KEPT_OUT: &[&str] = LISTED.split_at(4).0;

const NAMED: &[&str] = &["engine-not-installed", "daemon-json-syntax", "daemon-json-encoding"];

#[rustfmt::skip]
pub(super) const CHECKS: &[Check] = &[
    check("gpu-nouveau-loaded", Degraded, "Does NVIDIA's driver have the cards, not nouveau?", driver::nouveau),
    check("gpu-bound-elsewhere", Degraded, "Does NVIDIA's driver have the cards, and no other?", driver::elsewhere),
    check("gpu-secure-boot", Degraded, "May the kernel load the module that was built here?", driver::secure_boot)
        .under(&["gpu-nouveau-loaded", "gpu-bound-elsewhere"]),
    check("gpu-dkms-not-built", Degraded, "Was the module built for the running kernel?", driver::not_built)
        .under(&["gpu-nouveau-loaded", "gpu-bound-elsewhere"]),
    check("gpu-module-not-loaded", Degraded, "Is the module of an installed driver loaded?", driver::not_loaded)
        .under(KEPT_OUT),
    check("gpu-libraries-missing", Degraded, "Are the driver's libraries there, beside its module?", driver::no_library),
    check("gpu-library-mismatch", Degraded, "Are module and libraries of one version?", driver::mismatch),
    check("gpu-card-refused", Degraded, "Does the driver know every card?", driver::refused),
    check("gpu-nodes-missing", Degraded, "Are the cards' device files there?", driver::no_nodes).under(DRIVER),
    check("gpu-persistenced-failed", Warn, "Does the driver stay loaded while nobody uses a card?", driver::persistenced)
        .under(DRIVER),
    check("gpu-fabric-manager", Degraded, "Does the fabric manager run where cards are joined by NVSwitch?", driver::fabric)
        .under(DRIVER),
    check("gpu-run-file", Warn, "Did the driver come in one way, not in two?", driver::run_file),
    check("gpu-toolkit-missing", Block, "Is the container toolkit there, where a driver works?", toolkit::missing)
        .under(&["engine-not-installed"]),
    check("gpu-runtime-binary-missing", Block, "Is NVIDIA's runtime where daemon.json says?", toolkit::no_binary)
        .under(&["gpu-toolkit-missing"]),
    check("gpu-runtime-missing", Warn, "Does daemon.json name NVIDIA's runtime?", toolkit::not_named).under(NAMED),
    check("gpu-toolkit-versions", Degraded, "Are the toolkit's packages of one version?", toolkit::versions)
        .under(&["gpu-toolkit-missing"]),
    check("gpu-toolkit-old", Warn, "Is the toolkit new enough to be safe?", toolkit::old)
        .under(&["gpu-toolkit-missing", "gpu-toolkit-versions"]),
    check("gpu-toolkit-config-invalid", Degraded, "Can the toolkit's configuration be read?", toolkit::config_invalid)
        .under(&["gpu-toolkit-missing"]),
    check("gpu-no-cgroups", Degraded, "May the toolkit let containers use the cards' devices?", toolkit::no_cgroups),
    check("gpu-ldconfig-wrong", Degraded, "Is the ldconfig there that the toolkit calls?", toolkit::ldconfig),
    check("gpu-runtime-mode", Warn, "Does the toolkit take requests by `--gpus`?", toolkit::mode),
    check("gpu-cdi-refresh-failed", Degraded, "Does the list of cards for CDI come about?", cdi::refresh_failed)
        .under(DRIVER),
    check("gpu-cdi-missing", Degraded, "Is there a list of cards for CDI?", cdi::missing).under(LISTED),
    check("gpu-cdi-stale", Degraded, "Is the list for CDI that of this driver?", cdi::stale).under(LISTED),
    check("gpu-cdi-duplicate", Degraded, "Is every card listed once for CDI?", cdi::twice),
    check("gpu-cdi-without-mig", Warn, "Are the instances of divided cards listed for CDI?", cdi::without_mig)
        .under(LISTED),
    check("gpu-cdi-disabled", Warn, "May the engine use CDI?", cdi::disabled).under(NAMED),
    check("gpu-legacy-source", Warn, "Are the sources of nvidia-docker2's time gone?", sources::legacy),
    check("gpu-source-key", Degraded, "Are the keys of NVIDIA's sources there, for apt to read?", sources::key)
        .under(&["apt-signed-by-conflict", "apt-source-malformed"]),
    check("gpu-cuda-source-foreign", Warn, "Is the CUDA repository that of this release?", sources::foreign),
];

const RUNTIME: &str = "nvidia-container-runtime";
const REFRESH: &str = "nvidia-cdi-refresh.service";
const PERSISTENCED: &str = "nvidia-persistenced.service";
const FABRIC: &str = "nvidia-fabricmanager.service";
const UNITS: [&str; 3] = [REFRESH, PERSISTENCED, FABRIC];

/// What several checks of cards look at, once.
#[derive(Default)]
pub struct Looked {
    units: Units,
    packages: OnceCell<std::result::Result<Vec<(String, String)>, String>>,
}

/// What systemd says of one of the units that NVIDIA's packages bring.
fn unit<'c>(case: &'c Case, name: &str) -> Result<&'c Shown> {
    case.one_of(&case.cards().units, &UNITS, name)
}

/// Whether a unit is on the disk: of one whose package was removed systemd knows until it reads its files again.
fn there(case: &Case, unit: &Shown) -> bool {
    let file = unit.get("FragmentPath");
    unit.get("LoadState") != "not-found" && (file.is_empty() || case.exists(file))
}

/// A machine with a card; no check has a word for any other.
fn cards<'c>(case: &'c Case) -> Option<&'c Gpu> {
    case.facts.gpu.as_ref().filter(|gpu| !gpu.cards.is_empty())
}

/// A machine whose card programs can use.
fn working<'c>(case: &'c Case) -> Option<&'c Gpu> {
    cards(case).filter(|gpu| gpu.works())
}

fn shown(cards: &[Card]) -> impl Iterator<Item = String> + '_ {
    cards.iter().map(|card| format!("{}: {}", card.address, card.words()))
}

/// Whether packages come as debs here.
fn debs(case: &Case) -> bool {
    case.program("dpkg").is_some()
}

/// Whether daemon.json names NVIDIA's runtime.
fn named(config: &Map<String, Value>) -> bool {
    config.get("runtimes").is_some_and(|runtimes| runtimes.get("nvidia").is_some())
}

/// Names in a directory; none where it cannot be read.
fn names(case: &Case, directory: &str) -> Vec<String> {
    case.host.list(Path::new(directory)).unwrap_or_default()
}

/// Makes the list of cards anew.
fn again(fix: Fix) -> Fix {
    fix.types(format!("systemctl reset-failed {REFRESH}")).types(format!("systemctl restart {REFRESH}"))
}

fn fine() -> Result<Answer> {
    Ok(Answer::Fine)
}

fn found(finding: Finding) -> Result<Answer> {
    Ok(finding.into())
}
