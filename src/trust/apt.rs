//! How an apt index becomes verified: InRelease by the pinned key, Packages by the digest that InRelease holds.

use super::{Pin, no_rollback, signed_text, utc};
use crate::error::{Error, Exit, Result};
use crate::host::Look;
use crate::host::fetch::mask;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

/// One component of one suite for one architecture, and whom it must be signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptSource {
    /// What stands before `/dists/`: `https://download.docker.com/linux/ubuntu`.
    pub root: String,
    /// `noble`; `/` of a flat repository, whose index lies beside its packages.
    pub suite: String,
    /// None of a flat repository: empty.
    pub component: String,
    /// As dpkg names it: `amd64`.
    pub architecture: String,
    pub pin: Pin,
}

/// A verified index.
#[derive(Clone, Debug)]
pub struct AptIndex {
    /// The bytes of InRelease, as served.
    pub in_release: Vec<u8>,
    /// The bytes of Packages, uncompressed.
    pub packages: Vec<u8>,
    pub release: Release,
    /// What Packages lists, in its order.
    pub records: Vec<Record>,
    list_names: [String; 2],
}

/// What a Release file says of its suite (Debian's repository format).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    pub suite: Option<String>,
    pub codename: Option<String>,
    /// Seconds since the epoch.
    pub date: i64,
    /// Seconds since the epoch.
    pub valid_until: Option<i64>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// Indexes may be fetched by their digest, which does not change under us.
    pub by_hash: bool,
    /// The indexes, by their path below the suite.
    pub indexes: BTreeMap<String, Expected>,
}

/// The size in bytes, and the SHA-256 in lower-case hexadecimal digits, that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub size: u64,
    pub sha256: String,
}

/// One package of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: String,
    pub version: String,
    /// The path below the source's root.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// Bytes once unpacked, as the index says it.
    pub installed: u64,
    pub sha256: String,
}

/// Waits before each look: a mirror in the middle of an update is often whole a moment later.
const PAUSES: [Duration; 4] = if cfg!(test) {
    [Duration::ZERO; 4]
} else {
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)]
};
/// The largest InRelease that is read, in bytes; Debian's own has some 0.2 MB.
const RELEASE_LIMIT: u64 = 4 << 20;
/// The largest Packages that is read, in bytes.
const PACKAGES_LIMIT: u64 = 32 << 20;
/// How far ahead of this clock an index may be dated, in seconds: apt's `Acquire::Max-FutureTime`.
const FUTURE: i64 = 10;

impl AptSource {
    /// apt's names of InRelease and Packages in `/var/lib/apt/lists` (apt's `URItoFileName`).
    pub fn list_names(&self) -> [String; 2] {
        [list_name(&self.url("InRelease")), list_name(&self.url(&self.packages()))]
    }
    /// sources.list(5): a suite that ends in a slash is a path, and there is no component.
    pub fn is_flat(&self) -> bool {
        self.suite.ends_with('/')
    }
    fn url(&self, path: &str) -> String {
        format!("{}/{}", self.root.trim_end_matches('/'), self.below(path))
    }
    /// Where a file of the index lies below the root.
    fn below(&self, path: &str) -> String {
        match self.is_flat() {
            true => format!("{}{path}", self.suite.trim_start_matches('/')),
            false => format!("dists/{}/{path}", self.suite),
        }
    }
    /// InRelease, below the root.
    pub fn in_release_path(&self) -> String {
        self.below("InRelease")
    }
    /// Packages, uncompressed, below the root.
    pub fn packages_path(&self) -> String {
        self.below(&self.packages())
    }
    fn packages(&self) -> String {
        match self.is_flat() {
            true => "Packages".to_owned(),
            false => format!("{}/binary-{}/Packages", self.component, self.architecture),
        }
    }
}

impl AptIndex {
    /// When the index was made, in seconds since the epoch: the next one that is accepted is not older.
    pub fn date(&self) -> i64 {
        self.release.date
    }
    /// InRelease and Packages as apt keeps them: file name and bytes.
    pub fn lists(&self) -> Vec<(String, Vec<u8>)> {
        let [in_release, packages] = self.list_names.clone();
        vec![(in_release, self.in_release.clone()), (packages, self.packages.clone())]
    }
}

