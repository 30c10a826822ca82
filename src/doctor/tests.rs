//! The table and its page, and each check on a host where it speaks and on one where it is silent.

mod cards;
mod speaking;
mod surroundings;

use super::{Answer, Case, Report, Severity, Who, checks, document, examine, explain};
use crate::facts;
use crate::host::fake::FakeHost;
use crate::host::{Output, Question, Room};
use crate::resources::want;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_page_of_the_checks_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, document()).expect("writes docs/checks.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document(), "docs/checks.md is not the table: UPDATE=1 cargo test doctor");
}

#[test]
fn ids_are_unique_and_follow_from_ids_that_exist() {
    let ids: Vec<&str> = checks().map(|check| check.id).collect();
    for check in checks() {
        assert_eq!(ids.iter().filter(|id| **id == check.id).count(), 1, "{}", check.id);
        for above in check.depends_on {
            assert!(ids.contains(above), "{} follows from `{above}`, which is no check", check.id);
        }
    }
}

#[test]
fn what_an_install_asks_is_in_the_table() {
    for id in [super::BEFORE, super::AFTER, super::OF_A_USER].concat() {
        assert!(checks().any(|check| check.id == id), "`{id}` is no check");
    }
}

#[test]
fn every_text_that_is_known_is_explained_by_its_own_cause() {
    for cause in explain::causes() {
        for way in &cause.text {
            let text = way.replace("...", " something between ");
            let found = explain::first(&text).expect("a known text");
            assert_eq!(found.id, cause.id, "{text}");
        }
    }
}

#[test]
fn a_text_is_known_however_a_terminal_broke_it() {
    let texts = [
        (
            "Got permission denied while trying to connect to the Docker daemon sock\net at unix:///var/run/docker.sock: \
             Get http://%2Fvar%2Frun%2Fdocker.sock/v1.40/info: dial unix /var/run/docker.sock: connect: permission\n denied",
            "user-not-in-docker-group",
        ),
        (
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
            "user-not-in-docker-group",
        ),
        (
            "│ E: Conflicting values set for option Sign │\n│ ed-By regarding source https://download.doc │\n│ ker.com/linux/ubuntu/ noble │",
            "apt-signed-by-conflict",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///home/a/.docker/desktop/docker.sock.",
            "docker-context-stale",
        ),
        (
            "docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]].",
            "gpu-toolkit-missing",
        ),
        (
            "failed to start daemon: Error initializing network controller: networks have same bridge name",
            "network-db-conflict",
        ),
    ];
    for (text, id) in texts {
        assert_eq!(explain::first(text).map(|cause| cause.id.as_str()), Some(id), "{text}");
    }
    assert!(explain::first("the weather is fine").is_none());
    let near = explain::nearest("the daemon could not find the group for its socket: group docker gone");
    assert!(near.iter().any(|cause| cause.id.contains("group")), "{near:?}");
    assert!(explain::nearest("zzz").is_empty());
}

/// What systemd says of docker's three units.
pub(super) const UNITS: &str = "\
Id=docker.service\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nResult=success\n\
NRestarts=0\nInvocationID=abc\nNeedDaemonReload=no\nDropInPaths=\nActiveEnterTimestampMonotonic=1\n\
ExecStart={ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock ; }\n\
\n\
Id=docker.socket\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nResult=success\n\
NeedDaemonReload=no\nDropInPaths=\n\
\n\
Id=containerd.service\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nResult=success\n\
NeedDaemonReload=no\nDropInPaths=\n";

pub(super) fn units(host: FakeHost, said: &str) -> FakeHost {
    let names = super::case::UNITS.map(str::to_owned).to_vec();
    host.answer(Question::UnitsShow { units: names }, said)
}

/// The daemon is down, and said this.
pub(super) fn down(host: FakeHost, said: &str) -> FakeHost {
    let shown = UNITS.replacen(
        "ActiveState=active\nSubState=running\nResult=success",
        "ActiveState=failed\nSubState=failed\nResult=exit-code",
        1,
    );
    units(host, &shown)
        .answer(Question::JournalOf { invocation: "abc".into() }, said)
        .answer(Question::Journal { unit: "docker.service".into() }, said)
}

pub(super) fn room(free: u64) -> Room {
    let mib = 1024 * 1024;
    Room {
        bytes: 100_000 * mib,
        bytes_free: free * mib,
        inodes: 1000,
        inodes_free: 900,
        magic: 0xef53,
        read_only: false,
    }
}

