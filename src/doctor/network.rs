//! Whether packets get to containers and from them: forwarding, firewalls, addresses, ports and names.

mod bridges;
mod containers;
mod modules;

pub(super) use modules::has_module;

use super::Severity::{Block, Degraded, Info, Warn};
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::error::{Error, Result};
use crate::host::Question;
use crate::resources::consequence::Consequence;
use crate::resources::file::{File, Node};
use crate::resources::setting::Setting;
use crate::resources::want;
use serde_json::Value;
use std::path::Path;

/// A daemon.json that cannot be read says nothing.
const BROKEN: &[&str] = &["daemon-json-syntax", "daemon-json-encoding", "daemon-json-unreadable"];

pub(super) const CHECKS: &[Check] = &[
    check("ip-forward-disabled", Degraded, "Does the kernel forward packets?", forwarding),
    check("iptables-missing", Block, "Is iptables installed?", no_iptables).under(&["engine-not-installed"]),
    check("iptables-chains-flushed", Degraded, "Are docker's own rules still there?", flushed)
        .root()
        .under(&["iptables-missing"]),
    check("iptables-mixed-backends", Degraded, "Do docker's rules lie in one place?", mixed).root(),
    check(
        "iptables-legacy-module-missing",
        Block,
        "Has the kernel the legacy tables, where iptables is that?",
        modules::no_legacy,
    )
    .under(&["kernel-modules-gone"]),
    check(
        "iptables-nft-unsupported",
        Block,
        "Has the kernel nf_tables, where iptables is that?",
        modules::no_nft,
    )
    .under(&["kernel-modules-gone"]),
    check(
        "iptables-raw-table-missing",
        Degraded,
        "Has the kernel the table `raw`, where iptables is legacy?",
        modules::no_raw,
    )
    .under(&["kernel-modules-gone", "iptables-legacy-module-missing"]),
    check(
        "nftables-forwarding-off",
        Block,
        "Is forwarding on, where docker writes rules of nftables?",
        nft_forwarding,
    )
    .under(BROKEN),
    check(
        "forward-policy-drop",
        Warn,
        "Do the bridges of others get through docker's rules?",
        bridges::forward_drop,
    )
    .root(),
    check("no-ip-in-network", Degraded, "Has docker0 addresses left?", bridges::no_addresses).under(BROKEN),
    check("docker-iptables-disabled", Warn, "May docker write its rules?", disabled).under(BROKEN),
    check("ufw-bypassed", Warn, "Does ufw's word hold for published ports?", ufw).root(),
    check("firewalld-zone-conflict", Degraded, "Does firewalld leave docker0 to docker?", zone),
    check("br-netfilter-missing", Degraded, "Is br_netfilter there for what needs it?", bridge_filter)
        .under(BROKEN),
    check("address-pool-exhausted", Degraded, "Are there ranges left for networks?", pools).under(BROKEN),
    check("subnet-overlaps-host", Degraded, "Do docker's networks keep off the host's routes?", overlap),
    check("dns-resolver-dangling", Degraded, "Does /etc/resolv.conf lead somewhere?", resolver),
    check("dns-daemon-lookup", Degraded, "Does the host itself find names?", no_names)
        .under(&["dns-resolver-dangling"]),
    check("dns-loopback-only", Warn, "Is there a name server that containers can reach?", loopback_names)
        .under(&[
            "dns-resolver-dangling",
            "dns-daemon-lookup",
            "daemon-json-syntax",
            "daemon-json-encoding",
            "daemon-json-unreadable",
        ]),
    check("interfaces-managed", Warn, "Does networkd leave docker's interfaces alone?", managed),
    check("port-in-use", Degraded, "Are the ports free that containers want?", containers::port_in_use)
        .root(),
    check(
        "app-binds-container-loopback",
        Info,
        "Do published programs listen outside their container's loopback?",
        containers::loopback,
    )
    .root(),
    check(
        "port-not-published",
        Info,
        "Are the ports published that programs listen on?",
        containers::unpublished,
    )
    .root(),
    check(
        "port-published-to-loopback",
        Info,
        "Can others reach the published ports?",
        containers::local_only,
    )
    .root(),
];

