//! Repackages the distribution's own engine as Docker's packages: the same programs under upstream's names,
//! versions, dependencies, units and maintainer scripts.

use crate::archive;
use crate::base::Base;
use crate::identity::Identity;
use crate::{cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Three generations of everything, oldest first.
pub const GENERATIONS: [Generation; 3] = [
    Generation { engine: "28.5.2", containerd: "1.7.28", buildx: "0.29.1", compose: "2.40.3" },
    Generation { engine: "29.7.2", containerd: "2.2.1", buildx: "0.34.1", compose: "5.5.0" },
    Generation { engine: "29.10.0", containerd: "2.2.3", buildx: "0.35.0", compose: "5.6.0" },
];

pub struct Generation {
    pub engine: &'static str,
    pub containerd: &'static str,
    pub buildx: &'static str,
    pub compose: &'static str,
}

pub const PACKAGES: [&str; 6] = [
    "docker-ce",
    "docker-ce-cli",
    "containerd.io",
    "docker-buildx-plugin",
    "docker-compose-plugin",
    "docker-ce-rootless-extras",
];

/// A package's whole version on a distribution: `5:29.7.2-1~ubuntu.24.04~noble`.
pub fn version(package: &str, generation: &Generation, identity: Identity) -> String {
    let tail = format!("-1~{}.{}~{}", identity.family(), identity.version(), identity.suite());
    match package {
        "containerd.io" => format!("{}{tail}", generation.containerd),
        "docker-buildx-plugin" => format!("{}{tail}", generation.buildx),
        "docker-compose-plugin" => format!("{}{tail}", generation.compose),
        _ => format!("5:{}{tail}", generation.engine),
    }
}

/// The packages of all generations for every supported identity of a base, as `SUITE/*.deb`.
pub fn ensure(base: Base) -> Result<PathBuf> {
    let pool = archive::pool(base)?;
    let parts = [include_str!("debs.rs"), &pool.to_string_lossy()];
    cache::ensure(&format!("debs-{}", base.suite()), &parts, |dir| build(base, &pool, dir))
}

fn build(base: Base, pool: &Path, dir: &Path) -> Result<()> {
    println!("lab: repackaging the engine of {}", base.suite());
    let work = dir.join("work");
    let theirs = work.join("theirs");
    unpack(base, pool, &theirs)?;
    let units = if base == Base::Bookworm { "lib/systemd/system" } else { "usr/lib/systemd/system" };
    for package in PACKAGES {
        let versioned = package.ends_with("-plugin");
        let mut data = PathBuf::new();
        for (n, generation) in GENERATIONS.iter().enumerate() {
            if n == 0 || versioned {
                let root = work.join(format!("{package}-{n}"));
                fill(package, units, generation, &theirs, &root)?;
                data = work.join(format!("{package}-{n}.tar.zst"));
                pack(&root, &data)?;
            }
            for identity in Identity::SUPPORTED.into_iter().filter(|identity| identity.base() == base) {
                let version = version(package, generation, identity);
                let plain = version.strip_prefix("5:").unwrap_or(&version);
                let deb = dir.join(identity.suite()).join(format!("{package}_{plain}_amd64.deb"));
                assemble(package, pool, &version, &data, &work, &deb)?;
            }
        }
    }
    sh::remove_tree(&work)
}

/// Unpacks the programs of the distribution's own engine.
pub fn unpack(base: Base, pool: &Path, theirs: &Path) -> Result<()> {
    fs::create_dir_all(theirs).context("making a place to unpack")?;
    let mut sources = vec!["docker.io", "containerd", "runc", "tini"];
    if base == Base::Trixie {
        sources.push("docker-cli");
    }
    for source in sources {
        let deb = archive::find(pool, source)?;
        sh::run(&["dpkg-deb", "-x", &deb.to_string_lossy(), &theirs.to_string_lossy()])?;
    }
    Ok(())
}

/// Puts a package's files into `root`, its units into the directory for them.
pub fn fill(package: &str, units: &str, generation: &Generation, theirs: &Path, root: &Path) -> Result<()> {
    let take = |from: &str, to: &str| {
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap_or(root)).context("making a package's directory")?;
        fs::copy(theirs.join(from), &to).map(drop).with_context(|| format!("taking {from}"))
    };
    let plugins = root.join("usr/libexec/docker/cli-plugins");
    match package {
        "docker-ce" => {
            take("usr/sbin/dockerd", "usr/bin/dockerd")?;
            take("usr/sbin/docker-proxy", "usr/bin/docker-proxy")?;
            take("usr/bin/tini-static", "usr/bin/docker-init")?;
            sh::write(&root.join(units).join("docker.service"), DOCKER_SERVICE)?;
            sh::write(&root.join(units).join("docker.socket"), DOCKER_SOCKET)?;
            sh::write(&root.join("etc/default/docker"), DEFAULT_DOCKER)?;
            program(&root.join("etc/init.d/docker"), INIT_DOCKER)
        }
        "docker-ce-cli" => take("usr/bin/docker", "usr/bin/docker"),
        "containerd.io" => {
            for name in ["containerd", "containerd-shim-runc-v2", "ctr"] {
                take(&format!("usr/bin/{name}"), &format!("usr/bin/{name}"))?;
            }
            take("usr/sbin/runc", "usr/bin/runc")?;
            sh::write(&root.join(units).join("containerd.service"), CONTAINERD_SERVICE)?;
            sh::write(&root.join("etc/containerd/config.toml"), CONTAINERD_TOML)
        }
        "docker-buildx-plugin" => program(
            &plugins.join("docker-buildx"),
            &plugin("Buildx", "github.com/docker/buildx", generation.buildx),
        ),
        "docker-compose-plugin" => program(
            &plugins.join("docker-compose"),
            &plugin("Compose", "Docker Compose version", generation.compose),
        ),
        _ => program(
            &root.join("usr/bin/dockerd-rootless.sh"),
            "#!/bin/sh\necho 'not in the lab' >&2\nexit 1\n",
        ),
    }
}