pub(super) const NOBLE: &str =
    "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n";
pub(super) const RULES: &str = "*nat\n:DOCKER - [0:0]\nCOMMIT\n";

/// A host where docker is well, and alice may use it.
pub(super) fn healthy() -> FakeHost {
    let ok = |text: &str| Output { stdout: text.to_owned(), ..Output::default() };
    let host = FakeHost::new()
        .file("/etc/os-release", NOBLE)
        .file("/usr/bin/dpkg", "")
        .answer(Question::DpkgArchitecture, "amd64\n")
        .file("/proc/sys/kernel/osrelease", "6.8.0-45-generic\n")
        .file("/proc/1/comm", "systemd\n")
        .directory("/run/systemd/system")
        .file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
        .file("/etc/passwd", "root:x:0:0::/root:/bin/bash\na broken line\nalice:x:1000:1000::/home/alice:/bin/bash\n")
        .file("/etc/group", "root:x:0:\ndocker:x:998:alice\nalice:x:1000:\n")
        .answer(Question::GroupNumbersOf { user: "alice".into() }, "1000 998\n")
        .answer(Question::GroupNumbersOf { user: "root".into() }, "0\n")
        .answer_whole(Question::Getent { database: "group", key: "docker".into() }, Output { code: 2, ..ok("") })
        .answer_whole(Question::Getent { database: "group", key: "4242".into() }, Output { code: 2, ..ok("") })
        .link("/var/run", "/run")
        .socket("/run/docker.sock")
        .held("/run/docker.sock", 0, 998, 0o660)
        .file("/proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n0: 00000002 00000000 00010000 0001 01 4362820 /run/docker.sock\n0: 00000002 00000000 00010000 0001 01 4362821 /run/containerd/containerd.sock\n")
        .socket("/run/containerd/containerd.sock")
        .file("/proc/sys/net/ipv4/ip_forward", "1\n")
        .file("/etc/resolv.conf", "nameserver 192.0.2.1\n")
        .file("/usr/bin/sudo", "x".repeat(5000))
        .held("/usr/bin/sudo", 0, 0, 0o4755)
        .file("/usr/libexec/docker/cli-plugins/docker-compose", "")
        .file("/proc/filesystems", "nodev\toverlay\n")
        .file("/proc/modules", "veth 1 0\n")
        .directory("/lib/modules/6.8.0-45-generic")
        .file("/proc/self/mountinfo", "1 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n")
        .file("/proc/key-users", "    0:    12 11/11 10/1000000 200/25000000\n")
        .file("/proc/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask\ndocker0 000011AC 00000000 0001 0 0 0 0000FFFF\neth0 000200C0 00000000 0001 0 0 0 00FFFFFF\n")
        .directory("/sys/class/net/docker0")
        .directory("/var/lib/docker/containers")
        .room("/", room(50_000))
        .file("/etc/apt/keyrings/docker.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        .file("/etc/apt/sources.list.d/docker.sources", "Types: deb\nURIs: https://download.docker.com/linux/ubuntu\nSuites: noble\nComponents: stable\nSigned-By: /etc/apt/keyrings/docker.asc\n")
        .answer(Question::IptablesSave { program: "iptables-save", table: "nat" }, RULES)
        .answer(Question::IptablesSave { program: "iptables-legacy-save", table: "nat" }, "")
        .answer(Question::IptablesSave { program: "iptables-nft-save", table: "nat" }, RULES)
        .answer(Question::Journal { unit: "docker.service".into() }, "")
        .directory("/home/alice")
        .held("/home/alice", 1000, 1000, 0o755)
        .at(1_800_000_000);
    let programs = ["dockerd", "docker", "runc", "containerd-shim-runc-v2", "iptables"];
    let host =
        programs.iter().fold(host, |host, name| host.file(format!("/usr/bin/{name}"), "x".repeat(5000)));
    units(host, UNITS)
}

/// The process of this run, as the caller.
pub(super) fn caller(host: FakeHost, uid: u32, groups: &str) -> FakeHost {
    let status = format!(
        "Name:\tbash\nPid:\t50\nPPid:\t1\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\t{uid}\t{uid}\t{uid}\nGroups:\t{groups}\nNoNewPrivs:\t0\nSeccomp:\t0\n"
    );
    host.file("/proc/self/status", status)
}

pub(super) fn alice(host: &FakeHost, environment: &[(&str, &str)], only: &[&str]) -> Report {
    let host = match host_has_status(host) {
        true => host.clone(),
        false => caller(host.clone(), 1000, "1000 998"),
    };
    asked(&host, Who { uid: 1000, ..who(environment) }, only)
}

fn host_has_status(host: &FakeHost) -> bool {
    use crate::host::Look;
    host.exists(Path::new("/proc/self/status")).unwrap_or(false)
}

pub(super) fn root(host: &FakeHost, user: Option<&str>, only: &[&str]) -> Report {
    let who = Who { uid: 0, user: user.map(str::to_owned), ..who(&[]) };
    asked(&caller(host.clone(), 0, ""), who, only)
}

fn who(environment: &[(&str, &str)]) -> Who {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Who { environment, ..Who::default() }
}

fn asked(host: &FakeHost, who: Who, only: &[&str]) -> Report {
    let facts = facts::gather(host).expect("gathers");
    let case = Case::new(who, &facts, host).expect("a subject");
    let only: Vec<String> = only.iter().map(|id| id.to_string()).collect();
    examine(&case, &only).expect("the checks are known")
}

#[test]
fn a_healthy_host_is_fine_by_every_check_for_its_user_and_for_root() {
    let report = root(&healthy(), Some("alice"), &[]);
    assert!(report.findings.is_empty() && report.unknown.is_empty(), "{report:#?}");
    let report = alice(&healthy(), &[], &[]);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    let needs_root: Vec<&str> = report.unknown.iter().map(|unknown| unknown.id).collect();
    for id in needs_root {
        let check = checks().find(|check| check.id == id).expect("a check");
        assert_eq!(
            check.privilege,
            super::Privilege::Root,
            "{id} is unknown without root, and does not say so"
        );
    }
}

#[test]
fn a_host_whose_card_works_is_fine_too() {
    let report = root(&cards::card(healthy()), Some("alice"), &[]);
    assert!(report.findings.is_empty() && report.unknown.is_empty(), "{report:#?}");
}

#[test]
fn every_check_speaks_on_a_host_that_is_broken_so() {
    let mut spoken = BTreeSet::new();
    for row in speaking::rows() {
        let host = (row.host)(healthy());
        let report = match row.asks {
            speaking::Asks::Alice(environment) => alice(&host, environment, &[row.id]),
            speaking::Asks::Root => root(&host, Some("alice"), &[row.id]),
        };
        let found = report.findings.iter().find(|found| found.id == row.id);
        let Some(found) = found else { panic!("{} is silent: {report:#?}", row.id) };
        assert!(
            !found.cause.is_empty() && !found.evidence.is_empty() && !found.fix.text.is_empty(),
            "{found:?}"
        );
        spoken.insert(row.id);
    }
    let silent: Vec<&str> = checks().map(|check| check.id).filter(|id| !spoken.contains(id)).collect();
    assert!(silent.is_empty(), "no host makes these speak: {silent:?}");
}

#[test]
fn a_check_that_crashes_is_unknown_and_takes_no_other_along() {
    fn crashes(_: &Case) -> crate::error::Result<Answer> {
        panic!("on purpose")
    }
    static CRASHING: super::Check = super::check("crashes", Severity::Block, "Does it crash?", crashes);
    let host = caller(healthy(), 0, "");
    let facts = facts::gather(&host).expect("gathers");
    let case = Case::new(Who::default(), &facts, &host).expect("a subject");
    assert!(matches!(CRASHING.ask(&case), Answer::Unknown(why) if why.contains("crashed")));
    let fine = checks().find(|check| check.id == "unit-inactive").expect("a check");
    assert_eq!(fine.ask(&case), Answer::Fine);
}

#[test]
fn what_follows_from_something_else_is_folded_under_it_and_makes_it_as_bad() {
    let host = down(
        healthy(),
        "unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid JSON",
    )
    .file("/etc/docker/daemon.json", "{\"debug\": true,}")
    .file("/proc/net/unix", "");
    let report = root(&host, Some("alice"), &[]);
    let causes: Vec<&str> = report.findings.iter().map(|found| found.id).collect();
    assert_eq!(causes, ["daemon-json-syntax"], "{report:#?}");
    let found = &report.findings[0];
    for id in ["daemon-failed", "unit-inactive", "docker-socket-stale"] {
        assert!(found.consequences.contains(&id), "{id}: {found:?}");
    }
    assert_eq!(found.excerpt.last().map(String::as_str), Some("               ^"));
    // The kernel's configuration is another matter.
    let mut unknown = report.unknown.iter().filter(|unknown| unknown.id != "kernel-config-missing");
    assert!(unknown.all(|unknown| unknown.under == Some("daemon-json-syntax")), "{report:#?}");
}

#[test]
fn among_fifty_thousand_processes_those_of_the_user_are_found() {
    let mut host = old(healthy(), 1, 1000, "tmux: server");
    for pid in 2..50_000 {
        host = old(host, pid, 2000, "worker");
    }
    // One that ended between two looks has a directory, and nothing in it.
    let host = host.directory("/proc/50000").owned("/proc/50000", 1000, 0o555);
    let report = root(&host, Some("alice"), &[]);
    let found = report.findings.iter().find(|found| found.id == "tmux-server-stale-groups");
    assert!(found.is_some_and(|found| found.evidence.len() == 1), "{:#?}", report.findings);
}

fn old(host: FakeHost, pid: u32, uid: u32, name: &str) -> FakeHost {
    let status = format!(
        "Name:\t{name}\nPid:\t{pid}\nPPid:\t1\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\t{uid}\t{uid}\t{uid}\nGroups:\t{uid}\n"
    );
    let at = format!("/proc/{pid}");
    host.file(format!("{at}/status"), status).owned(at, uid, 0o555)
}

#[test]
fn under_sudo_the_session_is_that_of_the_shell_and_not_sudo_itself() {
    let status = |name: &str, pid: u32, parent: u32, uids: &str, groups: &str| {
        format!(
            "Name:\t{name}\nPid:\t{pid}\nPPid:\t{parent}\nUid:\t{uids}\nGid:\t{uids}\nGroups:\t{groups}\n"
        )
    };
    let host = healthy()
        .file("/proc/self/status", status("rprov", 52, 51, "0 0 0 0", "0"))
        .file("/proc/51/status", status("sudo", 51, 50, "1000 0 0 0", "0"))
        .file("/proc/51/environ", "HOME=/home/alice\0DOCKER_HOST=unix:///home/alice/gone.sock\0")
        .file("/proc/50/status", status("bash", 50, 1, "1000 1000 1000 1000", "1000 998"))
        .file("/proc/50/environ", "HOME=/home/alice\0");
    let report = asked(&host, Who { uid: 0, ..who(&[("SUDO_USER", "alice")]) }, &["session-groups-stale"]);
    assert_eq!((report.subject.user.as_str(), report.findings.len()), ("alice", 0), "{report:#?}");
    // What the shell exported is in sudo's environment, and in no file.
    assert_eq!(report.endpoint.from, "DOCKER_HOST in the environment of process 51 (sudo)");
}

#[test]
fn the_endpoint_is_found_as_the_docker_command_finds_it() {
    let host = |text: &str| Some(super::Flag::Host(text.to_owned()));
    let context = |text: &str| Some(super::Flag::Context(text.to_owned()));
    let variables = [("DOCKER_HOST", "unix:///run/variable.sock"), ("DOCKER_CONTEXT", "far")];
    type Row<'r> = (Option<super::Flag>, &'r [(&'r str, &'r str)], &'r str, Option<&'r str>);
    let rows: [Row; 8] = [
        (host("unix:///run/flag.sock"), &variables, "flag", Some("unix:///run/flag.sock")),
        (host("unix://"), &variables, "flag", Some("unix:///var/run/docker.sock")),
        (host("far.example:2375"), &variables, "flag", Some("tcp://far.example:2375")),
        (context("nowhere"), &variables, "flag", None),
        (context("default"), &variables, "environment", Some("unix:///run/variable.sock")),
        (context("default"), &[], "flag", Some("unix:///var/run/docker.sock")),
        (None, &variables, "environment", Some("unix:///run/variable.sock")),
        (None, &variables[1..], "environment", None),
    ];
    for (flag, environment, source, url) in rows {
        let host = caller(healthy(), 1000, "1000 998");
        let report =
            asked(&host, Who { uid: 1000, flag: flag.clone(), ..who(environment) }, &["unit-inactive"]);
        assert_eq!((report.endpoint.source, report.endpoint.url.as_deref()), (source, url), "{flag:?}");
    }
    let gone = Who { uid: 1000, flag: host("unix:///run/gone.sock"), ..who(&[]) };
    let report = asked(&caller(healthy(), 1000, "1000 998"), gone, &[]);
    let ids: Vec<&str> = report.findings.iter().map(|found| found.id).collect();
    assert_eq!(ids, ["docker-host-env-stale"], "{report:#?}");
}

