//! The lists of cards for CDI: whether they come about, are those of this driver, and name each card once.

use super::super::Severity::{Info, Warn};
use super::super::case::DAEMON_JSON;
use super::super::{Answer, Case, Finding, Fix};
use super::{REFRESH, again, cards, fine, found, there, unit, working};
use crate::error::Result;
use serde_json::Value;
use std::path::Path;

/// Where the engine looks for lists, where daemon.json does not say.
const PLACES: [&str; 2] = ["/etc/cdi", "/run/cdi"];

/// The kind of NVIDIA's devices.
const KIND: &str = "nvidia.com/gpu";

fn places(case: &Case) -> Vec<String> {
    let config = case.config().unwrap_or_default();
    match config.get("cdi-spec-dirs").and_then(Value::as_array) {
        Some(named) => named.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => PLACES.map(str::to_owned).to_vec(),
    }
}

/// Path and text of each list that names cards.
pub fn lists(case: &Case) -> Result<Vec<(String, String)>> {
    let mut lists = Vec::new();
    for place in places(case) {
        for name in case.host.list(Path::new(&place))? {
            let path = format!("{place}/{name}");
            if !name.ends_with(".yaml") && !name.ends_with(".json") {
                continue;
            }
            let text = case.text(&path)?.unwrap_or_default();
            if text.contains(KIND) {
                lists.push((path, text));
            }
        }
    }
    Ok(lists)
}

/// The toolkit that writes lists.
fn toolkit(case: &Case) -> bool {
    cards(case).is_some() && case.program("nvidia-ctk").is_some()
}

pub fn refresh_failed(case: &Case) -> Result<Answer> {
    if !toolkit(case) {
        return fine();
    }
    let shown = unit(case, REFRESH)?;
    if shown.get("ActiveState") != "failed" {
        return fine();
    }
    let cause = "the toolkit could not list the cards for CDI: `--device nvidia.com/gpu=all` fails";
    let fix = again(Fix::told("once the driver works, start it again"));
    found(Finding::new(cause, fix).saw(format!("{REFRESH} failed: {}", shown.get("Result"))))
}

pub fn missing(case: &Case) -> Result<Answer> {
    if !toolkit(case) || working(case).is_none() || !case.engine() || !lists(case)?.is_empty() {
        return fine();
    }
    let shown = unit(case, REFRESH)?;
    if shown.get("ActiveState") == "activating" {
        return fine();
    }
    // Before 1.18 nobody but a person makes one.
    let promised = there(case, shown);
    let fix = match promised {
        true => again(Fix::told("let the toolkit's service make it")),
        false => Fix::told("make one, if containers are to ask by `--device`")
            .types("nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
    };
    let finding = Finding::new("no list names the cards for CDI: `--device nvidia.com/gpu=all` fails", fix)
        .saw(format!("no list in {}", places(case).join(", ")));
    found(if promised { finding } else { finding.only(Info) })
}

/// The driver's versions that a list names by its library.
fn versions(text: &str) -> Vec<String> {
    let whole =
        |rest: &str| -> String { rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect() };
    let versions = text.split("libcuda.so.").skip(1).map(whole);
    versions.map(|version| version.trim_end_matches('.').to_owned()).filter(|v| v.contains('.')).collect()
}

pub fn stale(case: &Case) -> Result<Answer> {
    let Some(library) = cards(case).and_then(|gpu| gpu.library.as_ref()) else { return fine() };
    let lists = lists(case)?;
    let others = |text: &str| versions(text).into_iter().find(|version| version != library);
    let wrong: Vec<(&String, String)> =
        lists.iter().filter_map(|(path, text)| Some((path, others(text)?))).collect();
    let Some((path, _)) = wrong.first() else { return fine() };
    let fix = match path.starts_with("/run/") {
        true => again(Fix::told("make it anew")),
        false => Fix::told("take it away, and let the toolkit's service make another")
            .types(format!("rm {path}"))
            .types(format!("systemctl restart {REFRESH}")),
    };
    let cause = "the list of cards for CDI is that of another driver: its libraries are gone";
    let finding = Finding::new(cause, fix).all(
        wrong
            .iter()
            .map(|(path, version)| format!("{path} names libcuda.so.{version}; the driver is {library}")),
    );
    // A later directory's word counts before an earlier one's.
    let last_is_right =
        lists.last().is_some_and(|(_, text)| others(text).is_none() && !versions(text).is_empty());
    found(if last_is_right { finding.only(Warn) } else { finding })
}

pub fn twice(case: &Case) -> Result<Answer> {
    if cards(case).is_none() {
        return fine();
    }
    let lists = lists(case)?;
    let directory = |path: &str| Path::new(path).parent().map(Path::to_owned);
    let same = |(at, path): (usize, &String)| {
        lists[..at].iter().any(|(other, _)| directory(other) == directory(path))
    };
    let Some((_, second)) =
        lists.iter().map(|(path, _)| path).enumerate().find(|(at, path)| same((*at, *path)))
    else {
        return fine();
    };
    let beside: Vec<&String> =
        lists.iter().map(|(path, _)| path).filter(|path| directory(path) == directory(second)).collect();
    // The toolkit's own has this name.
    let other = beside.iter().find(|path| !path.ends_with("/nvidia.yaml")).unwrap_or(&beside[0]);
    let fix = Fix::told("leave one list in the directory").types(format!("rm {other}"));
    let cause = "two lists in one directory name the same cards: CDI then gives out none of them";
    found(Finding::new(cause, fix).all(beside.iter().map(|path| (*path).clone())))
}

pub fn without_mig(case: &Case) -> Result<Answer> {
    if !toolkit(case) || !working(case).is_some_and(|gpu| gpu.mig) {
        return fine();
    }
    let lists = lists(case)?;
    if lists.is_empty() || lists.iter().any(|(_, text)| text.contains("MIG-") || text.contains("nvidia-cap"))
    {
        return fine();
    }
    let fix = again(Fix::told("make it anew after every change of the instances"));
    found(
        Finding::new("a card is divided into instances, and the list for CDI does not name them", fix)
            .saw("/proc/driver/nvidia/capabilities has instances")
            .all(lists.into_iter().map(|(path, _)| path)),
    )
}

pub fn disabled(case: &Case) -> Result<Answer> {
    if !toolkit(case) || !case.engine() {
        return fine();
    }
    let config = case.config()?;
    if config.get("features").and_then(|features| features.get("cdi")) != Some(&Value::Bool(false)) {
        return fine();
    }
    let fix = Fix::told("take `cdi` out of `features`, and restart docker")
        .types(format!("sudoedit {DAEMON_JSON}"))
        .types("systemctl restart docker.service");
    let cause = "daemon.json switches CDI off: `--device nvidia.com/gpu=all` fails";
    found(Finding::new(cause, fix).saw(format!("{DAEMON_JSON}: \"features\": {{\"cdi\": false}}")))
}
