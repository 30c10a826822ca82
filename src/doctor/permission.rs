//! Whether the user may speak to the engine, and if not, which of the many reasons it is.

mod cli_files;
mod sessions;
mod sudo;

use super::Severity::{Block, Degraded, Info, Warn};
use super::Theme::Permission;
use super::endpoint::{Source, Target};
use super::socket::{ACL, Seat, may};
use super::{Answer, Case, Check, Finding, Fix};
use crate::error::{Error, Result};
use crate::host::{Owner, Stat};
use crate::resources::access::{Access, Held};
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::group::{Group, Presence};
use crate::resources::member::Member;
use crate::resources::unit::{Unit, UnitState};
use crate::resources::{AnyWant, want};
use std::path::Path;

const fn check(
    id: &'static str,
    severity: super::Severity,
    asks: &'static str,
    look: fn(&Case) -> Result<Answer>,
) -> Check {
    Check::new(id, Permission, severity, asks, look)
}

/// What makes questions about the local socket idle: the command does not go there.
const ELSEWHERE: &[&str] = &[
    "engine-not-installed",
    "docker-host-env-stale",
    "docker-context-stale",
    "docker-context-missing",
    "snap-docker-group-missing",
];
/// What leaves no daemon behind the socket.
pub(super) const DOWN: &[&str] = &[
    "engine-not-installed",
    "unit-masked",
    "docker-group-missing",
    "daemon-json-syntax",
    "daemon-json-encoding",
    "daemon-json-unreadable",
    "daemon-json-unknown-key",
    "daemon-json-flag-conflict",
    "daemon-json-runtime-invalid",
    "daemon-json-exclusive-options",
    "daemon-json-wrong-type",
    "docker-pid-conflict",
    "unit-dropin-broken",
    "socket-activation-missing",
    "containerd-down",
    "containerd-socket-stale",
    "docker-socket-is-directory",
    "docker-socket-not-a-socket",
    "disk-full",
    "inodes-full",
    "data-root-readonly",
    "kernel-modules-gone",
    "iptables-missing",
    "daemon-failed",
    "unit-start-limit-hit",
    "unit-inactive",
];

