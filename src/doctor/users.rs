//! The groups that a user has lost on the way, and what a rootless engine wants of its user.

use super::Severity::{Block, Degraded, Warn};
use super::socket::{Seat, walk};
use super::subject::{Group, group_line};
use super::{Answer, Case, Check, Finding, Fix, check, home};
use crate::error::Result;
use std::path::Path;

pub(super) const CHECKS: &[Check] = &[
    check("usermod-without-append", Degraded, "Has the user the groups of before?", without_append),
    check(
        "rootless-userns-max-zero",
        Block,
        "May users have user namespaces, for a rootless engine?",
        none_at_all,
    ),
    check("rootless-userns-restricted", Block, "May the rootless engine make a user namespace?", restricted)
        .under(&["rootless-userns-max-zero"]),
    check("rootless-newuidmap-missing", Block, "Is newuidmap there, for a rootless engine?", no_newuidmap),
    check("rootless-subid-missing", Block, "Has the user of a rootless engine ranges of numbers?", no_ranges),
    check("rootless-xdg-missing", Warn, "Is this a whole login session, for a rootless engine?", no_session),
];

/// The groups that make a user an administrator.
const ADMINISTRATORS: [&str; 4] = ["sudo", "wheel", "admin", "adm"];

/// What the tools of shadow(5) keep of the file as it was before the last change.
fn without_append(case: &Case) -> Result<Answer> {
    let user = &case.subject.user;
    let Some(before) = case.text("/etc/group-")? else { return Ok(Answer::Fine) };
    let has = |group: &Group| group.members.iter().any(|member| member == user);
    let of = |groups: &[Group]| -> Vec<String> {
        groups.iter().filter(|group| has(group)).map(|group| group.name.clone()).collect()
    };
    let before: Vec<Group> = before.lines().filter_map(group_line).collect();
    let (had, now) = (of(&before), of(case.groups()));
    let docker = |names: &[String]| names.iter().any(|name| name == "docker");
    if docker(&had) || now != ["docker"] {
        return Ok(Answer::Fine);
    }
    // A group that is gone as a whole was not taken from this user.
    let lost: Vec<String> =
        had.into_iter().filter(|name| case.groups().iter().any(|group| group.name == *name)).collect();
    if lost.is_empty() {
        return Ok(Answer::Fine);
    }
    let names = lost.join(",");
    let fix = Fix::told("give them back; `-a` is what keeps the others")
        .types(format!("usermod -aG {names} {user}"));
    let finding = Finding::new(
        format!("`{user}` got the group docker and lost all others: `usermod -G` without `-a`"),
        fix,
    )
    .saw(format!("/etc/group- has `{user}` in {}; /etc/group only in docker", lost.join(", ")));
    let administrator = lost.iter().any(|name| ADMINISTRATORS.contains(&name.as_str()));
    Ok(if administrator { finding } else { finding.only(Warn) }.into())
}

/// Whether the user has set up a rootless engine: its unit, as dockerd-rootless-setuptool.sh writes it.
fn set_up(case: &Case) -> bool {
    let unit = case.subject.home.join(".config/systemd/user/docker.service");
    case.subject.uid != 0 && home::read(&unit, &case.subject, case.host).is_ok_and(|text| text.is_some())
}

/// A rootless engine that is set up and does not run: what runs has all that it needs.
fn down(case: &Case) -> bool {
    let socket = format!("/run/user/{}/docker.sock", case.subject.uid);
    set_up(case) && !matches!(walk(Path::new(&socket), &case.subject, case.host), Seat::Live { .. })
}

fn number(case: &Case, path: &str) -> Option<u64> {
    case.text(path).ok().flatten()?.trim().parse().ok()
}

const MOST: &str = "/proc/sys/user/max_user_namespaces";

fn none_at_all(case: &Case) -> Result<Answer> {
    if !down(case) || number(case, MOST) != Some(0) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("allow them, now and at boot")
        .types("sysctl -w user.max_user_namespaces=28633")
        .types("echo user.max_user_namespaces=28633 > /etc/sysctl.d/99-rootless.conf");
    Ok(Finding::new("no user namespaces are allowed here: a rootless engine cannot start", fix)
        .saw(format!("{MOST} is 0"))
        .into())
}

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const CLONE: &str = "/proc/sys/kernel/unprivileged_userns_clone";

fn restricted(case: &Case) -> Result<Answer> {
    if !down(case) {
        return Ok(Answer::Fine);
    }
    let profiles = case.host.list(Path::new("/etc/apparmor.d")).unwrap_or_default();
    let allowed = profiles.iter().any(|name| name.contains("rootlesskit"));
    let (what, fix) = if number(case, CLONE) == Some(0) {
        (CLONE, Fix::told("allow them").types("sysctl -w kernel.unprivileged_userns_clone=1"))
    } else if number(case, APPARMOR) == Some(1) && !allowed {
        let fix =
            Fix::told("give rootlesskit a profile of AppArmor's with the line `userns,`, in /etc/apparmor.d")
                .types("systemctl reload apparmor.service");
        (APPARMOR, fix)
    } else {
        return Ok(Answer::Fine);
    };
    let value = case.text(what)?.unwrap_or_default();
    Ok(Finding::new("user namespaces are restricted: the rootless engine cannot start", fix)
        .saw(format!("{what} is {}", value.trim()))
        .into())
}

fn no_newuidmap(case: &Case) -> Result<Answer> {
    let missing: Vec<&str> =
        ["newuidmap", "newgidmap"].into_iter().filter(|name| case.program(name).is_none()).collect();
    if missing.is_empty() || !down(case) {
        return Ok(Answer::Fine);
    }
    let package = match case.program("dpkg") {
        Some(_) => "apt-get install uidmap",
        None => "dnf install shadow-utils",
    };
    let cause = format!("{} is not installed: a rootless engine cannot map its users", missing.join(" and "));
    Ok(Finding::new(cause, Fix::told("install it").types(package))
        .saw("looked for in /usr/bin and /usr/sbin")
        .into())
}

fn no_ranges(case: &Case) -> Result<Answer> {
    if !down(case) {
        return Ok(Answer::Fine);
    }
    // A directory may hold them instead.
    let elsewhere = case.text("/etc/nsswitch.conf")?.unwrap_or_default();
    if elsewhere.lines().any(|line| line.starts_with("subid:") && !line.contains("files")) {
        return Ok(Answer::Fine);
    }
    let (user, uid) = (&case.subject.user, case.subject.uid);
    let mut missing = Vec::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = case.text(file)?.unwrap_or_default();
        let of = |line: &str| {
            line.split(':').next().is_some_and(|name| *name == **user || name == uid.to_string())
        };
        if !text.lines().any(of) {
            missing.push(file);
        }
    }
    if missing.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("give it ranges that nobody else has")
        .types(format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"));
    Ok(Finding::new(format!("`{user}` has no range of numbers for a rootless engine"), fix)
        .all(missing.into_iter().map(|file| format!("{file} has no line for {user}")))
        .into())
}

fn no_session(case: &Case) -> Result<Answer> {
    let set = case.who.environment.get("XDG_RUNTIME_DIR").is_some_and(|value| !value.is_empty());
    if set || !case.subject.own || !set_up(case) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told(
        "log in by ssh or at the console, not by su or sudo; to keep the engine running without a login:",
    )
    .types(format!("sudo loginctl enable-linger {}", case.subject.user));
    let cause = "this is no whole login session: `systemctl --user` does not reach the rootless engine";
    Ok(Finding::new(cause, fix).saw("XDG_RUNTIME_DIR is not set").into())
}
