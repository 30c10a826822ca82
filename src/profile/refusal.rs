//! Why no profile is for a host, and the nearest thing that works there.

use super::derivative::named_base;
use super::form::Profile;
use super::library::{Library, SITE};
use crate::error::Error;
use crate::facts::{Distribution, Facts};
use jiff::civil::Date;

/// There is a profile, for other architectures.
pub fn other_processor(facts: &Facts, profile: &Profile) -> Error {
    let reason = format!("`{}` is for {}", profile.name, profile.matches.architectures.join(" and "));
    refused(facts, Some(profile)).because(reason)
}

/// There is a profile, and its packages are for newer processors.
pub fn old_processor(facts: &Facts, profile: &Profile) -> Error {
    let reason = format!(
        "this processor is an ARMv6, and the packages of `{}` for {} are for ARMv7 and newer",
        profile.name, facts.architecture
    );
    refused(facts, Some(profile)).because(reason)
}

/// There is none.
pub fn no_profile(facts: &Facts, library: &Library) -> Error {
    let host = &facts.distribution;
    let known = library.derivative(&host.id);
    if let Some(refusal) = known.and_then(|derivative| derivative.refused.as_ref()) {
        return refused(facts, None).because(&refusal.reason).hint(&refusal.hint);
    }
    let near = near(host, library);
    let reason = match named_base(host, known).filter(|_| !library.has(&host.id)) {
        Some((key, name)) => format!("no profile is for what it is based on, `{}={name}`", key.name()),
        None => "no profile is for it".to_owned(),
    };
    match near {
        Some(near) => {
            let release = known.and_then(|derivative| derivative.on.get(&near.name));
            let title = release.map_or(&near.title, |release| &release.title);
            let reason = format!("{reason}; the nearest is `{}` ({title})", near.name);
            refused(facts, Some(near)).because(reason)
        }
        None => refused(facts, None).because(format!("{reason}, nor for anything near it")),
    }
}

/// What works today and is nearest to it.
pub fn near<'l>(host: &Distribution, library: &'l Library) -> Option<&'l Profile> {
    nearest(host, library, jiff::Zoned::now().date())
}

/// No profile says which packages the distribution's engine is.
pub fn no_own_engine(facts: &Facts) -> Error {
    Error::refused("cannot install the engine of this distribution")
        .because(format!("no profile knows one of {}", facts.distribution.name))
        .hint(format!("a profile of your own, with `distribution` in `[packages]`, goes to `{SITE}`"))
}

/// The distribution's own engine is offered where it is known.
fn refused(facts: &Facts, near: Option<&Profile>) -> Error {
    let Distribution { id, version_id, name, .. } = &facts.distribution;
    let version = version_id.as_deref().unwrap_or("without a version");
    let list = format!(
        "`rprov profile list` shows what is supported; a profile of your own goes to `{SITE}`, see profiles/README.md"
    );
    let hint = match near.filter(|profile| !profile.packages.distribution.is_empty()) {
        Some(_) => {
            format!("`rprov install --engine distribution` installs the distribution's own engine; {list}")
        }
        None => list,
    };
    Error::refused(format!("{name} (`{id}` {version}) on {} is not supported", facts.architecture)).hint(hint)
}

/// What works and is nearest: for a known derivative the newest release of it, else the newest release of the same
/// distribution that is not newer than this, else its oldest, else the newest of what it says that it is based on,
/// or like. What is past its end on that day is near to nobody.
fn nearest<'l>(host: &Distribution, library: &'l Library, today: Date) -> Option<&'l Profile> {
    let mut alive: Vec<&Profile> =
        library.list().map(|l| &l.profile).filter(|profile| profile.end_of_life >= today).collect();
    alive.sort_by_key(|profile| numbers(profile.matches.version.as_deref().unwrap_or_default()));
    let known = library.derivative(&host.id);
    let base = named_base(host, known).map(|(key, _)| key);
    let sibling = |profile: &&&Profile| {
        let same_base = base.is_none_or(|key| profile.matches.derivatives.contains_key(&key));
        let release = known.and_then(|derivative| derivative.on.get(&profile.name));
        same_base && release.is_some_and(|release| release.end_of_life.is_none_or(|end| end >= today))
    };
    let of = |id: &str| alive.iter().filter(|p| p.matches.id == id).copied().collect::<Vec<_>>();
    let own = of(&host.id);
    let version = numbers(host.version_id.as_deref().unwrap_or("9999"));
    let not_newer = |p: &&&Profile| numbers(p.matches.version.as_deref().unwrap_or_default()) <= version;
    let own = own.iter().rfind(not_newer).or(own.first()).copied();
    let below =
        || alive.iter().rfind(|p| base.is_some_and(|key| p.matches.derivatives.contains_key(&key))).copied();
    let like = || host.id_like.iter().find_map(|id| of(id).last().copied());
    alive.iter().rfind(sibling).copied().or(own).or_else(below).or_else(like)
}