#[test]
fn a_host_that_is_about_to_get_an_engine_is_asked_as_if_it_had_one() {
    use crate::resources::json_keys::JsonKeys;
    let host = caller(healthy().without("/usr/bin/dockerd"), 0, "")
        .file("/lib/modules/6.8.0-45-generic/modules.dep", "kernel/net/netfilter/nf_nat.ko.xz:\n");
    let host = units(host, &UNITS.replace("ActiveState=active", "ActiveState=inactive"));
    let facts = facts::gather(&host).expect("gathers");
    let found = |keys: &[(&str, &str)]| {
        let values = keys.iter().map(|(key, value)| (vec![key.to_string()], Value::from(*value))).collect();
        let file = JsonKeys { path: super::DAEMON_JSON.into(), keys: Vec::new(), engine: Default::default() };
        let case = Case::new(Who::default(), &facts, &host).expect("a subject");
        let case = case.wanting(&[want(file, JsonKeys::want(values))]);
        let report = examine(&case, super::BEFORE).expect("the checks are known");
        report.findings.into_iter().map(|found| found.id).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), ["xt-addrtype-missing"]);
    assert!(found(&[("firewall-backend", "nftables")]).is_empty());
    let case = Case::new(Who::default(), &facts, &host).expect("a subject");
    let report = examine(&case, super::BEFORE).expect("the checks are known");
    assert!(report.findings.is_empty(), "there is no engine, and none is to come: {report:#?}");
}