fn runs(case: &Case) -> bool {
    case.engine() && case.active("docker.service").unwrap_or(false)
}

/// Whether docker writes rules of iptables here, as far as daemon.json and the unit tell.
fn by_iptables(case: &Case) -> bool {
    let config = case.config().unwrap_or_default();
    let flags = case.flags().unwrap_or_default();
    let off =
        config.get("iptables") == Some(&Value::Bool(false)) || flags.iter().any(|f| f == "--iptables=false");
    let other = config.get("firewall-backend").and_then(Value::as_str).is_some_and(|name| name != "iptables");
    !off && !other
}

const FORWARD: &str = "net.ipv4.ip_forward";

fn forwarding(case: &Case) -> Result<Answer> {
    let Some(value) = case.text("/proc/sys/net/ipv4/ip_forward")? else { return Ok(Answer::Fine) };
    if value.trim() != "0" || !runs(case) {
        return Ok(Answer::Fine);
    }
    let mut off = Vec::new();
    for directory in ["/etc/sysctl.d", "/usr/lib/sysctl.d", "/run/sysctl.d"] {
        for name in case.host.list(Path::new(directory))? {
            off.push(format!("{directory}/{name}"));
        }
    }
    off.push("/etc/sysctl.conf".into());
    off.retain(|path| {
        let text = case.text(path).ok().flatten().unwrap_or_default();
        text.lines().any(|line| line.replace(' ', "").starts_with("net.ipv4.ip_forward=0"))
    });
    let file = "/etc/sysctl.d/99-docker-forward.conf";
    let wants = vec![
        want(
            File { path: file.into() },
            Node::file(format!("# Containers reach others through this host.\n{FORWARD} = 1\n")),
        ),
        want(Setting { name: FORWARD.into() }, "1".to_owned()),
    ];
    let fix = Fix::asked("switch it on, now and at boot", wants).types(format!("sysctl -w {FORWARD}=1"));
    Ok(Finding::new("the kernel forwards no packets: containers reach nothing outside this host", fix)
        .saw(format!("{FORWARD} is 0"))
        .all(off.into_iter().map(|path| format!("{path} sets it to 0")))
        .into())
}

fn nft_forwarding(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let nft = config.get("firewall-backend").and_then(Value::as_str) == Some("nftables");
    let left = config.get("ip-forward") == Some(&Value::Bool(false));
    let off = case.text("/proc/sys/net/ipv4/ip_forward")?.is_some_and(|value| value.trim() == "0");
    // Where the daemon runs, that packets are not forwarded is the whole of it.
    if !nft || left || !off || !case.engine() || runs(case) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("see that the host's own firewall shall forward, and switch it on")
        .types(format!("echo '{FORWARD} = 1' > /etc/sysctl.d/99-docker-forward.conf"))
        .types(format!("sysctl -w {FORWARD}=1"))
        .types("systemctl restart docker.service");
    Ok(Finding::new("with nftables docker does not switch forwarding on by itself, and does not start", fix)
        .saw(format!("{FORWARD} is 0"))
        .saw("/etc/docker/daemon.json: \"firewall-backend\": \"nftables\"")
        .into())
}

fn no_iptables(case: &Case) -> Result<Answer> {
    if !case.engine() || !by_iptables(case) || case.program("iptables").is_some() {
        return Ok(Answer::Fine);
    }
    let fix =
        Fix::told("install it").types("sudo apt-get install iptables   # or: sudo dnf install iptables-nft");
    let finding = Finding::new("iptables is not installed: the daemon cannot make its networks", fix)
        .saw("no iptables in /usr/sbin");
    Ok(if runs(case) { finding.only(Degraded) } else { finding }.into())
}

