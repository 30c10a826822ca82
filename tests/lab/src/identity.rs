//! The identities that are laid on a copy of a base: what makes a Debian userland another distribution to who asks.

use crate::base::Base;
use crate::keys::{Key, Keys};
use crate::sh;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Who a host says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    Ubuntu2204,
    Ubuntu2404,
    Ubuntu2604,
    Debian11,
    Debian12,
    Debian13,
    /// Based on Ubuntu 24.04 and 22.04, and on Debian 12: suites and packages are theirs.
    Mint22,
    Mint213,
    Lmde6,
    /// A distribution that nobody supports.
    Void,
    Rhel9,
    Rhel10,
    Rocky9,
    Alma9,
    Oracle9,
    CentosStream10,
    Fedora44,
    Amazon2023,
}

const DNF: &[Identity] = &Identity::DNF;

/// How the distribution writes its sources.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    OneLine,
    Deb822,
    /// One line each, in a file of its own beside an empty sources.list.
    Mint,
}

impl Identity {
    /// All with apt that have an archive of their own.
    pub const APT: [Identity; 7] = [
        Identity::Ubuntu2204,
        Identity::Ubuntu2404,
        Identity::Ubuntu2604,
        Identity::Debian11,
        Identity::Debian12,
        Identity::Debian13,
        Identity::Void,
    ];

    /// Those with dnf; the last has an engine of its own.
    pub const DNF: [Identity; 8] = [
        Identity::Rhel9,
        Identity::Rhel10,
        Identity::Rocky9,
        Identity::Alma9,
        Identity::Oracle9,
        Identity::CentosStream10,
        Identity::Fedora44,
        Identity::Amazon2023,
    ];

    /// Those of them that Docker builds for.
    pub const DNF_SUPPORTED: &'static [Identity] = DNF.split_at(7).0;

    pub fn all() -> impl Iterator<Item = Identity> {
        Identity::APT.into_iter().chain(Identity::DERIVATIVES).chain(Identity::DNF)
    }

    /// All that Docker builds for.
    pub const SUPPORTED: [Identity; 6] = [
        Identity::Ubuntu2204,
        Identity::Ubuntu2404,
        Identity::Ubuntu2604,
        Identity::Debian11,
        Identity::Debian12,
        Identity::Debian13,
    ];

    /// All that have the archive of what they are based on.
    pub const DERIVATIVES: [Identity; 3] = [Identity::Mint22, Identity::Mint213, Identity::Lmde6];

