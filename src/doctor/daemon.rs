//! Whether the engine is there and runs, and what keeps it from it: its units, containerd, and what is in their way.

mod beside;
mod machine;

use super::Severity::{Block, Degraded, Info, Warn};
use super::case::UNITS;
use super::permission::{DOWN, run_docker};
use super::socket::{Seat, walk};
use super::{Answer, Case, Check, Finding, Fix, check, explain};
use crate::error::{Error, Result};
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::unit::{Unit, UnitState, first_error};
use crate::resources::{AnyWant, want};
use std::path::Path;

/// What keeps the daemon from running; a daemon that is down is its consequence.
const CAUSES: &[&str] = &[
    "engine-not-installed",
    "unit-masked",
    "docker-group-missing",
    "daemon-json-syntax",
    "daemon-json-encoding",
    "daemon-json-unreadable",
    "daemon-json-unknown-key",
    "daemon-json-wrong-type",
    "daemon-json-flag-conflict",
    "daemon-json-runtime-invalid",
    "daemon-json-exclusive-options",
    "docker-pid-conflict",
    "unit-dropin-broken",
    "docker-socket-is-directory",
    "docker-socket-not-a-socket",
    "containerd-down",
    "containerd-socket-stale",
    "containerd-config-invalid",
    "second-daemon-running",
    "prior-drivers-ambiguous",
    "iptables-legacy-module-missing",
    "iptables-nft-unsupported",
    "kernel-option-missing",
    "disk-full",
    "inodes-full",
    "data-root-readonly",
    "kernel-modules-gone",
    "xt-addrtype-missing",
    "iptables-missing",
];

pub(super) const CHECKS: &[Check] = &[
    check("engine-not-installed", Block, "Is an engine installed?", not_installed)
        .under(&["podman-docker-shim"]),
    check("wsl1-kernel", Block, "Is there a real Linux kernel?", machine::wsl1),
    check("wsl-no-systemd", Block, "Does systemd run in WSL?", machine::wsl_systemd).under(&["wsl1-kernel"]),
    check("init-not-systemd", Degraded, "Does systemd run this host?", machine::no_systemd)
        .under(&["wsl-no-systemd", "wsl1-kernel"]),
    check("nested-in-container", Info, "Is this a machine, not a container?", machine::nested),
    check("unit-masked", Block, "May docker's units be started?", masked).under(&["engine-not-installed"]),
    check("unit-disabled-at-boot", Warn, "Does docker start at boot?", disabled)
        .under(&["engine-not-installed", "unit-masked"]),
    check("unit-daemon-reload-needed", Warn, "Has systemd read the unit files as they are?", reload_needed),
    check("unit-dropin-broken", Block, "Are the drop-ins of docker.service right?", dropin),
    check(
        "socket-activation-missing",
        Block,
        "Is docker.socket there for a daemon that wants it?",
        activation,
    )
    .under(CAUSES),
    check("containerd-down", Block, "Does containerd run?", containerd).under(&[
        "engine-not-installed",
        "disk-full",
        "inodes-full",
        "containerd-config-invalid",
        "containerd-socket-stale",
    ]),
    check("containerd-socket-stale", Block, "Does anybody listen on containerd's socket?", containerd_socket)
        .under(&["engine-not-installed", "disk-full", "containerd-config-invalid"]),
    check(
        "containerd-config-invalid",
        Block,
        "Is containerd's configuration TOML?",
        beside::containerd_config,
    )
    .under(&["engine-not-installed"]),
    check("second-daemon-running", Block, "Is there no second dockerd?", beside::second)
        .under(&["engine-not-installed", "unit-masked"]),
    check(
        "api-version-too-old",
        Block,
        "Does the engine speak the API that the shell asks for?",
        beside::old_api,
    )
    .under(&["engine-not-installed"]),
    check("docker-pid-conflict", Block, "Is the daemon's pid file the daemon's?", pid_file),
    check("daemon-failed", Block, "Does the daemon come up?", failed).under(CAUSES),
    check("unit-start-limit-hit", Block, "Does systemd still try to start docker?", start_limit)
        .under(DOWN_BUT_ITSELF),
    check("unit-inactive", Block, "Does docker run?", inactive).under(DOWN_BUT_ITSELF),
    check("helper-binary-missing", Block, "Are the engine's helpers there?", helpers)
        .under(&["engine-not-installed"]),
    check("tcp-api-insecure", Warn, "Is the engine closed to the network?", tcp),
];

