//! Which distribution this is, by `os-release`.

use super::text;
use crate::host::Look;
use os_release::OsRelease;
use serde::{Deserialize, Serialize};

/// A distribution as it names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// `ubuntu`, `debian`, `linuxmint`; `linux` where nothing is said.
    pub id: String,
    /// What it says that it is like, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_like: Vec<String>,
    /// `24.04`, `12`, `9.4`; a rolling one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// Whose archive a derivative builds on: this key, and not the id, tells a Mint from an LMDE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ubuntu_codename: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian_codename: Option<String>,
    /// `platform:el9`: what a distribution of the dnf family is built as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_id: Option<String>,
    /// The name for people, with the version.
    pub name: String,
}

/// `/etc/os-release`, or the vendor's own where that is absent.
pub(super) fn distribution(host: &dyn Look) -> Distribution {
    let own = text(host, "/etc/os-release");
    let found = if own.is_empty() { text(host, "/usr/lib/os-release") } else { own };
    parse(&found)
}

/// Reads the text of an `os-release`.
pub fn parse(text: &str) -> Distribution {
    let release: OsRelease = text.lines().filter(|line| readable(line)).map(str::to_owned).collect();
    let extra = |key: &str| release.extra.get(key).and_then(|value| filled(unquoted(value)));
    let id = filled(&release.id).unwrap_or_else(|| "linux".to_owned());
    Distribution {
        name: filled(&release.pretty_name).or_else(|| filled(&release.name)).unwrap_or_else(|| id.clone()),
        id_like: release.id_like.split_whitespace().map(str::to_owned).collect(),
        version_id: filled(&release.version_id),
        codename: filled(&release.version_codename),
        ubuntu_codename: extra("UBUNTU_CODENAME"),
        debian_codename: extra("DEBIAN_CODENAME"),
        platform_id: extra("PLATFORM_ID"),
        id,
    }
}

/// The crate slices a value of one lone quote out of its bounds: such a line is not shown to it.
fn readable(line: &str) -> bool {
    line.split_once('=').is_some_and(|(_, value)| !matches!(value.trim(), "\"" | "'"))
}

/// The crate leaves the quotes on the keys that it does not know.
fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

fn filled(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_distributions_write_is_read() {
        let some = |value: &str| Some(value.to_owned());
        let mint = "NAME=\"Linux Mint\"\nVERSION=\"22 (Wilma)\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n\
                    PRETTY_NAME=\"Linux Mint 22\"\nVERSION_ID=\"22\"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n";
        let lmde = "PRETTY_NAME=\"LMDE 6 (faye)\"\nID=linuxmint\nID_LIKE=debian\nVERSION_ID=\"6\"\n\
                    VERSION_CODENAME=faye\nDEBIAN_CODENAME=\"bookworm\"\n";
        let rocky = "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n\
                     PLATFORM_ID=\"platform:el9\"\nPRETTY_NAME='Rocky Linux 9.4 (Blue Onyx)'\n";
        let sid = "# made by hand\n\nPRETTY_NAME=\"Debian GNU/Linux trixie/sid\"\nID=debian\r\n";
        let cases = [
            (mint, "linuxmint", vec!["ubuntu", "debian"], some("22"), some("wilma"), some("noble"), None),
            (lmde, "linuxmint", vec!["debian"], some("6"), some("faye"), None, some("bookworm")),
            (rocky, "rocky", vec!["rhel", "centos", "fedora"], some("9.4"), None, None, None),
            (sid, "debian", vec![], None, None, None, None),
            ("", "linux", vec![], None, None, None, None),
        ];
        for (text, id, id_like, version_id, codename, ubuntu_codename, debian_codename) in cases {
            let read = parse(text);
            let name = read.name.clone();
            let id_like = id_like.into_iter().map(str::to_owned).collect();
            let expected = Distribution {
                id: id.to_owned(),
                id_like,
                version_id,
                codename,
                ubuntu_codename,
                debian_codename,
                platform_id: text.contains("platform:el9").then(|| "platform:el9".to_owned()),
                name,
            };
            assert_eq!(read, expected);
        }
        assert_eq!(parse(rocky).name, "Rocky Linux 9.4 (Blue Onyx)");
    }

    #[test]
    fn a_file_that_is_broken_is_no_reason_to_fall_over() {
        for text in ["NAME=\"", "ID='\nVERSION_ID=\"", "ID", "=", "ID=\n", "UBUNTU_CODENAME=\""] {
            assert_eq!(parse(text).id, "linux", "{text:?}");
        }
    }
}