pub(super) const CHECKS: &[Check] = &[
    check("docker-host-env-stale", Block, "Does DOCKER_HOST lead to an engine?", host_variable)
        .under(&["engine-not-installed"]),
    check("docker-tls-env-stale", Block, "Do DOCKER_TLS_VERIFY and DOCKER_CERT_PATH fit the endpoint?", tls),
    check("docker-context-missing", Block, "Is the context there that is chosen?", context_missing),
    check("docker-context-stale", Block, "Does the chosen context lead to an engine?", context_stale)
        .under(&["engine-not-installed"]),
    check("docker-group-missing", Block, "Is there a group `docker`?", group_missing)
        .under(&["engine-not-installed"]),
    check(
        "docker-group-duplicate",
        Degraded,
        "Is there one group `docker`, with a number of its own?",
        group_twice,
    ),
    check(
        "nss-group-not-local",
        Warn,
        "Is the group `docker` known at boot, without a directory service?",
        group_remote,
    ),
    check("docker-socket-is-directory", Block, "Is the socket not a directory?", is_directory)
        .under(ELSEWHERE),
    check("docker-socket-not-a-socket", Block, "Is the socket not a plain file?", not_a_socket)
        .under(ELSEWHERE),
    check("docker-socket-missing", Block, "Is there a socket at all?", missing).under(DOWN),
    check("docker-socket-stale", Block, "Does anybody listen on the socket?", dead).under(DOWN),
    check(
        "docker-socket-symlink-foreign",
        Block,
        "Does the socket's path lead to the system's engine?",
        foreign,
    )
    .under(ELSEWHERE),
    check(
        "docker-socket-parent-unsearchable",
        Block,
        "May the user pass the directories above the socket?",
        closed,
    )
    .under(ELSEWHERE),
    check(
        "docker-socket-group-root",
        Block,
        "Does the socket belong to a group other than root's?",
        group_root,
    )
    .under(&["docker-group-missing", "podman-docker-shim", "snap-docker-group-missing"]),
    check("docker-group-gid-orphan", Block, "Has the socket's group a name?", orphan)
        .under(&["docker-group-missing"]),
    check("docker-socket-group-unexpected", Warn, "Is the socket's group `docker`?", group_other),
    check("docker-socket-mode-changed", Block, "May the socket's group read and write?", mode),
    check("docker-socket-world-writable", Warn, "Is the socket closed to everybody else?", world),
    check(
        "group-added-to-wrong-user",
        Warn,
        "Are the members of the group `docker` people who log in?",
        wrong_user,
    ),
    check("user-not-in-docker-group", Block, "Is the user in the socket's group?", not_in_group).under(&[
        "docker-group-missing",
        "docker-socket-group-root",
        "docker-group-gid-orphan",
        "docker-socket-mode-changed",
        "podman-docker-shim",
        "group-added-to-wrong-user",
    ]),
    check("nss-user-not-local", Info, "Is the user in /etc/passwd?", user_remote),
    check("session-groups-stale", Block, "Has this session the groups that the user has?", sessions::own)
        .under(&[
            "docker-group-missing",
            "docker-socket-group-root",
            "docker-group-gid-orphan",
            "docker-socket-mode-changed",
        ]),
    check(
        "systemd-user-manager-stale-groups",
        Degraded,
        "Has the user's service manager the user's groups?",
        sessions::manager,
    ),
    check(
        "tmux-server-stale-groups",
        Degraded,
        "Has the terminal multiplexer the user's groups?",
        sessions::multiplexer,
    ),
    check(
        "vscode-server-stale-groups",
        Degraded,
        "Has the editor's server the user's groups?",
        sessions::editor,
    ),
    check(
        "service-stale-groups",
        Degraded,
        "Have the services that run as the user its groups?",
        sessions::service,
    ),
    check(
        "docker-socket-acl-lost",
        Degraded,
        "Does no mask take away what a list grants on the socket?",
        acl_masked,
    ),
    check(
        "docker-config-not-owned",
        Degraded,
        "Is everything below ~/.docker the user's own?",
        cli_files::owned,
    ),
    check("docker-config-invalid", Degraded, "Is ~/.docker/config.json JSON?", cli_files::valid),
    check(
        "docker-config-open-mode",
        Warn,
        "Can nobody else read the passwords in ~/.docker/config.json?",
        cli_files::closed,
    ),
    check(
        "credential-helper-missing",
        Degraded,
        "Is the program there that keeps the passwords for registries?",
        cli_files::helper,
    ),
    check("cli-plugin-broken", Warn, "Are the plugins in ~/.docker programs?", cli_files::plugins),
    check("compose-plugin-missing", Degraded, "Is `docker compose` there?", cli_files::compose)
        .under(&["engine-not-installed", "podman-docker-shim"]),
    check("sudo-missing", Info, "Is sudo there, for a user who is not root?", sudo::missing),
    check("sudo-setuid-missing", Block, "May sudo become root?", sudo::setuid).under(&["sudo-nosuid-mount"]),
    check("sudo-nosuid-mount", Block, "Does sudo's file system allow it to become root?", sudo::nosuid),
    check("podman-docker-shim", Info, "Is `docker` Docker's own command?", sudo::podman),
    check("snap-docker-group-missing", Block, "Has the snap's engine a group?", sudo::snap_group),
    check(
        "snap-and-deb-docker",
        Degraded,
        "Is there one engine, not a snap's beside a package's?",
        sudo::snap_twice,
    ),
    check(
        "rootless-socket-unset",
        Block,
        "Does the command go to the rootless engine that runs?",
        sudo::rootless_unset,
    )
    .under(&["docker-host-env-stale", "docker-context-stale"]),
    check(
        "rootless-rootful-both",
        Warn,
        "Is there one engine, not a rootless one beside root's?",
        sudo::rootless_both,
    ),
];

/// The socket that lives, where the command goes to the system's own engine.
fn live<'c>(case: &'c Case) -> Option<(&'c Path, &'c Stat)> {
    match case.seat() {
        Some(Seat::Live { path, stat }) if case.endpoint.is_default() => Some((path, stat)),
        _ => None,
    }
}

