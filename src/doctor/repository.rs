//! The clock, the package sources and the half-done work of package managers.

mod packages;

use super::Severity::{Block, Degraded, Info, Warn};
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::error::Result;
use crate::host::{APT_LISTS, DNF_REPOSITORIES, Kind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) const CHECKS: &[Check] = &[
    check("clock-skew", Block, "Does the clock agree with the dates that this host shows?", clock),
    check("apt-source-malformed", Degraded, "Can every source of Docker's be read?", malformed),
    check(
        "apt-signed-by-conflict",
        Degraded,
        "Do all files name the same key for Docker's source?",
        signed_by,
    )
    .under(&["apt-source-malformed"]),
    check("apt-no-pubkey", Degraded, "Is the key of Docker's source there, for apt to read?", key)
        .under(&["apt-signed-by-conflict"]),
    check("apt-key-legacy", Warn, "Has Docker's source a key of its own?", unsigned)
        .under(&["apt-signed-by-conflict"]),
    check(
        "apt-codename-derivative",
        Degraded,
        "Has Docker packages for the codename in the source?",
        codename,
    ),
    check(
        "apt-distro-mismatch",
        Degraded,
        "Do address and codename of Docker's source belong together?",
        mismatch,
    )
    .under(&["apt-codename-derivative"]),
    check(
        "pkg-candidate-missing",
        Degraded,
        "Has Docker's source an engine for this release and architecture?",
        packages::no_candidate,
    )
    .under(&[
        "apt-source-malformed",
        "apt-signed-by-conflict",
        "apt-no-pubkey",
        "apt-codename-derivative",
        "apt-distro-mismatch",
    ]),
    check("apt-lock-held", Info, "Is no package manager at work?", packages::busy),
    check("dpkg-interrupted", Degraded, "Has dpkg come to its end?", interrupted),
    check(
        "pkg-conflict-distro",
        Info,
        "Is there no other engine of the distribution beside Docker's?",
        conflict,
    ),
    check(
        "rpm-repo-404",
        Degraded,
        "Does Docker's repository name a release that Docker serves?",
        rpm_release,
    ),
    check("rpm-eol-mirror", Degraded, "Do the repositories have a mirror that lives?", rpm_mirror),
    check(
        "rpm-conflict-runc",
        Warn,
        "Is the distribution's runc not in the way of an engine?",
        packages::runc,
    ),
    check("distro-eol", Warn, "Is this release of the distribution kept up?", packages::ended),
];

/// A clock that is behind what was written already: the newest index, and the packages' state.
fn clock(case: &Case) -> Result<Answer> {
    let now = case.host.now();
    let mut newest: Option<(i64, PathBuf)> = None;
    let mut paths: Vec<PathBuf> =
        vec!["/var/lib/dpkg/status".into(), "/var/lib/rpm/rpmdb.sqlite".into(), "/usr".into()];
    let lists = Path::new(APT_LISTS);
    let names = case.host.list(lists)?;
    paths.extend(names.iter().filter(|name| name.ends_with("InRelease")).map(|name| lists.join(name)));
    for path in paths {
        if let Some(stat) = case.host.stat(&path)?
            && newest.as_ref().is_none_or(|(time, _)| stat.modified > *time)
        {
            newest = Some((stat.modified, path));
        }
    }
    match newest {
        Some((time, path)) if time > now + 86_400 => {
            let fix = Fix::told("set the clock, and let it be kept").types("timedatectl set-ntp true");
            let behind = (time - now) / 3600;
            Ok(Finding::new(format!("the clock is behind by {behind} hours or more: certificates and indexes are from the future"), fix)
                .saw(format!("{} is younger than now", path.display()))
                .into())
        }
        _ => Ok(Answer::Fine),
    }
}

/// A source for apt, from one line or one stanza.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) uri: String,
    suite: String,
    pub(super) signed_by: String,
}

/// What a line could not be read for.
pub(super) struct Malformed {
    file: PathBuf,
    line: usize,
    source: String,
}