const DOWN_BUT_ITSELF: &[&str] = DOWN.split_at(DOWN.len() - 1).0;

fn not_installed(case: &Case) -> Result<Answer> {
    if case.engine() || case.facts.snap_docker {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("install it").types("sudo rprov install");
    let cause = match case.program("docker") {
        Some(_) => "the docker command is here, and no engine: dockerd is not installed",
        None => "docker is not installed",
    };
    Ok(Finding::new(cause, fix).saw("no dockerd in /usr/bin or /usr/sbin").into())
}

/// Whether systemd should run an engine here.
fn by_systemd(case: &Case) -> Result<bool> {
    if !case.engine() {
        return Ok(false);
    }
    case.unit("docker.service").map(|unit| unit.get("LoadState") != "not-found")
}

fn masked(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? {
        return Ok(Answer::Fine);
    }
    let mut masked = Vec::new();
    for name in UNITS {
        if case.unit(name)?.get("LoadState") == "masked" {
            masked.push(name);
        }
    }
    if masked.is_empty() {
        return Ok(Answer::Fine);
    }
    let names = masked.join(" ");
    let wants: Vec<AnyWant> = masked
        .iter()
        .map(|name| want(Unit { name: (*name).into() }, UnitState::RUNNING))
        .chain(run_docker())
        .collect();
    let fix = Fix::asked("unmask and start it", wants)
        .types(format!("systemctl unmask {names}"))
        .types("systemctl start docker.socket docker.service");
    Ok(Finding::new(format!("{names} is masked: nothing can start it"), fix)
        .saw(format!("systemctl show {names}: LoadState=masked"))
        .into())
}

fn disabled(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? {
        return Ok(Answer::Fine);
    }
    let (service, socket) = (case.unit("docker.service")?, case.unit("docker.socket")?);
    if service.get("UnitFileState") != "disabled" {
        return Ok(Answer::Fine);
    }
    let active = service.get("ActiveState") == "active";
    let name = "docker.service";
    let state = UnitState { active, ..UnitState::RUNNING };
    let fix = Fix::asked("enable it", vec![want(Unit { name: name.into() }, state)])
        .types("systemctl enable docker.service");
    let mut finding = Finding::new("docker does not start at boot", fix).saw("docker.service is disabled");
    if socket.get("UnitFileState") == "enabled" {
        finding.cause =
            "docker starts at boot only when somebody asks it something: containers do not come back by \
                         themselves"
                .into();
    }
    Ok(finding.into())
}

fn reload_needed(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? {
        return Ok(Answer::Fine);
    }
    let mut stale = Vec::new();
    for name in UNITS {
        if case.unit(name)?.get("NeedDaemonReload") == "yes" {
            stale.push(name);
        }
    }
    if stale.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::made("let systemd read its files", Vec::new())
        .then(Consequence::ReloadSystemd)
        .types("systemctl daemon-reload");
    Ok(Finding::new("unit files were changed, and systemd has not read them", fix)
        .saw(stale.join(", "))
        .into())
}

fn dropin(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? {
        return Ok(Answer::Fine);
    }
    let unit = case.unit("docker.service")?;
    let paths: Vec<&str> = unit.get("DropInPaths").split_whitespace().collect();
    if unit.get("LoadState") != "bad-setting" {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("an `ExecStart=` of its own needs an empty `ExecStart=` in the line before")
        .types("systemctl edit docker.service")
        .types("systemctl revert docker.service   # or take all drop-ins away");
    let mut finding = Finding::new("systemd refuses docker.service: a drop-in makes it wrong", fix)
        .saw("systemctl show docker.service: LoadState=bad-setting");
    for path in paths {
        let text = case.text(path)?.unwrap_or_default();
        let lines = text.lines().filter(|line| line.trim_start().starts_with("ExecStart=")).count();
        finding = finding.saw(format!("{path}: {lines} lines `ExecStart=`"));
    }
    Ok(finding.into())
}

fn activation(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? || case.active("docker.service")? || case.active("docker.socket")? {
        return Ok(Answer::Fine);
    }
    if !case.journal().contains("no sockets found via socket activation") {
        return Ok(Answer::Fine);
    }
    let fix = Fix::asked("start the socket first", run_docker())
        .types("systemctl start docker.socket docker.service");
    Ok(Finding::new("dockerd waits for a socket from systemd, and docker.socket does not run", fix)
        .saw("dockerd -H fd:// without docker.socket")
        .into())
}

fn containerd(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? {
        return Ok(Answer::Fine);
    }
    let unit = case.unit("containerd.service")?;
    let uses = case.flags()?.iter().any(|flag| flag.contains("/run/containerd/containerd.sock"));
    if unit.get("ActiveState") == "active" || !uses || unit.get("LoadState") == "not-found" {
        return Ok(Answer::Fine);
    }
    let fix = Fix::asked("start containerd, and docker with it", start_all())
        .types("systemctl start containerd.service docker.service");
    let mut finding = Finding::new("containerd does not run: no container can start", fix).saw(format!(
        "containerd.service is {} ({})",
        unit.get("ActiveState"),
        unit.get("Result")
    ));
    if case.active("docker.service")? {
        finding = finding.only(Degraded);
    }
    Ok(finding.into())
}

fn start_all() -> Vec<AnyWant> {
    let containerd = want(Unit { name: "containerd.service".into() }, UnitState::RUNNING);
    std::iter::once(containerd).chain(run_docker()).collect()
}

const CONTAINERD: &str = "/run/containerd/containerd.sock";

fn containerd_socket(case: &Case) -> Result<Answer> {
    if !case.engine() || case.active("containerd.service").unwrap_or(true) {
        return Ok(Answer::Fine);
    }
    // Others may not pass /run/containerd on every host.
    let root = super::subject::Subject { uid: 0, as_root: false, ..(*case.subject).clone() };
    let Seat::Dead { path } = walk(Path::new(CONTAINERD), &root, case.host) else { return Ok(Answer::Fine) };
    let fix = Fix::asked("start containerd, which makes it anew", start_all())
        .types("systemctl start containerd.service docker.service");
    let cause = "containerd is down and its socket is left over: dockerd takes it for a running containerd, and waits";
    Ok(Finding::new(cause, fix).saw(format!("nobody listens on {}", path.display())).into())
}

const PID_FILES: [&str; 2] = ["/run/docker.pid", "/var/run/docker.pid"];

fn pid_file(case: &Case) -> Result<Answer> {
    if !case.engine() || case.active("docker.service").unwrap_or(true) {
        return Ok(Answer::Fine);
    }
    let Some(text) = case.text(PID_FILES[0])? else { return Ok(Answer::Fine) };
    let pid = text.trim();
    let name = match pid.parse::<u32>() {
        Ok(pid) => case.text(&format!("/proc/{pid}/comm"))?.unwrap_or_default(),
        Err(_) => String::new(),
    };
    let name = name.trim();
    if name.is_empty() || name == "dockerd" {
        return Ok(Answer::Fine);
    }
    let mut wants = vec![want(File { path: PID_FILES[0].into() }, Node::Absent)];
    wants.extend(run_docker());
    let fix = Fix::asked("remove the pid file and start docker", wants)
        .types(format!("rm {}", PID_FILES[0]))
        .types("systemctl start docker.service");
    let cause = format!(
        "the daemon's pid file names a process that is not dockerd but `{name}`: dockerd refuses to start beside it"
    );
    Ok(Finding::new(cause, fix).saw(format!("{}: {pid}", PID_FILES[0])).into())
}

/// The first try is under way: what comes of it is not known yet.
fn starting(case: &Case) -> Result<()> {
    let unit = case.unit("docker.service")?;
    let first = matches!(unit.get("NRestarts"), "" | "0") && unit.get("SubState") == "start";
    if first { Err(Error::failed("docker is starting right now")) } else { Ok(()) }
}

/// The daemon's own first words for why it ended, named as a cause where a pattern knows them.
fn failed(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? || case.active("docker.service")? {
        return Ok(Answer::Fine);
    }
    let unit = case.unit("docker.service")?;
    let (state, result) = (unit.get("ActiveState"), unit.get("Result"));
    starting(case)?;
    if state != "failed" && !matches!(unit.get("SubState"), "auto-restart" | "start") && result == "success" {
        return Ok(Answer::Fine);
    }
    let journal = case.journal();
    let Some(first) = first_error(journal) else {
        // Started too often, and well each time: that is a finding of its own.
        if result.contains("start-limit") {
            return Ok(Answer::Fine);
        }
        if journal.trim().is_empty() && !case.subject.root_asks() {
            return Err(Error::failed(
                "why the daemon ended stands in the journal, which this user may not read",
            ));
        }
        return Ok(Finding::new("the daemon ended, and the journal does not say why", try_again())
            .saw(format!("docker.service is {state} ({result})"))
            .into());
    };
    let known = explain::first(journal);
    if known.is_some_and(|cause| mended_since(case, &cause.id)) {
        let cause =
            "the daemon did not come up for its daemon.json, which is right by now: nobody has started it";
        return Ok(Finding::new(cause, try_again()).saw(first.to_owned()).into());
    }
    let cause = match known {
        Some(cause) => format!("the daemon does not come up: {}", cause.says),
        None => "the daemon does not come up, for the reason that it gives itself".to_owned(),
    };
    let fix = match known {
        Some(cause) => Fix::told(cause.mend.clone()),
        None => Fix::told("look at its journal"),
    };
    Ok(Finding::new(cause, fix.types("journalctl -u docker.service -b --no-pager"))
        .saw(first.to_owned())
        .saw(format!("docker.service is {state} ({result})"))
        .into())
}

/// A start is also what tells why it fails, where nothing else does.
fn try_again() -> Fix {
    Fix::asked("start it", run_docker())
        .then(Consequence::RestartUnit { unit: "docker.service".into() })
        .types("systemctl reset-failed docker.service && systemctl start docker.service")
}

/// The journal tells of the last start; daemon.json may be another since.
fn mended_since(case: &Case, id: &str) -> bool {
    let check = super::checks().find(|check| check.id == id && id.starts_with("daemon-json-"));
    check.is_some_and(|check| check.ask(case) == Answer::Fine)
}

fn start_limit(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? || !case.unit("docker.service")?.get("Result").contains("start-limit") {
        return Ok(Answer::Fine);
    }
    let fix = Fix::asked("let systemd try again", run_docker())
        .types("systemctl reset-failed docker.service docker.socket")
        .types("systemctl start docker.service");
    Ok(Finding::new("systemd has given up starting docker, after too many tries in a minute", fix)
        .saw("systemctl show docker.service: Result=start-limit-hit")
        .into())
}

fn inactive(case: &Case) -> Result<Answer> {
    if !by_systemd(case)? {
        return Ok(Answer::Fine);
    }
    let (service, socket) = (case.unit("docker.service")?, case.unit("docker.socket")?);
    let state = service.get("ActiveState");
    if state == "active" || (state == "inactive" && socket.get("ActiveState") == "active") {
        // With the socket up the first question starts the daemon.
        return Ok(Answer::Fine);
    }
    starting(case)?;
    let fix = Fix::asked("start it", run_docker()).types("systemctl start docker.socket docker.service");
    Ok(Finding::new("docker does not run", fix)
        .saw(format!("docker.service is {state}, docker.socket is {}", socket.get("ActiveState")))
        .into())
}

fn helpers(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    let missing: Vec<&str> = ["runc", "containerd-shim-runc-v2"]
        .into_iter()
        .filter(|name| case.program(name).is_none() && !case.exists(&format!("/usr/libexec/docker/{name}")))
        .collect();
    if missing.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("install the packages again")
        .types("sudo apt-get install --reinstall containerd.io docker-ce");
    Ok(Finding::new(format!("the engine's helpers are gone: {}", missing.join(", ")), fix)
        .saw("looked for in /usr/bin, /usr/sbin, /usr/local/bin and /usr/libexec/docker")
        .into())
}

fn tcp(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    let config = case.config().unwrap_or_default();
    let mut addresses: Vec<String> = config
        .get("hosts")
        .and_then(serde_json::Value::as_array)
        .map(|hosts| hosts.iter().filter_map(|host| host.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let flags = case.flags().unwrap_or_default();
    addresses.extend(flags.iter().cloned());
    let verified =
        config.get("tlsverify") == Some(&true.into()) || flags.iter().any(|flag| flag == "--tlsverify");
    let open = addresses.iter().find(|address| {
        let address = address.trim_start_matches("--host=").trim_start_matches("-H").trim_start_matches('=');
        address.starts_with("tcp://") && !address.contains("127.0.0.1") && !address.contains("localhost")
    });
    let Some(open) = open.filter(|_| !verified) else { return Ok(Answer::Fine) };
    let fix = Fix::told("take the address away and use ssh://, or give it certificates and `tlsverify`");
    Ok(Finding::new(
        "the engine listens on the network without certificates: who reaches it is root here",
        fix,
    )
    .saw(open.clone())
    .into())
}
