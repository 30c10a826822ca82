//! The distributions that the golden plans are for: each says where its packages come from.

/// One of the distributions that the fixtures know.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    pub name: &'static str,
    pub distribution: &'static str,
    /// The suite; of the dnf family what stands at the end of a package's version.
    pub suite: &'static str,
    pub architecture: &'static str,
    /// apt ships the directory for keys since 2.4.
    pub has_keyrings: bool,
}

/// Whose archive a release has: the same one for what is based on it.
struct Archive {
    distribution: &'static str,
    suite: &'static str,
    has_keyrings: bool,
}

const BULLSEYE: Archive = Archive { distribution: "debian", suite: "bullseye", has_keyrings: false };
const BOOKWORM: Archive = Archive { distribution: "debian", suite: "bookworm", has_keyrings: true };
const TRIXIE: Archive = Archive { distribution: "debian", suite: "trixie", has_keyrings: true };
const FOCAL: Archive = Archive { distribution: "ubuntu", suite: "focal", has_keyrings: false };
const JAMMY: Archive = Archive { distribution: "ubuntu", suite: "jammy", has_keyrings: true };
const NOBLE: Archive = Archive { distribution: "ubuntu", suite: "noble", has_keyrings: true };
const RESOLUTE: Archive = Archive { distribution: "ubuntu", suite: "resolute", has_keyrings: true };

const EL8: Archive = Archive { distribution: "rhel", suite: "el8", has_keyrings: true };
const EL9: Archive = Archive { distribution: "rhel", suite: "el9", has_keyrings: true };
const EL10: Archive = Archive { distribution: "rhel", suite: "el10", has_keyrings: true };
const F43: Archive = Archive { distribution: "fedora", suite: "fc43", has_keyrings: true };
const F44: Archive = Archive { distribution: "fedora", suite: "fc44", has_keyrings: true };

impl Release {
    pub fn is_dnf(&self) -> bool {
        matches!(self.distribution, "rhel" | "fedora")
    }
}

const fn on(archive: &Archive, name: &'static str) -> Release {
    let Archive { distribution, suite, has_keyrings } = *archive;
    Release { name, distribution, suite, architecture: "amd64", has_keyrings }
}

const fn of(architecture: &'static str, release: Release) -> Release {
    Release { architecture, ..release }
}

pub const RELEASES: &[Release] = &[
    on(&BULLSEYE, "debian-11"),
    on(&BOOKWORM, "debian-12"),
    on(&TRIXIE, "debian-13"),
    on(&JAMMY, "elementary-7"),
    on(&NOBLE, "elementary-8"),
    on(&TRIXIE, "kali"),
    on(&FOCAL, "linuxmint-20"),
    on(&JAMMY, "linuxmint-21"),
    on(&NOBLE, "linuxmint-22"),
    on(&BULLSEYE, "lmde-5"),
    on(&BOOKWORM, "lmde-6"),
    on(&TRIXIE, "lmde-7"),
    on(&NOBLE, "neon"),
    on(&JAMMY, "pop-22.04"),
    on(&NOBLE, "pop-24.04"),
    of("arm64", on(&BOOKWORM, "raspberry-pi-os-12-arm64")),
    of("armhf", on(&BOOKWORM, "raspberry-pi-os-12-armhf")),
    of("arm64", on(&TRIXIE, "raspberry-pi-os-13-arm64")),
    of("armhf", on(&TRIXIE, "raspberry-pi-os-13-armhf")),
    on(&FOCAL, "ubuntu-20.04"),
    on(&JAMMY, "ubuntu-22.04"),
    on(&NOBLE, "ubuntu-24.04"),
    on(&RESOLUTE, "ubuntu-26.04"),
    on(&JAMMY, "zorin-17"),
    on(&NOBLE, "zorin-18"),
    on(&EL10, "almalinux-10"),
    on(&EL8, "almalinux-8"),
    on(&EL9, "almalinux-9"),
    on(&EL10, "centos-stream-10"),
    on(&EL9, "centos-stream-9"),
    on(&F43, "fedora-43"),
    on(&F44, "fedora-44"),
    on(&EL10, "oracle-10"),
    on(&EL8, "oracle-8"),
    on(&EL9, "oracle-9"),
    on(&EL10, "rhel-10"),
    on(&EL8, "rhel-8"),
    on(&EL9, "rhel-9"),
    on(&EL10, "rocky-10"),
    on(&EL8, "rocky-8"),
    on(&EL9, "rocky-9"),
];
