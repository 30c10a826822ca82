//! NVIDIA's package sources: what is left of nvidia-docker2's, keys that apt cannot read, another release's repository.

use super::super::repository::{self, Source};
use super::super::{Answer, Case, Finding, Fix};
use super::{cards, fine, found};
use crate::error::Result;
use crate::host::Kind;
use std::path::{Path, PathBuf};

/// The repositories that were given up for that of the toolkit.
fn is_legacy(uri: &str) -> bool {
    let Some((_, rest)) = uri.split_once("nvidia.github.io/") else { return false };
    let old = ["nvidia-docker", "nvidia-container-runtime"].iter().any(|name| rest.starts_with(name));
    // One for each release; there is one for all of them now.
    let by_release = rest.starts_with("libnvidia-container/")
        && !["stable/deb", "stable/rpm", "experimental/deb", "experimental/rpm"]
            .iter()
            .any(|new| rest.contains(new));
    old || by_release
}

pub fn legacy(case: &Case) -> Result<Answer> {
    let (sources, _) = repository::sources(case)?;
    let mut left: Vec<(PathBuf, String)> = sources
        .iter()
        .filter(|source| is_legacy(&source.uri))
        .map(|source| (source.file.clone(), format!("line {}: {}", source.line, source.uri)))
        .collect();
    left.extend(repository::repositories(case)?.into_iter().filter(|(_, line)| is_legacy(line)));
    let Some((file, _)) = left.first() else { return fine() };
    let fix = Fix::told("take them away: there is one source for all releases now")
        .types(format!("mv {0} {0}.disabled", file.display()));
    let cause =
        "the sources of nvidia-docker2's time are left: nothing new comes from them, and apt or dnf stumbles";
    found(Finding::new(cause, fix).all(left.iter().map(|(file, what)| format!("{}, {what}", file.display()))))
}

fn is_nvidias(source: &Source) -> bool {
    source.uri.contains("nvidia.github.io/") || source.uri.contains("developer.download.nvidia.com/")
}

pub fn key(case: &Case) -> Result<Answer> {
    let (sources, _) = repository::sources(case)?;
    for source in sources.iter().filter(|source| is_nvidias(source)) {
        let path = Path::new(&source.signed_by);
        if !path.is_absolute() {
            continue;
        }
        let shown = format!("{}, line {}: {}", source.file.display(), source.line, path.display());
        let stat = case.host.stat(path)?;
        let hidden = stat.as_ref().is_some_and(|stat| stat.kind == Kind::File && stat.mode & 0o004 == 0);
        if stat.is_some() && !hidden {
            continue;
        }
        let (cause, fix) = match hidden {
            true => (
                "the key of NVIDIA's source cannot be read by apt: NO_PUBKEY",
                Fix::told("let everybody read it: apt reads keys as the user _apt")
                    .types(format!("chmod 644 {}", path.display())),
            ),
            false => (
                "the key of NVIDIA's source is not there: NO_PUBKEY",
                Fix::told("write source and key anew").types("rprov install --gpu=toolkit"),
            ),
        };
        return found(Finding::new(cause, fix).saw(shown));
    }
    fine()
}

/// The directory of CUDA's repositories for this release: `ubuntu2404`, `debian12`, `rhel9`.
fn own(case: &Case) -> Option<String> {
    let distribution = &case.facts.distribution;
    let version = distribution.version_id.clone()?;
    let major = version.split('.').next()?.to_owned();
    match distribution.id.as_str() {
        "ubuntu" => Some(format!("ubuntu{}", version.replace('.', ""))),
        "debian" => Some(format!("debian{major}")),
        "rhel" | "centos" | "rocky" | "almalinux" | "ol" => Some(format!("rhel{major}")),
        _ => None,
    }
}

pub fn foreign(case: &Case) -> Result<Answer> {
    let Some(own) = own(case).filter(|_| cards(case).is_some()) else { return fine() };
    let (sources, _) = repository::sources(case)?;
    let mut lines: Vec<(PathBuf, String)> =
        sources.into_iter().map(|source| (source.file, source.uri)).collect();
    lines.extend(repository::repositories(case)?);
    let of = |uri: &str| Some(uri.split_once("/cuda/repos/")?.1.split('/').next()?.to_owned());
    for (file, uri) in lines {
        let Some(directory) = of(&uri).filter(|directory| *directory != own && !directory.contains('$'))
        else {
            continue;
        };
        let fix =
            Fix::told(format!("name {own} there: other releases' packages and keys do not fit this one"))
                .types(format!("sudoedit {}", file.display()));
        let cause = format!("the CUDA repository is that of {directory}, and this host is {own}");
        return found(Finding::new(cause, fix).saw(format!("{}: {uri}", file.display())));
    }
    fine()
}