pub(super) fn sources(case: &Case) -> Result<(Vec<Source>, Vec<Malformed>)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let directory = Path::new("/etc/apt/sources.list.d");
    files.extend(case.host.list(directory)?.iter().map(|name| directory.join(name)));
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        let one_line = file.extension().is_some_and(|e| e == "list");
        let stanzas = file.extension().is_some_and(|e| e == "sources");
        if !one_line && !stanzas {
            continue;
        }
        let text = case.text(&file.to_string_lossy())?.unwrap_or_default();
        if one_line {
            lines(&file, &text, &mut found, &mut wrong);
        } else {
            deb822(&file, &text, &mut found);
        }
    }
    Ok((found, wrong))
}

fn lines(file: &Path, text: &str, found: &mut Vec<Source>, wrong: &mut Vec<Malformed>) {
    for (number, line) in text.lines().enumerate() {
        let bare = line.split('#').next().unwrap_or_default().trim();
        if bare.is_empty() {
            continue;
        }
        let malformed = || Malformed { file: file.to_owned(), line: number + 1, source: line.to_owned() };
        let (options, rest) = match bare.split_once('[') {
            Some((_, rest)) => rest.split_once(']').unwrap_or((rest, "")),
            None => ("", bare.split_once(char::is_whitespace).map_or("", |(_, rest)| rest)),
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let kind = bare.split_whitespace().next().unwrap_or_default();
        // Of all that looks like a shell's, apt itself knows `$(ARCH)` (sources.list(5)).
        let odd = bare.replace("$(ARCH)", "").contains("$(") || bare.contains(['“', '”', '‘', '’']);
        if !["deb", "deb-src"].contains(&kind) || words.len() < 2 || odd {
            wrong.push(malformed());
            continue;
        }
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        found.push(Source {
            file: file.to_owned(),
            line: number + 1,
            uri: words[0].trim_end_matches('/').to_owned(),
            suite: words[1].to_owned(),
            signed_by: signed_by.unwrap_or_default().to_owned(),
        });
    }
}

fn deb822(file: &Path, text: &str, found: &mut Vec<Source>) {
    let mut line = 1;
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let lower = |l: &str| l.to_ascii_lowercase().starts_with(&format!("{name}:"));
            let at = stanza.lines().position(lower)?;
            let mut value = stanza.lines().nth(at)?.split_once(':')?.1.trim().to_owned();
            // An embedded key goes on in set-in lines.
            let more: Vec<&str> =
                stanza.lines().skip(at + 1).take_while(|l| l.starts_with(' ')).map(str::trim).collect();
            value.push_str(&more.join("\n"));
            Some(value)
        };
        let enabled = field("enabled").is_none_or(|word| !["no", "false", "0"].contains(&word.as_str()));
        for uri in field("uris").unwrap_or_default().split_whitespace().filter(|_| enabled) {
            for suite in field("suites").unwrap_or_default().split_whitespace() {
                found.push(Source {
                    file: file.to_owned(),
                    line,
                    uri: uri.trim_end_matches('/').to_owned(),
                    suite: suite.to_owned(),
                    signed_by: field("signed-by").unwrap_or_default(),
                });
            }
        }
        line += stanza.matches('\n').count() + 2;
    }
}

fn is_dockers(source: &Source) -> bool {
    source.uri.contains("download.docker.com/linux/") || source.uri.contains("/docker-ce/linux/")
}

fn malformed(case: &Case) -> Result<Answer> {
    let (_, wrong) = sources(case)?;
    let Some(first) = wrong.first() else { return Ok(Answer::Fine) };
    let fix = Fix::told("mend the line: all of apt stands still until then")
        .types(format!("sudoedit {}", first.file.display()));
    let mut finding = Finding::new("a source of apt cannot be read, and apt reads none because of it", fix)
        .all(wrong.iter().map(|w| format!("{}, line {}", w.file.display(), w.line)));
    finding.excerpt = vec![first.source.clone(), "^".repeat(first.source.chars().count().clamp(1, 60))];
    Ok(finding.into())
}