/// A table by one of the tools.
fn rules(case: &Case, program: &'static str, table: &'static str) -> Result<String> {
    let answer = case.host.query(&Question::IptablesSave { program, table })?;
    match answer.code {
        0 | 127 => Ok(answer.stdout),
        _ => Err(Error::failed(format!("`{program}` says: {}", answer.stderr.trim()))),
    }
}

fn needs_root(case: &Case) -> Result<()> {
    match case.who.uid {
        0 => Ok(()),
        _ => Err(Error::failed("this needs root")),
    }
}

fn flushed(case: &Case) -> Result<Answer> {
    if !runs(case) || !by_iptables(case) || case.program("iptables").is_none() {
        return Ok(Answer::Fine);
    }
    needs_root(case)?;
    if rules(case, "iptables-save", "nat")?.lines().any(|line| line.starts_with(":DOCKER ")) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::asked("restart docker: it writes its rules anew, and containers stop", Vec::new())
        .then(Consequence::RestartUnit { unit: "docker.service".into() })
        .types("systemctl restart docker.service");
    Ok(Finding::new("docker's rules are gone from the firewall: another program has removed them", fix)
        .saw("iptables-save -t nat shows no chain DOCKER")
        .into())
}

fn mixed(case: &Case) -> Result<Answer> {
    if !runs(case) {
        return Ok(Answer::Fine);
    }
    // The file has a line for each legacy table in use, and is root's.
    if case.who.uid == 0 && case.text("/proc/net/ip_tables_names")?.is_none_or(|names| !names.contains("nat"))
    {
        return Ok(Answer::Fine);
    }
    needs_root(case)?;
    let has = |program| {
        rules(case, program, "nat").map(|text| text.lines().any(|line| line.starts_with(":DOCKER ")))
    };
    if !(has("iptables-legacy-save")? && has("iptables-nft-save")?) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("leave one backend to all programs, then reboot: the other's rules stay until then")
        .types("update-alternatives --config iptables");
    Ok(Finding::new("docker has rules in both the legacy and the nf_tables backend of iptables", fix)
        .saw("iptables-legacy-save and iptables-nft-save both show a chain DOCKER")
        .into())
}

fn disabled(case: &Case) -> Result<Answer> {
    if case.config()?.get("iptables") != Some(&Value::Bool(false)) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("take `iptables` out, unless somebody writes all rules by hand")
        .types("sudoedit /etc/docker/daemon.json");
    Ok(Finding::new(
        "docker may not write rules: published ports and the way out do not work by themselves",
        fix,
    )
    .saw("/etc/docker/daemon.json: \"iptables\": false")
    .into())
}

fn ufw(case: &Case) -> Result<Answer> {
    let on =
        case.text("/etc/ufw/ufw.conf")?.unwrap_or_default().lines().any(|line| line.trim() == "ENABLED=yes");
    if !on || !runs(case) {
        return Ok(Answer::Fine);
    }
    needs_root(case)?;
    let nat = rules(case, "iptables-save", "nat")?;
    let published: Vec<&str> = nat
        .lines()
        .filter(|line| line.starts_with("-A DOCKER ") && line.contains("DNAT") && !line.contains("-d 127."))
        .collect();
    if published.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told(
        "publish to 127.0.0.1 what others shall not reach, or write rules into the chain DOCKER-USER",
    )
    .types("docker run -p 127.0.0.1:8080:80 …");
    Ok(Finding::new(
        "ufw is on, and published ports are open all the same: docker's rules come before ufw's",
        fix,
    )
    .saw("/etc/ufw/ufw.conf: ENABLED=yes")
    .all(published.into_iter().take(8).map(str::to_owned))
    .into())
}