/// What hides the socket from a look is unknown, not fine.
fn seen(case: &Case) -> Result<()> {
    match case.seat() {
        Some(Seat::Hidden { why }) => Err(Error::failed(why)),
        _ => Ok(()),
    }
}

pub(super) fn run_docker() -> Vec<AnyWant> {
    ["docker.socket", "docker.service"]
        .map(|name| want(Unit { name: name.into() }, UnitState::RUNNING))
        .to_vec()
}

fn held(path: &Path, owner: Owner) -> AnyWant {
    want(Access { path: path.to_owned() }, Held::By(owner))
}

/// Whether nothing answers at an endpoint that lies on this host.
fn nobody_there(case: &Case) -> Option<String> {
    match case.seat()? {
        Seat::Missing { part, .. } => Some(format!("{} is not there", part.display())),
        Seat::Dead { path } => Some(format!("nobody listens on {}", path.display())),
        Seat::Directory { path, .. } => Some(format!("{} is a directory", path.display())),
        Seat::NotASocket { path } => Some(format!("{} is not a socket", path.display())),
        _ => None,
    }
}

fn host_variable(case: &Case) -> Result<Answer> {
    let from = &case.endpoint.from;
    if !matches!(case.endpoint.source, Source::Environment | Source::Profile)
        || !from.starts_with("DOCKER_HOST")
    {
        return Ok(Answer::Fine);
    }
    let unset = "take DOCKER_HOST away: the command then goes to the engine of this host";
    let fix = Fix::told(unset).types("unset DOCKER_HOST");
    match &case.endpoint.target {
        Target::Unix(_) if case.endpoint.is_default() => Ok(Answer::Fine),
        Target::Unix(path) => match nobody_there(case) {
            Some(why) => {
                let shown = match case.endpoint.quotable {
                    true => why,
                    false => "nothing answers where it leads".into(),
                };
                let cause = format!("DOCKER_HOST leads to a socket that does not answer: {shown}");
                let evidence = format!("{from}{}", shown_path(case, path));
                Ok(Finding::new(cause, fix).saw(evidence).into())
            }
            None => seen(case).map(|()| Answer::Fine),
        },
        Target::Remote(url)
            if !["tcp://", "ssh://", "http://", "https://", "fd://", "npipe://"]
                .iter()
                .any(|scheme| url.starts_with(scheme)) =>
        {
            let cause = "DOCKER_HOST is no address: it has to begin with unix://, tcp:// or ssh://";
            Ok(Finding::new(cause, fix).saw(from.clone()).into())
        }
        _ => Err(Error::failed("DOCKER_HOST leads to another machine, which is not dialled")),
    }
}

fn shown_path(case: &Case, path: &Path) -> String {
    match case.endpoint.quotable {
        true => format!(" says unix://{}", path.display()),
        false => String::new(),
    }
}

fn tls(case: &Case) -> Result<Answer> {
    if !case.subject.own {
        return Ok(Answer::Fine);
    }
    let set = |name: &str| case.who.environment.get(name).filter(|value| !value.is_empty());
    let Some(verify) = set("DOCKER_TLS_VERIFY") else { return Ok(Answer::Fine) };
    let directory = set("DOCKER_CERT_PATH").map_or_else(|| case.docker_directory(), |path| path.into());
    let missing: Vec<&str> = ["ca.pem", "cert.pem", "key.pem"]
        .into_iter()
        .filter(|name| !case.exists(&directory.join(name).to_string_lossy()))
        .collect();
    if missing.is_empty() || case.endpoint.source == Source::Context {
        return Ok(Answer::Fine);
    }
    let cause = "DOCKER_TLS_VERIFY is set, and the certificates that it asks for are not there";
    let fix = Fix::told("take both variables away").types("unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH");
    Ok(Finding::new(cause, fix)
        .saw(format!("DOCKER_TLS_VERIFY={verify}: any text that is not empty counts as yes, `0` too"))
        .saw(format!("{} has no {}", directory.display(), missing.join(", ")))
        .into())
}

