//! Distributions that are based on another one: which profile they get is told by what they are based on, not by
//! their name.

use super::archive::Archive;
use super::form::{BaseKey, Profile, Repository, date};
use super::gpu::Cuda;
use crate::facts::Distribution;
use jiff::civil::Date;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// What is known of a derivative beyond the line of its os-release; most need none of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derivative {
    /// `ID` of os-release.
    pub id: String,
    /// Its `VERSION_CODENAME` is a release of the distribution below, as if this key held it.
    pub version_codename_is: Option<BaseKey>,
    /// The profile of one that rolls on and names no release below.
    pub base: Option<String>,
    /// Why none of these is for it, and what to do instead.
    pub refused: Option<Refusal>,
    /// The engine that it has itself, where upstream builds none for it.
    pub engine: Option<OwnEngine>,
    /// Its releases by the profiles that they get.
    #[serde(default)]
    pub on: BTreeMap<String, Release>,
}

/// Where nothing works, said once and for all of its releases.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub reason: String,
    pub hint: String,
}

/// The distribution's own engine, and what else it is set up like.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnEngine {
    /// The profile whose group, units and defaults serve here too.
    pub like: String,
    pub packages: Vec<String>,
    #[serde(deserialize_with = "date")]
    pub end_of_life: Date,
    /// NVIDIA's own repository for it: that of what it is like would be built for other kernels and libraries.
    pub gpu: Option<OwnGpu>,
}

/// Where its driver comes from, and what that is built with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnGpu {
    pub cuda: Cuda,
    pub headers: Vec<String>,
}

/// A derivative's release.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The name for people.
    pub title: String,
    /// Where it differs from what it is based on.
    #[serde(default, deserialize_with = "optional_date")]
    pub end_of_life: Option<Date>,
    /// Its own packages, where it builds all of them anew.
    pub archive: Option<Archive>,
}

fn optional_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Date>, D::Error> {
    date(from).map(Some)
}

/// The release that a distribution says it is based on. A derivative of Ubuntu may tell of Ubuntu's Debian too, and
/// none the other way round.
pub fn named_base<'h>(host: &'h Distribution, known: Option<&Derivative>) -> Option<(BaseKey, &'h str)> {
    let of_ubuntu = host.ubuntu_codename.as_deref().map(|name| (BaseKey::UbuntuCodename, name));
    let of_debian = host.debian_codename.as_deref().map(|name| (BaseKey::DebianCodename, name));
    let own = || Some((known?.version_codename_is?, host.codename.as_deref()?));
    let of_rhel = || host.platform_id.as_deref().map(|name| (BaseKey::PlatformId, name));
    of_ubuntu.or(of_debian).or_else(of_rhel).or_else(own)
}

/// The base's profile as this host gets it: under the host's own name and with its own end of support.
pub fn adapted(base: &Profile, host: &Distribution, known: Option<&Derivative>) -> Profile {
    let mut profile = base.clone();
    let release = known.and_then(|derivative| derivative.on.get(&base.name));
    profile.title = match known {
        Some(_) => format!("{}, based on {}", host.name, base.title),
        None => format!("{}, which is not known by name but based on {}", host.name, base.title),
    };
    profile.end_of_life = release.and_then(|release| release.end_of_life).unwrap_or(base.end_of_life);
    with_own_archive(&mut profile, &host.id, release);
    profile
}

/// Derivatives of Debian and Ubuntu take packages of those; what is built from the sources of RHEL has its own.
pub fn with_own_archive(profile: &mut Profile, id: &str, release: Option<&Release>) {
    if matches!(profile.repository, Repository::Apt(_)) {
        return;
    }
    profile.archive = release.and_then(|release| release.archive.clone());
    profile.target = own_target(id, profile);
}

/// By what name a bundle is made for it.
pub fn own_target(id: &str, base: &Profile) -> String {
    format!("{id}-{}", base.matches.version.as_deref().unwrap_or_default())
}

/// A profile for the engine that the distribution has itself.
pub fn with_own_engine(base: &Profile, host: &Distribution, own: Option<&OwnEngine>) -> Profile {
    let mut profile = base.clone();
    profile.title = format!("{}, with its own engine", host.name);
    if let Some(own) = own {
        profile.packages.distribution.clone_from(&own.packages);
        profile.end_of_life = own.end_of_life;
        with_own_driver(&mut profile, own.gpu.as_ref());
    }
    profile
}