/// `24.04` as numbers, for comparison.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::facts::gather;
    use crate::host::Question;
    use crate::host::fake::FakeHost;
    use crate::profile::choose;

    fn facts(os_release: &str, architecture: &str, cpuinfo: &str) -> Facts {
        let host = FakeHost::new()
            .file("/etc/os-release", os_release)
            .file("/proc/cpuinfo", cpuinfo)
            .file("/usr/bin/dpkg", "")
            .answer(Question::DpkgArchitecture, architecture);
        gather(&host).expect("gathers")
    }

    #[test]
    fn a_host_without_a_profile_is_refused_with_the_reason_and_what_to_do() {
        const OWN: &str = "`rprov install --engine distribution` installs the distribution's own engine";
        const ZERO: &str = "model name\t: ARMv6-compatible processor rev 7 (v6l)\n";
        let library = Library::shipped().expect("is right");
        let cases = [
            (
                "ID=debian\nVERSION_CODENAME=forky\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"",
                "amd64",
                "",
                "Debian GNU/Linux forky/sid (`debian` without a version) on amd64",
                "no profile is for it; the nearest is `debian-",
                OWN,
            ),
            (
                "ID=debian\nVERSION_ID=12",
                "s390x",
                "",
                "on s390x is not supported",
                "`debian-12` is for amd64 and arm64 and armhf",
                OWN,
            ),
            (
                "ID=ubuntu\nVERSION_ID=24.04",
                "riscv64",
                "",
                "on riscv64",
                "`ubuntu-24.04` is for amd64 and arm64",
                OWN,
            ),
            (
                "ID=ubuntu\nVERSION_ID=25.10\nUBUNTU_CODENAME=questing",
                "amd64",
                "",
                "`ubuntu` 25.10",
                "no profile is for it; the nearest is `ubuntu-",
                OWN,
            ),
            (
                "ID=linuxmint\nVERSION_ID=19.3\nUBUNTU_CODENAME=bionic",
                "amd64",
                "",
                "`linuxmint` 19.3",
                "no profile is for what it is based on, `UBUNTU_CODENAME=bionic`; the nearest is `ubuntu-",
                OWN,
            ),
            (
                "ID=linuxmint\nVERSION_ID=4\nDEBIAN_CODENAME=buster",
                "amd64",
                "",
                "`linuxmint` 4",
                "no profile is for what it is based on, `DEBIAN_CODENAME=buster`; the nearest is `debian-",
                OWN,
            ),
            (
                "ID=raspbian\nVERSION_ID=12\nVERSION_CODENAME=bookworm",
                "armhf",
                ZERO,
                "`raspbian` 12",
                "this processor is an ARMv6, and the packages of `debian-12` for armhf are for ARMv7",
                OWN,
            ),
            (
                "ID=raspbian\nVERSION_ID=11\nVERSION_CODENAME=bullseye",
                "armhf",
                "",
                "`raspbian` 11",
                "`debian-11` is for amd64 and arm64",
                OWN,
            ),
            (
                "ID=rocky\nID_LIKE=\"rhel centos\"\nVERSION_ID=7",
                "amd64",
                "",
                "`rocky` 7",
                "no profile is for it; the nearest is `rhel-",
                "rprov profile list",
            ),
            (
                "ID=gentoo\nVERSION_ID=2.17",
                "amd64",
                "",
                "`gentoo` 2.17",
                "nor for anything near it",
                "rprov profile list",
            ),
            (
                "",
                "amd64",
                "",
                "`linux` without a version",
                "no profile is for it, nor for anything near it",
                "rprov profile list",
            ),
        ];
        for (os_release, architecture, cpuinfo, what, reason, hint) in cases {
            let error = choose(&facts(os_release, architecture, cpuinfo), &library).expect_err(reason);
            assert_eq!(error.exit, Exit::Refused);
            assert!(error.what().contains(what), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.next().is_some_and(|said| said.contains(hint)), "{error}");
            assert!(error.next().is_some_and(|said| said.contains("rprov profile list")), "{error}");
        }
    }

    #[test]
    fn the_nearest_is_of_the_same_kind_and_not_past_its_end() {
        let library = Library::shipped().expect("is right");
        let cases = [
            ("ID=ubuntu\nVERSION_ID=25.10", "2026-11-01", Some("ubuntu-24.04")),
            ("ID=ubuntu\nVERSION_ID=18.04", "2026-11-01", Some("ubuntu-22.04")),
            ("ID=ubuntu\nVERSION_ID=18.04", "2028-01-01", Some("ubuntu-24.04")),
            ("ID=debian\nVERSION_ID=10", "2026-11-01", Some("debian-12")),
            ("ID=debian\nVERSION_CODENAME=forky", "2026-11-01", Some("debian-13")),
            ("ID=linuxmint\nVERSION_ID=19\nUBUNTU_CODENAME=bionic", "2026-11-01", Some("ubuntu-24.04")),
            ("ID=linuxmint\nVERSION_ID=4\nDEBIAN_CODENAME=buster", "2026-11-01", Some("debian-13")),
            ("ID=tuxedo\nUBUNTU_CODENAME=bionic", "2026-11-01", Some("ubuntu-26.04")),
            ("ID=mx\nID_LIKE=debian\nVERSION_ID=23", "2026-11-01", Some("debian-13")),
            ("ID=gentoo", "2026-11-01", None),
            ("ID=debian\nVERSION_ID=12", "2126-01-01", None),
        ];
        for (os_release, today, expected) in cases {
            let facts = facts(os_release, "amd64", "");
            let found = nearest(&facts.distribution, &library, today.parse().expect("is a day"));
            assert_eq!(found.map(|profile| profile.name.as_str()), expected, "{os_release} on {today}");
        }
    }
}
