//! The lab's own network namespace: a bridge for the hosts, and addresses for what they ask.

use crate::mirror::Variant;
use crate::sh;
use anyhow::{Context, Result};
use std::process::Command;

/// The bridge that hosts are attached to.
pub const BRIDGE: &str = "lab0";
/// Given, or it would be that of a port, and another whenever a host comes or goes: the others would ask the old one.
const BRIDGE_MAC: &str = "02:77:00:00:00:01";
/// The gateway's address, and that of the archive.
pub const GATEWAY: &str = "10.77.0.1";
pub const GATEWAY6: &str = "fd77::1";
/// Takes every packet and never answers: a dead nameserver, a host that is gone.
pub const DEAD: &str = "10.78.0.1";
pub const DEAD6: &str = "fd78::1";

#[derive(Clone)]
pub struct Net {
    name: String,
}

/// The namespace's name.
pub fn name(id: &str) -> String {
    format!("rprov-lab-{id}")
}

/// The address of a variant of the mirror.
pub fn address(variant: Variant) -> String {
    let place = Variant::ALL.iter().position(|other| *other == variant).unwrap_or_default();
    format!("10.77.0.{}", 10 + place)
}

/// The addresses of the n-th host.
pub fn host_address(n: u32) -> (String, String) {
    (format!("10.77.{}.{}", 1 + n / 250, 1 + n % 250), format!("fd77::1:{n:x}"))
}

impl Net {
    pub fn existing(id: &str) -> Net {
        Net { name: name(id) }
    }

    pub fn make(id: &str) -> Result<Net> {
        let net = Net { name: name(id) };
        sh::run(&["ip", "netns", "add", &net.name]).context("making the lab's network namespace")?;
        let mut batch = format!(
            "link set lo up\nlink add {BRIDGE} address {BRIDGE_MAC} type bridge\naddr add {GATEWAY}/16 dev {BRIDGE}\nlink set {BRIDGE} up\n\
             route add blackhole {DEAD}/32\nroute add unreachable default\n"
        );
        for variant in Variant::ALL {
            batch += &format!("addr add {}/16 dev {BRIDGE}\n", address(variant));
        }
        sh::pipe(&["ip", "-netns", &net.name, "-batch", "-"], batch.as_bytes())?;
        // A machine without IPv6 has a lab without it.
        let six = format!(
            "addr add {GATEWAY6}/64 dev {BRIDGE} nodad\nroute add blackhole {DEAD6}/128\nroute add unreachable default metric 9\n"
        );
        let _ = sh::pipe(&["ip", "-6", "-netns", &net.name, "-batch", "-"], six.as_bytes());
        let forward =
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; true";
        net.run(&["sh", "-c", forward])?;
        Ok(net)
    }

    /// A command of this machine, in the lab's network.
    pub fn command(&self, argv: &[&str]) -> Command {
        let path = self.path();
        let mut all = vec!["nsenter", &path, "--"];
        all.extend(argv);
        sh::command(&all)
    }

    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let path = self.path();
        let mut all = vec!["nsenter", &path, "--"];
        all.extend(argv);
        sh::run(&all)
    }

    /// As nsenter takes it.
    pub fn path(&self) -> String {
        format!("--net=/run/netns/{}", self.name)
    }
}