    pub fn name(self) -> &'static str {
        if let Some(dnf) = self.dnf() {
            return dnf.name;
        }
        match self {
            Identity::Ubuntu2204 => "ubuntu-22.04",
            Identity::Ubuntu2404 => "ubuntu-24.04",
            Identity::Ubuntu2604 => "ubuntu-26.04",
            Identity::Debian11 => "debian-11",
            Identity::Debian12 => "debian-12",
            Identity::Debian13 => "debian-13",
            Identity::Mint22 => "mint-22",
            Identity::Mint213 => "mint-21.3",
            Identity::Lmde6 => "lmde-6",
            _ => "void",
        }
    }

    pub fn by_name(name: &str) -> Option<Identity> {
        Identity::all().find(|identity| identity.name() == name)
    }

    pub fn base(self) -> Base {
        match self {
            Identity::Ubuntu2404 | Identity::Ubuntu2604 | Identity::Debian13 | Identity::Mint22 => {
                Base::Trixie
            }
            Identity::Rhel10 | Identity::CentosStream10 | Identity::Fedora44 => Base::Trixie,
            _ => Base::Bookworm,
        }
    }

    /// The codename, as the suites have it; the release, as Docker's directories of rpms have it.
    pub fn suite(self) -> &'static str {
        if let Some(dnf) = self.dnf() {
            return dnf.releasever;
        }
        match self {
            Identity::Ubuntu2204 | Identity::Mint213 => "jammy",
            Identity::Ubuntu2404 | Identity::Mint22 => "noble",
            Identity::Ubuntu2604 => "resolute",
            Identity::Debian11 => "bullseye",
            Identity::Debian12 | Identity::Lmde6 => "bookworm",
            Identity::Debian13 => "trixie",
            _ => "nothing",
        }
    }

    /// `ubuntu`, `debian`, `rhel`, ...: the directory of Docker's mirror, and of apt's archive.
    pub fn family(self) -> &'static str {
        if let Some(dnf) = self.dnf() {
            return dnf.docker;
        }
        match self {
            Identity::Ubuntu2204 | Identity::Ubuntu2404 | Identity::Ubuntu2604 => "ubuntu",
            Identity::Mint22 | Identity::Mint213 => "ubuntu",
            _ => "debian",
        }
    }

    pub fn version(self) -> &'static str {
        if let Some(dnf) = self.dnf() {
            return dnf.version;
        }
        match self {
            Identity::Ubuntu2204 => "22.04",
            Identity::Ubuntu2404 => "24.04",
            Identity::Ubuntu2604 => "26.04",
            Identity::Debian11 => "11",
            Identity::Debian12 => "12",
            Identity::Debian13 => "13",
            Identity::Mint22 => "22",
            Identity::Mint213 => "21.3",
            Identity::Lmde6 => "6",
            _ => "1",
        }
    }

    fn style(self) -> Style {
        match self {
            Identity::Ubuntu2204 | Identity::Debian11 | Identity::Void => Style::OneLine,
            Identity::Mint22 | Identity::Mint213 | Identity::Lmde6 => Style::Mint,
            _ => Style::Deb822,
        }
    }

    fn os_release(self) -> String {
        match self {
            Identity::Ubuntu2204 => ubuntu("22.04.5 LTS", "22.04", "Jammy Jellyfish", "jammy", ""),
            Identity::Ubuntu2404 => {
                ubuntu("24.04.3 LTS", "24.04", "Noble Numbat", "noble", "LOGO=ubuntu-logo\n")
            }
            Identity::Ubuntu2604 => {
                ubuntu("26.04 LTS", "26.04", "Resolute Raccoon", "resolute", "LOGO=ubuntu-logo\n")
            }
            Identity::Debian11 => debian("11", "bullseye", ""),
            Identity::Debian12 => debian("12", "bookworm", ""),
            Identity::Debian13 => debian("13", "trixie", "DEBIAN_VERSION_FULL=13.1\n"),
            Identity::Mint22 => mint("22", "Wilma", "noble"),
            Identity::Mint213 => mint("21.3", "Virginia", "jammy"),
            Identity::Lmde6 => lmde("6", "faye", "bookworm"),
            _ => "NAME=\"Nowhere\"\nID=nowhere\nVERSION_ID=1\nPRETTY_NAME=\"Nowhere Linux 1\"\n\
                               HOME_URL=\"https://nowhere.invalid/\"\n"
                .to_string(),
        }
    }

    fn debian_version(self) -> &'static str {
        match self {
            Identity::Ubuntu2204 | Identity::Mint213 => "bookworm/sid",
            Identity::Ubuntu2404 | Identity::Mint22 => "trixie/sid",
            Identity::Ubuntu2604 => "forky/sid",
            Identity::Debian11 => "11.11",
            Identity::Debian12 | Identity::Lmde6 => "12.12",
            Identity::Debian13 => "13.1",
            _ => "",
        }
    }

    /// The key that a host of it pins where `key` is meant: Docker signs its rpms with another.
    pub fn key(self, key: Key) -> Key {
        match (self.dnf(), key) {
            (Some(_), Key::Docker) => Key::DockerRpm,
            _ => key,
        }
    }

    /// Lays the identity on a root filesystem. Its lists are fetched later.
    pub fn lay(self, root: &Path, keys: &Keys) -> Result<()> {
        sh::write(&root.join("usr/lib/os-release"), self.os_release())?;
        if self == Identity::Void {
            fs::remove_file(root.join("etc/debian_version")).context("removing debian_version")?;
        } else {
            sh::write(&root.join("etc/debian_version"), format!("{}\n", self.debian_version()))?;
        }
        if let Some(codename) = self.mint() {
            self.lay_mint(root, codename)?;
        } else if self.family() == "ubuntu" {
            let pretty = self.os_release();
            let pretty =
                pretty.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
            sh::write(
                &root.join("etc/lsb-release"),
                format!(
                    "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={}\nDISTRIB_CODENAME={}\nDISTRIB_DESCRIPTION={pretty}\n",
                    self.version(),
                    self.suite()
                ),
            )?;
        }
        self.lay_sources(root, &sh::read(&keys.public(Key::Archive))?)
    }

    /// The codename of a Mint, which no suite is called after.
    fn mint(self) -> Option<&'static str> {
        match self {
            Identity::Mint22 => Some("wilma"),
            Identity::Mint213 => Some("virginia"),
            Identity::Lmde6 => Some("faye"),
            _ => None,
        }
    }

    /// What a Mint says of itself beside os-release, and what it prefers of its sources.
    fn lay_mint(self, root: &Path, codename: &str) -> Result<()> {
        let version = self.version();
        let title = codename[..1].to_uppercase() + &codename[1..];
        let (description, grub) = match self {
            Identity::Lmde6 => (format!("LMDE {version} ({codename})"), format!("LMDE {version} Cinnamon")),
            _ => (format!("Linux Mint {version} {title}"), format!("Linux Mint {version} Cinnamon")),
        };
        let lsb = format!(
            "DISTRIB_ID=LinuxMint\nDISTRIB_RELEASE={version}\nDISTRIB_CODENAME={codename}\n\
             DISTRIB_DESCRIPTION=\"{description}\"\n"
        );
        let info = format!(
            "RELEASE={version}\nCODENAME={codename}\nEDITION=\"Cinnamon\"\nDESCRIPTION=\"{description}\"\n\
             DESKTOP=Gnome\nTOOLKIT=GTK\nNEW_FEATURES_URL=https://www.linuxmint.com/rel_{codename}_whatsnew.php\n\
             RELEASE_NOTES_URL=https://www.linuxmint.com/rel_{codename}.php\n\
             USER_GUIDE_URL=https://www.linuxmint.com/documentation.php\nGRUB_TITLE={grub}\n"
        );
        let preferences = "Package: *\nPin: release o=linuxmint,c=upstream\nPin-Priority: 700\n\n\
                           Package: *\nPin: release o=Ubuntu\nPin-Priority: 500\n";
        sh::write(&root.join("etc/lsb-release"), lsb)?;
        sh::write(&root.join("etc/linuxmint/info"), info)?;
        sh::write(&root.join("etc/apt/preferences.d/official-package-repositories.pref"), preferences)
    }

    fn lay_sources(self, root: &Path, key: &str) -> Result<()> {
        let _ = fs::remove_file(root.join("etc/apt/sources.list"));
        let suite = self.suite();
        let (name, keyring, components) = match self.family() {
            "ubuntu" => ("ubuntu", "ubuntu-archive-keyring.asc", "main universe restricted multiverse"),
            _ => ("debian", "debian-archive-lab.asc", "main"),
        };
        let uri = format!("http://{ARCHIVE}/{name}");
        let all: Vec<String> = std::iter::once(suite.to_string())
            .chain(pockets(self).iter().map(|p| format!("{suite}{p}")))
            .collect();
        match self.style() {
            // Of a Mint's sources the one with its own packages is left out: the lab's archive has none of them.
            Style::OneLine | Style::Mint => {
                sh::write(&root.join(format!("etc/apt/trusted.gpg.d/{keyring}")), key)?;
                let lines: String = all.iter().map(|s| format!("deb {uri} {s} {components}\n")).collect();
                let file = match self.style() {
                    Style::Mint => "etc/apt/sources.list.d/official-package-repositories.list",
                    _ => "etc/apt/sources.list",
                };
                sh::write(&root.join(file), lines)
            }
            Style::Deb822 => {
                sh::write(&root.join(format!("usr/share/keyrings/{keyring}")), key)?;
                let (security, rest): (Vec<&String>, Vec<&String>) =
                    all.iter().partition(|s| s.ends_with("-security"));
                let stanza = |suites: &[&String]| {
                    let suites: Vec<&str> = suites.iter().map(|s| s.as_str()).collect();
                    format!(
                        "Types: deb\nURIs: {uri}\nSuites: {}\nComponents: {components}\n\
                         Signed-By: /usr/share/keyrings/{keyring}\n",
                        suites.join(" ")
                    )
                };
                let text = format!("{}\n{}", stanza(&rest), stanza(&security));
                sh::write(&root.join(format!("etc/apt/sources.list.d/{name}.sources")), text)
            }
        }
    }
}

