//! The proxies that the package manager is told to use: what we fetch ourselves goes the way that its packages go.

use std::collections::BTreeMap;

/// By scheme, and for single hosts; an address of none means without a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    general: BTreeMap<String, Option<String>>,
    of_host: BTreeMap<(String, String), Option<String>>,
}

impl Proxies {
    /// Lines of `apt-config dump`: `Acquire::http::Proxy "http://user:password@proxy:3128/";`
    pub fn of_apt(dump: &str) -> Proxies {
        let mut proxies = Proxies::default();
        for line in dump.lines() {
            let Some((name, value)) = line.trim().trim_end_matches(';').split_once(' ') else { continue };
            let address = address(value.trim_matches('"'));
            let Some(rest) = name.strip_prefix("Acquire::") else { continue };
            match rest.split("::").collect::<Vec<_>>()[..] {
                // An empty value says nothing: it is there as the parent of the lines for single hosts.
                [scheme, "Proxy"] if value != "\"\"" => {
                    proxies.general.insert(scheme.to_owned(), address);
                }
                [scheme, "Proxy", host] => {
                    proxies.of_host.insert((scheme.to_owned(), host.to_owned()), address);
                }
                _ => {}
            }
        }
        proxies
    }

    /// `proxy`, `proxy_username` and `proxy_password` of `[main]` in dnf.conf(5); they are for every scheme.
    pub fn of_dnf(configuration: &str) -> Proxies {
        let mut section = "";
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        for line in configuration.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            } else if let (Some((key, value)), "main") = (line.split_once('='), section) {
                found.insert(key.trim(), value.trim());
            }
        }
        let Some(url) = found.get("proxy").filter(|url| !url.is_empty()) else { return Proxies::default() };
        let login = match (found.get("proxy_username"), found.get("proxy_password")) {
            (Some(name), Some(password)) => format!("{}:{}@", escaped(name), escaped(password)),
            (Some(name), None) => format!("{}@", escaped(name)),
            _ => String::new(),
        };
        let url = url.replacen("://", &format!("://{login}"), 1);
        let general = ["http", "https"].map(|scheme| (scheme.to_owned(), address(&url)));
        Proxies { general: general.into(), ..Proxies::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.general.is_empty() && self.of_host.is_empty()
    }

    /// The proxy for an address: none where the package manager is told nothing, or of none where it is told to use none.
    /// https goes by what http is told where nobody says more (apt-transport-https(1)).
    pub fn told(&self, scheme: &str, host: &str) -> Option<Option<&str>> {
        let schemes: &[&str] = if scheme == "https" { &["https", "http"] } else { &["http"] };
        let of_host =
            schemes.iter().find_map(|scheme| self.of_host.get(&((*scheme).to_owned(), host.to_owned())));
        let general = || schemes.iter().find_map(|scheme| self.general.get(*scheme));
        of_host.or_else(general).map(Option::as_deref)
    }

    /// What is told, else what the environment says.
    pub fn to_use(&self, scheme: &str, host: &str) -> Option<String> {
        match self.told(scheme, host) {
            Some(told) => told.map(str::to_owned),
            None => from_environment(scheme),
        }
    }
}

fn address(value: &str) -> Option<String> {
    let none = value.is_empty() || value == "DIRECT" || value == "_none_" || value == "false";
    (!none).then(|| value.to_owned())
}

/// A name or password as it stands in an address.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// `HTTP_PROXY` in capitals is left out, as everywhere: a CGI program has it from whoever asks.
fn from_environment(scheme: &str) -> Option<String> {
    let names: &[&str] = match scheme {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://u:p@proxy:3128/\";\n\
        Acquire::http::Proxy::inside.example \"DIRECT\";\nAcquire::http::Timeout \"20\";\n\
        Acquire::https::Proxy::other.example \"http://second:8080\";\n";

    #[test]
    fn what_apt_is_told_is_read_and_https_goes_by_http_where_nobody_says_more() {
        let proxies = Proxies::of_apt(DUMP);
        let first = Some(Some("http://u:p@proxy:3128/"));
        assert_eq!(proxies.told("http", "mirror.example"), first);
        assert_eq!(proxies.told("https", "mirror.example"), first);
        assert_eq!(proxies.told("https", "inside.example"), Some(None));
        assert_eq!(proxies.told("https", "other.example"), Some(Some("http://second:8080")));
        assert_eq!(proxies.told("http", "other.example"), first);
    }

    #[test]
    fn apt_that_is_told_nothing_says_nothing() {
        let proxies = Proxies::of_apt("APT \"\";\nAcquire::http::Proxy \"\";\nDir \"/\";\n");
        assert!(proxies.is_empty());
        assert_eq!(proxies.told("https", "mirror.example"), None);
    }

    #[test]
    fn dnf_has_name_and_password_apart() {
        let text = "[main]\ngpgcheck=1\nproxy = http://proxy:3128\nproxy_username=alice\nproxy_password=a:b@c\n\
                    [other]\nproxy=http://no\n";
        let told = Proxies::of_dnf(text);
        assert_eq!(told.told("https", "x"), Some(Some("http://alice:a%3Ab%40c@proxy:3128")));
        assert_eq!(Proxies::of_dnf("[main]\nproxy=_none_\n").told("http", "x"), Some(None));
        assert!(Proxies::of_dnf("[main]\ngpgcheck=1\n").is_empty());
    }
}
