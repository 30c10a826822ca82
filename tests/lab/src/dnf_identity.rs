//! The identities of the dnf family: who they say they are, and the repositories they come with.

use crate::identity::{ARCHIVE, Identity};
use crate::keys::{Key, Keys};
use crate::sh;
use anyhow::Result;
use std::path::Path;

/// A repository: its file, its id, its name, its directory in the archive, and whether it is enabled.
pub type Repository = (&'static str, &'static str, &'static str, &'static str, bool);

/// What makes a host of the dnf family.
pub struct Dnf {
    pub name: &'static str,
    /// What its own packages carry in their release.
    pub tag: &'static str,
    /// What dnf makes of `$releasever`.
    pub releasever: &'static str,
    /// The directory of Docker's mirror, without its release; empty where upstream has none.
    pub docker: &'static str,
    pub version: &'static str,
    os_release: &'static str,
    /// The one line of /etc/redhat-release and /etc/system-release.
    release: &'static str,
    /// The package that says what the system is, and its version.
    pub package: (&'static str, &'static str),
    key: &'static str,
    /// Whether the image comes with the distribution's key in rpm's database.
    pub imported: bool,
    repositories: &'static [Repository],
}

impl Identity {
    /// What it is as one of the dnf family.
    pub fn dnf(self) -> Option<&'static Dnf> {
        match self {
            Identity::Rhel9 => Some(&RHEL_9),
            Identity::Rhel10 => Some(&RHEL_10),
            Identity::Rocky9 => Some(&ROCKY_9),
            Identity::Alma9 => Some(&ALMA_9),
            Identity::Oracle9 => Some(&ORACLE_9),
            Identity::CentosStream10 => Some(&CENTOS_STREAM_10),
            Identity::Fedora44 => Some(&FEDORA_44),
            Identity::Amazon2023 => Some(&AMAZON_2023),
            _ => None,
        }
    }
}

impl Dnf {
    /// Lays the identity on a root filesystem.
    pub fn lay(&self, root: &Path, keys: &Keys) -> Result<()> {
        sh::write(&root.join("usr/lib/os-release"), self.os_release)?;
        for name in ["etc/redhat-release", "etc/system-release"] {
            sh::write(&root.join(name), format!("{}\n", self.release))?;
        }
        sh::write(&root.join("etc/pki/rpm-gpg").join(self.key), sh::read(&keys.public(Key::Archive))?)?;
        let mut files: Vec<&str> = self.repositories.iter().map(|repository| repository.0).collect();
        files.dedup();
        for file in files {
            let of = self.repositories.iter().filter(|repository| repository.0 == file);
            let text: Vec<String> = of.map(|repository| self.stanza(repository)).collect();
            sh::write(&root.join("etc/yum.repos.d").join(file), text.join("\n"))?;
        }
        let fedora = self.tag == "fc44";
        sh::write(
            &root.join("etc/dnf/dnf.conf"),
            format!(
                "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest={}\n\
                 skip_if_unavailable={}\n",
                if fedora { "False" } else { "True" },
                if fedora { "True" } else { "False" }
            ),
        )
    }

    fn stanza(&self, (_, id, name, directory, enabled): &Repository) -> String {
        format!(
            "[{id}]\nname={name}\nbaseurl=http://{ARCHIVE}/rpm/{}/$releasever/{directory}\nenabled={}\n\
             gpgcheck=1\nmetadata_expire=86400\ngpgkey=file:///etc/pki/rpm-gpg/{}\n",
            self.tag, *enabled as u8, self.key
        )
    }

    /// The path of the key of the distribution's packages.
    pub fn key_file(&self) -> String {
        format!("/etc/pki/rpm-gpg/{}", self.key)
    }
}

