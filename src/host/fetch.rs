//! Fetches over HTTP as this host would: its trust store, its name service, its proxies; bounded in time and size.

mod proxy;

pub use proxy::Proxies;

use super::local::PATH;
use crate::error::{Error, Result};
use reqwest::blocking::{Client, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CACHE_CONTROL, HeaderMap, RETRY_AFTER};
use reqwest::{NoProxy, Proxy, StatusCode, redirect};
use rustls::CertificateError;
use std::collections::{BTreeSet, HashMap};
use std::error::Error as StdError;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Looking up the name, connecting and TLS together.
const CONNECT: Duration = Duration::from_secs(15);
/// Looking up the name alone; less than `CONNECT`, so that a dead name server is named as such.
const LOOKUP: Duration = Duration::from_secs(10);
/// The longest time without a byte.
const STALL: Duration = Duration::from_secs(20);
/// The longest time for one body.
const TOTAL: Duration = Duration::from_secs(15 * 60);
/// Waits between the tries.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// The longest wait that a server may ask for.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(15);
const REDIRECTS: usize = 5;
/// Bodies up to this many bytes are kept for the run.
const KEPT: usize = 8 << 20;

/// One a run. It costs nothing before the first fetch: client, roots and thread are made then.
pub struct Fetcher {
    client: OnceLock<Client>,
    proxies: OnceLock<Proxies>,
    kept: Mutex<HashMap<String, Vec<u8>>>,
    stall: Duration,
    pauses: [Duration; 2],
}

impl Default for Fetcher {
    fn default() -> Self {
        Fetcher {
            client: OnceLock::new(),
            proxies: OnceLock::new(),
            kept: Mutex::default(),
            stall: STALL,
            pauses: PAUSES,
        }
    }
}

impl Fetcher {
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on by these proxies; only the first call counts, and it has to come before the first fetch.
    pub fn through(&self, proxies: impl FnOnce() -> Proxies) -> &Self {
        self.proxies.get_or_init(proxies);
        self
    }

    /// The proxy for addresses of a scheme, whatever the host.
    pub fn proxy(&self, scheme: &str) -> Option<String> {
        self.proxies.get().and_then(|proxies| proxies.to_use(scheme, ""))
    }

    /// Fetches a URL, at most `limit` bytes. The same URL is fetched once a run, if its body is not large (8 MB).
    ///
    /// What may pass by itself (5xx, 429, the network) is tried three times, then exit 5. 404 and 410 are
    /// `Error::absent`. Refused (exit 4): a TLS certificate that this host does not trust, a redirect from https to
    /// http, a body over the limit. A certificate that is not valid yet waits for the clock.
    pub fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        match kept {
            Some(body) if body.len() as u64 <= limit => Ok(body),
            _ => self.try_often(url, limit, false),
        }
    }

    /// Fetches what was fetched before, past every cache on the way; else as `fetch`.
    pub fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        self.try_often(url, limit, true)
    }

    fn try_often(&self, url: &str, limit: u64, fresh: bool) -> Result<Vec<u8>> {
        let mut pauses = self.pauses.iter();
        loop {
            let miss = match self.try_once(url, limit, fresh) {
                Ok(body) => {
                    self.keep(url, &body);
                    return Ok(body);
                }
                Err(miss) => miss,
            };
            let (Some(asked), Some(pause)) = (miss.again_after, pauses.next()) else {
                return Err(self.naming_the_proxy(url, *miss.error));
            };
            tracing::debug!("{}; trying again", miss.error);
            std::thread::sleep(asked.min(RETRY_AFTER_LIMIT).max(*pause));
        }
    }

    fn try_once(&self, url: &str, limit: u64, fresh: bool) -> std::result::Result<Vec<u8>, Miss> {
        let mut request = self.client()?.get(url);
        if fresh {
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        let response = request.send().map_err(|error| not_sent(url, &error))?;
        if !response.status().is_success() {
            return Err(by_status(url, response.status(), response.headers()));
        }
        body(url, response, limit)
    }

    /// A refused connection is most often not the mirror's, where a proxy stands between.
    fn naming_the_proxy(&self, url: &str, error: Error) -> Error {
        let Ok(url) = reqwest::Url::parse(url) else { return error };
        let told = self.proxies.get().and_then(|p| p.told(url.scheme(), url.host_str().unwrap_or_default()));
        match told.flatten() {
            Some(proxy) if !error.absent => {
                error.because(format!("by the proxy `{}`, as the package manager is told", mask(proxy)))
            }
            _ => error,
        }
    }

    fn keep(&self, url: &str, body: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match body.len() <= KEPT {
            true => kept.insert(url.to_owned(), body.to_owned()),
            false => kept.remove(url),
        };
    }

    fn client(&self) -> Result<&Client> {
        match self.client.get() {
            Some(client) => Ok(client),
            None => {
                let client = client(self.stall, self.proxies.get().cloned().unwrap_or_default())?;
                Ok(self.client.get_or_init(|| client))
            }
        }
    }
}

