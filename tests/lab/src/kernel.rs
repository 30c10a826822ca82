//! The kernels that hosts with a card say they have, and the packages of their headers.

use crate::identity::Identity;
use crate::stub::Stub;

/// The release that `uname -r` says; a newer one is in the archive, as it is after some weeks.
pub struct Kernel {
    pub release: &'static str,
    pub newer: &'static str,
    /// What the packages that follow the kernel end in.
    pub flavour: &'static str,
}

const fn kernel(release: &'static str, newer: &'static str, flavour: &'static str) -> Kernel {
    Kernel { release, newer, flavour }
}

/// By the suite of the archive: `noble`, `el9`.
pub fn of_suite(suite: &str) -> Kernel {
    match suite {
        "jammy" => kernel("5.15.0-160-generic", "5.15.0-163-generic", "generic"),
        "noble" => kernel("6.8.0-90-generic", "6.8.0-94-generic", "generic"),
        "resolute" => kernel("7.0.0-14-generic", "7.0.0-18-generic", "generic"),
        "bullseye" => kernel("5.10.0-36-amd64", "5.10.0-37-amd64", "amd64"),
        "bookworm" => kernel("6.1.0-41-amd64", "6.1.0-42-amd64", "amd64"),
        "trixie" => kernel("6.12.57+deb13-amd64", "6.12.63+deb13-amd64", "amd64"),
        "el9" => kernel("5.14.0-570.58.1.el9_6.x86_64", "5.14.0-570.62.1.el9_6.x86_64", ""),
        "el10" => kernel("6.12.0-55.40.1.el10_0.x86_64", "6.12.0-55.43.1.el10_0.x86_64", ""),
        "fc44" => kernel("6.19.8-300.fc44.x86_64", "6.19.10-300.fc44.x86_64", ""),
        "amzn2023" => kernel("6.1.158-178.288.amzn2023.x86_64", "6.1.161-180.290.amzn2023.x86_64", ""),
        _ => kernel("6.6.0-1-nowhere", "6.6.0-2-nowhere", "nowhere"),
    }
}

/// The kernel of a host.
pub fn of(identity: Identity) -> Kernel {
    of_suite(identity.dnf().map_or(identity.suite(), |dnf| dnf.tag))
}

/// Headers of both kernels, their metapackage, which follows the newer, and dkms.
pub fn debs(suite: &str) -> Vec<Stub> {
    let kernel = of_suite(suite);
    let headers = |release: &str| {
        let (version, revision) = release.split_once('-').unwrap_or((release, "1"));
        let revision = format!("{}.1", revision.trim_end_matches(|c: char| !c.is_ascii_digit()));
        Stub::new(&format!("linux-headers-{release}"), version, &revision.replace('-', "."))
            .file(format!("/usr/src/linux-headers-{release}/Makefile"), "# the lab's headers\n")
            .file(format!("/lib/modules/{release}/build"), format!("-> /usr/src/linux-headers-{release}"))
            .after(&built(release))
    };
    vec![
        headers(kernel.release),
        headers(kernel.newer),
        Stub::new(&format!("linux-headers-{}", kernel.flavour), "1", "1")
            .fields(format!("Depends: linux-headers-{}\n", kernel.newer)),
        dkms(),
    ]
}

/// The same as rpms, where the headers are called kernel-devel, and all kernels' have one name.
pub fn rpms(tag: &str) -> Vec<Stub> {
    let kernel = of_suite(tag);
    [kernel.release, kernel.newer]
        .iter()
        .flat_map(|whole| {
            let release = whole.trim_end_matches(".x86_64");
            let (version, revision) = release.split_once('-').unwrap_or((release, "1"));
            let stub = |name: &str| Stub::new(name, version, revision);
            let exact = format!("{version}-{revision}");
            [
                stub("kernel-devel")
                    .fields("Provides: installonlypkg(kernel)\n")
                    .file(format!("/usr/src/kernels/{whole}/Makefile"), "# the lab's headers\n")
                    .after(&built(whole)),
                stub("kernel-core").fields(format!("Provides: kernel-core-uname-r = {whole}\n")),
                stub("kernel-headers"),
                // Upstream's: the headers of the kernel that comes with it.
                stub("kernel-devel-matched")
                    .fields(format!("Requires: kernel-devel = {exact}\nRequires: kernel-core = {exact}\n")),
            ]
        })
        .collect()
}

/// Debian's and Ubuntu's own, and EPEL's.
pub fn dkms() -> Stub {
    Stub::new("dkms", "3.0.11", "1")
        .file("/usr/sbin/dkms", include_str!("../stubs/dkms.sh"))
        .after_removal("\trm -rf /var/lib/dkms\n")
}

/// What has been waiting for headers is built.
fn built(release: &str) -> String {
    format!("\tif [ -x /usr/sbin/dkms ]; then /usr/sbin/dkms autoinstall -k {release} || true; fi\n")
}