const RHEL_9: Dnf = Dnf {
    name: "rhel-9",
    tag: "el9",
    releasever: "9",
    docker: "rhel",
    version: "9.6",
    os_release: "NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"9.6 (Plow)\"\nID=\"rhel\"\nID_LIKE=\"fedora\"\n\
                 VERSION_ID=\"9.6\"\nPLATFORM_ID=\"platform:el9\"\n\
                 PRETTY_NAME=\"Red Hat Enterprise Linux 9.6 (Plow)\"\nANSI_COLOR=\"0;31\"\nLOGO=\"fedora-logo-icon\"\n\
                 CPE_NAME=\"cpe:/o:redhat:enterprise_linux:9::baseos\"\nHOME_URL=\"https://www.redhat.com/\"\n\
                 DOCUMENTATION_URL=\"https://access.redhat.com/documentation/en-us/red_hat_enterprise_linux/9\"\n\
                 BUG_REPORT_URL=\"https://issues.redhat.com/\"\n\n\
                 REDHAT_BUGZILLA_PRODUCT=\"Red Hat Enterprise Linux 9\"\nREDHAT_BUGZILLA_PRODUCT_VERSION=9.6\n\
                 REDHAT_SUPPORT_PRODUCT=\"Red Hat Enterprise Linux\"\nREDHAT_SUPPORT_PRODUCT_VERSION=\"9.6\"\n",
    release: "Red Hat Enterprise Linux release 9.6 (Plow)",
    package: ("redhat-release", "9.6"),
    key: "RPM-GPG-KEY-redhat-release",
    imported: true,
    repositories: &[
        (
            "redhat.repo",
            "rhel-9-for-x86_64-baseos-rpms",
            "Red Hat Enterprise Linux 9 for x86_64 - BaseOS (RPMs)",
            "baseos",
            true,
        ),
        (
            "redhat.repo",
            "rhel-9-for-x86_64-appstream-rpms",
            "Red Hat Enterprise Linux 9 for x86_64 - AppStream (RPMs)",
            "appstream",
            true,
        ),
        (
            "redhat.repo",
            "codeready-builder-for-rhel-9-x86_64-rpms",
            "Red Hat CodeReady Linux Builder for RHEL 9 x86_64 (RPMs)",
            "crb",
            false,
        ),
    ],
};

const RHEL_10: Dnf = Dnf {
    name: "rhel-10",
    tag: "el10",
    releasever: "10",
    docker: "rhel",
    version: "10.0",
    os_release: "NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"10.0 (Coughlan)\"\nID=\"rhel\"\n\
                 ID_LIKE=\"centos fedora\"\nVERSION_ID=\"10.0\"\nPLATFORM_ID=\"platform:el10\"\n\
                 PRETTY_NAME=\"Red Hat Enterprise Linux 10.0 (Coughlan)\"\nANSI_COLOR=\"0;31\"\n\
                 LOGO=\"fedora-logo-icon\"\nCPE_NAME=\"cpe:/o:redhat:enterprise_linux:10::baseos\"\n\
                 HOME_URL=\"https://www.redhat.com/\"\nVENDOR_NAME=\"Red Hat\"\nVENDOR_URL=\"https://www.redhat.com/\"\n\
                 BUG_REPORT_URL=\"https://issues.redhat.com/\"\n\n\
                 REDHAT_BUGZILLA_PRODUCT=\"Red Hat Enterprise Linux 10\"\nREDHAT_BUGZILLA_PRODUCT_VERSION=10.0\n\
                 REDHAT_SUPPORT_PRODUCT=\"Red Hat Enterprise Linux\"\nREDHAT_SUPPORT_PRODUCT_VERSION=\"10.0\"\n",
    release: "Red Hat Enterprise Linux release 10.0 (Coughlan)",
    package: ("redhat-release", "10.0"),
    key: "RPM-GPG-KEY-redhat-release",
    imported: true,
    repositories: &[
        (
            "redhat.repo",
            "rhel-10-for-x86_64-baseos-rpms",
            "Red Hat Enterprise Linux 10 for x86_64 - BaseOS (RPMs)",
            "baseos",
            true,
        ),
        (
            "redhat.repo",
            "rhel-10-for-x86_64-appstream-rpms",
            "Red Hat Enterprise Linux 10 for x86_64 - AppStream (RPMs)",
            "appstream",
            true,
        ),
    ],
};

const ROCKY_9: Dnf = Dnf {
    name: "rocky-9",
    tag: "el9",
    releasever: "9",
    docker: "rhel",
    version: "9.6",
    os_release: "NAME=\"Rocky Linux\"\nVERSION=\"9.6 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n\
                 VERSION_ID=\"9.6\"\nPLATFORM_ID=\"platform:el9\"\nPRETTY_NAME=\"Rocky Linux 9.6 (Blue Onyx)\"\n\
                 ANSI_COLOR=\"0;32\"\nLOGO=\"fedora-logo-icon\"\nCPE_NAME=\"cpe:/o:rocky:rocky:9::baseos\"\n\
                 HOME_URL=\"https://rockylinux.org/\"\nVENDOR_NAME=\"RESF\"\nVENDOR_URL=\"https://resf.org/\"\n\
                 BUG_REPORT_URL=\"https://bugs.rockylinux.org/\"\nSUPPORT_END=\"2032-05-31\"\n\
                 ROCKY_SUPPORT_PRODUCT=\"Rocky-Linux-9\"\nROCKY_SUPPORT_PRODUCT_VERSION=\"9.6\"\n\
                 REDHAT_SUPPORT_PRODUCT=\"Rocky Linux\"\nREDHAT_SUPPORT_PRODUCT_VERSION=\"9.6\"\n",
    release: "Rocky Linux release 9.6 (Blue Onyx)",
    package: ("rocky-release", "9.6"),
    key: "RPM-GPG-KEY-Rocky-9",
    imported: false,
    repositories: &[
        ("rocky.repo", "baseos", "Rocky Linux $releasever - BaseOS", "baseos", true),
        ("rocky.repo", "appstream", "Rocky Linux $releasever - AppStream", "appstream", true),
        ("rocky.repo", "crb", "Rocky Linux $releasever - CRB", "crb", false),
        ("rocky-extras.repo", "extras", "Rocky Linux $releasever - Extras", "extras", true),
    ],
};

