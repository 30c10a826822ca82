//! Takes names, addresses and secrets out of a text that is handed on; the same name gets the same word all over the page.

use crate::host::fetch::mask;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hosts that everybody knows: what is read there tells nothing of whose machine this is.
const PUBLIC: &[&str] = &[
    "docker.com",
    "docker.io",
    "github.com",
    "github.io",
    "nvidia.com",
    "ubuntu.com",
    "debian.org",
    "centos.org",
    "fedoraproject.org",
    "redhat.com",
    "microsoft.com",
    "man7.org",
    "localhost",
];
/// Names of accounts and machines that are words of this trade.
const COMMON: &[&str] =
    &["root", "docker", "containerd", "nobody", "localhost", "host", "server", "debian", "ubuntu"];
/// A key that has one of these in it has a value that is nobody else's business.
const SECRETS: &[&str] =
    &["password", "passwd", "passphrase", "secret", "token", "apikey", "api-key", "api_key"];

pub struct Veil {
    /// Shown as they are where that was asked for; secrets never are.
    open: bool,
    /// Whole words, and what stands for them.
    names: Vec<(String, String)>,
    addresses: RefCell<Vec<String>>,
    sites: RefCell<Vec<String>>,
}

impl Veil {
    pub fn new(open: bool, users: &[String], host: Option<&str>) -> Veil {
        let mut names: Vec<(String, String)> = Vec::new();
        let users = users.iter().filter(|user| !user.is_empty() && !COMMON.contains(&user.as_str()));
        for user in users {
            if names.iter().all(|(known, _)| known != user) {
                names.push((user.clone(), format!("USER{}", names.len() + 1)));
            }
        }
        let host = host.map(str::trim).filter(|name| !name.is_empty());
        for name in host.into_iter().flat_map(|name| [name, name.split('.').next().unwrap_or(name)]) {
            if !COMMON.contains(&name) {
                names.push((name.to_owned(), "HOST".to_owned()));
            }
        }
        // The longer first: one may be the beginning of another.
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Veil { open, names, addresses: RefCell::default(), sites: RefCell::default() }
    }

    /// Whether names and addresses are shown.
    pub fn open(&self) -> bool {
        self.open
    }

    pub fn over(&self, text: &str) -> String {
        let text = without_secrets(&mask(text));
        if self.open {
            return text;
        }
        let text = self.without_sites(&text);
        let text = self.names.iter().fold(text, |text, (name, by)| words_replaced(&text, name, by));
        self.without_addresses(&text)
    }

    /// The host of an address that is not one that everybody knows.
    fn without_sites(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("://").map(|at| at + 3) {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            let ends = |c: char| c.is_whitespace() || "/?#'\"`<>),;".contains(c);
            let (host, after) = after.split_at(after.find(ends).unwrap_or(after.len()));
            rest = after;
            let (user, place) = host.rsplit_once('@').map_or(("", host), |(user, place)| (user, place));
            let (name, port) = match place.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
                _ => (place, ""),
            };
            let known = PUBLIC.iter().any(|known| name == *known || name.ends_with(&format!(".{known}")));
            if !user.is_empty() {
                out.push_str("***@");
            }
            if known || name.is_empty() || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
                out.push_str(name);
            } else {
                out.push_str(&numbered("SITE", name, &self.sites));
            }
            if !port.is_empty() {
                out.push_str(&format!(":{port}"));
            }
        }
        out.push_str(rest);
        out
    }

    /// Addresses of machines, of the network's cards, and of people.
    fn without_addresses(&self, text: &str) -> String {
        let part = |c: char| c.is_ascii_alphanumeric() || ".:_-@".contains(c);
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
            let (token, after) = rest.split_at(length);
            let word = token.trim_end_matches(['.', ':']);
            out.push_str(&self.address(word).unwrap_or_else(|| word.to_owned()));
            out.push_str(&token[word.len()..]);
            let other = after.chars().next().map_or(0, char::len_utf8);
            out.push_str(&after[..other]);
            rest = &after[other..];
        }
        out
    }

    fn address(&self, word: &str) -> Option<String> {
        let stands_for = |address: &str| numbered("ADDRESS", address, &self.addresses);
        if let Ok(address) = word.parse::<Ipv4Addr>() {
            let own = address.is_loopback() || address.is_unspecified();
            return (!own).then(|| stands_for(word));
        }
        if let Ok(address) = word.parse::<Ipv6Addr>() {
            let own = address.is_loopback() || address.is_unspecified();
            return (!own).then(|| stands_for(word));
        }
        if let Some((address, port)) = word.rsplit_once(':')
            && let Ok(number) = address.parse::<Ipv4Addr>()
        {
            let own = number.is_loopback() || number.is_unspecified();
            return (!own).then(|| format!("{}:{port}", stands_for(address)));
        }
        let pairs: Vec<&str> = word.split(':').collect();
        let hexadecimal = |pair: &&str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        if pairs.len() == 6 && pairs.iter().all(hexadecimal) {
            return Some(stands_for(word));
        }
        let (name, domain) = word.split_once('@')?;
        // `user@1000.service` is a unit.
        let unit = [".service", ".socket", ".slice", ".mount"].iter().any(|end| domain.ends_with(end));
        (!unit && !name.is_empty() && domain.contains('.')).then(|| stands_for(word))
    }
}

