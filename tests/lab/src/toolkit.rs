//! NVIDIA's container toolkit: its four packages as debs and rpms, and what earlier generations left on hosts.

use crate::stub::Stub;

/// Oldest first; the first is below the floor that its security fixes set.
pub const VERSIONS: [&str; 4] = ["1.17.3", "1.19.1", "1.20.0", "1.20.1"];

pub const PACKAGES: [&str; 4] = [
    "libnvidia-container1",
    "libnvidia-container-tools",
    "nvidia-container-toolkit-base",
    "nvidia-container-toolkit",
];

/// Debs or rpms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Deb,
    Rpm,
}

impl Kind {
    /// Where libraries are.
    pub fn libraries(self) -> &'static str {
        match self {
            Kind::Deb => "/usr/lib/x86_64-linux-gnu",
            Kind::Rpm => "/usr/lib64",
        }
    }

    /// `Depends: a (= 1), b` or a `Requires: a = 1` each; a name without a version is one.
    pub fn needs(self, names: &[(&str, &str)]) -> String {
        let exact = |name: &str, version: &str, (open, close): (&str, &str)| {
            if version.is_empty() { name.to_string() } else { format!("{name} {open}{version}{close}") }
        };
        match self {
            Kind::Deb => {
                let all: Vec<String> = names.iter().map(|(n, v)| exact(n, v, ("(= ", ")"))).collect();
                if all.is_empty() { String::new() } else { format!("Depends: {}\n", all.join(", ")) }
            }
            Kind::Rpm => {
                names.iter().map(|(n, v)| format!("Requires: {}\n", exact(n, v, ("= ", "")))).collect()
            }
        }
    }
}

/// The four packages of one version.
pub fn packages(version: &str, kind: Kind) -> Vec<Stub> {
    let whole = format!("{version}-1");
    let stub = |name: &str, needs: &[(&str, &str)]| Stub::new(name, version, "1").fields(kind.needs(needs));
    let text = |text: &str| text.replace("@VERSION@", version);
    let lib = kind.libraries();
    let object = format!("libnvidia-container.so.{version}");
    let mut base = stub("nvidia-container-toolkit-base", &[])
        .file("/usr/bin/nvidia-container-runtime", RUNTIME)
        .file("/usr/bin/nvidia-ctk", text(include_str!("../stubs/nvidia-ctk.sh")))
        .file("/usr/bin/nvidia-cdi-hook", text(include_str!("../stubs/nvidia-cdi-hook.sh")))
        .after(CONFIGURE);
    if refreshes(version) {
        // 1.18 and 1.19 had the units where an administrator's are.
        let units = if version.starts_with("1.19") { "/etc/systemd/system" } else { UNITS[kind as usize] };
        base = base
            .file(format!("{units}/nvidia-cdi-refresh.service"), REFRESH_SERVICE)
            .file(format!("{units}/nvidia-cdi-refresh.path"), REFRESH_PATH)
            .file(
                "/lib/udev/rules.d/99-nvidia-cdi-refresh.rules".replace("/lib", UDEV[kind as usize]),
                UDEV_RULE,
            )
            .conffile("/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env", "# NVIDIA_CTK_DEBUG=1\n")
            .after(ENABLE)
            .before_removal(DISABLE)
            .after_removal(RELOAD);
    }
    vec![
        stub("libnvidia-container1", &[])
            .file(format!("{lib}/{object}"), "the lab's libnvidia-container\n")
            .file(format!("{lib}/libnvidia-container.so.1"), format!("-> {object}"))
            .after("ldconfig\n")
            .after_removal("ldconfig\n"),
        stub("libnvidia-container-tools", &[("libnvidia-container1", &whole)])
            .file("/usr/bin/nvidia-container-cli", text(include_str!("../stubs/nvidia-container-cli.sh"))),
        base,
        stub(
            "nvidia-container-toolkit",
            &[("nvidia-container-toolkit-base", &whole), ("libnvidia-container-tools", &whole)],
        )
        .file("/usr/bin/nvidia-container-runtime-hook", HOOK)
        .file("/usr/bin/nvidia-container-toolkit", "-> nvidia-container-runtime-hook")
        .replaces(kind),
    ]
}

/// Since 1.18 a unit writes the CDI specification.
fn refreshes(version: &str) -> bool {
    !version.starts_with("1.17")
}

impl Stub {
    fn replaces(mut self, kind: Kind) -> Stub {
        self.fields += match kind {
            Kind::Deb => {
                "Breaks: nvidia-container-runtime (<= 3.5.0-1), nvidia-container-runtime-hook\n\
                 Replaces: nvidia-container-runtime (<= 3.5.0-1), nvidia-container-runtime-hook\n"
            }
            Kind::Rpm => {
                "Obsoletes: nvidia-container-runtime <= 3.5.0-1\nObsoletes: nvidia-container-runtime-hook\n"
            }
        };
        self
    }
}

/// What hosts of before 2023 have: the wrapper that shipped daemon.json, and the runtime's own package.
pub fn legacy(kind: Kind) -> Vec<Stub> {
    let wrapper = Stub::new("nvidia-docker2", "2.13.0", "1")
        .fields(kind.needs(&[("nvidia-container-toolkit", "")]))
        .file("/usr/bin/nvidia-docker", "#!/bin/sh\nNV_GPU=${NV_GPU:-all} exec docker \"$@\"\n")
        .conffile("/etc/docker/daemon.json", LEGACY_DAEMON_JSON);
    let runtime = Stub::new("nvidia-container-runtime", "3.13.0", "1")
        .fields(kind.needs(&[("nvidia-container-toolkit", "")]))
        .file("/usr/share/nvidia-container-runtime/README", "nothing but what it depends on\n");
    vec![wrapper, runtime]
}