/// Fetches and verifies the index of a source.
///
/// Refuses (exit 4) a suite that is not published, a signature that is not the pinned key's, an index past
/// `Valid-Until` or older than `newest_accepted` (seconds since the epoch), and content that is not what was signed.
/// Worth another try (exit 5): the network, an index from the future (waits for the clock), and what is cut off.
/// A body that does not fit its signature is fetched again a few times, together with InRelease, for either may be
/// the one that lags. If it is shorter than signed in the end, the mirror is in mid-sync or the transfer was cut
/// (exit 5); any other content is refused, also an old and longer Packages: it cannot be told from a forged one.
pub fn apt_index(host: &dyn Look, source: &AptSource, newest_accepted: Option<i64>) -> Result<AptIndex> {
    let mut outcome = Err(Error::failed("no look was taken"));
    for (i, pause) in PAUSES.iter().enumerate() {
        std::thread::sleep(*pause);
        outcome = match look(&Bodies { host, again: i > 0 }, source, newest_accepted) {
            Ok(index) => return Ok(index),
            Err(Flaw::Final(error)) => return Err(error),
            Err(Flaw::MayPass(error)) => Err(error),
        };
    }
    outcome
}

/// Where bodies come from: the first look may use what was fetched before in this run.
struct Bodies<'a> {
    host: &'a dyn Look,
    again: bool,
}

impl Bodies<'_> {
    fn get(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        if self.again { self.host.fetch_again(url, limit) } else { self.host.fetch(url, limit) }
    }
}

/// What is wrong with an index, and whether another look may find it mended.
enum Flaw {
    Final(Error),
    MayPass(Error),
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Flaw::Final(error)
    }
}

fn look(
    from: &Bodies,
    source: &AptSource,
    newest_accepted: Option<i64>,
) -> std::result::Result<AptIndex, Flaw> {
    let url = source.url("InRelease");
    let now = from.host.now();
    let in_release = from.get(&url, RELEASE_LIMIT).map_err(|e| unpublished(e, source))?;
    let signed = signed_text(&in_release, &source.pin, now).map_err(|error| {
        let error = error.because(format!("that is `{}`", mask(&url)));
        let error = error.or_hint("take another mirror, or name its key with `key` below its `[source]`");
        if error.exit == Exit::TryAgain { Flaw::MayPass(error) } else { Flaw::Final(error) }
    })?;
    let about = |error: Error| error.because(format!("that is `{}`", mask(&url)));
    let release = parse_release(&signed.text).map_err(about)?;
    check_suite(&release, source).map_err(about)?;
    check_dates(&release, signed.at, now, newest_accepted).map_err(about)?;
    let packages = packages(from, source, &release)?;
    let records = parse_packages(&packages).map_err(about)?;
    Ok(AptIndex { in_release, packages, release, records, list_names: source.list_names() })
}

/// Verifies an index that is at hand: of a bundle, which is a moment of the repository. It may be used long after its
/// `Valid-Until`.
pub fn index_at_hand(
    source: &AptSource,
    in_release: Vec<u8>,
    packages: Vec<u8>,
    now: i64,
) -> Result<AptIndex> {
    let signed = signed_text(&in_release, &source.pin, now)?;
    let mut release = parse_release(&signed.text)?;
    check_suite(&release, source)?;
    release.valid_until = None;
    check_dates(&release, signed.at, now, None)?;
    let expected = release.indexes.get(&source.packages()).ok_or_else(|| unlisted(source, &release))?;
    if let Some(error) = unlike(&packages, expected, &source.packages_path()) {
        return Err(error.for_good());
    }
    let records = parse_packages(&packages)?;
    Ok(AptIndex { in_release, packages, release, records, list_names: source.list_names() })
}

fn unpublished(error: Error, source: &AptSource) -> Error {
    if !error.absent {
        return error;
    }
    Error::refused(format!("`{}` is not published at `{}`", source.suite, mask(&source.root)))
        .because(format!("there is no `{}`", mask(&source.url("InRelease"))))
        .absent()
        .hint("check the address of the source; a mirror keeps the layout of the original")
}