fn context_missing(case: &Case) -> Result<Answer> {
    let Target::NoContext(name) = &case.endpoint.target else { return Ok(Answer::Fine) };
    let named = if case.endpoint.quotable { format!("`{name}` ") } else { String::new() };
    let cause = format!("the context {named}is chosen and is not there");
    let fix = Fix::told("choose the default context").types("docker --context default context use default");
    Ok(Finding::new(cause, fix).saw(case.endpoint.from.clone()).into())
}

fn context_stale(case: &Case) -> Result<Answer> {
    let by_context =
        case.endpoint.source == Source::Context || case.endpoint.from.starts_with("DOCKER_CONTEXT");
    if !by_context || case.endpoint.is_default() {
        return Ok(Answer::Fine);
    }
    if let Target::Remote(_) = case.endpoint.target {
        return Err(Error::failed("the context leads to another machine, which is not dialled"));
    }
    let Some(why) = nobody_there(case) else { return seen(case).map(|()| Answer::Fine) };
    let why = if case.endpoint.quotable { why } else { "nothing answers there".into() };
    let cause = format!("the chosen context leads to an engine that is gone: {why}");
    let fix = Fix::told("choose the default context").types("docker --context default context use default");
    Ok(Finding::new(cause, fix).saw(case.endpoint.from.clone()).into())
}

fn group_missing(case: &Case) -> Result<Answer> {
    if !case.engine() || case.docker_group().is_some() {
        return Ok(Answer::Fine);
    }
    let mut wants = vec![want(Group { name: "docker".into() }, Presence::Present)];
    wants.extend(run_docker());
    let fix = Fix::asked("make the group, and start the socket with it", wants)
        .then(Consequence::RestartUnit { unit: "docker.socket".into() })
        .types("groupadd --system docker")
        .types("systemctl reset-failed docker.socket docker.service")
        .types("systemctl restart docker.socket docker.service");
    let mut finding = Finding::new("the group `docker` is gone: nobody but root can use the socket", fix)
        .saw("neither /etc/group nor the host's name services know `docker`");
    if let Ok(unit) = case.unit("docker.socket") {
        finding = finding.saw(format!("docker.socket is {}", unit.get("ActiveState")));
        if unit.get("ActiveState") == "active" {
            finding = finding.only(Degraded);
        }
    }
    Ok(finding.into())
}

fn group_twice(case: &Case) -> Result<Answer> {
    let named: Vec<_> = case.groups().iter().filter(|group| group.name == "docker").collect();
    if named.len() > 1 {
        let numbers: Vec<String> = named.iter().map(|group| group.gid.to_string()).collect();
        let cause = "/etc/group has several lines for `docker`: which one counts depends on the program";
        let fix = Fix::told("leave one line, with all members").types("vigr");
        return Ok(Finding::new(cause, fix).saw(format!("with the numbers {}", numbers.join(", "))).into());
    }
    let Some(group) = named.first() else { return Ok(Answer::Fine) };
    match case.groups().iter().find(|other| other.gid == group.gid && other.name != group.name) {
        Some(other) => {
            let cause = format!("the groups `docker` and `{}` have the same number", other.name);
            let fix = Fix::told("give one of them another number").types("groupmod -g NUMBER docker");
            Ok(Finding::new(cause, fix).saw(format!("/etc/group: both are {}", group.gid)).into())
        }
        None => Ok(Answer::Fine),
    }
}

fn group_remote(case: &Case) -> Result<Answer> {
    if !case.engine() || case.docker_group().is_none() || case.groups().iter().any(|g| g.name == "docker") {
        return Ok(Answer::Fine);
    }
    let cause =
        "the group `docker` comes from a directory service, which may not be up when the socket starts";
    let fix = Fix::told("make a local group of that name, or order the socket behind the directory service")
        .types("systemctl edit docker.socket   # [Unit] After=nss-user-lookup.target");
    Ok(Finding::new(cause, fix).saw("/etc/group has no line `docker`").into())
}

