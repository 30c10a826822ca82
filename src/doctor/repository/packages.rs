//! What packages wait for: another package manager at work, a source without docker-ce, a release that has had its end.

use super::super::Severity::Info;
use super::super::{Answer, Case, Finding, Fix};
use super::{is_dockers, sources};
use crate::error::Result;
use crate::host::APT_LISTS;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::Path;

/// Programs that hold the locks of a package manager while they work.
const MANAGERS: [&str; 9] =
    ["apt-get", "apt", "aptitude", "dpkg", "unattended-upgr", "dnf", "dnf5", "yum", "packagekitd"];

pub fn busy(case: &Case) -> Result<Answer> {
    // proc_locks(5): `1: POSIX  ADVISORY  WRITE 2448 08:01:131 0 EOF`.
    let locks = case.text("/proc/locks").ok().flatten().unwrap_or_default();
    let holders = locks.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields
            .iter()
            .position(|field| *field == "WRITE")
            .and_then(|at| fields.get(at + 1)?.parse::<u32>().ok())
    });
    for pid in holders {
        let name = case.text(&format!("/proc/{pid}/comm")).ok().flatten().unwrap_or_default();
        if MANAGERS.contains(&name.trim()) {
            let fix = Fix::told("let it come to its end: no lock is removed by hand")
                .types(format!("ps -fp {pid}"));
            let cause = format!("another package manager is at work: `{}` (process {pid})", name.trim());
            return Ok(Finding::new(cause, fix).saw(format!("/proc/locks: WRITE {pid}")).into());
        }
    }
    Ok(Answer::Fine)
}

/// Docker's source is there, no engine is: whether apt could install one by what it last read.
pub fn no_candidate(case: &Case) -> Result<Answer> {
    if case.engine() || case.program("dpkg").is_none() {
        return Ok(Answer::Fine);
    }
    let (sources, _) = sources(case)?;
    let Some(source) = sources.iter().find(|source| is_dockers(source)) else { return Ok(Answer::Fine) };
    let shown = format!("{}, line {}: {} {}", source.file.display(), source.line, source.uri, source.suite);
    let lists = case.host.list(Path::new(APT_LISTS))?;
    let ours = |name: &&String| {
        name.contains("linux_")
            && name.contains(&format!("_dists_{}_", source.suite))
            && name.contains("_Packages")
            && (name.contains("docker"))
    };
    let indexes: Vec<&String> = lists.iter().filter(ours).collect();
    if indexes.is_empty() {
        let fix = Fix::told("let apt read its sources").types("apt-get update");
        return Ok(Finding::new("apt has not read Docker's source: docker-ce is not to be had", fix)
            .saw(shown)
            .saw(format!("no list of it in {APT_LISTS}"))
            .into());
    }
    for name in &indexes {
        let text = case.text(&format!("{APT_LISTS}/{name}"))?.unwrap_or_default();
        // A packed one is not opened for this.
        if !name.ends_with("_Packages") || text.lines().any(|line| line == "Package: docker-ce") {
            return Ok(Answer::Fine);
        }
    }
    let fix = Fix::told(
        "see whether Docker has packages for this release and architecture; rprov says which it knows",
    )
    .types("rprov profile list");
    Ok(Finding::new("Docker's source has no docker-ce for this release and architecture", fix)
        .saw(shown)
        .saw(format!("the architecture is {}", case.facts.architecture))
        .into())
}

/// containerd.io brings a runc of its own, and does not go in beside the distribution's.
pub fn runc(case: &Case) -> Result<Answer> {
    let rpm = case.program("rpm").is_some() && case.program("dpkg").is_none();
    if !rpm || case.engine() {
        return Ok(Answer::Fine);
    }
    let Some(path) = case.program("runc") else { return Ok(Answer::Fine) };
    let fix = Fix::told("take it away first, and what needs it: podman and buildah run with crun as well; rprov shows what would go")
        .types("rprov plan");
    Ok(Finding::new("runc of the distribution is in the way of containerd.io", fix)
        .saw(format!("{} is there, and no engine", path.display()))
        .into())
}

/// Releases that ended before this program was made, by their makers' own pages: no data on such a host says so.
const ENDED: &[(&str, &str, &str)] = &[
    ("ubuntu", "14.04", "2019-04-30"),
    ("ubuntu", "16.04", "2021-04-30"),
    ("ubuntu", "18.04", "2023-05-31"),
    ("ubuntu", "20.04", "2025-05-31"),
    ("ubuntu", "24.10", "2025-07-10"),
    ("debian", "8", "2020-06-30"),
    ("debian", "9", "2022-06-30"),
    ("debian", "10", "2024-06-30"),
    ("centos", "7", "2024-06-30"),
    ("centos", "8", "2021-12-31"),
    ("rhel", "7", "2024-06-30"),
    ("fedora", "39", "2024-11-26"),
    ("fedora", "40", "2025-05-13"),
    ("amzn", "2", "2026-06-30"),
];

/// The last day of support, and who says so: os-release, the distribution's table of its releases, or the list above.
fn end(case: &Case) -> Result<Option<(Date, String)>> {
    let own = case.text("/etc/os-release")?.unwrap_or_default();
    let named = own.lines().find_map(|line| line.strip_prefix("SUPPORT_END="));
    if let Some(date) = named.and_then(|date| date.trim_matches('"').parse().ok()) {
        return Ok(Some((date, "/etc/os-release: SUPPORT_END".into())));
    }
    let distribution = &case.facts.distribution;
    let (id, version) = (distribution.id.as_str(), distribution.version_id.as_deref().unwrap_or_default());
    let table = format!("/usr/share/distro-info/{id}.csv");
    let text = case.text(&table)?.unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    // Of Debian the years of LTS count as well: its archive goes on for as long.
    let column = ["eol-lts", "eol"].iter().find_map(|name| head.iter().position(|field| field == name));
    let row = lines.find(|row| row.first().is_some_and(|field| field.trim_end_matches(" LTS") == version));
    let day = row.zip(column).and_then(|(row, at)| row.get(at)?.trim().parse().ok());
    if let Some(date) = day {
        return Ok(Some((date, table)));
    }
    let known = ENDED.iter().find(|(known, release, _)| *known == id && *release == version);
    Ok(known.and_then(|(_, _, date)| Some((date.parse().ok()?, "its makers' own pages".to_owned()))))
}

pub fn ended(case: &Case) -> Result<Answer> {
    let Some((day, says)) = end(case)? else { return Ok(Answer::Fine) };
    let Ok(now) = Timestamp::from_second(case.host.now()) else { return Ok(Answer::Fine) };
    if now.to_zoned(TimeZone::UTC).date() <= day {
        return Ok(Answer::Fine);
    }
    let fix =
        Fix::told("go to a release that is kept up: neither it nor Docker mends what is found in this one");
    let cause = format!("{} had its end on {day}", case.facts.distribution.name);
    let finding = Finding::new(cause, fix).saw(format!("{says}: {day}"));
    // Of what somebody pays for longer nothing is known here.
    Ok(if case.exists("/var/lib/ubuntu-advantage/private/machine-token.json") {
        finding.only(Info)
    } else {
        finding
    }
    .into())
}