/// A mirror must not pass one suite off as another: the key signs them all.
fn check_suite(release: &Release, source: &AptSource) -> Result<()> {
    let names: Vec<&String> = release.suite.iter().chain(&release.codename).collect();
    // A flat repository is a path, and no suite.
    if source.is_flat() || names.is_empty() || names.contains(&&source.suite) {
        return Ok(());
    }
    Err(Error::refused(format!("the index is not that of `{}`", source.suite))
        .because(format!("it says that it is `{}`", names[0])))
}

fn check_dates(release: &Release, signed_at: i64, now: i64, newest_accepted: Option<i64>) -> Result<()> {
    let made = release.date.max(signed_at);
    if made > now + FUTURE {
        return Err(Error::try_again("the index is from the future")
            .because(format!("it was made at {}, and it is {} by this host's clock", utc(made), utc(now)))
            .hint("set the clock: `timedatectl set-ntp true`")
            .waits_for("the clock"));
    }
    if let Some(end) = release.valid_until.filter(|end| now > *end) {
        return Err(Error::refused("the index is no longer valid")
            .because(format!("it was until {}, and it is {} by this host's clock", utc(end), utc(now)))
            .hint("use a mirror that is kept up to date, or set the clock"));
    }
    no_rollback(release.date, newest_accepted)
}

/// Packages, uncompressed; from the first place that has it as it was signed.
fn packages(from: &Bodies, source: &AptSource, release: &Release) -> std::result::Result<Vec<u8>, Flaw> {
    let plain = source.packages();
    let zipped = format!("{plain}.gz");
    let (mut flaw, mut missing) = (None, None);
    for path in [&plain, &zipped] {
        let Some(signed) = release.indexes.get(path) else { continue };
        for url in places(source, release, path, signed) {
            let body = match from.get(&url, PACKAGES_LIMIT) {
                Err(error) if error.absent => {
                    let error = Error::try_again(format!("`{}` is not there", mask(&url)))
                        .because("the signed index lists it: the mirror is being updated");
                    missing.get_or_insert(error);
                    continue;
                }
                other => other?,
            };
            match unlike(&body, signed, &url) {
                Some(error) => flaw = flaw.or(Some(error)),
                None if path == &plain => return Ok(body),
                None => return Ok(unzip(&body, release.indexes.get(&plain), &url)?),
            }
        }
    }
    Err(match flaw.or(missing) {
        Some(error) => Flaw::MayPass(error),
        None => Flaw::Final(unlisted(source, release)),
    })
}

/// By its digest first: that address never changes its content.
fn places(source: &AptSource, release: &Release, path: &str, signed: &Expected) -> Vec<String> {
    let directory = path.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"));
    let by_hash = source.url(&format!("{directory}by-hash/SHA256/{}", signed.sha256));
    release.by_hash.then_some(by_hash).into_iter().chain([source.url(path)]).collect()
}

fn unlisted(source: &AptSource, release: &Release) -> Error {
    Error::refused(format!(
        "`{}` of `{}` is not published for `{}` at `{}`",
        source.component,
        source.suite,
        source.architecture,
        mask(&source.root)
    ))
    .because(format!("components are `{}`", release.components.join(" ")))
    .because(format!("architectures are `{}`", release.architectures.join(" ")))
}

/// Nothing, or in what a body differs from what was signed: shorter is worth another try, other content is refused.
fn unlike(body: &[u8], signed: &Expected, url: &str) -> Option<Error> {
    let size = body.len() as u64;
    let what = format!("`{}` is not what was signed", mask(url));
    if size < signed.size {
        return Some(
            Error::try_again(what)
                .because(format!("it has {size} bytes, {} were signed", signed.size))
                .hint("the mirror is being updated, or the transfer was cut; try again in some minutes"),
        );
    }
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    if size == signed.size && digest == signed.sha256 {
        return None;
    }
    Some(
        Error::refused(what)
            .because(format!("it has {size} bytes with the SHA-256 {digest}"))
            .because(format!("{} bytes with {} were signed", signed.size, signed.sha256))
            .hint("use another mirror; one that is being updated may be right again in some minutes"),
    )
}