const ALMA_9: Dnf = Dnf {
    name: "alma-9",
    tag: "el9",
    releasever: "9",
    docker: "rhel",
    version: "9.6",
    os_release: "NAME=\"AlmaLinux\"\nVERSION=\"9.6 (Sage Margay)\"\nID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n\
                 VERSION_ID=\"9.6\"\nPLATFORM_ID=\"platform:el9\"\nPRETTY_NAME=\"AlmaLinux 9.6 (Sage Margay)\"\n\
                 ANSI_COLOR=\"0;34\"\nLOGO=\"fedora-logo-icon\"\nCPE_NAME=\"cpe:/o:almalinux:almalinux:9::baseos\"\n\
                 HOME_URL=\"https://almalinux.org/\"\nDOCUMENTATION_URL=\"https://wiki.almalinux.org/\"\n\
                 BUG_REPORT_URL=\"https://bugs.almalinux.org/\"\n\nALMALINUX_MANTISBT_PROJECT=\"AlmaLinux-9\"\n\
                 ALMALINUX_MANTISBT_PROJECT_VERSION=\"9.6\"\nREDHAT_SUPPORT_PRODUCT=\"AlmaLinux\"\n\
                 REDHAT_SUPPORT_PRODUCT_VERSION=\"9.6\"\nSUPPORT_END=2032-06-01\n",
    release: "AlmaLinux release 9.6 (Sage Margay)",
    package: ("almalinux-release", "9.6"),
    key: "RPM-GPG-KEY-AlmaLinux-9",
    imported: false,
    repositories: &[
        ("almalinux-baseos.repo", "baseos", "AlmaLinux $releasever - BaseOS", "baseos", true),
        ("almalinux-appstream.repo", "appstream", "AlmaLinux $releasever - AppStream", "appstream", true),
        ("almalinux-crb.repo", "crb", "AlmaLinux $releasever - CRB", "crb", false),
        ("almalinux-extras.repo", "extras", "AlmaLinux $releasever - Extras", "extras", true),
    ],
};

const ORACLE_9: Dnf = Dnf {
    name: "oracle-9",
    tag: "el9",
    releasever: "9",
    docker: "rhel",
    version: "9.6",
    os_release: "NAME=\"Oracle Linux Server\"\nVERSION=\"9.6\"\nID=\"ol\"\nID_LIKE=\"fedora\"\nVARIANT=\"Server\"\n\
                 VARIANT_ID=\"server\"\nVERSION_ID=\"9.6\"\nPLATFORM_ID=\"platform:el9\"\n\
                 PRETTY_NAME=\"Oracle Linux Server 9.6\"\nANSI_COLOR=\"0;31\"\n\
                 CPE_NAME=\"cpe:/o:oracle:linux:9:6:server\"\nHOME_URL=\"https://linux.oracle.com/\"\n\
                 BUG_REPORT_URL=\"https://github.com/oracle/oracle-linux\"\n\n\
                 ORACLE_BUGZILLA_PRODUCT=\"Oracle Linux 9\"\nORACLE_BUGZILLA_PRODUCT_VERSION=9.6\n\
                 ORACLE_SUPPORT_PRODUCT=\"Oracle Linux\"\nORACLE_SUPPORT_PRODUCT_VERSION=9.6\n",
    release: "Oracle Linux Server release 9.6",
    package: ("oraclelinux-release", "9.6"),
    key: "RPM-GPG-KEY-oracle",
    imported: true,
    repositories: &[
        (
            "oracle-linux-ol9.repo",
            "ol9_baseos_latest",
            "Oracle Linux 9 BaseOS Latest (x86_64)",
            "baseos",
            true,
        ),
        (
            "oracle-linux-ol9.repo",
            "ol9_appstream",
            "Oracle Linux 9 Application Stream (x86_64)",
            "appstream",
            true,
        ),
        ("oracle-linux-ol9.repo", "ol9_addons", "Oracle Linux 9 Addons (x86_64)", "extras", false),
    ],
};