fn is_directory(case: &Case) -> Result<Answer> {
    let Some(Seat::Directory { path, empty }) = case.seat().filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    let cause = "the socket's place is taken by a directory: a container with a mount of the socket made it \
                 while the daemon was down";
    let commands = |fix: Fix| {
        fix.types("systemctl stop docker.service docker.socket")
            .types(format!("rmdir {}", path.display()))
            .types("systemctl start docker.socket docker.service")
    };
    let fix = if *empty {
        let mut wants = vec![want(File { path: path.clone() }, Node::Absent)];
        wants.extend(run_docker());
        let restart = Consequence::RestartUnit { unit: "docker.socket".into() };
        commands(Fix::asked("remove the empty directory and start the socket", wants).then(restart))
    } else {
        commands(Fix::told("look what is in it, move that away, and start the socket"))
    };
    Ok(Finding::new(cause, fix).saw(format!("{} is a directory", path.display())).into())
}

fn not_a_socket(case: &Case) -> Result<Answer> {
    let Some(Seat::NotASocket { path }) = case.seat().filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    let mut wants = vec![want(File { path: path.clone() }, Node::Absent)];
    wants.extend(run_docker());
    let fix = Fix::asked("remove it and start the socket", wants)
        .then(Consequence::RestartUnit { unit: "docker.socket".into() })
        .types(format!("mv {0} {0}.away", path.display()))
        .types("systemctl restart docker.socket docker.service");
    let cause = "the socket's place is taken by something that is no socket";
    Ok(Finding::new(cause, fix).saw(format!("{} is a file", path.display())).into())
}

/// Where the units want to run and the socket is not there, it was taken from under them.
fn start(case: &Case) -> Fix {
    let up = case.active("docker.socket").unwrap_or(false);
    let fix = Fix::asked("start the socket and the daemon", run_docker())
        .types("systemctl restart docker.socket docker.service");
    match up {
        true => fix.then(Consequence::RestartUnit { unit: "docker.socket".into() }),
        false => fix,
    }
}

fn missing(case: &Case) -> Result<Answer> {
    let Some(Seat::Missing { part, link }) = case.seat().filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    if !case.engine() || link.is_some() {
        return Ok(Answer::Fine);
    }
    let cause = "the socket is not there";
    Ok(Finding::new(cause, start(case)).saw(format!("{} does not exist", part.display())).into())
}

fn dead(case: &Case) -> Result<Answer> {
    let Some(Seat::Dead { path }) = case.seat().filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    let cause = "the socket is left over: nobody listens on it";
    let evidence = format!("{} is a socket, and takes no connection", path.display());
    Ok(Finding::new(cause, start(case)).saw(evidence).into())
}

fn foreign(case: &Case) -> Result<Answer> {
    let path = Path::new("/run/docker.sock");
    let Some(target) = case.host.link(path)?.filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    let cause = format!("/run/docker.sock is a link to another engine's socket, {}", target.display());
    let fix = Fix::told("start the system's socket again, or choose that engine by a context")
        .types("rm /run/docker.sock")
        .types("systemctl restart docker.socket docker.service");
    let finding =
        Finding::new(cause, fix).saw("it was made by another program: Rancher Desktop, Lima, podman");
    let lives = matches!(case.seat(), Some(Seat::Live { .. }));
    Ok(if lives { finding.only(Warn) } else { finding }.into())
}

fn closed(case: &Case) -> Result<Answer> {
    let Some(Seat::Closed { part, stat }) = case.seat() else { return Ok(Answer::Fine) };
    let cause = format!("{} may not pass the directory {}", case.subject.user, part.display());
    let shown = format!("it is {}:{} with mode {:04o}", stat.uid, stat.gid, stat.mode);
    let wider = Owner { uid: stat.uid, gid: stat.gid, mode: stat.mode | 0o111 };
    let open = format!("chmod a+x {}", part.display());
    let fix = match stat.uid {
        0 => Fix::asked("let everybody pass, as is usual", vec![held(part, wider)]).types(open),
        _ => Fix::told("let the user pass it").types(open),
    };
    Ok(Finding::new(cause, fix).saw(shown).into())
}

