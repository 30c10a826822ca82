//! The rpm distributions' own repositories: what an engine needs, and the engines that are in its way.

use crate::base::Base;
use crate::debs::{self, GENERATIONS};
use crate::keys::{Key, Keys, Signer};
use crate::rpm::{self, Rpm};
use crate::stub::Stub;
use crate::{archive, cache, dnf_base, kernel, release, sh};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A distribution's repositories, as `rpm/TAG/RELEASEVER/REPOSITORY`.
pub struct Distribution {
    /// What its packages carry in their release.
    pub tag: &'static str,
    /// The userland of its hosts.
    base: Base,
    /// The first has the packages; the others are links, for hosts that are locked to a minor release.
    pub releasevers: &'static [&'static str],
    /// Where the system's own packages are, where containers and engines are, and those that are empty.
    system: &'static str,
    containers: &'static str,
    empty: &'static [&'static str],
}

pub const DISTRIBUTIONS: [Distribution; 4] = [
    Distribution {
        tag: "el9",
        base: Base::Bookworm,
        releasevers: &["9", "9.4", "9.6"],
        system: "baseos",
        containers: "appstream",
        empty: &["extras", "crb"],
    },
    Distribution {
        tag: "el10",
        base: Base::Trixie,
        releasevers: &["10", "10.0"],
        system: "baseos",
        containers: "appstream",
        empty: &["extras", "crb"],
    },
    Distribution {
        tag: "fc44",
        base: Base::Trixie,
        releasevers: &["44"],
        system: "fedora",
        containers: "fedora",
        empty: &["updates"],
    },
    Distribution {
        tag: "amzn2023",
        base: Base::Bookworm,
        releasevers: &["2023.9.20251117"],
        system: "core",
        containers: "core",
        empty: &[],
    },
];

/// A package: the Debian packages its files are from, by their names in either generation, and whether it is of the
/// system.
struct Package {
    name: &'static str,
    version: &'static str,
    fields: &'static str,
    debs: &'static [&'static str],
    system: bool,
}

/// One without files.
const fn stub(name: &'static str, version: &'static str, fields: &'static str) -> Package {
    Package { name, version, fields, debs: &[], system: false }
}

const PACKAGES: &[Package] = &[
    Package {
        name: "iptables-libs",
        version: "1.8.10",
        fields: "",
        debs: &["libip4tc2", "libip6tc2", "libnetfilter-conntrack3", "libnfnetlink0", "libnftnl11"],
        system: true,
    },
    Package {
        name: "iptables-nft",
        version: "1.8.10",
        fields: "Provides: iptables = 1.8.10\nRequires: iptables-libs\n",
        debs: &["iptables"],
        system: true,
    },
    Package {
        name: "nftables",
        version: "1.0.9",
        fields: "Requires: iptables-libs\n",
        debs: &["nftables", "libnftables1", "libjansson4", "libedit2"],
        system: true,
    },
    Package { name: "kernel-modules-extra", version: "6.12.0", fields: "", debs: &[], system: true },
    Package { name: "libcgroup", version: "3.0", fields: "", debs: &[], system: true },
    stub("policycoreutils-python-utils", "3.6", ""),
    stub("container-selinux", "2.235.0", "Epoch: 4\nRequires: policycoreutils-python-utils\n"),
    stub("fuse3", "3.10.2", ""),
    stub("fuse-overlayfs", "1.14", "Requires: fuse3\n"),
    stub("slirp4netns", "1.3.1", ""),
    stub("pigz", "2.5", ""),
    stub("python3-dnf-plugin-versionlock", "4.3.0", ""),
    Package { name: "conmon", version: "2.1.12", fields: "Epoch: 3\n", debs: &["conmon"], system: false },
    Package {
        name: "crun",
        version: "1.16.1",
        fields: "Provides: oci-runtime\n",
        debs: &["crun", "libyajl2"],
        system: false,
    },
    Package {
        name: "runc",
        version: "1.2.4",
        fields: "Epoch: 4\nProvides: oci-runtime\n",
        debs: &["runc"],
        system: false,
    },
    Package {
        name: "containers-common",
        version: "5.4",
        fields: "Epoch: 4\nRequires: oci-runtime\nRecommends: crun\n",
        debs: &["golang-github-containers-common", "golang-github-containers-image"],
        system: false,
    },
    Package {
        name: "podman",
        version: "5.4.0",
        fields: "Epoch: 6\nRequires: conmon\nRequires: containers-common\nRequires: (crun or runc)\n\
                 Requires: iptables\nRequires: nftables\nRecommends: slirp4netns\nRecommends: fuse-overlayfs\n",
        debs: &[
            "podman",
            "libsubid4",
            "libsubid5",
            "containernetworking-plugins",
            "netavark",
            "aardvark-dns",
        ],
        system: false,
    },
    stub(
        "podman-docker",
        "5.4.0",
        "Epoch: 6\nRequires: podman\nConflicts: docker-ce\nConflicts: docker-ce-cli\n",
    ),
    stub("buildah", "1.39.4", "Epoch: 2\nRequires: runc\nRequires: containers-common\n"),
    stub("cockpit-podman", "100", "Requires: podman\n"),
];