const CENTOS_STREAM_10: Dnf = Dnf {
    name: "centos-stream-10",
    tag: "el10",
    releasever: "10",
    docker: "centos",
    version: "10",
    os_release: "NAME=\"CentOS Stream\"\nVERSION=\"10 (Coughlan)\"\nRELEASE_TYPE=stable\nID=\"centos\"\n\
                 ID_LIKE=\"rhel fedora\"\nVERSION_ID=\"10\"\nPLATFORM_ID=\"platform:el10\"\n\
                 PRETTY_NAME=\"CentOS Stream 10 (Coughlan)\"\nANSI_COLOR=\"0;31\"\nLOGO=\"fedora-logo-icon\"\n\
                 CPE_NAME=\"cpe:/o:centos:centos:10\"\nHOME_URL=\"https://centos.org/\"\nVENDOR_NAME=\"CentOS\"\n\
                 VENDOR_URL=\"https://centos.org/\"\nBUG_REPORT_URL=\"https://issues.redhat.com/\"\n\
                 REDHAT_SUPPORT_PRODUCT=\"Red Hat Enterprise Linux 10\"\n\
                 REDHAT_SUPPORT_PRODUCT_VERSION=\"CentOS Stream\"\n",
    release: "CentOS Stream release 10 (Coughlan)",
    package: ("centos-stream-release", "10.0"),
    key: "RPM-GPG-KEY-centosofficial-SHA256",
    imported: false,
    repositories: &[
        ("centos.repo", "baseos", "CentOS Stream $releasever - BaseOS", "baseos", true),
        ("centos.repo", "appstream", "CentOS Stream $releasever - AppStream", "appstream", true),
        ("centos.repo", "crb", "CentOS Stream $releasever - CRB", "crb", false),
        (
            "centos-addons.repo",
            "extras-common",
            "CentOS Stream $releasever - Extras packages",
            "extras",
            true,
        ),
    ],
};

const FEDORA_44: Dnf = Dnf {
    name: "fedora-44",
    tag: "fc44",
    releasever: "44",
    docker: "fedora",
    version: "44",
    os_release: "NAME=\"Fedora Linux\"\nVERSION=\"44 (Server Edition)\"\nRELEASE_TYPE=stable\nID=fedora\n\
                 VERSION_ID=44\nVERSION_CODENAME=\"\"\nPRETTY_NAME=\"Fedora Linux 44 (Server Edition)\"\n\
                 ANSI_COLOR=\"0;38;2;60;110;180\"\nLOGO=fedora-logo-icon\nCPE_NAME=\"cpe:/o:fedoraproject:fedora:44\"\n\
                 HOME_URL=\"https://fedoraproject.org/\"\n\
                 DOCUMENTATION_URL=\"https://docs.fedoraproject.org/en-US/fedora/f44/\"\n\
                 SUPPORT_URL=\"https://ask.fedoraproject.org/\"\nBUG_REPORT_URL=\"https://bugzilla.redhat.com/\"\n\
                 REDHAT_BUGZILLA_PRODUCT=\"Fedora\"\nREDHAT_BUGZILLA_PRODUCT_VERSION=44\n\
                 REDHAT_SUPPORT_PRODUCT=\"Fedora\"\nREDHAT_SUPPORT_PRODUCT_VERSION=44\nSUPPORT_END=2027-05-19\n\
                 VARIANT=\"Server Edition\"\nVARIANT_ID=server\n",
    release: "Fedora release 44 (Forty Four)",
    package: ("fedora-release-common", "44"),
    key: "RPM-GPG-KEY-fedora-44-x86_64",
    imported: false,
    repositories: &[
        ("fedora.repo", "fedora", "Fedora $releasever - $basearch", "fedora", true),
        ("fedora-updates.repo", "updates", "Fedora $releasever - $basearch - Updates", "updates", true),
    ],
};

const AMAZON_2023: Dnf = Dnf {
    name: "amazon-2023",
    tag: "amzn2023",
    releasever: "2023.9.20251117",
    docker: "",
    version: "2023",
    os_release: "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\n\
                 PLATFORM_ID=\"platform:al2023\"\nPRETTY_NAME=\"Amazon Linux 2023.9.20251117\"\nANSI_COLOR=\"0;33\"\n\
                 CPE_NAME=\"cpe:2.3:o:amazon:amazon_linux:2023\"\n\
                 HOME_URL=\"https://aws.amazon.com/linux/amazon-linux-2023/\"\n\
                 DOCUMENTATION_URL=\"https://docs.aws.amazon.com/linux/\"\n\
                 SUPPORT_URL=\"https://aws.amazon.com/premiumsupport/\"\n\
                 BUG_REPORT_URL=\"https://github.com/amazonlinux/amazon-linux-2023\"\nVENDOR_NAME=\"AWS\"\n\
                 VENDOR_URL=\"https://aws.amazon.com/\"\nSUPPORT_END=\"2029-06-30\"\n",
    release: "Amazon Linux release 2023.9.20251117 (Amazon Linux)",
    package: ("system-release", "2023.9.20251117"),
    key: "RPM-GPG-KEY-amazon-linux-2023",
    imported: true,
    repositories: &[("amazonlinux.repo", "amazonlinux", "Amazon Linux 2023 repository", "core", true)],
};