fn program(path: &Path, text: &str) -> Result<()> {
    sh::write(path, text)?;
    sh::run(&["chmod", "755", &path.to_string_lossy()]).map(drop)
}

/// A plugin that says what a plugin must say, and its version.
fn plugin(name: &str, says: &str, version: &str) -> String {
    format!(
        "#!/bin/sh\nif [ \"$1\" = docker-cli-plugin-metadata ]; then\n\
         echo '{{\"SchemaVersion\":\"0.1.0\",\"Vendor\":\"Docker Inc.\",\"Version\":\"v{version}\",\
         \"ShortDescription\":\"Docker {name}\"}}'\nelse\necho '{says} v{version}'\nfi\n"
    )
}

fn pack(root: &Path, data: &Path) -> Result<()> {
    let script = "tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1750000000 --format=gnu -C \"$1\" -cf - . \
                  | zstd -q -1 -T0 -o \"$2\"";
    sh::run(&["sh", "-c", script, "sh", &root.to_string_lossy(), &data.to_string_lossy()]).map(drop)
}

/// Puts control and data together, as dpkg-deb would; the data of a base is packed only once.
fn assemble(package: &str, pool: &Path, version: &str, data: &Path, work: &Path, deb: &Path) -> Result<()> {
    let control = work.join("control");
    sh::remove_tree(&control)?;
    sh::write(&control.join("control"), control_text(package, pool, version)?)?;
    let conffiles = match package {
        "docker-ce" => "/etc/default/docker\n/etc/init.d/docker\n",
        "containerd.io" => "/etc/containerd/config.toml\n",
        _ => "",
    };
    if !conffiles.is_empty() {
        sh::write(&control.join("conffiles"), conffiles)?;
    }
    for (name, text) in scripts(package) {
        program(&control.join(name), &text)?;
    }
    let root = data.to_string_lossy().replace(".tar.zst", "");
    let script = "set -e; deb=$(realpath -m \"$4\"); mkdir -p \"$(dirname \"$deb\")\"; cd \"$1\"
(cd \"$3\" && find . -type f ! -path './etc/*' -printf '%P\\0' | sort -z | xargs -0 md5sum) > control/md5sums
tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -C control -czf control.tar.gz .
echo 2.0 > debian-binary; cp \"$2\" data.tar.zst; rm -f \"$deb\"
ar rcD \"$deb\" debian-binary control.tar.gz data.tar.zst";
    let work = work.to_string_lossy();
    let (data, deb) = (data.to_string_lossy(), deb.to_string_lossy());
    sh::run(&["sh", "-c", script, "sh", &work, &data, &root, &deb]).map(drop)
}

fn control_text(package: &str, pool: &Path, version: &str) -> Result<String> {
    let libs = |source: &str| libraries(pool, source);
    let fields = match package {
        "docker-ce" => format!(
            "Pre-Depends: init-system-helpers (>= 1.54~)\n\
             Depends: containerd.io (>= 1.7.27), docker-ce-cli, iptables, nftables, {}\n\
             Recommends: apparmor, ca-certificates, docker-ce-rootless-extras, git, pigz, procps, xz-utils\n\
             Suggests: cgroupfs-mount | cgroup-lite, kmod\n\
             Conflicts: docker (<< 1.5~), docker-engine, docker.io\n\
             Replaces: docker-engine, docker-ce-cli (<< 5:28.0.0)\n",
            libs("docker.io")?
        ),
        "docker-ce-cli" => "Depends: libc6 (>= 2.34)\n\
             Recommends: docker-buildx-plugin, docker-compose-plugin\n\
             Suggests: docker-model-plugin\n\
             Conflicts: docker (<< 1.5~), docker-engine, docker.io, docker-cli\n\
             Replaces: docker-ce (<< 5:0)\nBreaks: docker-ce (<< 5:0)\n"
            .to_string(),
        "containerd.io" => format!(
            "Depends: {}\nProvides: containerd, runc\nConflicts: containerd, runc\nReplaces: containerd, runc\n",
            libs("runc")?
        ),
        "docker-buildx-plugin" => "Replaces: docker-ce-cli\nEnhances: docker-ce-cli\n".to_string(),
        "docker-compose-plugin" => "Recommends: docker-buildx-plugin (>= 0.17.0)\nEnhances: docker-ce-cli\n\
             Conflicts: docker-compose\nReplaces: docker-compose\nBreaks: docker-compose\n"
            .to_string(),
        _ => {
            "Depends: dbus-user-session\nEnhances: docker-ce\nConflicts: rootlesskit\nReplaces: rootlesskit\n\
              Breaks: rootlesskit\n"
                .to_string()
        }
    };
    Ok(format!(
        "Package: {package}\nSource: {package}\nVersion: {version}\nArchitecture: amd64\nSection: admin\n\
         Priority: optional\nMaintainer: Docker <support@docker.com>\nInstalled-Size: 100000\n{fields}\
         Homepage: https://www.docker.com\nDescription: {package}, as the lab repackages it\n"
    ))
}

/// The libraries that the distribution's package depends on.
fn libraries(pool: &Path, source: &str) -> Result<String> {
    let deb = archive::find(pool, source)?;
    let depends = sh::run(&["dpkg-deb", "-f", &deb.to_string_lossy(), "Depends"])?;
    let libs: Vec<&str> = depends.trim().split(", ").filter(|name| name.starts_with("lib")).collect();
    Ok(libs.join(", "))
}

/// The maintainer scripts, with what debhelper adds to upstream's.
fn scripts(package: &str) -> Vec<(&'static str, String)> {
    let (units, mask) = match package {
        "docker-ce" => (vec!["docker.service", "docker.socket"], true),
        "containerd.io" => (vec!["containerd.service"], true),
        _ => (vec![], false),
    };
    if !mask {
        return Vec::new();
    }
    let all = units.join(" ");
    let mut postinst = String::from("#!/bin/sh\nset -e\n");
    if package == "docker-ce" {
        postinst += POSTINST_GROUP;
    }
    postinst += "if [ \"$1\" = \"configure\" ] || [ \"$1\" = \"abort-upgrade\" ] || [ \"$1\" = \"abort-deconfigure\" ] \
                 || [ \"$1\" = \"abort-remove\" ] ; then\n";
    for unit in &units {
        postinst += &ENABLE.replace("UNIT", unit);
    }
    postinst += if package == "docker-ce" { START_BY_INIT } else { START_BY_SYSTEMD };
    postinst += "fi\n";
    let mut prerm = String::from("#!/bin/sh\nset -e\n");
    if package == "docker-ce" {
        prerm += "if [ -x \"/etc/init.d/docker\" ] && [ \"$1\" = remove ]; then\n\tinvoke-rc.d docker stop || exit 1\nfi\n";
    }
    prerm += &format!(
        "if [ -d /run/systemd/system ] && [ \"$1\" = remove ]; then\n\
         \tdeb-systemd-invoke stop {all} >/dev/null || true\nfi\n"
    );
    let mut postrm = String::from("#!/bin/sh\nset -e\n");
    if package == "docker-ce" {
        postrm += "if [ \"$1\" = \"purge\" ] ; then\n\tupdate-rc.d docker remove >/dev/null\nfi\n";
    }
    postrm += &POSTRM.replace("UNITS", &all);
    vec![("postinst", postinst), ("prerm", prerm), ("postrm", postrm)]
}

const POSTINST_GROUP: &str = "case \"$1\" in
\tconfigure)
\t\tif [ -z \"$2\" ]; then
\t\t\tif ! getent group docker > /dev/null; then
\t\t\t\tgroupadd --system docker
\t\t\tfi
\t\tfi
\t\t;;
esac
";

const ENABLE: &str = "\tdeb-systemd-helper unmask 'UNIT' >/dev/null || true
\tif deb-systemd-helper --quiet was-enabled 'UNIT'; then
\t\tdeb-systemd-helper enable 'UNIT' >/dev/null || true
\telse
\t\tdeb-systemd-helper update-state 'UNIT' >/dev/null || true
\tfi
";

const START_BY_INIT: &str = "\tif [ -d /run/systemd/system ]; then
\t\tsystemctl --system daemon-reload >/dev/null || true
\tfi
\tif [ -x \"/etc/init.d/docker\" ]; then
\t\tupdate-rc.d docker defaults >/dev/null
\t\tif [ -n \"$2\" ]; then
\t\t\t_dh_action=restart
\t\telse
\t\t\t_dh_action=start
\t\tfi
\t\tinvoke-rc.d docker $_dh_action || exit 1
\tfi
";

const START_BY_SYSTEMD: &str = "\tif [ -d /run/systemd/system ]; then
\t\tsystemctl --system daemon-reload >/dev/null || true
\t\tif [ -n \"$2\" ]; then
\t\t\t_dh_action=restart
\t\telse
\t\t\t_dh_action=start
\t\tfi
\t\tdeb-systemd-invoke $_dh_action 'containerd.service' >/dev/null || true
\tfi
";

const POSTRM: &str = "if [ -d /run/systemd/system ]; then
\tsystemctl --system daemon-reload >/dev/null || true
fi
if [ \"$1\" = \"remove\" ]; then
\tif [ -x \"/usr/bin/deb-systemd-helper\" ]; then
\t\tdeb-systemd-helper mask UNITS >/dev/null || true
\tfi
fi
if [ \"$1\" = \"purge\" ]; then
\tif [ -x \"/usr/bin/deb-systemd-helper\" ]; then
\t\tdeb-systemd-helper purge UNITS >/dev/null || true
\t\tdeb-systemd-helper unmask UNITS >/dev/null || true
\tfi
fi
";

const DOCKER_SERVICE: &str = "[Unit]
Description=Docker Application Container Engine
Documentation=https://docs.docker.com
After=network-online.target nss-lookup.target docker.socket firewalld.service containerd.service time-set.target
Wants=network-online.target containerd.service
Requires=docker.socket
StartLimitBurst=3
StartLimitIntervalSec=60

[Service]
Type=notify
ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
ExecReload=/bin/kill -s HUP $MAINPID
TimeoutStartSec=0
RestartSec=2
Restart=always
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
Delegate=yes
KillMode=process
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
";

const DOCKER_SOCKET: &str = "[Unit]
Description=Docker Socket for the API

[Socket]
ListenStream=/run/docker.sock
SocketMode=0660
SocketUser=root
SocketGroup=docker

[Install]
WantedBy=sockets.target
";

const CONTAINERD_SERVICE: &str = "[Unit]
Description=containerd container runtime
Documentation=https://containerd.io
After=network.target dbus.service

[Service]
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
";

const CONTAINERD_TOML: &str = "# The lab's stand-in for the file that containerd.io ships.
disabled_plugins = [\"cri\"]
";

const DEFAULT_DOCKER: &str = "# Defaults of the SysV init script only: systemd does not read this file.
#DOCKER_OPTS=\"--dns 192.0.2.1\"
";

const INIT_DOCKER: &str = "#!/bin/sh
### BEGIN INIT INFO
# Provides:           docker
# Required-Start:     $syslog $remote_fs
# Required-Stop:      $syslog $remote_fs
# Default-Start:      2 3 4 5
# Default-Stop:       0 1 6
# Short-Description:  Create lightweight, portable, self-sufficient containers.
### END INIT INFO
. /lib/lsb/init-functions
case \"$1\" in
\tstart|stop|restart|force-reload|status) exit 0 ;;
\t*) echo \"Usage: service docker {start|stop|restart|status}\"; exit 1 ;;
esac
";
