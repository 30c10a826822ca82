//! Whether the user may speak to the engine, and if not, which of the many reasons it is.

mod address;
mod cli_files;
mod place;
mod sessions;
mod sudo;

use super::Severity::{Block, Degraded, Info, Warn};
use super::socket::{ACL, Seat, may};
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::error::{Error, Result};
use crate::host::{Owner, Stat};
use crate::resources::access::{Access, Held};
use crate::resources::consequence::Consequence;
use crate::resources::group::{Group, Presence};
use crate::resources::member::Member;
use crate::resources::unit::{Unit, UnitState};
use crate::resources::{AnyWant, want};
use std::path::Path;

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
    "xt-addrtype-missing",
    "iptables-missing",
    "daemon-failed",
    "unit-start-limit-hit",
    "unit-inactive",
];

pub(super) const CHECKS: &[Check] = &[
    check("docker-host-env-stale", Block, "Does DOCKER_HOST lead to an engine?", address::host_variable)
        .under(&["engine-not-installed"]),
    check(
        "docker-tls-env-stale",
        Block,
        "Do DOCKER_TLS_VERIFY and DOCKER_CERT_PATH fit the endpoint?",
        address::tls,
    ),
    check("docker-context-missing", Block, "Is the context there that is chosen?", address::context_missing),
    check(
        "docker-context-stale",
        Block,
        "Does the chosen context lead to an engine?",
        address::context_stale,
    )
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
    check("docker-socket-is-directory", Block, "Is the socket not a directory?", place::is_directory)
        .under(ELSEWHERE),
    check("docker-socket-not-a-socket", Block, "Is the socket not a plain file?", place::not_a_socket)
        .under(ELSEWHERE),
    check("docker-socket-missing", Block, "Is there a socket at all?", place::missing).under(DOWN),
    check("docker-socket-stale", Block, "Does anybody listen on the socket?", place::dead).under(DOWN),
    check(
        "docker-socket-symlink-foreign",
        Block,
        "Does the socket's path lead to the system's engine?",
        place::foreign,
    )
    .under(ELSEWHERE),
    check(
        "docker-socket-parent-unsearchable",
        Block,
        "May the user pass the directories above the socket?",
        place::closed,
    )
    .under(ELSEWHERE),
    check(
        "docker-socket-group-root",
        Block,
        "Does the socket belong to a group other than root's?",
        place::group_root,
    )
    .under(&["docker-group-missing", "podman-docker-shim", "snap-docker-group-missing"]),
    check("docker-group-gid-orphan", Block, "Has the socket's group a name?", place::orphan)
        .under(&["docker-group-missing"]),
    check("docker-socket-group-unexpected", Warn, "Is the socket's group `docker`?", place::group_other),
    check("docker-socket-mode-changed", Block, "May the socket's group read and write?", place::mode),
    check("docker-socket-world-writable", Warn, "Is the socket closed to everybody else?", place::world),
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
        place::acl_masked,
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