fn signed_by(case: &Case) -> Result<Answer> {
    let (sources, _) = sources(case)?;
    let mut places: BTreeMap<(String, String), Vec<&Source>> = BTreeMap::new();
    for source in &sources {
        places.entry((source.uri.clone(), source.suite.clone())).or_default().push(source);
    }
    for ((uri, suite), sources) in places {
        let keys: std::collections::BTreeSet<&str> = sources.iter().map(|s| s.signed_by.as_str()).collect();
        if keys.len() < 2 {
            continue;
        }
        // Ours, and what is newer in style, stays.
        let other =
            sources.iter().find(|s| s.file.extension().is_some_and(|e| e == "list")).unwrap_or(&sources[0]);
        let fix = Fix::told("keep one file, and take the other away: all of apt stands still until then")
            .types(format!("mv {0} {0}.disabled", other.file.display()));
        let shown = |s: &&Source| {
            let key = s.signed_by.lines().next().unwrap_or_default();
            let key = if key.is_empty() { "no key" } else { key };
            format!("{}, line {}: {key}", s.file.display(), s.line)
        };
        return Ok(Finding::new(format!("two files name {uri} {suite} with different keys"), fix)
            .all(sources.iter().map(shown))
            .into());
    }
    Ok(Answer::Fine)
}

fn key(case: &Case) -> Result<Answer> {
    let (sources, _) = sources(case)?;
    for source in sources.iter().filter(|s| is_dockers(s)) {
        let path = Path::new(&source.signed_by);
        if !path.is_absolute() {
            continue;
        }
        let shown = format!("{}, line {}: {}", source.file.display(), source.line, path.display());
        let fix = || Fix::told("write source and key anew").types("sudo rprov install");
        let Some(stat) = case.host.stat(path)? else {
            return Ok(Finding::new("the key of Docker's source is not there", fix()).saw(shown).into());
        };
        if stat.kind == Kind::File && stat.mode & 0o004 == 0 {
            let fix = Fix::told("let everybody read it: apt reads keys as the user _apt")
                .types(format!("chmod 644 {}", path.display()));
            let cause = "the key of Docker's source cannot be read by apt";
            return Ok(Finding::new(cause, fix)
                .saw(shown)
                .saw(format!("it has mode {:04o}", stat.mode))
                .into());
        }
        let bytes = case.host.read(path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).to_lowercase();
        let armored = text.contains("-----begin pgp");
        if bytes.is_empty() || text.contains("<html") || text.contains("<!doctype") {
            return Ok(Finding::new("what lies where the key of Docker's source should be is no key", fix())
                .saw(shown)
                .into());
        }
        if armored && path.extension().is_some_and(|e| e == "gpg") {
            let asc = path.with_extension("asc");
            let fix = Fix::told("give it the name of a text: .asc").types(format!(
                "mv {} {}",
                path.display(),
                asc.display()
            ));
            let cause = "the key of Docker's source is text, and its name says that it is binary";
            return Ok(Finding::new(cause, fix).saw(shown).into());
        }
    }
    Ok(Answer::Fine)
}

fn unsigned(case: &Case) -> Result<Answer> {
    let (sources, _) = sources(case)?;
    let Some(source) = sources.iter().find(|s| is_dockers(s) && s.signed_by.is_empty()) else {
        return Ok(Answer::Fine);
    };
    let fix = Fix::told("write source and key anew").types("sudo rprov install");
    Ok(Finding::new("Docker's source names no key of its own: every key of this host's may sign for it", fix)
        .saw(format!("{}, line {}", source.file.display(), source.line))
        .into())
}

const DEBIAN: [&str; 5] = ["buster", "bullseye", "bookworm", "trixie", "forky"];
const UBUNTU: [&str; 10] =
    ["bionic", "focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute", "xenial", "mantic"];

