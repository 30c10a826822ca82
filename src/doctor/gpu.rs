//! Whether containers get the cards that this machine has: the driver, the toolkit, and what the engine knows of them.

use super::Severity::{Degraded, Info, Warn};
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::error::Result;
use crate::facts::gpu::{Card, Gpu};
use crate::host::Question;
use crate::resources::unit::Shown;
use serde_json::{Map, Value};

/// What keeps the driver from working: the rest follows from it.
const DRIVER: &[&str] = &["gpu-nouveau-loaded", "gpu-module-not-loaded", "gpu-library-mismatch"];

pub(super) const CHECKS: &[Check] = &[
    check("gpu-nouveau-loaded", Degraded, "Does NVIDIA's driver have the cards, not nouveau?", nouveau),
    check("gpu-module-not-loaded", Degraded, "Is the module of an installed driver loaded?", not_loaded)
        .under(&["gpu-nouveau-loaded"]),
    check("gpu-library-mismatch", Degraded, "Are module and libraries of one version?", mismatch),
    check(
        "gpu-toolkit-missing",
        Degraded,
        "Is the container toolkit there, where a driver works?",
        no_toolkit,
    )
    .under(&["engine-not-installed"]),
    check("gpu-runtime-missing", Warn, "Does daemon.json name NVIDIA's runtime?", no_runtime).under(&[
        "engine-not-installed",
        "daemon-json-syntax",
        "daemon-json-encoding",
    ]),
    check("gpu-cdi-refresh-failed", Degraded, "Does the list of cards for CDI come about?", refresh_failed)
        .under(DRIVER),
    check("gpu-cdi-stale", Degraded, "Is the list for CDI that of this driver?", stale).under(DRIVER),
];

const RUNTIME: &str = "nvidia-container-runtime";
const REFRESH: &str = "nvidia-cdi-refresh.service";
/// In the order in which the toolkit's service and people write them.
const LISTS: [&str; 2] = ["/run/cdi/nvidia.yaml", "/etc/cdi/nvidia.yaml"];

/// A machine with a card; no check has a word for any other.
fn cards<'c>(case: &'c Case) -> Option<&'c Gpu> {
    case.facts.gpu.as_ref().filter(|gpu| !gpu.cards.is_empty())
}

fn shown(cards: &[Card]) -> impl Iterator<Item = String> + '_ {
    cards.iter().map(|card| format!("{}: {}", card.address, card.words()))
}

fn nouveau(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case) else { return Ok(Answer::Fine) };
    let taken = gpu.cards.iter().any(|card| card.driver.as_deref() == Some("nouveau"));
    let wanted = gpu.library.is_some() || case.program(RUNTIME).is_some();
    if !taken || !wanted {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("keep nouveau away and restart the machine: `rprov install --gpu` writes what does")
        .types("rprov install --gpu --reboot");
    let cause = "nouveau, the kernel's own driver, has the card, and NVIDIA's cannot get it";
    Ok(Finding::new(cause, fix).all(shown(&gpu.cards)).saw("/sys/module/nouveau is there").into())
}

fn not_loaded(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case) else { return Ok(Answer::Fine) };
    let Some(library) = gpu.library.as_ref().filter(|_| gpu.module.is_none() && !gpu.wsl) else {
        return Ok(Answer::Fine);
    };
    let kernel = &case.facts.kernel;
    let fix = match (gpu.module_on_disk, gpu.secure_boot, gpu.headers) {
        (true, true, _) => {
            Fix::told("Secure Boot loads no module that nobody signed whom it knows: enroll the key, or take signed modules")
                .types("mokutil --list-new; modprobe nvidia")
        }
        (true, false, _) => Fix::told("load it; if that fails, dmesg says why").types("modprobe nvidia"),
        (false, _, true) => Fix::told("build it for this kernel").types("dkms autoinstall && modprobe nvidia"),
        (false, _, false) => {
            Fix::told(format!("install the headers of {kernel}, and build it")).types("dkms autoinstall && modprobe nvidia")
        }
    };
    let place = if gpu.module_on_disk { "has one on the disk" } else { "has none on the disk" };
    Ok(Finding::new("a driver is installed, and its module is not loaded", fix)
        .saw(format!("libnvidia-ml is there in version {library}; the kernel {kernel} {place}"))
        .into())
}