/// The socket's group as it should be, its mode kept.
fn regroup(path: &Path, stat: &Stat, gid: u32) -> Fix {
    let owner = Owner { uid: stat.uid, gid, mode: stat.mode | 0o660 };
    Fix::asked("give the socket to the group, without a restart", vec![held(path, owner)])
        .types(format!("chgrp docker {}", path.display()))
}

fn group_root(case: &Case) -> Result<Answer> {
    let (Some((path, stat)), Some(group)) = (live(case), case.docker_group()) else {
        return Ok(Answer::Fine);
    };
    if stat.gid != 0 {
        return Ok(Answer::Fine);
    }
    let cause = "the socket belongs to the group root: the members of `docker` cannot use it";
    Ok(Finding::new(cause, regroup(path, stat, group.gid))
        .saw(format!("{} is {}:0, the group `docker` is {}", path.display(), stat.uid, group.gid))
        .saw("dockerd takes root's group where there is no other at its start")
        .into())
}

fn orphan(case: &Case) -> Result<Answer> {
    let Some((path, stat)) = live(case) else { return Ok(Answer::Fine) };
    if stat.gid == 0 || case.group_name(stat.gid).is_some() {
        return Ok(Answer::Fine);
    }
    let cause = "the socket belongs to a group that is gone: `docker` was made anew with another number";
    let fix = match case.docker_group() {
        Some(group) => regroup(path, stat, group.gid),
        None => Fix::told("make the group `docker` first").types("groupadd --system docker"),
    };
    Ok(Finding::new(cause, fix).saw(format!("{} belongs to group {}", path.display(), stat.gid)).into())
}

fn group_other(case: &Case) -> Result<Answer> {
    let Some((path, stat)) = live(case) else { return Ok(Answer::Fine) };
    let Some(name) = case.group_name(stat.gid).filter(|name| stat.gid != 0 && name != "docker") else {
        return Ok(Answer::Fine);
    };
    if case.docker_group().is_none_or(|group| group.gid == stat.gid) {
        return Ok(Answer::Fine);
    }
    let cause = format!("the socket belongs to the group `{name}`: membership in `docker` does not help");
    let mut finding = Finding::new(
        cause,
        Fix::told(
            "set `SocketGroup=` in a drop-in of docker.socket; `group` in daemon.json is not heeded there",
        )
        .types("systemctl edit docker.socket"),
    )
    .saw(format!("{} belongs to {name} ({})", path.display(), stat.gid));
    if let Ok(unit) = case.unit("docker.socket")
        && !unit.get("DropInPaths").is_empty()
    {
        finding = finding.saw(format!("drop-ins: {}", unit.get("DropInPaths")));
    }
    Ok(finding.into())
}

fn mode(case: &Case) -> Result<Answer> {
    let Some((path, stat)) = live(case) else { return Ok(Answer::Fine) };
    if stat.mode & 0o060 == 0o060 {
        return Ok(Answer::Fine);
    }
    let owner = Owner { uid: stat.uid, gid: stat.gid, mode: 0o660 };
    let fix = Fix::asked("give the group its rights back, without a restart", vec![held(path, owner)])
        .types(format!("chmod 660 {}", path.display()));
    let cause = "the socket's mode shuts its group out";
    Ok(Finding::new(cause, fix)
        .saw(format!("{} has mode {:04o} instead of 0660", path.display(), stat.mode))
        .into())
}

fn world(case: &Case) -> Result<Answer> {
    let Some((path, stat)) = live(case) else { return Ok(Answer::Fine) };
    if stat.mode & 0o002 == 0 {
        return Ok(Answer::Fine);
    }
    let owner = Owner { uid: stat.uid, gid: stat.gid, mode: 0o660 };
    let fix = Fix::asked("close it to everybody outside its group", vec![held(path, owner)])
        .types(format!("chmod 660 {}", path.display()));
    let cause = "everybody on this host may use the socket, and so become root";
    Ok(Finding::new(cause, fix).saw(format!("{} has mode {:04o}", path.display(), stat.mode)).into())
}