fn numbered(word: &str, what: &str, known: &RefCell<Vec<String>>) -> String {
    let mut known = known.borrow_mut();
    let at = known.iter().position(|k| k == what).unwrap_or_else(|| {
        known.push(what.to_owned());
        known.len() - 1
    });
    format!("{word}{}", at + 1)
}

/// `"splunk-token": "x"`, `password=x`: the value goes.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let small = line.to_ascii_lowercase();
        let place = SECRETS.iter().filter_map(|word| small.find(word).map(|at| at + word.len())).min();
        let assigned = place.and_then(|at| {
            let sign = line[at..].find([':', '='])? + at + 1;
            let before = &line[at..sign - 1];
            before.trim_end().chars().all(|c| c.is_alphanumeric() || "\"'_-".contains(c)).then_some(sign)
        });
        let Some(sign) = assigned else {
            out.push_str(line);
            continue;
        };
        let value = line[sign..].trim_start_matches([' ', '"', '\'']);
        let start = line.len() - value.len();
        let end = value.find(['"', '\'', ',', ' ', '\n']).unwrap_or(value.len());
        out.push_str(&line[..start]);
        out.push_str(if end > 0 { "***" } else { "" });
        out.push_str(&without_secrets(&value[end..]));
    }
    out
}

/// Whole words only: a user `a` is in many words.
fn words_replaced(text: &str, word: &str, by: &str) -> String {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, from) = rest.split_at(at);
        let after = &from[word.len()..];
        // What was passed already counts as well: `xali` is no `ali`.
        let left = before.chars().next_back().or(out.chars().next_back());
        let whole = !left.is_some_and(inside) && !after.chars().next().is_some_and(inside);
        out.push_str(before);
        out.push_str(if whole { by } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veil() -> Veil {
        Veil::new(false, &["ali".into(), "alice".into(), "docker".into()], Some("web1.corp.example"))
    }

    #[test]
    fn a_name_goes_as_a_whole_word_only_and_is_the_same_all_over() {
        let veil = veil();
        assert_eq!(
            veil.over("ali alice /home/ali/x aliali docker"),
            "USER1 USER2 /home/USER1/x aliali docker"
        );
        assert_eq!(veil.over("on web1 and web1.corp.example"), "on HOST and HOST");
    }

    #[test]
    fn addresses_of_machines_cards_and_people_go() {
        let veil = veil();
        let shown = veil.over("10.1.2.3:2375, 10.1.2.3 and fd00::7, 02:42:ac:11:00:02, me@corp.example.");
        assert_eq!(shown, "ADDRESS1:2375, ADDRESS1 and ADDRESS2, ADDRESS3, ADDRESS4.");
        let kept =
            "127.0.0.1:5000 0.0.0.0 ::1 5:29.7.2-1~ubuntu.24.04~noble user@1000.service 12:34:56 6.8.0-45";
        assert_eq!(veil.over(kept), kept);
    }

    #[test]
    fn the_hosts_of_a_site_go_and_those_that_everybody_knows_stay() {
        let veil = veil();
        assert_eq!(
            veil.over("https://mirror.corp.example:8443/docker-ce and https://download.docker.com/linux, unix:///run/x"),
            "https://SITE1:8443/docker-ce and https://download.docker.com/linux, unix:///run/x"
        );
    }

    #[test]
    fn secrets_go_also_where_names_were_asked_for() {
        let open = Veil::new(true, &["alice".into()], None);
        assert_eq!(open.over("alice http://u:p@10.0.0.1:3128/"), "alice http://***@10.0.0.1:3128/");
        assert_eq!(
            open.over("  \"splunk-token\": \"abc\", \"x\": 1"),
            "  \"splunk-token\": \"***\", \"x\": 1"
        );
        assert_eq!(open.over("PASSWORD=abc next"), "PASSWORD=*** next");
        let prose = "the token is not told: see above";
        assert_eq!(open.over(prose), prose);
    }
}