/// The name of the distribution's archive in the lab.
pub const ARCHIVE: &str = "archive.lab";

/// The suites beside the release itself.
pub fn pockets(identity: Identity) -> &'static [&'static str] {
    match identity.family() {
        "ubuntu" => &["-updates", "-backports", "-security"],
        _ => &["-updates", "-security"],
    }
}

fn ubuntu(long: &str, short: &str, name: &str, codename: &str, last: &str) -> String {
    format!(
        "PRETTY_NAME=\"Ubuntu {long}\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"{short}\"\nVERSION=\"{long} ({name})\"\n\
         VERSION_CODENAME={codename}\nID=ubuntu\nID_LIKE=debian\nHOME_URL=\"https://www.ubuntu.com/\"\n\
         SUPPORT_URL=\"https://help.ubuntu.com/\"\nBUG_REPORT_URL=\"https://bugs.launchpad.net/ubuntu/\"\n\
         PRIVACY_POLICY_URL=\"https://www.ubuntu.com/legal/terms-and-policies/privacy-policy\"\n\
         UBUNTU_CODENAME={codename}\n{last}"
    )
}

fn debian(version: &str, codename: &str, more: &str) -> String {
    format!(
        "PRETTY_NAME=\"Debian GNU/Linux {version} ({codename})\"\nNAME=\"Debian GNU/Linux\"\n\
         VERSION_ID=\"{version}\"\nVERSION=\"{version} ({codename})\"\nVERSION_CODENAME={codename}\n{more}ID=debian\n\
         HOME_URL=\"https://www.debian.org/\"\nSUPPORT_URL=\"https://www.debian.org/support\"\n\
         BUG_REPORT_URL=\"https://bugs.debian.org/\"\n"
    )
}

