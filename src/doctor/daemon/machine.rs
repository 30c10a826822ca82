//! What kind of machine this is, as far as an engine needs one: a kernel of its own, and systemd.

use super::super::Severity::Info;
use super::super::socket::Seat;
use super::super::{Answer, Case, Finding, Fix};
use crate::error::Result;
use crate::facts::{Init, Virtualisation};

pub fn wsl1(case: &Case) -> Result<Answer> {
    if case.facts.virtualisation != Virtualisation::Wsl1 {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("go to WSL 2, from Windows").types("wsl --set-version NAME 2");
    Ok(Finding::new("WSL 1 has no Linux kernel: no engine can run", fix)
        .saw(format!("the kernel calls itself {}", case.facts.kernel))
        .into())
}

pub fn wsl_systemd(case: &Case) -> Result<Answer> {
    if case.facts.virtualisation != Virtualisation::Wsl2 || case.facts.init == Init::Systemd {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("put `systemd=true` below `[boot]` in /etc/wsl.conf, then, from Windows")
        .types("wsl --shutdown");
    Ok(Finding::new("systemd does not run in this WSL: nothing starts docker", fix)
        .saw(format!("process 1 is `{}`", case.facts.first_process))
        .into())
}

pub fn no_systemd(case: &Case) -> Result<Answer> {
    if case.facts.init == Init::Systemd {
        return Ok(Answer::Fine);
    }
    let cause = "systemd does not run here: nothing starts docker by itself";
    let fix = Fix::told("look on the host itself, if this is a container or a chroot");
    let finding = Finding::new(cause, fix).saw(format!("process 1 is `{}`", case.facts.first_process));
    let lives = matches!(case.seat(), Some(Seat::Live { .. }));
    Ok(if lives { finding.only(Info) } else { finding }.into())
}

pub fn nested(case: &Case) -> Result<Answer> {
    let Virtualisation::Container(kind) = &case.facts.virtualisation else { return Ok(Answer::Fine) };
    let cause =
        format!("this host is itself a container ({kind}): its kernel and its limits are another host's");
    Ok(Finding::new(cause, Fix::told("none is needed; what concerns the kernel is mended outside"))
        .saw("/run/systemd/container, /.dockerenv or /run/.containerenv")
        .into())
}
