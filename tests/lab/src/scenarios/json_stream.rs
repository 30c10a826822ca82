//! The stream of `--json`: an event a line, from the first to the last, and nothing else on standard output.

use super::common::{INSTALL, LONG, UNINSTALL, host};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::{Host, Output};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

pub const ALL: &[Scenario] = &[Scenario {
    name: "json-stream",
    about: "every line of --json is an event of the contract, the last one says how it ended, errors too",
    on: &[Identity::Debian12, Identity::Ubuntu2404],
    run: json_stream,
}];

const DAEMON: &str = "/etc/docker/daemon.json";
/// The contract, as its readers have it.
const DOCUMENT: &str = include_str!("../../../../docs/json.md");

fn json_stream(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    let plan = stream(&host, &["rprov", "plan"], 0)?;
    ensure!(names(&plan) == ["started", "plan", "finished"], "{:?}", names(&plan));
    let planned = plan[1]["steps"].as_array().context("a plan without steps")?.clone();

    // Errors are events, whatever they come from.
    for (argv, code) in [
        (["rprov", "install"].as_slice(), 2),
        (&["rprov", "install", "--yes", "--user", "root"], 2),
        (&["rprov", "install", "--yes", "--version", "99"], 4),
    ] {
        let events = stream(&host, argv, code)?;
        let error = events.iter().find(|event| event["event"] == "error").context("no error was told")?;
        ensure!(error["what"].is_string() && error["because"].is_array(), "{error}");
        ensure!(error["hint"].is_string(), "{error}");
    }
    host.mirror(Variant::Refused)?;
    stream(&host, INSTALL, 5)?;
    host.mirror(Variant::Good)?;

    let install = stream(&host, INSTALL, 0)?;
    let of = |name: &str| install.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let [shown] = of("plan")[..] else { bail!("not one plan") };
    ensure!(shown["steps"].as_array() == Some(&planned), "install shows another plan than plan");
    ensure!(!of("changed").is_empty() && !of("step").is_empty() && !of("check").is_empty());
    ensure!(of("check").iter().all(|check| check["ok"] == true));
    let last = install.last().context("nothing was told")?;
    ensure!(last["changes"].as_u64().is_some_and(|n| n > 0), "{last}");
    for path in ["log", "receipt"] {
        let path = last[path].as_str().with_context(|| format!("no {path} is named: {last}"))?;
        ensure!(host.exists(path), "{path} is not there");
    }
    let again = stream(&host, INSTALL, 0)?;
    ensure!(again.last().is_some_and(|event| event["changes"] == 0), "{again:?}");
    stream(&host, &["rprov", "status"], 0)?;
    stream(&host, &["rprov", "smoke"], 0)?;
    let daemon = host.read(DAEMON)?;
    host.write(DAEMON, daemon.replace("json-file", "local"))?;
    let drift = stream(&host, &["rprov", "status"], 3)?;
    ensure!(names(&drift).contains(&"undone"), "{drift:?}");
    host.write(DAEMON, daemon)?;
    let uninstall = stream(&host, UNINSTALL, 0)?;
    ensure!(names(&uninstall).contains(&"undone"), "{uninstall:?}");
    stream(&host, UNINSTALL, 0).map(drop)
}

/// The events of a command, each of which is one of the contract.
fn stream(host: &Host, argv: &[&str], code: i32) -> Result<Vec<Value>> {
    let output = host.run_within(LONG, &[argv, &["--json"]].concat())?.code_is(code)?;
    let events = events(&output).with_context(|| format!("`{}` said:\n{}", output.argv, output.text()))?;
    for event in &events {
        let name = event["event"].as_str().with_context(|| format!("an event without a name: {event}"))?;
        ensure!(DOCUMENT.contains(&format!("### `{name}`\n")), "docs/json.md does not know `{name}`");
        for field in event.as_object().into_iter().flatten().map(|(field, _)| field) {
            let known = field == "event" || DOCUMENT.contains(&format!("| `{field}` |"));
            ensure!(known, "docs/json.md does not know `{field}` of `{name}`");
        }
    }
    ensure!(output.stderr.is_empty(), "standard error of `{}`: {}", output.argv, output.stderr);
    let names = names(&events);
    ensure!(names.iter().filter(|name| **name == "started").count() <= 1, "{names:?}");
    if names.contains(&"started") {
        ensure!(names[0] == "started", "`{}` begins with {}", output.argv, names[0]);
    } else if ["install", "plan"].contains(&argv[1]) {
        ensure!(names.contains(&"error"), "`{}` never started: {names:?}", output.argv);
    }
    let last = events.last().context("nothing was told")?;
    ensure!(last["event"] == "finished" && last["exit"] == code, "the last event is {last}");
    ensure!(names.iter().filter(|name| **name == "finished").count() == 1, "{names:?}");
    ensure!(names.contains(&"error") == (code != 0 && code != 3), "{names:?}");
    Ok(events)
}

fn events(output: &Output) -> Result<Vec<Value>> {
    output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
        .collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event"].as_str()).collect()
}