#[test]
fn a_daemon_json_that_was_mended_since_the_last_start_leaves_a_daemon_to_be_started() {
    let said = "unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid JSON";
    let host = down(healthy(), said).file("/etc/docker/daemon.json", "{\"debug\": true}");
    let report = root(&host, Some("alice"), &["daemon-failed"]);
    assert_eq!(report.findings[0].fix.class, super::Class::Asked, "{report:#?}");
    assert!(!report.fixes["daemon-failed"].wants.is_empty());
    let broken = down(healthy(), said).file("/etc/docker/daemon.json", "{\"debug\": true,}");
    let report = root(&broken, Some("alice"), &["daemon-failed"]);
    assert_eq!(report.findings[0].fix.class, super::Class::Told, "{report:#?}");
}

#[test]
fn a_daemon_that_ended_without_a_word_is_offered_a_start() {
    let said = "Starting docker.service - Docker Application Container Engine...\n\
        docker.service: Main process exited, code=exited, status=1/FAILURE\n";
    for said in [said, ""] {
        let report = root(&down(healthy(), said), Some("alice"), &["daemon-failed"]);
        assert_eq!(report.findings[0].fix.class, super::Class::Asked, "{report:#?}");
        assert!(!report.fixes["daemon-failed"].wants.is_empty());
    }
    let report = alice(&down(healthy(), ""), &[], &["daemon-failed"]);
    assert!(report.findings.is_empty() && report.unknown[0].why.contains("may not read"), "{report:#?}");
}

#[test]
fn nothing_is_quoted_from_a_home_that_is_not_the_callers() {
    let secret = "unix:///home/alice/very-secret.sock";
    let host = healthy().file("/home/alice/.profile", format!("export DOCKER_HOST={secret}\n")).file(
        "/home/alice/.docker/config.json",
        "{\"currentContext\": \"very-secret\", \"credsStore\": \"very-secret\", \"auths\": {\"very-secret\": {}",
    );
    let told = serde_json::to_string(&root(&host, Some("alice"), &[])).expect("writes");
    assert!(told.contains("docker-host-env-stale") && told.contains("docker-config-invalid"), "{told}");
    assert!(!told.contains("very-secret"), "{told}");
    let own = alice(&host, &[("DOCKER_HOST", secret)], &["docker-host-env-stale"]);
    assert!(own.findings[0].cause.contains("very-secret.sock"), "{own:#?}");
}
