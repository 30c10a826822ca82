//! The containers that there are, read from the engine's own files: the engine itself is not asked.

use super::super::{Answer, Case, Finding, Fix};
use super::{needs_root, runs};
use crate::error::Result;
use serde_json::Value;

/// As many as are looked at.
const MOST: usize = 300;
const LIMIT: u64 = 1024 * 1024;

struct Container {
    name: String,
    pid: u64,
    running: bool,
    error: String,
    exposed: Vec<u16>,
    /// Address and port on the host, port in the container.
    published: Vec<(String, u16, u16)>,
}

fn all(case: &Case) -> Result<Vec<Container>> {
    if !runs(case) {
        return Ok(Vec::new());
    }
    needs_root(case)?;
    let directory = case.data_root().join("containers");
    let mut found = Vec::new();
    for id in case.host.list(&directory)?.into_iter().take(MOST) {
        let file = |name: &str| case.host.read_plain(&directory.join(&id).join(name), LIMIT);
        let Some(config) = file("config.v2.json")? else { continue };
        let host = file("hostconfig.json")?.unwrap_or_default();
        let config: Value = serde_json::from_slice(&config).unwrap_or_default();
        let host: Value = serde_json::from_slice(&host).unwrap_or_default();
        found.push(container(&config, &host));
    }
    Ok(found)
}

fn port(text: &str) -> Option<u16> {
    text.strip_suffix("/tcp")?.parse().ok()
}

fn container(config: &Value, host: &Value) -> Container {
    let state = &config["State"];
    let exposed = config["Config"]["ExposedPorts"].as_object().into_iter().flatten();
    let bound = host["PortBindings"].as_object().into_iter().flatten();
    let published = bound.flat_map(|(inner, places)| {
        let places = places.as_array().cloned().unwrap_or_default();
        let inner = port(inner);
        places.into_iter().filter_map(move |place| {
            let address = place["HostIp"].as_str().unwrap_or_default().to_owned();
            Some((address, place["HostPort"].as_str()?.parse().ok()?, inner?))
        })
    });
    Container {
        name: config["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        pid: state["Pid"].as_u64().unwrap_or_default(),
        running: state["Running"] == true,
        error: state["Error"].as_str().unwrap_or_default().to_owned(),
        exposed: exposed.filter_map(|(inner, _)| port(inner)).collect(),
        published: published.collect(),
    }
}

/// Addresses and ports that somebody listens on by TCP, proc_net(5); IPv6 by its last four bytes.
fn listening(case: &Case, directory: &str) -> Result<Vec<(u32, u16)>> {
    let mut found = Vec::new();
    for file in ["tcp", "tcp6"] {
        let text = case.text(&format!("{directory}/{file}"))?.unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A")) = (fields.get(1), fields.get(3)) else { continue };
            let Some((address, port)) = local.split_once(':') else { continue };
            let last = &address[address.len().saturating_sub(8)..];
            if let (Ok(address), Ok(port)) = (u32::from_str_radix(last, 16), u16::from_str_radix(port, 16)) {
                found.push((address.swap_bytes(), port));
            }
        }
    }
    Ok(found)
}

const LOOPBACK: u32 = 0x7f00_0001;

pub fn port_in_use(case: &Case) -> Result<Answer> {
    let containers = all(case)?;
    let words = ["port is already allocated", "address already in use"];
    let failed: Vec<&Container> =
        containers.iter().filter(|c| !c.running && words.iter().any(|word| c.error.contains(word))).collect();
    let Some(first) = failed.first() else { return Ok(Answer::Fine) };
    let taken = listening(case, "/proc/net")?;
    let still = |c: &Container| {
        c.published.iter().find(|(_, outer, _)| taken.iter().any(|(_, port)| port == outer)).map(|p| p.1)
    };
    let Some(number) = still(first) else { return Ok(Answer::Fine) };
    let holder = containers.iter().find(|c| c.running && c.published.iter().any(|p| p.1 == number));
    let by = holder
        .map_or_else(|| "another program".to_owned(), |holder| format!("the container `{}`", holder.name));
    let fix = Fix::told("stop what has the port, or publish another one")
        .types(format!("ss -ltnp 'sport = :{number}'"));
    Ok(Finding::new(format!("`{}` does not start: {by} has port {number}", first.name), fix)
        .all(failed.iter().map(|c| format!("{}: {}", c.name, c.error)))
        .into())
}

pub fn loopback(case: &Case) -> Result<Answer> {
    let mut found = Vec::new();
    for container in all(case)?.iter().filter(|c| c.running && c.pid != 0 && !c.published.is_empty()) {
        let open = listening(case, &format!("/proc/{}/net", container.pid))?;
        for (_, outer, inner) in &container.published {
            let on: Vec<u32> =
                open.iter().filter(|(_, port)| port == inner).map(|(address, _)| *address).collect();
            if !on.is_empty() && on.iter().all(|address| *address == LOOPBACK) {
                found.push(format!(
                    "{}: port {inner}, published as {outer}, listens on 127.0.0.1 alone",
                    container.name
                ));
            }
        }
    }
    told(
        found,
        "a program listens on its container's own loopback: its published port refuses everybody",
        Fix::told("let the program listen on 0.0.0.0 in the container").types("docker logs NAME"),
    )
}

pub fn unpublished(case: &Case) -> Result<Answer> {
    let mut found = Vec::new();
    for container in all(case)?.iter().filter(|c| c.running && c.pid != 0 && c.published.is_empty()) {
        let open = listening(case, &format!("/proc/{}/net", container.pid))?;
        let here: Vec<String> = container
            .exposed
            .iter()
            .filter(|port| open.iter().any(|(_, listened)| listened == *port))
            .map(u16::to_string)
            .collect();
        if !here.is_empty() {
            found.push(format!("{}: listens on {}, and publishes nothing", container.name, here.join(", ")));
        }
    }
    told(
        found,
        "a container exposes a port without publishing it: from outside the connection is refused",
        Fix::told("make it anew with -p, if it shall be reached").types("docker run -p OUTER:INNER …"),
    )
}

pub fn local_only(case: &Case) -> Result<Answer> {
    let config = case.config().unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    if config.get("ip").and_then(Value::as_str).is_some_and(|ip| ip.starts_with("127.")) {
        found.push("/etc/docker/daemon.json: `ip` is a loopback address".into());
    }
    for container in all(case)?.iter().filter(|c| c.running) {
        for (address, outer, _) in
            container.published.iter().filter(|p| p.0.starts_with("127.") || p.0 == "::1")
        {
            found.push(format!("{}: {address}:{outer}", container.name));
        }
    }
    told(
        found,
        "a port is published to this host alone: others cannot reach it",
        Fix::told("none, if that is meant; else publish it without an address")
            .types("docker run -p OUTER:INNER …"),
    )
}

fn told(found: Vec<String>, cause: &str, fix: Fix) -> Result<Answer> {
    Ok(if found.is_empty() { Answer::Fine } else { Finding::new(cause, fix).all(found).into() })
}
