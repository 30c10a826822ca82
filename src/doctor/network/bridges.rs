//! The bridges of others that docker's rules close, and docker's own that has no addresses left.

use super::super::Severity::Warn;
use super::super::{Answer, Case, Finding, Fix};
use super::{by_iptables, needs_root, rules, runs};
use crate::error::Result;
use serde_json::Value;
use std::path::Path;

/// How the bridges of libvirt, LXC, LXD, Incus, Proxmox and Multipass are called.
const OTHERS: [&str; 6] = ["virbr", "lxcbr", "lxdbr", "incusbr", "vmbr", "mpqemubr"];

pub fn forward_drop(case: &Case) -> Result<Answer> {
    if !runs(case) || !by_iptables(case) || case.program("iptables").is_none() {
        return Ok(Answer::Fine);
    }
    let names = case.host.list(Path::new("/sys/class/net"))?;
    let others: Vec<&String> =
        names.iter().filter(|name| OTHERS.iter().any(|other| name.starts_with(other))).collect();
    if others.is_empty() {
        return Ok(Answer::Fine);
    }
    needs_root(case)?;
    let filter = rules(case, "iptables-save", "filter")?;
    if !filter.lines().any(|line| line.starts_with(":FORWARD DROP")) {
        return Ok(Answer::Fine);
    }
    // Whoever has rules for its bridge here has looked after itself.
    let accepted = |name: &&&String| {
        filter.lines().any(|line| line.contains(&format!(" {name} ")) && line.contains("-j ACCEPT"))
    };
    let closed: Vec<&&String> = others.iter().filter(|name| !accepted(name)).collect();
    let Some(first) = closed.first() else { return Ok(Answer::Fine) };
    let fix = Fix::told(
        "let that bridge through before docker's rules; or set `ip-forward-no-drop`, and restart docker",
    )
    .types(format!("iptables -I DOCKER-USER -i {first} -j ACCEPT"))
    .types(format!("iptables -I DOCKER-USER -o {first} -j ACCEPT"));
    let cause = "docker drops what this host forwards for others: virtual machines lose the network";
    Ok(Finding::new(cause, fix)
        .saw("iptables-save: the policy of FORWARD is DROP")
        .all(closed.iter().map(|name| format!("no rule lets {name} through")))
        .into())
}

/// The length of the prefix of `10.0.0.1/24`.
fn prefix(value: &Value) -> Option<u32> {
    value.as_str()?.split_once('/')?.1.parse().ok().filter(|length| *length <= 32)
}

pub fn no_addresses(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    let config = case.config()?;
    let narrow = ["fixed-cidr", "bip"].into_iter().find_map(|key| Some((key, prefix(config.get(key)?)?)));
    let Some((key, length)) = narrow else { return Ok(Answer::Fine) };
    // Without the network's own address, the gateway's and the broadcast's.
    let room = (1u64 << (32 - length)).saturating_sub(3);
    let used = case.host.list(Path::new("/sys/class/net/docker0/brif"))?.len() as u64;
    if used < room && room > 1 {
        return Ok(Answer::Fine);
    }
    let fix =
        Fix::told("give it a wider range, and restart docker").types("sudoedit /etc/docker/daemon.json");
    let cause = format!("docker0 has no addresses left: `{key}` leaves room for {room}");
    let finding =
        Finding::new(cause, fix).saw(format!("{used} containers are on docker0; {key} ends with /{length}"));
    Ok(if used < room { finding.only(Warn) } else { finding }.into())
}