/// What only Fedora has, in the way of docker-ce.
const FEDORA: &[Package] = &[
    stub("moby-engine", "27.5.1", "Conflicts: docker-ce\n"),
    stub("docker-cli", "27.5.1", "Conflicts: docker-ce-cli\n"),
];

/// The repositories of all distributions, signed; `rpm/TAG/...` below the directory.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let pools = [archive::pool(Base::Bookworm)?, archive::pool(Base::Trixie)?];
    let bases = [dnf_base::ensure(Base::Bookworm)?, dnf_base::ensure(Base::Trixie)?];
    let names = pools.iter().chain(&bases).map(|path| path.to_string_lossy());
    let names: Vec<String> = names.map(|name| name.into_owned()).collect();
    let parts = [
        include_str!("dnf_archive.rs"),
        include_str!("rpm.rs"),
        include_str!("debs.rs"),
        include_str!("kernel.rs"),
        include_str!("stub.rs"),
        include_str!("../stubs/dkms.sh"),
        &names.concat(),
        &keys.hash()?,
    ];
    cache::ensure("archive-dnf", &parts, |dir| build(&pools, &bases, dir, keys))
}

fn build(pools: &[PathBuf; 2], bases: &[PathBuf; 2], dir: &Path, keys: &Keys) -> Result<()> {
    println!("lab: packaging the rpm distributions' own repositories");
    let work = dir.join("work");
    let signer = keys.signer()?;
    for ((base, pool), root) in Base::ALL.into_iter().zip(pools).zip(bases) {
        let mut filled = Vec::new();
        for package in PACKAGES.iter().chain(FEDORA) {
            let files = work.join(base.suite()).join(package.name);
            filled.push((package, fill(package, pool, root, &files)?, files));
        }
        for distribution in DISTRIBUTIONS.iter().filter(|distribution| distribution.base == base) {
            let has = |name: &str| distribution.has(name);
            let of = |system: bool| -> Vec<Rpm> {
                let chosen =
                    filled.iter().filter(|(package, ..)| has(package.name) && package.system == system);
                chosen
                    .map(|(package, names, root)| described(package, distribution.tag, names, root))
                    .collect()
            };
            let at = dir.join("rpm").join(distribution.tag);
            let mut containers = of(false);
            if distribution.tag == "amzn2023" {
                containers.extend(engine(pool, &work)?);
            }
            let rpms =
                |stubs: Vec<Stub>| -> Result<Vec<Rpm>> { stubs.iter().map(|s| s.rpm(&work)).collect() };
            let mut system = of(true);
            system.extend(rpms(kernel::rpms(distribution.tag))?);
            // Of the others dkms is in EPEL, which no host comes with.
            if distribution.tag.starts_with("el") {
                let epel = at.join(distribution.releasevers[0]).join("epel/Packages");
                rpm::build(&rpms(vec![kernel::dkms()])?, &work, &epel)?;
            } else {
                system.extend(rpms(vec![kernel::dkms()])?);
            }
            distribution.lay(&at, &work, &system, &containers, &signer)?;
        }
    }
    sh::remove_tree(&work)
}

impl Distribution {
    fn has(&self, package: &str) -> bool {
        match self.tag {
            "fc44" => true,
            "amzn2023" => !["podman", "podman-docker", "runc", "cockpit-podman"].contains(&package),
            _ => !FEDORA.iter().any(|other| other.name == package),
        }
    }

