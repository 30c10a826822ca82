//! Repackages the distribution's own engine as Docker's rpms, with upstream's dependencies and scriptlets.

use crate::archive;
use crate::base::Base;
use crate::debs::{self, GENERATIONS, Generation, PACKAGES};
use crate::rpm::{self, Rpm};
use crate::{cache, sh};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// What upstream builds for, by the tag in the release.
pub struct Target {
    pub tag: &'static str,
    /// The directories that have it, as `linux/DIRECTORY/x86_64/stable`.
    pub dirs: &'static [&'static str],
    /// The userland of the lab's hosts that install it; without one its programs are empty.
    base: Option<Base>,
}

pub const TARGETS: [Target; 5] = [
    Target { tag: "el8", dirs: &["rhel/8"], base: None },
    Target { tag: "el9", dirs: &["rhel/9", "centos/9"], base: Some(Base::Bookworm) },
    Target { tag: "el10", dirs: &["rhel/10", "centos/10"], base: Some(Base::Trixie) },
    Target { tag: "fc43", dirs: &["fedora/43"], base: None },
    Target { tag: "fc44", dirs: &["fedora/44"], base: Some(Base::Trixie) },
];

/// A package's whole version: `3:29.7.2-1.el9`, as rpm says it.
pub fn version(package: &str, generation: &Generation, tag: &str) -> String {
    let (epoch, version) = parts(package, generation);
    let epoch = if epoch > 0 { format!("{epoch}:") } else { String::new() };
    format!("{epoch}{version}-1.{tag}")
}

fn parts(package: &str, generation: &Generation) -> (u32, &'static str) {
    match package {
        "docker-ce" => (3, generation.engine),
        "docker-ce-cli" => (1, generation.engine),
        "containerd.io" => (0, generation.containerd),
        "docker-buildx-plugin" => (0, generation.buildx),
        "docker-compose-plugin" => (0, generation.compose),
        _ => (0, generation.engine),
    }
}

/// The packages, not signed, as `TAG/GENERATION/*.rpm`.
pub fn ensure() -> Result<PathBuf> {
    let pools = [archive::pool(Base::Bookworm)?, archive::pool(Base::Trixie)?];
    let names: Vec<String> = pools.iter().map(|pool| pool.to_string_lossy().into_owned()).collect();
    let parts =
        [include_str!("docker_rpms.rs"), include_str!("rpm.rs"), include_str!("debs.rs"), &names.concat()];
    cache::ensure("rpms", &parts, |dir| build(&pools, dir))
}

fn build(pools: &[PathBuf; 2], dir: &Path) -> Result<()> {
    println!("lab: repackaging the engine as rpms");
    let work = dir.join("work");
    for (base, pool) in Base::ALL.into_iter().zip(pools) {
        let theirs = work.join(base.suite());
        debs::unpack(base, pool, &theirs)?;
        build_of(&theirs, &work, dir, |target| target.base == Some(base))?;
        if base == Base::Bookworm {
            empty_programs(&theirs)?;
            build_of(&theirs, &work, dir, |target| target.base.is_none())?;
        }
    }
    sh::remove_tree(&work)
}

fn empty_programs(theirs: &Path) -> Result<()> {
    let theirs = theirs.to_string_lossy();
    let argv =
        ["find", &theirs, "-type", "f", "-path", "*/usr/*bin/*", "-exec", "truncate", "-s0", "{}", ";"];
    sh::run(&argv).map(drop)
}

/// All generations for the targets that are wanted, from one distribution's programs.
fn build_of(theirs: &Path, work: &Path, dir: &Path, wanted: impl Fn(&Target) -> bool) -> Result<()> {
    for (n, generation) in GENERATIONS.iter().enumerate() {
        let roots = work.join("roots");
        for package in PACKAGES {
            debs::fill(package, "usr/lib/systemd/system", generation, theirs, &roots.join(package))?;
        }
        for target in TARGETS.iter().filter(|target| wanted(target)) {
            let rpms: Vec<Rpm> = PACKAGES
                .iter()
                .map(|package| described(package, generation, target.tag, &roots.join(package)))
                .collect();
            rpm::build(&rpms, work, &dir.join(target.tag).join(n.to_string()))?;
        }
        sh::remove_tree(&roots)?;
    }
    Ok(())
}

fn described(package: &str, generation: &Generation, tag: &str, root: &Path) -> Rpm {
    let (epoch, version) = parts(package, generation);
    Rpm {
        name: package.to_string(),
        epoch,
        version: version.to_string(),
        release: format!("1.{tag}"),
        fields: format!(
            "Vendor: Docker\nPackager: Docker <support@docker.com>\n{}",
            fields(package, generation, tag)
        ),
        scripts: scripts(package),
        files: files(package).to_string(),
        root: Some(root.to_path_buf()),
        ..Rpm::default()
    }
}