fn mint(version: &str, name: &str, ubuntu: &str) -> String {
    format!(
        "NAME=\"Linux Mint\"\nVERSION=\"{version} ({name})\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n\
         PRETTY_NAME=\"Linux Mint {version}\"\nVERSION_ID=\"{version}\"\n{MINT_URLS}VERSION_CODENAME={}\n\
         UBUNTU_CODENAME={ubuntu}\n",
        name.to_lowercase()
    )
}

fn lmde(version: &str, codename: &str, debian: &str) -> String {
    format!(
        "PRETTY_NAME=\"LMDE {version} ({codename})\"\nNAME=\"LMDE\"\nVERSION_ID=\"{version}\"\n\
         VERSION=\"{version} ({codename})\"\nVERSION_CODENAME={codename}\nID=linuxmint\n{MINT_URLS}ID_LIKE=debian\n\
         DEBIAN_CODENAME={debian}\n"
    )
}

const MINT_URLS: &str = "HOME_URL=\"https://www.linuxmint.com/\"\nSUPPORT_URL=\"https://forums.linuxmint.com/\"\n\
                         BUG_REPORT_URL=\"http://linuxmint-troubleshooting-guide.readthedocs.io/en/latest/\"\n\
                         PRIVACY_POLICY_URL=\"https://www.linuxmint.com/\"\n";
