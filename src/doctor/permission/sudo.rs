//! Ways to become root, and other engines that the docker command may meet: podman's shim, a snap, a rootless one.

use super::super::socket::{Seat, walk};
use super::super::{Answer, Case, Finding, Fix, Severity};
use super::held;
use crate::error::Result;
use crate::facts::Virtualisation;
use crate::host::{Kind, Owner};
use std::path::{Path, PathBuf};

fn program(case: &Case) -> Result<Option<(PathBuf, crate::host::Stat)>> {
    let Some(mut path) = case.program("sudo") else { return Ok(None) };
    for _ in 0..8 {
        let Some(target) = case.host.link(&path)? else { break };
        path = path.parent().map(|parent| parent.join(&target)).unwrap_or(target);
    }
    Ok(case.host.stat(&path)?.map(|stat| (path, stat)))
}

pub fn missing(case: &Case) -> Result<Answer> {
    if case.subject.uid == 0 || case.program("sudo").is_some() || case.program("doas").is_some() {
        return Ok(Answer::Fine);
    }
    let cause = "sudo is not installed: what needs root has to be done as root";
    Ok(Finding::new(cause, Fix::told("become root with its password").types("su -"))
        .saw("no sudo in /usr/bin")
        .into())
}

pub fn setuid(case: &Case) -> Result<Answer> {
    let Some((path, stat)) = program(case)? else { return Ok(Answer::Fine) };
    if stat.kind != Kind::File || (stat.mode & 0o4000 != 0 && stat.uid == 0) {
        return Ok(Answer::Fine);
    }
    let cause = "sudo cannot become root: it has lost its owner or its setuid bit";
    let mode = if stat.mode & 0o111 == 0 { 0o755 } else { stat.mode & 0o7755 };
    let owner = Owner { uid: 0, gid: 0, mode: mode | 0o4000 };
    let fix = Fix::asked("give it back to root, with the bit", vec![held(&path, owner)])
        .types(format!("pkexec sh -c 'chown root:root {0} && chmod 4755 {0}'", path.display()));
    Ok(Finding::new(cause, fix)
        .saw(format!("{} is {}:{} with mode {:04o}", path.display(), stat.uid, stat.gid, stat.mode))
        .into())
}

pub fn nosuid(case: &Case) -> Result<Answer> {
    let Some((path, _)) = program(case)? else { return Ok(Answer::Fine) };
    let status = case.text("/proc/self/status")?.unwrap_or_default();
    if case.subject.own && status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])) {
        let cause = "this session may gain no privileges: sudo cannot work in it";
        let fix = Fix::told("leave the sandbox: use another login");
        return Ok(Finding::new(cause, fix).saw("/proc/self/status: NoNewPrivs: 1").into());
    }
    let mounts = case.text("/proc/self/mountinfo")?.unwrap_or_default();
    let mut best: Option<(usize, bool, String)> = None;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (Some(point), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
        if path.starts_with(point) && best.as_ref().is_none_or(|(length, ..)| point.len() >= *length) {
            best = Some((point.len(), options.split(',').any(|o| o == "nosuid"), point.to_string()));
        }
    }
    match best {
        Some((_, true, point)) => {
            let cause = format!("the file system at {point} does not let sudo become root");
            let fix = Fix::told("mount it with suid").types(format!("mount -o remount,suid {point}"));
            Ok(Finding::new(cause, fix).saw(format!("{point} is mounted with nosuid")).into())
        }
        _ => Ok(Answer::Fine),
    }
}

pub fn podman(case: &Case) -> Result<Answer> {
    let Some(path) = case.program("docker") else { return Ok(Answer::Fine) };
    let stat = case.host.stat(&path)?;
    let linked = case.host.link(Path::new("/run/docker.sock"))?;
    let to_podman = linked.is_some_and(|target| target.to_string_lossy().contains("podman"));
    let script = match stat {
        Some(stat) if stat.kind == Kind::File && stat.size < 4096 => {
            case.text(&path.to_string_lossy())?.is_some_and(|text| text.contains("podman"))
        }
        _ => false,
    };
    if !script && !to_podman {
        return Ok(Answer::Fine);
    }
    let cause = if script { "`docker` is podman under another name" } else { "the socket is podman's" };
    let fix = Fix::told("decide for one engine: `rprov install` puts Docker's in its place")
        .types("sudo rprov install");
    Ok(Finding::new(cause, fix).saw(format!("{} is a script that starts podman", path.display())).into())
}

pub fn snap_group(case: &Case) -> Result<Answer> {
    if !case.facts.snap_docker || case.engine() || case.docker_group().is_some() {
        return Ok(Answer::Fine);
    }
    let cause = "the snap's engine has no group: its socket is root's alone";
    let fix = Fix::told("make the group, and start the snap again")
        .types("sudo groupadd --system docker")
        .types("sudo snap disable docker && sudo snap enable docker");
    Ok(Finding::new(cause, fix).saw("docker is a snap, and there is no group `docker`").into())
}

pub fn snap_twice(case: &Case) -> Result<Answer> {
    if !case.facts.snap_docker || !case.engine() {
        return Ok(Answer::Fine);
    }
    let cause = "two engines are installed, a snap's and a package's: their containers and profiles get in each other's way";
    let fix = Fix::told("keep one, and reboot: the other's profile stays loaded until then")
        .types("sudo snap remove docker");
    Ok(Finding::new(cause, fix).saw("/snap/bin/docker beside dockerd of a package").into())
}

/// The socket of a rootless engine of the subject's, if it lives.
fn rootless(case: &Case) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/run/user/{}/docker.sock", case.subject.uid));
    let lives = matches!(walk(&path, &case.subject, case.host), Seat::Live { .. });
    (lives && case.subject.uid != 0).then_some(path)
}

pub fn rootless_unset(case: &Case) -> Result<Answer> {
    let Some(path) = rootless(case) else { return Ok(Answer::Fine) };
    if !case.endpoint.is_default() || matches!(case.seat(), Some(Seat::Live { .. })) {
        return Ok(Answer::Fine);
    }
    let cause = "a rootless engine runs, and the command goes to root's socket";
    let fix = Fix::told("choose the rootless engine").types("docker context use rootless");
    Ok(Finding::new(cause, fix).saw(format!("{} lives", path.display())).into())
}

pub fn rootless_both(case: &Case) -> Result<Answer> {
    let Some(path) = rootless(case) else { return Ok(Answer::Fine) };
    let both = matches!(walk(Path::new("/run/docker.sock"), &case.subject, case.host), Seat::Live { .. });
    if !both || matches!(case.facts.virtualisation, Virtualisation::Wsl1) {
        return Ok(Answer::Fine);
    }
    let cause = "a rootless engine and root's engine both run: the command sees one of them at a time";
    let fix = Fix::told("stop the one that is not used")
        .types("sudo systemctl disable --now docker.service docker.socket");
    Ok(Finding::new(cause, fix).saw(path.display().to_string()).only(Severity::Info).into())
}