fn fields(package: &str, generation: &Generation, tag: &str) -> String {
    let old = generation.engine.starts_with("28.");
    let fedora = tag.starts_with("fc");
    match package {
        "docker-ce" => format!(
            "Requires: /usr/sbin/groupadd\nRequires: docker-ce-cli\nRecommends: docker-ce-rootless-extras\n\
             Requires: container-selinux >= 2:2.74\nRequires: libseccomp >= 2.3\nRequires: systemd\n\
             Requires: (iptables-nft or iptables)\nRequires: nftables\n{}Requires: containerd.io >= {}\n\
             Requires: tar\nRequires: xz\nRequires: libc.so.6()(64bit)\nConflicts: docker\nConflicts: docker-io\n\
             Conflicts: docker-engine-cs\nConflicts: docker-ee\nObsoletes: docker-ce-selinux\n\
             Obsoletes: docker-engine-selinux\nObsoletes: docker-engine\n",
            if fedora || tag == "el8" { "Requires: libcgroup\n" } else { "" },
            if old { "1.7.27" } else { "2.1.5" }
        ),
        "docker-ce-cli" => {
            "Requires: /bin/sh\nRequires: /usr/sbin/groupadd\nRecommends: docker-buildx-plugin\n\
             Recommends: docker-compose-plugin\nConflicts: docker\nConflicts: docker-io\n"
                .to_string()
        }
        "containerd.io" => format!(
            "Provides: containerd\n{}Obsoletes: containerd\nObsoletes: runc\nConflicts: containerd\nConflicts: runc\n\
             Requires: container-selinux\nRequires: libseccomp\nRequires: systemd\n",
            // Upstream: "on rhel >= 8 if we provide runc then it makes this package unsearchable".
            if fedora { "Provides: runc\n" } else { "" }
        ),
        "docker-compose-plugin" => "Recommends: docker-buildx-plugin >= 0.17.0\n".to_string(),
        "docker-ce-rootless-extras" => {
            let helpers = "Requires: slirp4netns >= 0.4\nRequires: fuse-overlayfs >= 0.7\n";
            format!("Requires: docker-ce\nConflicts: rootlesskit\n{}", if old { helpers } else { "" })
        }
        _ => String::new(),
    }
}

/// Upstream's lists: nobody owns the directories above the plugins.
fn files(package: &str) -> &'static str {
    match package {
        "docker-ce" => {
            "/usr/bin/dockerd\n/usr/bin/docker-proxy\n/usr/bin/docker-init\n\
             /usr/lib/systemd/system/docker.service\n/usr/lib/systemd/system/docker.socket\n"
        }
        "docker-ce-cli" => "/usr/bin/docker\n",
        "containerd.io" => {
            "/usr/bin/*\n/usr/lib/systemd/system/containerd.service\n%dir /etc/containerd\n\
             %config(noreplace) /etc/containerd/config.toml\n"
        }
        "docker-buildx-plugin" => "/usr/libexec/docker/cli-plugins/docker-buildx\n",
        "docker-compose-plugin" => "/usr/libexec/docker/cli-plugins/docker-compose\n",
        _ => "/usr/bin/dockerd-rootless.sh\n",
    }
}

fn scripts(package: &str) -> String {
    let group = "if ! getent group docker > /dev/null; then\n    groupadd --system docker\nfi\n";
    match package {
        "docker-ce" => unit_scripts("docker.service").replacen("%preun", &format!("{group}\n%preun"), 1),
        "docker-ce-cli" => format!("%post\n{group}"),
        "containerd.io" => unit_scripts("containerd.service"),
        _ => String::new(),
    }
}

/// What rpm's macros for systemd become: a unit is preset, not started, and stopped when its package goes.
pub fn unit_scripts(units: &str) -> String {
    format!(
        "%post\nif [ $1 -eq 1 ] && [ -x /usr/bin/systemctl ]; then\n    systemctl --no-reload preset {units} || :\nfi\n\n\
         %preun\nif [ $1 -eq 0 ] && [ -x /usr/bin/systemctl ]; then\n    \
         if [ -d /run/systemd/system ]; then systemctl --no-reload disable --now {units} || :\n    \
         else systemctl --no-reload disable {units} || :; fi\nfi\n\n\
         %postun\nif [ $1 -ge 1 ] && [ -d /run/systemd/system ]; then\n    systemctl daemon-reload || :\n    \
         systemctl try-restart {units} || :\nfi\n"
    )
}