fn codename(case: &Case) -> Result<Answer> {
    let (sources, _) = sources(case)?;
    let known = |suite: &str| DEBIAN.contains(&suite) || UBUNTU.contains(&suite);
    let Some(source) = sources.iter().find(|s| is_dockers(s) && !known(&s.suite)) else {
        return Ok(Answer::Fine);
    };
    let distribution = &case.facts.distribution;
    let base = distribution.ubuntu_codename.clone().or_else(|| distribution.codename.clone());
    // A release that is newer than this program may well be served.
    if distribution.id_like.is_empty()
        || base.as_deref() == Some(&source.suite) && distribution.ubuntu_codename.is_none()
    {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told(format!(
        "name the codename of what lies below: {}",
        base.unwrap_or_else(|| "see /etc/os-release".into())
    ))
    .types("sudo rprov install");
    Ok(Finding::new(
        format!("Docker has no packages for `{}`: that is the codename of a derivative", source.suite),
        fix,
    )
    .saw(format!("{}, line {}", source.file.display(), source.line))
    .into())
}

fn mismatch(case: &Case) -> Result<Answer> {
    let (sources, _) = sources(case)?;
    let wrong = |s: &&Source| {
        (s.uri.ends_with("/linux/debian") && UBUNTU.contains(&s.suite.as_str()))
            || (s.uri.ends_with("/linux/ubuntu") && DEBIAN.contains(&s.suite.as_str()))
    };
    let Some(source) = sources.iter().filter(|s| is_dockers(s)).find(wrong) else { return Ok(Answer::Fine) };
    let fix = Fix::told("write the source anew").types("sudo rprov install");
    Ok(Finding::new(
        format!("{} has no suite `{}`: one is Debian's, the other Ubuntu's", source.uri, source.suite),
        fix,
    )
    .saw(format!("{}, line {}", source.file.display(), source.line))
    .into())
}

fn interrupted(case: &Case) -> Result<Answer> {
    let left = case.host.list(Path::new("/var/lib/dpkg/updates"))?;
    if left.iter().all(|name| name.bytes().any(|b| !b.is_ascii_digit())) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("let it finish").types("sudo dpkg --configure -a");
    Ok(Finding::new("an installation was interrupted: dpkg waits to finish it", fix)
        .saw(format!("/var/lib/dpkg/updates holds {}", left.join(", ")))
        .into())
}

fn conflict(case: &Case) -> Result<Answer> {
    let list = Path::new("/var/lib/dpkg/info");
    let has = |name: &str| case.host.exists(&list.join(format!("{name}.list"))).unwrap_or(false);
    if !has("docker-ce") {
        return Ok(Answer::Fine);
    }
    let others: Vec<&str> = ["docker-compose-v2", "docker-buildx", "podman-docker"]
        .into_iter()
        .filter(|name| has(name))
        .collect();
    if others.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("remove what Docker's own packages bring already")
        .types(format!("sudo apt-get remove {}", others.join(" ")));
    Ok(Finding::new("packages of the distribution lie beside Docker's own of the same use", fix)
        .saw(others.join(", "))
        .into())
}

/// The lines `baseurl=` and `mirrorlist=` of the enabled repositories.
pub(super) fn repositories(case: &Case) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for name in case.host.list(Path::new(DNF_REPOSITORIES))? {
        let path = Path::new(DNF_REPOSITORIES).join(&name);
        if !name.ends_with(".repo") {
            continue;
        }
        let text = case.text(&path.to_string_lossy())?.unwrap_or_default();
        for section in text.split("\n[") {
            let off = section.lines().any(|line| line.replace(' ', "") == "enabled=0");
            let urls = section.lines().map(|line| line.replace(' ', ""));
            let urls = urls.filter(|line| line.starts_with("baseurl=") || line.starts_with("mirrorlist="));
            found.extend(urls.filter(|_| !off).map(|line| (path.clone(), line)));
        }
    }
    Ok(found)
}

fn rpm_release(case: &Case) -> Result<Answer> {
    for (path, line) in repositories(case)? {
        let Some((_, rest)) = line.split_once("download.docker.com/linux/") else { continue };
        let mut parts = rest.split('/');
        let (Some(distribution), Some(release)) = (parts.next(), parts.next()) else { continue };
        let own = ["fedora", "rhel", "centos"].contains(&distribution);
        let minor = release.contains('.') || release.ends_with("Server");
        let variable = release.contains("releasever");
        let amazon = case.facts.distribution.id == "amzn";
        if own && !minor && !(variable && amazon) {
            continue;
        }
        let fix = Fix::told("name a distribution and a major version that Docker serves")
            .types("sudo rprov install");
        return Ok(Finding::new("Docker's repository names a release that Docker does not serve: 404", fix)
            .saw(format!("{}: {line}", path.display()))
            .into());
    }
    Ok(Answer::Fine)
}

fn rpm_mirror(case: &Case) -> Result<Answer> {
    match repositories(case)?.into_iter().find(|(_, line)| line.contains("mirrorlist.centos.org")) {
        Some((path, line)) => {
            let fix =
                Fix::told("move to a distribution that is kept up; its packages lie at vault.centos.org");
            Ok(Finding::new(
                "a repository's list of mirrors is gone for good: this CentOS has had its end",
                fix,
            )
            .saw(format!("{}: {line}", path.display()))
            .into())
        }
        None => Ok(Answer::Fine),
    }
}