/// What nvidia-docker2 ships as a conffile.
pub const LEGACY_DAEMON_JSON: &str = "{
    \"runtimes\": {
        \"nvidia\": {
            \"path\": \"nvidia-container-runtime\",
            \"runtimeArgs\": []
        }
    }
}
";

/// nvidia-docker.list as it was told to be fetched: three lines, no `signed-by`.
pub const LEGACY_LIST: &str = "deb https://nvidia.github.io/libnvidia-container/stable/ubuntu18.04/$(ARCH) /
#deb https://nvidia.github.io/libnvidia-container/experimental/ubuntu18.04/$(ARCH) /
deb https://nvidia.github.io/nvidia-container-runtime/stable/ubuntu18.04/$(ARCH) /
#deb https://nvidia.github.io/nvidia-container-runtime/experimental/ubuntu18.04/$(ARCH) /
deb https://nvidia.github.io/nvidia-docker/ubuntu18.04/$(ARCH) /
";

/// The same for rpms, at `/etc/yum.repos.d/nvidia-docker.repo`.
pub fn legacy_repo() -> String {
    ["libnvidia-container/stable", "nvidia-container-runtime/stable", "nvidia-docker"]
        .iter()
        .map(|path| {
            let name = path.split('/').next().unwrap_or_default();
            format!(
                "[{name}]\nname={name}\nbaseurl=https://nvidia.github.io/{path}/centos8/$basearch\n\
                 repo_gpgcheck=1\ngpgcheck=0\nenabled=1\ngpgkey=https://nvidia.github.io/{name}/gpgkey\n\n"
            )
        })
        .collect()
}

/// Upstream's files, to the byte.
pub const LIST: &str = "deb https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /
#deb https://nvidia.github.io/libnvidia-container/experimental/deb/$(ARCH) /
";

pub fn repo() -> String {
    let section = |name: &str, channel: &str, enabled: u8| {
        format!(
            "[{name}]\nname={name}\n\
             baseurl=https://nvidia.github.io/libnvidia-container/{channel}/rpm/$basearch\n\
             repo_gpgcheck=1\ngpgcheck=0\nenabled={enabled}\n\
             gpgkey=https://nvidia.github.io/libnvidia-container/gpgkey\n"
        )
    };
    section("nvidia-container-toolkit", "stable", 1)
        + "\n"
        + &section("nvidia-container-toolkit-experimental", "experimental", 0)
}

const RUNTIME: &str = include_str!("../stubs/nvidia-container-runtime.sh");
const HOOK: &str = include_str!("../stubs/nvidia-container-runtime-hook.sh");

/// Where units and rules are: of debs, of rpms.
const UNITS: [&str; 2] = ["/lib/systemd/system", "/usr/lib/systemd/system"];
const UDEV: [&str; 2] = ["/lib", "/usr/lib"];

const UDEV_RULE: &str = "ACTION==\"add|change\", SUBSYSTEM==\"module\", KERNEL==\"nvidia|nvidia_current\", \
                         TAG+=\"systemd\", ENV{SYSTEMD_WANTS}+=\"nvidia-cdi-refresh.service\"\n";

const CONFIGURE: &str = "\tmkdir -p /etc/nvidia-container-runtime
\t/usr/bin/nvidia-ctk --quiet config --config-file=/etc/nvidia-container-runtime/config.toml --in-place
";

const ENABLE: &str = "\tif [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
\tif command -v systemctl >/dev/null; then
\t\tsystemctl enable nvidia-cdi-refresh.path nvidia-cdi-refresh.service >/dev/null 2>&1 || true
\tfi
\tif [ -d /run/systemd/system ]; then
\t\tsystemctl restart nvidia-cdi-refresh.path nvidia-cdi-refresh.service || true
\tfi
";

const DISABLE: &str = "\tif [ -d /run/systemd/system ]; then
\t\tsystemctl stop nvidia-cdi-refresh.path nvidia-cdi-refresh.service >/dev/null 2>&1 || true
\tfi
\tif command -v systemctl >/dev/null; then
\t\tsystemctl disable nvidia-cdi-refresh.path nvidia-cdi-refresh.service >/dev/null 2>&1 || true
\tfi
";

const RELOAD: &str = "\tif [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
";

const REFRESH_SERVICE: &str = "[Unit]
Description=Refresh NVIDIA CDI specification file
ConditionPathExists=|/usr/bin/nvidia-smi
ConditionPathExists=|/usr/sbin/nvidia-smi
ConditionPathExists=|/usr/lib/wsl/lib/nvidia-smi
ConditionPathExists=/usr/bin/nvidia-ctk
StartLimitIntervalSec=10
StartLimitBurst=5

[Service]
Type=oneshot
Restart=on-failure
RestartSec=1
Environment=NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/var/run/cdi/nvidia.yaml
EnvironmentFile=-/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env
ExecCondition=/bin/sh -c 'grep -qE \"/(nvidia|nvidia-current)[.]ko\" /lib/modules/%v/modules.dep || test -e /dev/dxg'
ExecStartPre=-/usr/bin/nvidia-smi -L
ExecStartPre=-/usr/bin/nvidia-ctk system create-device-nodes --control-devices
ExecStart=/usr/bin/nvidia-ctk cdi generate

[Install]
WantedBy=multi-user.target
";

const REFRESH_PATH: &str = "[Unit]
Description=Trigger CDI refresh on NVIDIA driver install / uninstall events

[Path]
PathChanged=/lib/modules/%v/modules.dep
PathChanged=/lib/modules/%v/modules.dep.bin
PathChanged=/usr/bin/nvidia-ctk

[Install]
WantedBy=multi-user.target
";
