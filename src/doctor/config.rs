//! daemon.json: what dockerd refuses in it, does not heed, or does not know of yet.

mod beside;
mod file;

use super::Severity::{Block, Degraded, Info, Warn};
use super::case::{DAEMON_JSON, Daemon};
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::daemon_config::{self, Problem, ProblemKind};
use crate::error::Result;
use crate::resources::json_keys::installed_version;
use file::harm;
use serde_json::Value;

const BROKEN: &[&str] =
    &["engine-not-installed", "daemon-json-syntax", "daemon-json-encoding", "daemon-json-unreadable"];

pub(super) const CHECKS: &[Check] = &[
    check("daemon-json-unreadable", Block, "Can daemon.json be read?", file::unreadable)
        .under(&["engine-not-installed"]),
    check("daemon-json-encoding", Block, "Is daemon.json UTF-8?", file::encoding)
        .under(&["engine-not-installed"]),
    check("daemon-json-syntax", Block, "Is daemon.json JSON?", file::syntax).under(&["engine-not-installed"]),
    check("daemon-json-unknown-key", Block, "Does dockerd know every key of daemon.json?", unknown_key)
        .under(BROKEN),
    check(
        "daemon-json-wrong-type",
        Block,
        "Has every key of daemon.json a value that it can have?",
        wrong_type,
    )
    .under(BROKEN),
    check(
        "daemon-json-removed-driver",
        Block,
        "Does the engine know the storage driver of daemon.json?",
        driver,
    )
    .under(BROKEN),
    check("daemon-json-flag-conflict", Block, "Is nothing both a flag and a key?", flag_conflict)
        .under(BROKEN),
    check("daemon-json-exclusive-options", Block, "Do the keys of daemon.json go together?", exclusive)
        .under(BROKEN),
    check("daemon-json-runtime-invalid", Block, "Are the runtimes of daemon.json there?", runtimes).under(&[
        "engine-not-installed",
        "daemon-json-syntax",
        "daemon-json-encoding",
        "daemon-json-unreadable",
        "gpu-toolkit-missing",
        "gpu-runtime-binary-missing",
    ]),
    check("daemon-json-swarm-conflict", Block, "Does daemon.json go with a swarm?", swarm)
        .root()
        .under(BROKEN),
    check(
        "daemon-json-snapshotter-userns",
        Block,
        "Do image store and user namespaces go together?",
        snapshotter,
    )
    .under(BROKEN),
    check(
        "daemon-json-misnamed",
        Warn,
        "Is there no file that was meant to be daemon.json?",
        beside::misnamed,
    )
    .under(&["engine-not-installed"]),
    check(
        "daemon-json-not-reloaded",
        Warn,
        "Has the daemon read daemon.json as it is?",
        beside::not_reloaded,
    )
    .under(BROKEN),
    check("daemon-proxy-missing", Info, "Does the daemon know the proxy that the caller has?", beside::proxy)
        .under(BROKEN),
    check("userns-remap-invalid", Block, "Are there numbers for the remapped user?", beside::userns)
        .under(BROKEN),
];

fn problems(case: &Case) -> Result<Vec<Problem>> {
    let config = case.config()?;
    if config.is_empty() || !case.engine() {
        return Ok(Vec::new());
    }
    // Asking costs a start of dockerd: only where there is a doubt that a version could settle.
    let flags = case.flags().unwrap_or_default();
    let found = daemon_config::check(&config, None, &flags);
    Ok(if found.is_empty() {
        daemon_config::check(&config, installed(case)?.as_deref(), &flags)
    } else {
        found
    })
}

/// By the package's version where dpkg tells it from a file; else dockerd is asked.
fn installed(case: &Case) -> Result<Option<String>> {
    let keys = case.config()?;
    // Keys that every engine since 20.10 knows need no version.
    if keys.keys().all(|key| COMMON.contains(&key.as_str())) {
        return Ok(None);
    }
    installed_version(case.host)
}