fn acl_masked(case: &Case) -> Result<Answer> {
    let Some((path, stat)) = live(case) else { return Ok(Answer::Fine) };
    let Some(acl) = case.host.attribute(path, ACL)? else { return Ok(Answer::Fine) };
    let uid = case.subject.uid;
    let groups = case.subject.effective().unwrap_or_default();
    let open: Vec<u8> = unmasked(&acl);
    if uid == 0 || may(stat, Some(&acl), uid, groups, 2) || !may(stat, Some(&open), uid, groups, 2) {
        return Ok(Answer::Fine);
    }
    let cause = "an access list grants the socket to the user, and its mask takes that away again";
    let fix =
        Fix::told("use the group instead: the daemon makes the socket anew at each start, without lists")
            .types(format!("setfacl -b {}", path.display()));
    Ok(Finding::new(cause, fix).saw(format!("getfacl {}", path.display())).into())
}

/// The same list with a mask that takes nothing away.
fn unmasked(acl: &[u8]) -> Vec<u8> {
    let mut open = acl.to_vec();
    for entry in open.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if entry[..2] == [0x10, 0] {
            entry[2] = 7;
        }
    }
    open
}

fn wrong_user(case: &Case) -> Result<Answer> {
    let Some(group) = case.docker_group().filter(|_| case.engine()) else { return Ok(Answer::Fine) };
    let subject = &case.subject;
    let inside = subject.groups.as_ref().is_ok_and(|groups| groups.contains(&group.gid));
    if subject.uid == 0 || inside || !group.members.iter().any(|member| member == "root") {
        return Ok(Answer::Fine);
    }
    let cause = format!(
        "root was put into the group `docker`, and {} was meant: `$USER` is root in a root shell",
        subject.user
    );
    Ok(Finding::new(cause, grant(case, &group.name))
        .saw(format!("members of `docker`: {}", group.members.join(", ")))
        .into())
}

/// As much as root: only for a user who is named.
fn grant(case: &Case, group: &str) -> Fix {
    let user = &case.subject.user;
    let member = Member { user: user.clone(), group: group.to_owned() };
    let text =
        format!("put {user} into the group, which is as much as root; it counts from the next login on");
    let mut fix = Fix::asked(text, vec![want(member, Presence::Present)])
        .types(format!("sudo rprov doctor --fix --user {user}"));
    fix.grants = true;
    fix
}

fn not_in_group(case: &Case) -> Result<Answer> {
    seen(case)?;
    let Some((path, stat)) = live(case) else { return Ok(Answer::Fine) };
    let subject = &case.subject;
    let groups = subject.groups.as_ref().map_err(Error::failed)?;
    let acl = case.host.attribute(path, ACL)?;
    let may_use = |groups: &[u32]| may(stat, acl.as_deref(), subject.uid, groups, 2);
    if may_use(groups) || subject.effective().is_some_and(may_use) || groups.contains(&stat.gid) {
        return Ok(Answer::Fine);
    }
    let name = case.group_name(stat.gid).unwrap_or_else(|| stat.gid.to_string());
    let fix = match stat.gid {
        0 => Fix::told("the socket belongs to root alone").types("sudo docker ps"),
        _ => grant(case, &name),
    };
    let cause = format!("{} is not in the group `{name}`, and so may not use the socket", subject.user);
    Ok(Finding::new(cause, fix)
        .saw(format!("{} is {}:{} with mode {:04o}", path.display(), stat.uid, stat.gid, stat.mode))
        .saw(format!("the groups of {}: {}", subject.user, listed(groups)))
        .into())
}

fn listed(groups: &[u32]) -> String {
    groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn user_remote(case: &Case) -> Result<Answer> {
    if case.subject.local || case.subject.uid == 0 {
        return Ok(Answer::Fine);
    }
    let cause =
        format!("{} comes from a directory service: `usermod` does not know such users", case.subject.user);
    let fix = Fix::told("use gpasswd").types(format!("gpasswd --add {} docker", case.subject.user));
    Ok(Finding::new(cause, fix).saw("/etc/passwd has no line for the user").into())
}