    fn lay(
        &self,
        dir: &Path,
        work: &Path,
        system: &[Rpm],
        containers: &[Rpm],
        signer: &Signer,
    ) -> Result<()> {
        let at = dir.join(self.releasevers[0]);
        for (repository, rpms) in [(self.system, system), (self.containers, containers)] {
            rpm::build(rpms, work, &at.join(repository).join("Packages"))?;
        }
        for repository in self.empty {
            fs::create_dir_all(at.join(repository).join("Packages")).context("making a repository")?;
        }
        for repository in fs::read_dir(&at).context("listing the repositories")?.flatten() {
            let rpms = rpm::list(&repository.path().join("Packages"))?;
            if !rpms.is_empty() {
                rpm::sign(&rpms, Key::Archive, signer)?;
            }
            rpm::index(&repository.path(), release::now())?;
        }
        for minor in &self.releasevers[1..] {
            symlink(self.releasevers[0], dir.join(minor)).context("linking a minor release")?;
        }
        Ok(())
    }
}

/// Puts a package's files into `root`; the lines that name them.
fn fill(package: &Package, pool: &Path, base: &Path, root: &Path) -> Result<String> {
    let debs: Vec<PathBuf> = package.debs.iter().filter_map(|deb| archive::find(pool, deb).ok()).collect();
    ensure!(debs.is_empty() == package.debs.is_empty(), "the archive has nothing for {}", package.name);
    rpm::unpack_debs(&debs, root)?;
    if package.name == "iptables-nft" {
        // On Debian these are alternatives, made by its maintainer scripts.
        for name in ["iptables", "ip6tables"]
            .iter()
            .flat_map(|n| ["", "-save", "-restore"].map(|e| format!("{n}{e}")))
        {
            symlink("xtables-nft-multi", root.join("usr/sbin").join(name)).context("linking iptables")?;
        }
    }
    rpm::owned(root, base)
}

fn described(package: &Package, tag: &str, files: &str, root: &Path) -> Rpm {
    Rpm {
        name: package.name.to_string(),
        version: package.version.to_string(),
        release: format!("1.{tag}"),
        noarch: package.debs.is_empty(),
        fields: package.fields.to_string(),
        files: files.to_string(),
        root: Some(root.to_path_buf()),
        ..Rpm::default()
    }
}

/// Amazon's own engine: docker, containerd and runc, without a plugin and without container-selinux.
fn engine(pool: &Path, work: &Path) -> Result<Vec<Rpm>> {
    let theirs = work.join("theirs");
    debs::unpack(Base::Bookworm, pool, &theirs)?;
    let (docker, containerd) = (work.join("amazon-docker"), work.join("amazon-containerd"));
    for package in ["docker-ce", "docker-ce-cli"] {
        debs::fill(package, "usr/lib/systemd/system", &GENERATIONS[0], &theirs, &docker)?;
    }
    debs::fill("containerd.io", "usr/lib/systemd/system", &GENERATIONS[0], &theirs, &containerd)?;
    for gone in ["etc/default", "etc/init.d"] {
        sh::remove_tree(&docker.join(gone))?;
    }
    let runc = work.join("amazon-runc");
    sh::run(&["mkdir", "-p", &runc.join("usr/bin").to_string_lossy()])?;
    fs::rename(containerd.join("usr/bin/runc"), runc.join("usr/bin/runc")).context("taking runc")?;
    let of = |name: &str, version: &str, fields: &str, root: &Path, scripts: &str, files: &str| Rpm {
        name: name.to_string(),
        version: version.to_string(),
        release: "1.amzn2023.0.1".to_string(),
        fields: fields.to_string(),
        scripts: scripts.to_string(),
        files: files.to_string(),
        root: Some(root.to_path_buf()),
        ..Rpm::default()
    };
    let group = "getent group docker >/dev/null || groupadd --system docker\n";
    Ok(vec![
        of(
            "docker",
            "25.0.14",
            "Requires: containerd\nRequires: runc\nRequires: iptables\nRequires: libcgroup\nRequires: pigz\n\
             Requires(pre): shadow-utils\n",
            &docker,
            &format!("%pre\n{group}{}", crate::docker_rpms::unit_scripts("docker.service docker.socket")),
            "/usr/bin/*\n/usr/lib/systemd/system/*\n",
        ),
        of(
            "containerd",
            "2.1.5",
            "Requires: runc\n",
            &containerd,
            &crate::docker_rpms::unit_scripts("containerd.service"),
            "/usr/bin/*\n/usr/lib/systemd/system/*\n%dir /etc/containerd\n%config(noreplace) /etc/containerd/config.toml\n",
        ),
        of("runc", "1.3.3", "", &runc, "", "/usr/bin/runc\n"),
    ])
}
