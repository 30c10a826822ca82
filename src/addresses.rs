//! Which addresses dockerd may give to its networks beside the routes that this host has.

use crate::error::Result;
use crate::host::Look;
use std::fmt;
use std::path::Path;

/// The kernel's table of IPv4 routes, proc_net(5).
const ROUTES: &str = "/proc/net/route";

/// An IPv4 network: `172.17.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u32,
    bits: u32,
}

impl Network {
    const fn new(a: u8, b: u8, c: u8, bits: u32) -> Network {
        Network { address: u32::from_be_bytes([a, b, c, 0]), bits }
    }

    fn mask(bits: u32) -> u32 {
        u32::MAX.checked_shl(32 - bits).unwrap_or(0)
    }

    fn overlaps(self, other: Network) -> bool {
        let mask = Network::mask(self.bits.min(other.bits));
        self.address & mask == other.address & mask
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.address.to_be_bytes();
        write!(f, "{a}.{b}.{c}.{d}/{}", self.bits)
    }
}

/// A route that leads somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    to: Network,
    /// By a gateway, and not on the wire itself.
    far: bool,
}

/// What to do about the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// dockerd's own pools are free.
    AsItIs,
    /// A route leads into them: they come from here instead.
    Instead { of: Network, pool: Network },
    /// A route leads into them, and everything else that could be taken is taken too.
    NothingFree { of: Network },
}

/// Each network gets so many bits: 256 networks of 254 addresses in a pool of 16 bits.
pub const SIZE: u32 = 24;

/// Where dockerd takes networks from by itself, in this order (moby, daemon/libnetwork/ipamutils: 172.17.0.0/16 up to
/// 172.31.0.0/16, then 192.168.0.0/16 in pieces of 20 bits).
const FIRST: std::ops::RangeInclusive<u8> = 17..=31;
const LAST: Network = Network::new(192, 168, 0, 16);

/// The routes of this host; a host without the table has none to collide with.
pub fn routes(host: &dyn Look) -> Result<Vec<Route>> {
    Ok(parse(&host.read_text(Path::new(ROUTES))?.unwrap_or_default()))
}

/// Columns `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses in network order as this machine reads a number.
fn parse(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| u32::from_str_radix(fields.get(n)?, 16).ok().map(u32::from_be);
        let bits = number(7)?.count_ones();
        let ours = is_dockers(fields.first()?);
        (bits > 0 && !ours)
            .then_some(Route { to: Network { address: number(1)?, bits }, far: number(2)? != 0 })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// The bridges of an engine that was here before stay until the next boot, and are no reason to go elsewhere.
fn is_dockers(interface: &str) -> bool {
    let hexadecimal = |name: &str| name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit());
    interface.starts_with("docker") || interface.strip_prefix("br-").is_some_and(hexadecimal)
}

/// Chooses a pool where a route leads into dockerd's own. What lies on the wire in 192.168.0.0/16, as at home, is none
/// of these: dockerd comes to it last, and steps around it by itself.
pub fn choose(routes: &[Route]) -> Choice {
    let own = || FIRST.map(|second| Network::new(172, second, 0, 16));
    let collides =
        |route: &&Route| own().any(|pool| pool.overlaps(route.to)) || route.far && LAST.overlaps(route.to);
    let Some(hit) = routes.iter().find(collides) else { return Choice::AsItIs };
    // From the middle of the private networks down: clouds and offices begin at both ends.
    let candidates = (18..=30)
        .rev()
        .map(|second| Network::new(172, second, 0, 16))
        .chain((200..=254).rev().map(|second| Network::new(10, second, 0, 16)));
    match candidates.into_iter().find(|pool| !routes.iter().any(|route| route.to.overlaps(*pool))) {
        Some(pool) => Choice::Instead { of: hit.to, pool },
        None => Choice::NothingFree { of: hit.to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn table(lines: &[&str]) -> Vec<Route> {
        parse(&(HEAD.to_owned() + &lines.join("\n")))
    }

    const DEFAULT: &str = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0";
    const HOME: &str = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0";
    const OFFICE: &str = "tun0\t000011AC\t0101A8C0\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0";
    const BRIDGE: &str = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";

    #[test]
    fn a_home_network_and_what_an_engine_left_are_no_collision() {
        assert_eq!(table(&[DEFAULT, HOME])[0].to.to_string(), "192.168.1.0/24");
        assert_eq!(choose(&table(&[DEFAULT, HOME, BRIDGE])), Choice::AsItIs);
        assert_eq!(choose(&[]), Choice::AsItIs);
    }

    #[test]
    fn a_route_into_dockers_pools_moves_them_to_what_no_route_leads_to() {
        let said = |routes: &[(Network, bool)]| {
            let routes: Vec<Route> = routes.iter().map(|(to, far)| Route { to: *to, far: *far }).collect();
            match choose(&routes) {
                Choice::AsItIs => "as it is".to_owned(),
                Choice::Instead { of, pool } => format!("{pool} instead, for {of}"),
                Choice::NothingFree { of } => format!("nothing free, for {of}"),
            }
        };
        assert_eq!(
            choose(&table(&[OFFICE])),
            choose(&[Route { to: Network::new(172, 17, 0, 16), far: true }])
        );
        let n = Network::new;
        assert_eq!(said(&[(n(172, 17, 0, 16), true)]), "172.30.0.0/16 instead, for 172.17.0.0/16");
        assert_eq!(said(&[(n(172, 31, 16, 20), false)]), "172.30.0.0/16 instead, for 172.31.16.0/20");
        assert_eq!(said(&[(n(172, 16, 0, 12), true)]), "10.254.0.0/16 instead, for 172.16.0.0/12");
        assert_eq!(said(&[(n(192, 168, 0, 16), true)]), "172.30.0.0/16 instead, for 192.168.0.0/16");
        assert_eq!(said(&[(n(192, 168, 0, 16), false)]), "as it is");
        assert_eq!(said(&[(n(10, 0, 0, 8), true)]), "as it is");
        let all = [(n(172, 16, 0, 12), true), (n(10, 0, 0, 8), true)];
        assert_eq!(said(&all), "nothing free, for 172.16.0.0/12");
    }
}