fn zone(case: &Case) -> Result<Answer> {
    if case.program("firewalld").is_none() {
        return Ok(Answer::Fine);
    }
    for name in case.host.list(Path::new("/etc/firewalld/zones"))? {
        let path = format!("/etc/firewalld/zones/{name}");
        if name == "docker.xml" || !name.ends_with(".xml") {
            continue;
        }
        if case.text(&path)?.unwrap_or_default().contains("<interface name=\"docker0\"") {
            let zone = name.trim_end_matches(".xml");
            let fix = Fix::told("take it out of that zone, so that docker puts it into its own")
                .types(format!("firewall-cmd --permanent --zone={zone} --remove-interface=docker0"))
                .types("firewall-cmd --reload");
            let cause =
                format!("firewalld has docker0 in the zone `{zone}`: the daemon does not start beside it");
            return Ok(Finding::new(cause, fix).saw(path).into());
        }
    }
    Ok(Answer::Fine)
}

fn bridge_filter(case: &Case) -> Result<Answer> {
    let config = case.config()?;
    let wants = config.get("icc") == Some(&Value::Bool(false))
        || config.get("userland-proxy") == Some(&Value::Bool(false));
    if !case.engine() || !wants || case.exists("/proc/sys/net/bridge") {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("load it, now and at boot")
        .types("modprobe br_netfilter")
        .types("echo br_netfilter > /etc/modules-load.d/docker.conf");
    Ok(Finding::new("br_netfilter is not loaded, and `icc` or `userland-proxy` of daemon.json needs it", fix)
        .saw("/proc/sys/net/bridge is not there")
        .into())
}

/// Networks of dockerd's own pools (moby, ipamutils): 15 of 16 bits and 16 of 20.
const NETWORKS: usize = 31;

fn pools(case: &Case) -> Result<Answer> {
    if case.config()?.contains_key("default-address-pools") {
        return Ok(Answer::Fine);
    }
    let names = case.host.list(Path::new("/sys/class/net"))?;
    let used = names.iter().filter(|name| *name == "docker0" || name.starts_with("br-")).count();
    if used < NETWORKS - 2 {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("remove networks that nothing uses, or give docker more ranges")
        .types("docker network prune");
    let finding =
        Finding::new("nearly all ranges for networks are in use: the next network may not come", fix)
            .saw(format!("{used} bridges of {NETWORKS}"));
    Ok(if used < NETWORKS { finding.only(Warn) } else { finding }.into())
}

/// Interface, network and mask of a route, proc_net(5): numbers in the order of bytes of this machine.
fn route(line: &str) -> Option<(&str, u32, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::swap_bytes);
    Some((fields.first()?, number(1)?, number(7)?))
}

fn dotted(address: u32, mask: u32) -> String {
    let [a, b, c, d] = address.to_be_bytes();
    format!("{a}.{b}.{c}.{d}/{}", mask.count_ones())
}

fn overlap(case: &Case) -> Result<Answer> {
    let text = case.text("/proc/net/route")?.unwrap_or_default();
    let routes: Vec<(&str, u32, u32)> = text.lines().skip(1).filter_map(route).filter(|r| r.2 != 0).collect();
    let dockers = |name: &str| name == "docker0" || name.starts_with("br-") || name == "docker_gwbridge";
    for (bridge, address, mask) in routes.iter().filter(|r| dockers(r.0)) {
        let clash = routes
            .iter()
            .find(|(other, to, wide)| !dockers(other) && to & mask & wide == address & mask & wide);
        if let Some((other, to, wide)) = clash {
            let (ours, theirs) = (dotted(*address, *mask), dotted(*to, *wide));
            let fix = Fix::told(
                "give docker other ranges: `bip` and `default-address-pools`; networks are made anew",
            )
            .types("sudoedit /etc/docker/daemon.json");
            return Ok(Finding::new(
                format!("docker's network {ours} lies in {theirs}, which this host reaches by {other}"),
                fix,
            )
            .saw(format!("ip route: {ours} dev {bridge}"))
            .saw(format!("ip route: {theirs} dev {other}"))
            .into());
        }
    }
    Ok(Answer::Fine)
}

const RESOLV: &str = "/etc/resolv.conf";

fn resolver(case: &Case) -> Result<Answer> {
    let Some(target) = case.host.link(Path::new(RESOLV))? else { return Ok(Answer::Fine) };
    if case.host.read(Path::new(RESOLV))?.is_some() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("let it lead to a resolver's file, then restart docker")
        .types("ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf")
        .types("systemctl restart docker.service");
    Ok(Finding::new("/etc/resolv.conf leads nowhere: neither the host nor the engine finds names", fix)
        .saw(format!("it is a link to {}", target.display()))
        .into())
}

/// The addresses of name servers in a file of this form.
fn servers(case: &Case, path: &str) -> Result<Vec<String>> {
    let text = case.text(path)?.unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    Ok(lines.map(|server| server.trim().to_owned()).collect())
}

/// The stub of systemd-resolved, as resolv.conf names it.
const STUB: &str = "127.0.0.53";

fn no_names(case: &Case) -> Result<Answer> {
    let Some(_) = case.text(RESOLV)? else { return Ok(Answer::Fine) };
    let named = servers(case, RESOLV)?;
    let fix = Fix::told("name a server that is there, then restart docker")
        .types("sudoedit /etc/resolv.conf")
        .types("systemctl restart docker.service");
    if named.is_empty() {
        let cause = "/etc/resolv.conf names no server: neither the host nor the engine finds names";
        return Ok(Finding::new(cause, fix).saw(format!("{RESOLV} has no line `nameserver`")).into());
    }
    let resolved = case.exists("/run/systemd/resolve/resolv.conf");
    if named.iter().any(|server| server != STUB) || resolved {
        return Ok(Answer::Fine);
    }
    let fix = fix.types("systemctl enable --now systemd-resolved.service   # or start it again");
    Ok(Finding::new("the only name server is systemd-resolved, which does not run: nobody finds names", fix)
        .saw(format!("{RESOLV}: nameserver {STUB}; there is no /run/systemd/resolve"))
        .into())
}

fn loopback_names(case: &Case) -> Result<Answer> {
    if case.config()?.contains_key("dns") || !case.engine() {
        return Ok(Answer::Fine);
    }
    let local = |server: &String| server.starts_with("127.") || server == "::1";
    let named = servers(case, RESOLV)?;
    // dockerd reads systemd-resolved's own list where the stub is named.
    let stub = named.iter().any(|server| server == STUB);
    let named = if stub { servers(case, "/run/systemd/resolve/resolv.conf")? } else { named };
    if named.is_empty() || !named.iter().all(local) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("name a server that containers reach as `dns`, and restart docker")
        .types("sudoedit /etc/docker/daemon.json");
    Ok(Finding::new("every name server is on this host's loopback: containers ask 8.8.8.8 instead", fix)
        .saw(format!("{RESOLV}: {}", named.join(", ")))
        .into())
}

fn managed(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    for name in case.host.list(Path::new("/etc/systemd/network"))? {
        let path = format!("/etc/systemd/network/{name}");
        if !name.ends_with(".network") {
            continue;
        }
        let text = case.text(&path)?.unwrap_or_default();
        let all = text.lines().any(|line| ["Name=*", "Type=bridge", "Name=veth*"].contains(&line.trim()));
        let left = text.lines().any(|line| line.trim().eq_ignore_ascii_case("Unmanaged=yes"));
        if all && !left {
            let fix =
                Fix::told("match the interfaces that are meant by name").types(format!("sudoedit {path}"));
            return Ok(Finding::new(
                "systemd-networkd takes docker's interfaces for its own, and clears their addresses",
                fix,
            )
            .saw(path)
            .into());
        }
    }
    Ok(Answer::Fine)
}