const COMMON: &[&str] = &[
    "bip",
    "data-root",
    "debug",
    "default-address-pools",
    "default-runtime",
    "default-ulimits",
    "dns",
    "exec-opts",
    "experimental",
    "fixed-cidr",
    "group",
    "hosts",
    "icc",
    "insecure-registries",
    "ip",
    "ip-forward",
    "iptables",
    "ipv6",
    "labels",
    "live-restore",
    "log-driver",
    "log-level",
    "log-opts",
    "max-concurrent-downloads",
    "mtu",
    "registry-mirrors",
    "runtimes",
    "storage-driver",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
    "userland-proxy",
    "userns-remap",
];

/// The problems of one kind as one finding, the lines of the file shown.
fn of_kind(case: &Case, cause: &str, is: fn(&ProblemKind) -> bool) -> Result<Answer> {
    let found: Vec<Problem> = problems(case)?.into_iter().filter(|problem| is(&problem.kind)).collect();
    let Some(first) = found.first() else { return Ok(Answer::Fine) };
    let Daemon::Read(bytes, _) = case.daemon() else { return Ok(Answer::Fine) };
    let fix = Fix::told(format!("mend {DAEMON_JSON}, then start docker"))
        .types(format!("sudoedit {DAEMON_JSON}"))
        .types("systemctl reset-failed docker.service && systemctl restart docker.service");
    let mut finding = Finding::new(format!("{cause}: {first}"), fix)
        .all(found.iter().map(|problem| format!("{DAEMON_JSON}: {problem}")))
        .only(harm(case));
    finding.excerpt =
        line_of(&String::from_utf8_lossy(bytes), first.key.rsplit('.').next().unwrap_or_default());
    Ok(finding.into())
}

/// The line with a key, and a mark under it.
fn line_of(text: &str, key: &str) -> Vec<String> {
    let quoted = format!("\"{key}\"");
    let Some(line) = text.lines().find(|line| line.contains(&quoted)) else { return Vec::new() };
    let before = line.split(&quoted).next().unwrap_or_default();
    let pad: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    vec![line.to_owned(), format!("{pad}{}", "^".repeat(quoted.chars().count()))]
}

fn unknown_key(case: &Case) -> Result<Answer> {
    of_kind(case, "dockerd does not start with a key that it does not know", |kind| {
        matches!(kind, ProblemKind::Unknown { .. } | ProblemKind::TooNew { .. })
    })
}

fn wrong_type(case: &Case) -> Result<Answer> {
    of_kind(case, "dockerd does not start with a value of another kind", |kind| {
        matches!(kind, ProblemKind::WrongType { .. })
    })
}

fn flag_conflict(case: &Case) -> Result<Answer> {
    of_kind(case, "a directive stands in daemon.json and on dockerd's command line", |kind| {
        matches!(kind, ProblemKind::AlsoFlag { .. })
    })
}

fn driver(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let driver = config.get("storage-driver").and_then(Value::as_str).unwrap_or_default();
    if !["aufs", "devicemapper", "overlay"].contains(&driver) {
        return Ok(Answer::Fine);
    }
    let fix =
        Fix::told("take `storage-driver` out; what it stored has to be exported with an older engine first");
    Ok(Finding::new(format!("the storage driver `{driver}` is known to no engine that is kept up"), fix)
        .saw(format!("{DAEMON_JSON}: \"storage-driver\": \"{driver}\""))
        .only(if driver == "overlay" || harm(case) == Block { Block } else { Degraded })
        .into())
}

fn exclusive(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let has = |key: &str| config.get(key).is_some_and(|value| !value.is_null());
    let is = |key: &str, value: bool| config.get(key) == Some(&Value::Bool(value));
    let found = if has("bridge") && has("bip") {
        Some("`bridge` and `bip` exclude each other")
    } else if is("iptables", false) && is("icc", false) {
        Some("`icc: false` needs `iptables`")
    } else if has("exec-opts") && has("cgroup-parent") && systemd_cgroup(&config) {
        Some("with the cgroup driver systemd, `cgroup-parent` has to be a slice: `name.slice`")
    } else {
        None
    };
    let Some(cause) = found else { return Ok(Answer::Fine) };
    let fix = Fix::told("keep one of the two").types(format!("sudoedit {DAEMON_JSON}"));
    Ok(Finding::new(cause, fix).saw(DAEMON_JSON).only(harm(case)).into())
}