fn mismatch(case: &Case) -> Result<Answer> {
    let Some((module, library)) = cards(case).and_then(Gpu::mismatch) else { return Ok(Answer::Fine) };
    let cause = "the driver's libraries were updated, and its old module is still loaded";
    let fix = Fix::told("restart the machine").types("systemctl reboot");
    Ok(Finding::new(cause, fix).saw(format!("the module is {module}, libnvidia-ml {library}")).into())
}

fn no_toolkit(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case).filter(|gpu| gpu.works()) else { return Ok(Answer::Fine) };
    if !case.engine() || case.program(RUNTIME).is_some() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("install NVIDIA's container toolkit").types("rprov install --gpu=toolkit");
    let finding =
        Finding::new("the driver works, and no container gets the card: the toolkit is not there", fix)
            .all(shown(&gpu.cards))
            .saw(format!("there is no {RUNTIME}"));
    // Not everybody who has a card wants it in containers.
    let asked_for = case.config().is_ok_and(|config| named(&config));
    Ok(if asked_for { finding } else { finding.only(Info) }.into())
}

/// Whether daemon.json names NVIDIA's runtime.
fn named(config: &Map<String, Value>) -> bool {
    config.get("runtimes").is_some_and(|runtimes| runtimes.get("nvidia").is_some())
}

fn no_runtime(case: &Case) -> Result<Answer> {
    let Some(program) = case.program(RUNTIME).filter(|_| cards(case).is_some() && case.engine()) else {
        return Ok(Answer::Fine);
    };
    if named(&case.config()?) || case.flags()?.iter().any(|flag| flag.contains("nvidia=")) {
        return Ok(Answer::Fine);
    }
    let cause = "the toolkit is there, and the engine does not know its runtime: `--runtime nvidia` fails";
    let fix =
        Fix::told("name it in daemon.json, and restart the engine").types("rprov install --gpu=toolkit");
    Ok(Finding::new(cause, fix)
        .saw(format!("{} is there; daemon.json has no `runtimes.nvidia`", program.display()))
        .into())
}

fn again(fix: Fix) -> Fix {
    fix.types(format!("systemctl reset-failed {REFRESH}; systemctl restart {REFRESH}"))
}

fn refresh_failed(case: &Case) -> Result<Answer> {
    if cards(case).is_none() || case.program("nvidia-ctk").is_none() {
        return Ok(Answer::Fine);
    }
    let answer = case.host.query(&Question::UnitShow { unit: REFRESH.into() })?;
    let unit = Shown::parse(&answer.stdout);
    if unit.get("ActiveState") != "failed" {
        return Ok(Answer::Fine);
    }
    let cause = "the toolkit could not list the cards for CDI: `--device nvidia.com/gpu=all` fails";
    let fix = again(Fix::told("once the driver works, start it again"));
    Ok(Finding::new(cause, fix).saw(format!("{REFRESH} failed: {}", unit.get("Result"))).into())
}

fn stale(case: &Case) -> Result<Answer> {
    let Some(library) = cards(case).and_then(|gpu| gpu.library.as_ref()) else { return Ok(Answer::Fine) };
    for path in LISTS {
        let text = case.text(path)?.unwrap_or_default();
        let versions = text
            .split("libcuda.so.")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>());
        let mut whole = versions.filter(|version| version.contains('.'));
        let Some(other) = whole.find(|version| version != library) else { continue };
        let cause = "the list of cards for CDI is that of another driver: its libraries are gone";
        return Ok(Finding::new(cause, again(Fix::told("make it anew")))
            .saw(format!("{path} names libcuda.so.{other}; the driver is {library}"))
            .into());
    }
    Ok(Answer::Fine)
}