/// Drivers for the profile's release are not for another one that is set up like it.
pub fn with_own_driver(profile: &mut Profile, own: Option<&OwnGpu>) {
    let Some(nvidia) = &mut profile.gpu else { return };
    nvidia.own = None;
    nvidia.cuda = own.map(|own| own.cuda.clone());
    if let (Some(driver), Some(own)) = (&mut nvidia.driver, own) {
        driver.headers.clone_from(&own.headers);
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Exit;
    use crate::host::fake::FakeHost;
    use crate::profile::facts_of as facts;
    use crate::profile::{Library, Repository, SITE, choose};

    /// As they write it themselves, the lines that count.
    const MINT_22_1: &str = "NAME=\"Linux Mint\"\nVERSION=\"22.1 (Xia)\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n\
                             PRETTY_NAME=\"Linux Mint 22.1\"\nVERSION_ID=\"22.1\"\nVERSION_CODENAME=xia\nUBUNTU_CODENAME=noble\n";
    const KALI: &str = "PRETTY_NAME=\"Kali GNU/Linux Rolling\"\nNAME=\"Kali GNU/Linux\"\nVERSION_ID=\"2026.3\"\n\
                        VERSION_CODENAME=kali-rolling\nID=kali\nID_LIKE=debian\n";

    #[test]
    fn a_derivative_gets_the_profile_of_what_it_is_based_on() {
        let library = Library::shipped().expect("is right");
        let mint = |version: &str, name: &str| {
            format!("ID=linuxmint\nVERSION_ID={version}\nVERSION_CODENAME=x\nUBUNTU_CODENAME={name}")
        };
        let lmde = |version: &str, name: &str| {
            format!(
                "ID=linuxmint\nID_LIKE=debian\nVERSION_ID={version}\nVERSION_CODENAME=x\nDEBIAN_CODENAME={name}"
            )
        };
        let of_ubuntu = |id: &str, version: &str, name: &str| {
            format!("ID={id}\nID_LIKE=\"ubuntu debian\"\nVERSION_ID={version}\nUBUNTU_CODENAME={name}")
        };
        let raspbian = |version: &str, name: &str| {
            format!("ID=raspbian\nID_LIKE=debian\nVERSION_ID={version}\nVERSION_CODENAME={name}")
        };
        let cases = [
            (mint("20.3", "focal"), "amd64", "ubuntu-20.04", "linux/ubuntu", "focal"),
            (mint("21.3", "jammy"), "amd64", "ubuntu-22.04", "linux/ubuntu", "jammy"),
            (MINT_22_1.to_owned(), "amd64", "ubuntu-24.04", "linux/ubuntu", "noble"),
            (lmde("5", "bullseye"), "amd64", "debian-11", "linux/debian", "bullseye"),
            (lmde("6", "bookworm"), "amd64", "debian-12", "linux/debian", "bookworm"),
            (lmde("7", "trixie"), "amd64", "debian-13", "linux/debian", "trixie"),
            (of_ubuntu("pop", "22.04", "jammy"), "amd64", "ubuntu-22.04", "linux/ubuntu", "jammy"),
            (of_ubuntu("pop", "24.04", "noble"), "arm64", "ubuntu-24.04", "linux/ubuntu", "noble"),
            (of_ubuntu("zorin", "17", "jammy"), "amd64", "ubuntu-22.04", "linux/ubuntu", "jammy"),
            (of_ubuntu("elementary", "8", "noble"), "amd64", "ubuntu-24.04", "linux/ubuntu", "noble"),
            (of_ubuntu("neon", "24.04", "noble"), "amd64", "ubuntu-24.04", "linux/ubuntu", "noble"),
            (KALI.to_owned(), "amd64", "debian-13", "linux/debian", "trixie"),
            (raspbian("12", "bookworm"), "armhf", "debian-12", "linux/debian", "bookworm"),
            (raspbian("13", "trixie"), "armhf", "debian-13", "linux/debian", "trixie"),
            // The number and the name say nothing: a Mint of the future on what is known, and one with both keys.
            (mint("23", "resolute"), "amd64", "ubuntu-26.04", "linux/ubuntu", "resolute"),
            (
                format!("{}\nDEBIAN_CODENAME=trixie", mint("22", "noble")),
                "amd64",
                "ubuntu-24.04",
                "linux/ubuntu",
                "noble",
            ),
            // Of 64 bit it is Debian, and its own profile goes before.
            (
                "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm".to_owned(),
                "arm64",
                "debian-12",
                "linux/debian",
                "bookworm",
            ),
        ];
        for (os_release, architecture, name, path, suite) in cases {
            let profile = choose(&facts(&os_release, architecture), &library).expect(&os_release);
            assert_eq!(profile.name, name, "{os_release}");
            let Repository::Apt(apt) = &profile.repository else { panic!("it has apt") };
            assert_eq!((apt.path.as_str(), apt.suite.as_str()), (path, suite), "{os_release}");
        }
    }

    #[test]
    fn a_derivative_keeps_its_own_name_and_its_own_end() {
        let library = Library::shipped().expect("is right");
        let mint = choose(&facts(MINT_22_1, "amd64"), &library).expect("chooses");
        assert_eq!(mint.title, "Linux Mint 22.1, based on Ubuntu 24.04 LTS (Noble Numbat)");
        assert_eq!(mint.end_of_life.to_string(), "2029-04-30");
        let kali = choose(&facts(KALI, "amd64"), &library).expect("chooses");
        assert_eq!(kali.title, "Kali GNU/Linux Rolling, based on Debian 13 (trixie)");
        assert_eq!(kali.end_of_life, library.get("debian-13").expect("is there").profile.end_of_life);
        let unknown = "ID=tuxedo\nPRETTY_NAME=\"TUXEDO OS 4\"\nVERSION_ID=24.04\nUBUNTU_CODENAME=noble\n";
        let unknown = choose(&facts(unknown, "amd64"), &library).expect("chooses");
        let title = "TUXEDO OS 4, which is not known by name but based on Ubuntu 24.04 LTS (Noble Numbat)";
        assert_eq!(unknown.title, title);
    }

    #[test]
    fn a_site_adds_a_derivative_with_one_file_and_replaces_a_shipped_one() {
        let here = facts("ID=mx\nVERSION_ID=25\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"MX 25\"", "amd64");
        assert!(choose(&here, &Library::shipped().expect("is right")).is_err(), "nothing names its base");
        let file = |name: &str| format!("{SITE}/derivatives/{name}.toml");
        let text = "id = \"mx\"\nversion_codename_is = \"DEBIAN_CODENAME\"\n";
        let library = Library::load(&FakeHost::new().file(file("mx"), text)).expect("is right");
        assert_eq!(choose(&here, &library).expect("chooses").title, "MX 25, based on Debian 13 (trixie)");
        let old = "id = \"kali\"\nbase = \"debian-12\"\n";
        let library = Library::load(&FakeHost::new().file(file("kali"), old)).expect("is right");
        assert_eq!(choose(&facts(KALI, "amd64"), &library).expect("chooses").name, "debian-12");
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_its_place() {
        let cases = [
            ("id = \"mx\"\nbase = \"debian-31\"", ":2:8", "there is no profile `debian-31`"),
            ("id = \"mx\"\n[on.\"debian-31\"]\ntitle = \"x\"", ":2:1", "there is no profile `debian-31`"),
            ("id = \"mx\"\nversion_codename_is = \"CODENAME\"", ":2:23", "unknown variant"),
            (
                "id = \"mx\"\n[on.debian-13]\ntitle = \"x\"\nend_of_life = \"soon\"",
                ":4:15",
                "expected a date",
            ),
            ("id = \"kali\"", ":1:6", "another file is for `kali` already"),
        ];
        for (text, place, reason) in cases {
            let path = format!("{SITE}/derivatives/a.toml");
            let error = Library::load(&FakeHost::new().file(&path, text)).expect_err(reason);
            assert_eq!(error.exit, Exit::Usage);
            assert_eq!(error.what(), format!("cannot use `{path}{place}`"), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
