//! The socket's place: what is there, whose it is, and whom it lets in.

use super::super::Severity::Warn;
use super::super::socket::{ACL, Seat, may};
use super::super::{Answer, Case, Finding, Fix};
use super::{held, live, run_docker};
use crate::error::Result;
use crate::host::{Owner, Stat};
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::want;
use std::path::Path;

pub fn is_directory(case: &Case) -> Result<Answer> {
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

pub fn not_a_socket(case: &Case) -> Result<Answer> {
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

pub fn missing(case: &Case) -> Result<Answer> {
    let Some(Seat::Missing { part, link }) = case.seat().filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    if !case.engine() || link.is_some() {
        return Ok(Answer::Fine);
    }
    let cause = "the socket is not there";
    Ok(Finding::new(cause, start(case)).saw(format!("{} does not exist", part.display())).into())
}

pub fn dead(case: &Case) -> Result<Answer> {
    let Some(Seat::Dead { path }) = case.seat().filter(|_| case.endpoint.is_default()) else {
        return Ok(Answer::Fine);
    };
    let cause = "the socket is left over: nobody listens on it";
    let evidence = format!("{} is a socket, and takes no connection", path.display());
    Ok(Finding::new(cause, start(case)).saw(evidence).into())
}

pub fn foreign(case: &Case) -> Result<Answer> {
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

pub fn closed(case: &Case) -> Result<Answer> {
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

pub fn group_root(case: &Case) -> Result<Answer> {
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

pub fn orphan(case: &Case) -> Result<Answer> {
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

pub fn group_other(case: &Case) -> Result<Answer> {
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

pub fn mode(case: &Case) -> Result<Answer> {
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

pub fn world(case: &Case) -> Result<Answer> {
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

pub fn acl_masked(case: &Case) -> Result<Answer> {
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