/// A URL, or any text with URLs in it, without the user names and passwords of the URLs.
pub fn mask(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (before, after) = rest.split_at(start);
        let ends = |c: char| c.is_whitespace() || "/?#'\"`<>".contains(c);
        let authority = &after[..after.find(ends).unwrap_or(after.len())];
        shown.push_str(before);
        rest = after;
        if let Some(at) = authority.rfind('@') {
            shown.push_str("***");
            rest = &after[at..];
        }
    }
    shown + rest
}

/// Why a try failed, and whether another may do better: after how long, if the server said.
#[derive(Debug)]
struct Miss {
    error: Box<Error>,
    again_after: Option<Duration>,
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Miss { error: Box::new(error), again_after: None }
    }
}

fn client(stall: Duration, proxies: Proxies) -> Result<Client> {
    let failed =
        |error: &(dyn StdError + 'static)| Error::failed("cannot set up HTTPS").because(deepest(error));
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?
        .with_root_certificates(roots())
        .with_no_client_auth();
    let mut builder = Client::builder();
    // Without proxies of its own the client goes by the environment.
    if !proxies.is_empty() {
        let by = Proxy::custom(move |url| proxies.to_use(url.scheme(), url.host_str().unwrap_or_default()));
        builder = builder.proxy(by.no_proxy(NoProxy::from_env()));
    }
    builder
        .user_agent(concat!("rprov/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Getent))
        .redirect(redirect::Policy::custom(follow))
        .referer(false)
        .connect_timeout(CONNECT)
        // For the blocking client: until the headers are there, and then for each read.
        .timeout(stall)
        .build()
        .map_err(|e| failed(&e))
}

/// The host's own trust store; where there is none yet, the one that browsers share.
fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// Follows a few redirects, but none that gives up TLS.
fn follow(attempt: redirect::Attempt) -> redirect::Action {
    let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    if was_https && attempt.url().scheme() != "https" {
        return attempt.error("it redirects from https to http");
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}

/// Names are asked of the host's own name service: this program is static and has none.
struct Getent;

impl Resolve for Getent {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || addresses(&name)).await??;
            // Port 0 is replaced by that of the URL.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// The addresses of a name, in the order of preference, by `getent ahosts`.
fn addresses(name: &str) -> Result<Vec<IpAddr>> {
    let failed = |why: String| Error::try_again(format!("cannot look up `{name}`")).because(why);
    if name.starts_with('-') {
        return Err(Error::usage(format!("`{name}` is no host name")));
    }
    let getent =
        which::which_in("getent", Some(PATH), "/").map_err(|_| failed("there is no `getent`".to_owned()))?;
    let child = duct::cmd(getent, ["ahosts", name])
        .full_env([("PATH", PATH), ("LC_ALL", "C"), ("HOME", "/root")])
        .stdin_null()
        .stdout_capture()
        .stderr_null()
        .unchecked()
        .start()
        .map_err(|e| failed(e.to_string()))?;
    let Some(output) = child.wait_timeout(LOOKUP).map_err(|e| failed(e.to_string()))? else {
        // A child that cannot be killed is gone already.
        let _ = child.kill();
        return Err(failed(format!("no answer within {} s", LOOKUP.as_secs())));
    };
    let found = parse_ahosts(&String::from_utf8_lossy(&output.stdout));
    match found.is_empty() {
        true => Err(failed("this host's name service does not know it".to_owned())),
        false => Ok(found),
    }
}

/// Reads `getent ahosts`: an address at the start of each line, once for each kind of socket.
fn parse_ahosts(output: &str) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    let first_words = output.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    first_words.filter(|address| seen.insert(*address)).collect()
}

/// Reads a body to its end, within the limits of size and time.
fn body(url: &str, mut response: Response, limit: u64) -> std::result::Result<Vec<u8>, Miss> {
    let too_large = || Error::refused(format!("`{}` is larger than {limit} bytes", mask(url)));
    let promised = response.content_length().unwrap_or(0);
    if promised > limit {
        return Err(too_large().into());
    }
    let end = Instant::now() + TOTAL;
    let mut bytes = Vec::with_capacity(usize::try_from(promised).unwrap_or(0));
    let mut chunk = [0; 16 << 10];
    loop {
        match response.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) => {
                return Err(passing(url, format!("after {} bytes: {}", bytes.len(), deepest(&error))));
            }
        }
        if bytes.len() as u64 > limit {
            return Err(too_large().into());
        }
        if Instant::now() > end {
            return Err(Miss {
                again_after: None,
                ..passing(url, format!("it took more than {} s", TOTAL.as_secs()))
            });
        }
    }
}

/// What a status other than success means.
fn by_status(url: &str, status: StatusCode, headers: &HeaderMap) -> Miss {
    let error =
        Error::failed(format!("cannot fetch `{}`", mask(url))).because(format!("the server says {status}"));
    match status.as_u16() {
        404 | 410 => error.absent().into(),
        401 => error
            .because("it wants a user name and a password")
            .hint("write them into the address of the source")
            .into(),
        403 => error.because("the server, or a proxy on the way, forbids it").into(),
        407 => wants_proxy_password(url).into(),
        429 | 500..=599 => Miss {
            again_after: Some(retry_after(headers)),
            ..passing(url, format!("the server says {status}"))
        },
        _ => error.into(),
    }
}

fn wants_proxy_password(url: &str) -> Error {
    Error::failed(format!("cannot fetch `{}`", mask(url)))
        .because("the proxy wants a user name and a password")
        .hint("write them into apt's configuration, `Acquire::http::Proxy \"http://user:password@proxy:3128\";`, or into `https_proxy`")
}

/// The seconds that a server asks for; a date counts as none.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn passing(url: &str, why: String) -> Miss {
    let error = Error::try_again(format!("cannot fetch `{}`", mask(url)))
        .because(why)
        .hint("look at the network and the mirror, then run the same command again");
    Miss { error: Box::new(error), again_after: Some(Duration::ZERO) }
}