fn systemd_cgroup(config: &serde_json::Map<String, Value>) -> bool {
    let parent = config.get("cgroup-parent").and_then(Value::as_str).unwrap_or_default();
    config["exec-opts"].to_string().contains("native.cgroupdriver=systemd") && !parent.ends_with(".slice")
}

fn runtimes(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let runtimes = config.get("runtimes").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut wrong = Vec::new();
    let mut stops = false;
    for (name, runtime) in &runtimes {
        let path = runtime.get("path").and_then(Value::as_str).unwrap_or_default();
        let typed = runtime.get("runtimeType").is_some();
        if name == "runc" {
            wrong.push("`runc` is a name that dockerd keeps for itself".to_owned());
            stops = true;
        } else if path.is_empty() && !typed {
            wrong.push(format!("`{name}` has neither `path` nor `runtimeType`"));
            stops = true;
        } else if !typed && !there(case, path) {
            wrong.push(format!("`{name}`: {path} is not there"));
        }
    }
    if let Some(default) = config.get("default-runtime").and_then(Value::as_str) {
        let built_in = ["runc", "io.containerd.runc.v2"].contains(&default);
        if !built_in && !runtimes.contains_key(default) && !default.contains('/') {
            wrong.push(format!("`default-runtime` is `{default}`, which is not among `runtimes`"));
            stops = true;
        } else if wrong.iter().any(|line| line.starts_with(&format!("`{default}`"))) {
            stops = true;
        }
    }
    let Some(first) = wrong.first() else { return Ok(Answer::Fine) };
    let fix = Fix::told("install the runtime, or take it out of daemon.json")
        .types(format!("sudoedit {DAEMON_JSON}"));
    let mut finding = Finding::new(format!("a runtime of daemon.json cannot run: {first}"), fix)
        .all(wrong.iter().map(|line| format!("{DAEMON_JSON}: {line}")))
        .only(if stops { Block } else { Degraded });
    if let Daemon::Read(bytes, _) = case.daemon() {
        let name = first.split('`').nth(1).unwrap_or_default().to_owned();
        finding.excerpt = line_of(&String::from_utf8_lossy(bytes), &name);
    }
    Ok(finding.into())
}

fn there(case: &Case, program: &str) -> bool {
    if program.starts_with('/') { case.exists(program) } else { case.program(program).is_some() }
}

fn swarm(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let wrong: Vec<&str> = [("live-restore", Value::Bool(true)), ("firewall-backend", "nftables".into())]
        .into_iter()
        .filter_map(|(key, value)| (config.get(key) == Some(&value)).then_some(key))
        .collect();
    let state = case.data_root().join("swarm/docker-state.json");
    if wrong.is_empty() || !case.host.exists(&state)? {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("take the key out, or leave the swarm").types(format!("sudoedit {DAEMON_JSON}"));
    Ok(Finding::new(
        format!("`{}` does not go with a swarm, and this host is in one", wrong.join("`, `")),
        fix,
    )
    .saw(format!("{} is there", state.display()))
    .only(harm(case))
    .into())
}

fn snapshotter(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let store = config.get("features").and_then(|features| features.get("containerd-snapshotter"));
    if store != Some(&Value::Bool(true))
        || config.get("userns-remap").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("drop one of the two").types(format!("sudoedit {DAEMON_JSON}"));
    Ok(Finding::new("`containerd-snapshotter` does not go with `userns-remap`", fix)
        .saw(DAEMON_JSON)
        .only(harm(case))
        .into())
}