/// Unpacks what was verified, no further than was signed.
fn unzip(body: &[u8], plain: Option<&Expected>, url: &str) -> Result<Vec<u8>> {
    let limit = plain.map_or(PACKAGES_LIMIT, |signed| signed.size.min(PACKAGES_LIMIT));
    let mut text = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(limit + 1).read_to_end(&mut text);
    read.map_err(|e| Error::refused(format!("cannot unpack `{}`", mask(url))).because(e))?;
    if text.len() as u64 > PACKAGES_LIMIT {
        return Err(Error::refused(format!("`{}` unpacks to more than {limit} bytes", mask(url))));
    }
    match plain.and_then(|signed| unlike(&text, signed, url)) {
        Some(error) => Err(error),
        None => Ok(text),
    }
}

/// Reads a Release file. Refuses one without a date or without SHA-256.
pub fn parse_release(text: &str) -> Result<Release> {
    let refuse = |why: &str| Error::refused("the index cannot be read").because(why);
    let date =
        |name| field(text, name).map(|value| parse_date(value).ok_or_else(|| refuse("its date is no date")));
    let words = |name| field(text, name).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    Ok(Release {
        suite: field(text, "Suite").map(str::to_owned),
        codename: field(text, "Codename").map(str::to_owned),
        date: date("Date").ok_or_else(|| refuse("it has no `Date`"))??,
        valid_until: date("Valid-Until").transpose()?,
        components: words("Components"),
        architectures: words("Architectures"),
        by_hash: field(text, "Acquire-By-Hash").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
        indexes: parse_digests(text)
            .ok_or_else(|| refuse("its `SHA256` is missing or has a line that is no digest"))?,
    })
}

/// The lines below `SHA256:`, a digest, a size and a path each.
fn parse_digests(text: &str) -> Option<BTreeMap<String, Expected>> {
    let mut lines = text.lines().skip_while(|line| !line.eq_ignore_ascii_case("SHA256:"));
    lines.next()?;
    lines.take_while(|line| line.starts_with(' ')).map(parse_digest).collect()
}

fn parse_digest(line: &str) -> Option<(String, Expected)> {
    let mut words = line.split_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    Some((path.to_owned(), Expected { size: size.parse().ok()?, sha256: digits(sha256)? }))
}

/// Reads a Packages file. Refuses a record without what is needed of it.
pub fn parse_packages(packages: &[u8]) -> Result<Vec<Record>> {
    let refuse = |why: String| Error::refused("the list of packages cannot be read").because(why);
    let text = str::from_utf8(packages).map_err(|e| refuse(e.to_string()))?;
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs
        .map(|paragraph| {
            let first = paragraph.trim_start().lines().next().unwrap_or_default();
            parse_record(paragraph).ok_or_else(|| refuse(format!("`{first}` lacks a field")))
        })
        .collect()
}

fn parse_record(paragraph: &str) -> Option<Record> {
    let field = |name| field(paragraph, name).map(str::to_owned);
    Some(Record {
        name: field("Package")?,
        version: field("Version")?,
        filename: field("Filename")?,
        size: field("Size")?.parse().ok()?,
        installed: field("Installed-Size").and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10,
        sha256: digits(&field("SHA256")?)?,
    })
}

/// The first line of a field; names are compared without regard to case.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn digits(sha256: &str) -> Option<String> {
    let whole = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| sha256.to_ascii_lowercase())
}

/// `Thu, 01 Jan 2026 12:00:00 UTC`, as seconds since the epoch.
fn parse_date(text: &str) -> Option<i64> {
    let text = text.strip_suffix("UTC").map_or(text.to_owned(), |time| format!("{time}+0000"));
    jiff::fmt::rfc2822::parse(&text).ok().map(|time| time.timestamp().as_second())
}

/// A URL as the name of a list: without scheme and user, `/` as `_`, and what apt quotes as `%xx`.
fn list_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let quote = |c: char| match c {
        '/' => "_".to_owned(),
        c if c.is_ascii_graphic() && !r#"\|{}[]<>"^~_=!@#$%^&*"#.contains(c) => c.to_string(),
        c => c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
    };
    format!("{host}/{path}").chars().map(quote).collect()
}