/// Why there was no answer.
fn not_sent(url: &str, error: &reqwest::Error) -> Miss {
    let cannot = format!("cannot fetch `{}`", mask(url));
    if error.is_builder() {
        return Error::usage(cannot).because(deepest(error)).into();
    }
    if error.is_redirect() {
        return Error::refused(cannot).because(deepest(error)).into();
    }
    if let Some(flaw) = causes(error).find_map(certificate_flaw) {
        return bad_certificate(cannot, flaw).into();
    }
    if error.is_timeout() {
        let why = match error.is_connect() {
            true => format!("no connection within {} s", CONNECT.as_secs()),
            false => format!("no answer within {} s", STALL.as_secs()),
        };
        return passing(url, why);
    }
    let why = deepest(error);
    // The library's type for it is private.
    if why.contains("proxy authorization required") {
        return wants_proxy_password(url).into();
    }
    passing(url, why)
}

fn certificate_flaw<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a CertificateError> {
    match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(flaw)) => Some(flaw),
        _ => None,
    }
}

/// A certificate that is not valid yet is most often a clock that is behind, as on a fresh machine; any other is refused.
fn bad_certificate(cannot: String, flaw: &CertificateError) -> Error {
    use CertificateError as E;
    match flaw {
        E::NotValidYet | E::NotValidYetContext { .. } => Error::try_again(cannot)
            .because("the certificate of the server is not valid yet, by this host's clock")
            .hint("set the clock: `timedatectl set-ntp true`")
            .waits_for("the clock"),
        E::Expired | E::ExpiredContext { .. } => Error::refused(cannot)
            .because("the certificate of the server has expired, by this host's clock")
            .hint("if the clock is wrong, set it: `timedatectl set-ntp true`"),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            Error::refused(cannot).because(format!("the certificate is not that of the server: {flaw}"))
        }
        _ => Error::refused(cannot)
            .because(format!("this host does not trust the certificate of the server: {flaw}"))
            .hint("if a proxy or mirror has a private authority, add it to the system's trust store (`update-ca-certificates` or `update-ca-trust`)"),
    }
}

/// An error and what is behind it; an `io::Error` hides what it wraps.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// The cause behind all others: the only one that says something.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    mask(&causes(error).last().unwrap_or(error).to_string())
}

#[cfg(test)]
mod tests;
