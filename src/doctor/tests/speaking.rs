//! For each check a host that makes it speak: the healthy one, broken in one thing.

use super::{NOBLE, RULES, UNITS, caller, down, room, units};
use crate::host::fake::FakeHost;
use crate::host::{Output, Question, Room};

pub enum Asks {
    Alice(&'static [(&'static str, &'static str)]),
    Root,
}

pub struct Row {
    pub id: &'static str,
    pub asks: Asks,
    pub host: fn(FakeHost) -> FakeHost,
}

const DAEMON: &str = "/etc/docker/daemon.json";
const CONFIG: &str = "/home/alice/.docker/config.json";
const CONTAINER: &str = "/var/lib/docker/containers/abc/config.v2.json";
const BINDINGS: &str = "/var/lib/docker/containers/abc/hostconfig.json";
const LISTENS: &str = "  sl  local_address rem_address   st\n   0: 00000000:1F90 00000000:0000 0A\n";

fn socket(host: FakeHost, gid: u32, mode: u32) -> FakeHost {
    host.held("/run/docker.sock", 0, gid, mode)
}
fn numbers(host: FakeHost, groups: &str) -> FakeHost {
    host.answer(Question::GroupNumbersOf { user: "alice".into() }, groups)
}
/// A process of alice's that began before she got the group.
fn old_process(host: FakeHost, name: &str, command: &str, group: &str) -> FakeHost {
    let status = format!(
        "Name:\t{name}\nPid:\t70\nPPid:\t1\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t1000\n"
    );
    host.file("/proc/70/status", status)
        .file("/proc/70/cmdline", command)
        .file("/proc/70/cgroup", group)
        .held("/proc/70", 1000, 1000, 0o555)
}
fn no_engine(host: FakeHost) -> FakeHost {
    host.without("/usr/bin/dockerd")
}
fn stopped(host: FakeHost) -> FakeHost {
    let off = UNITS.replace("ActiveState=active", "ActiveState=inactive");
    units(host, &off).answer(Question::JournalOf { invocation: "abc".into() }, "")
}
fn published(host: FakeHost, place: &str) -> FakeHost {
    host.file(CONTAINER, "{\"Name\": \"/web\", \"State\": {\"Running\": true, \"Pid\": 80}, \"Config\": {\"ExposedPorts\": {\"80/tcp\": {}}}}")
        .file(BINDINGS, format!("{{\"PortBindings\": {{\"80/tcp\": [{place}]}}}}"))
}
fn nat(host: FakeHost, rules: &str) -> FakeHost {
    host.answer(Question::IptablesSave { program: "iptables-save", table: "nat" }, rules)
}
fn source(host: FakeHost, name: &str, text: &str) -> FakeHost {
    host.file(format!("/etc/apt/sources.list.d/{name}"), text)
}

pub fn rows() -> Vec<Row> {
    let alice = |id, host| Row { id, asks: Asks::Alice(&[]), host };
    let with = |id, environment, host| Row { id, asks: Asks::Alice(environment), host };
    let root = |id, host| Row { id, asks: Asks::Root, host };
    let mut rows = vec![
        with("docker-host-env-stale", &[("DOCKER_HOST", "unix:///home/alice/.colima/docker.sock")], |h| h),
        root("docker-host-env-stale", |h| {
            h.file("/home/alice/.profile", "export DOCKER_HOST=unix:///tmp/gone.sock\n")
        }),
        with("docker-host-env-stale", &[("DOCKER_HOST", "/var/run/docker.sock")], |h| h),
        with("docker-tls-env-stale", &[("DOCKER_TLS_VERIFY", "0")], |h| h),
        alice("docker-context-missing", |h| h.file(CONFIG, "{\"currentContext\": \"old\"}")),
        alice("docker-context-stale", |h| {
            let digest = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(b"old"));
            h.file(CONFIG, "{\"currentContext\": \"old\"}").file(
                format!("/home/alice/.docker/contexts/meta/{digest}/meta.json"),
                "{\"Endpoints\": {\"docker\": {\"Host\": \"unix:///home/alice/.docker/desktop/docker.sock\"}}}",
            )
        }),
        alice("docker-group-missing", |h| h.file("/etc/group", "root:x:0:\nalice:x:1000:\n")),
        alice("docker-group-duplicate", |h| h.file("/etc/group", "docker:x:998:alice\ndocker:x:999:\n")),
        alice("docker-group-duplicate", |h| h.file("/etc/group", "docker:x:998:alice\nbuild:x:998:\n")),
        alice("nss-group-not-local", |h| {
            h.file("/etc/group", "root:x:0:\n")
                .answer(Question::Getent { database: "group", key: "docker".into() }, "docker:x:998:alice\n")
        }),
        alice("docker-socket-is-directory", |h| h.without("/run/docker.sock").directory("/run/docker.sock")),
        alice("docker-socket-not-a-socket", |h| h.file("/run/docker.sock", "")),
        alice("docker-socket-missing", |h| h.without("/run/docker.sock")),
        alice("docker-socket-stale", |h| h.file("/proc/net/unix", "")),
        alice("docker-socket-symlink-foreign", |h| h.link("/run/docker.sock", "/home/alice/.rd/docker.sock")),
        alice("docker-socket-parent-unsearchable", |h| h.held("/run", 0, 0, 0o700)),
        alice("docker-socket-group-root", |h| socket(h, 0, 0o660)),
        alice("docker-group-gid-orphan", |h| socket(h, 4242, 0o660)),
        alice("docker-socket-group-unexpected", |h| {
            socket(h, 500, 0o660).file("/etc/group", "docker:x:998:alice\nops:x:500:\n")
        }),
        alice("docker-socket-mode-changed", |h| socket(h, 998, 0o600)),
        alice("docker-socket-world-writable", |h| socket(h, 998, 0o666)),
        alice("group-added-to-wrong-user", |h| {
            numbers(h, "1000\n").file("/etc/group", "docker:x:998:root\n")
        }),
        alice("user-not-in-docker-group", |h| caller(numbers(h, "1000\n"), 1000, "1000")),
        root("user-not-in-docker-group", |h| numbers(h, "1000\n")),
        alice("nss-user-not-local", |h| {
            caller(h, 1000, "1000 998").file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n").answer(
                Question::Getent { database: "passwd", key: "1000".into() },
                "alice:*:1000:1000::/home/alice:/bin/bash\n",
            )
        }),
        alice("session-groups-stale", |h| caller(h, 1000, "1000")),
        alice("systemd-user-manager-stale-groups", |h| {
            old_process(h, "systemd", "/lib/systemd/systemd\0--user", "")
        }),
        alice("tmux-server-stale-groups", |h| old_process(h, "tmux: server", "tmux", "")),
        alice("vscode-server-stale-groups", |h| {
            old_process(h, "node", "/home/alice/.vscode-server/bin/node", "")
        }),
        alice("service-stale-groups", |h| {
            old_process(h, "java", "java", "0::/system.slice/jenkins.service\n")
        }),
        alice("docker-socket-acl-lost", |h| {
            // user::rw- user:1000:rw- group::rw- mask::--- other::---
            let entry = |tag: u16, permission: u16, id: u32| {
                [tag.to_le_bytes().to_vec(), permission.to_le_bytes().to_vec(), id.to_le_bytes().to_vec()]
                    .concat()
            };
            let none = u32::MAX;
            let acl = [
                2u32.to_le_bytes().to_vec(),
                entry(1, 6, none),
                entry(2, 6, 1000),
                entry(4, 6, none),
                entry(0x10, 0, none),
                entry(0x20, 0, none),
            ];
            socket(numbers(caller(h, 1000, "1000"), "1000\n"), 998, 0o600).attribute(
                "/run/docker.sock",
                "system.posix_acl_access",
                acl.concat(),
            )
        }),
        alice("docker-config-not-owned", |h| h.file(CONFIG, "{}")),
        alice("docker-config-invalid", |h| h.file(CONFIG, "{auths:")),
        alice("docker-config-open-mode", |h| {
            h.file(CONFIG, "{\"auths\": {\"r.example\": {\"auth\": \"YTpi\"}}}")
        }),
        alice("credential-helper-missing", |h| h.file(CONFIG, "{\"credsStore\": \"desktop\"}")),
        alice("cli-plugin-broken", |h| h.file("/home/alice/.docker/cli-plugins/docker-buildx", "Not Found")),
        alice("compose-plugin-missing", |h| h.without("/usr/libexec/docker/cli-plugins")),
        alice("sudo-missing", |h| h.without("/usr/bin/sudo")),
        alice("sudo-setuid-missing", |h| h.held("/usr/bin/sudo", 0, 0, 0o755)),
        alice("sudo-setuid-missing", |h| h.held("/usr/bin/sudo", 1000, 1000, 0o4755)),
        alice("sudo-nosuid-mount", |h| {
            h.file(
                "/proc/self/mountinfo",
                "1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / /usr rw,nosuid - ext4 b rw\n",
            )
        }),
        alice("podman-docker-shim", |h| {
            h.file("/usr/bin/docker", "#!/bin/sh\nexec /usr/bin/podman \"$@\"\n")
        }),
        alice("snap-docker-group-missing", |h| {
            no_engine(h).file("/snap/bin/docker", "").file("/etc/group", "root:x:0:\n")
        }),
        alice("snap-and-deb-docker", |h| h.file("/snap/bin/docker", "")),
        alice("rootless-socket-unset", |h| {
            h.without("/run/docker.sock")
                .socket("/run/user/1000/docker.sock")
                .file("/proc/net/unix", "0: 2 0 00010000 1 1 1 /run/user/1000/docker.sock\n")
        }),
        alice("rootless-rootful-both", |h| {
            h.socket("/run/user/1000/docker.sock").file(
                "/proc/net/unix",
                "0: 2 0 00010000 1 1 1 /run/user/1000/docker.sock\n0: 2 0 00010000 1 1 1 /run/docker.sock\n",
            )
        }),
        alice("engine-not-installed", no_engine),
        alice("wsl1-kernel", |h| h.file("/proc/sys/kernel/osrelease", "4.4.0-19041-Microsoft\n")),
        alice("wsl-no-systemd", |h| {
            h.file("/proc/sys/kernel/osrelease", "5.15.1-microsoft-standard-WSL2\n")
                .file("/proc/1/comm", "init\n")
        }),
        alice("init-not-systemd", |h| h.file("/proc/1/comm", "openrc-init\n")),
        alice("nested-in-container", |h| h.file("/.dockerenv", "")),
        alice("unit-masked", |h| units(h, &UNITS.replacen("LoadState=loaded", "LoadState=masked", 1))),
        alice("unit-disabled-at-boot", |h| units(h, &UNITS.replacen("=enabled", "=disabled", 1))),
        alice("unit-daemon-reload-needed", |h| {
            units(h, &UNITS.replacen("NeedDaemonReload=no", "NeedDaemonReload=yes", 1))
        }),
        alice("unit-dropin-broken", |h| {
            let shown = UNITS.replacen("LoadState=loaded", "LoadState=bad-setting", 1);
            units(
                h,
                &shown.replacen("DropInPaths=", "DropInPaths=/etc/systemd/system/docker.service.d/x.conf", 1),
            )
        }),
        alice("socket-activation-missing", |h| {
            let off = UNITS.replace("ActiveState=active", "ActiveState=failed");
            let said = "failed to load listeners: no sockets found via socket activation";
            units(h, &off)
                .answer(Question::JournalOf { invocation: "abc".into() }, said)
                .answer(Question::Journal { unit: "docker.socket".into() }, "")
        }),
        alice("containerd-down", |h| {
            let at = UNITS.rfind("ActiveState=active").expect("three units");
            units(h, &format!("{}{}", &UNITS[..at], UNITS[at..].replace("=active", "=inactive")))
        }),
        alice("containerd-socket-stale", |h| stopped(h).file("/proc/net/unix", "")),
        alice("docker-pid-conflict", |h| {
            down(h, "").file("/run/docker.pid", "99").file("/proc/99/comm", "nginx\n")
        }),
        root("daemon-failed", |h| down(h, "failed to start daemon: networks have same bridge name")),
        alice("unit-start-limit-hit", |h| {
            units(h, &UNITS.replacen("Result=success", "Result=start-limit-hit", 1))
        }),
        alice("unit-inactive", stopped),
        alice("helper-binary-missing", |h| h.without("/usr/bin/runc")),
        alice("tcp-api-insecure", |h| {
            units(h, &UNITS.replacen("-H fd://", "-H fd:// -H tcp://0.0.0.0:2375", 1))
        }),
        alice("daemon-json-unreadable", |h| h.directory(DAEMON)),
        alice("daemon-json-encoding", |h| h.file(DAEMON, b"{\"labels\": [\"caf\xe9\"]}")),
        alice("daemon-json-syntax", |h| h.file(DAEMON, "\"debug\": true")),
        alice("daemon-json-unknown-key", |h| h.file(DAEMON, "{\"log-drivers\": \"local\"}")),
        alice("daemon-json-wrong-type", |h| h.file(DAEMON, "{\"debug\": \"yes\"}")),
        alice("daemon-json-removed-driver", |h| h.file(DAEMON, "{\"storage-driver\": \"aufs\"}")),
        alice("daemon-json-flag-conflict", |h| h.file(DAEMON, "{\"hosts\": [\"tcp://127.0.0.1:2375\"]}")),
        alice("daemon-json-exclusive-options", |h| {
            h.file(DAEMON, "{\"bridge\": \"br0\", \"bip\": \"10.0.0.1/24\"}")
        }),
        alice("daemon-json-runtime-invalid", |h| h.file(DAEMON, "{\"default-runtime\": \"nvidia\"}")),
        alice("daemon-json-runtime-invalid", |h| {
            h.file(DAEMON, "{\"runtimes\": {\"nvidia\": {\"path\": \"/usr/bin/nvidia-container-runtime\"}}}")
        }),
        root("daemon-json-swarm-conflict", |h| {
            h.file(DAEMON, "{\"live-restore\": true}").file("/var/lib/docker/swarm/docker-state.json", "{}")
        }),
        alice("daemon-json-snapshotter-userns", |h| {
            h.file(
                DAEMON,
                "{\"features\": {\"containerd-snapshotter\": true}, \"userns-remap\": \"default\"}",
            )
        }),
        alice("daemon-json-misnamed", |h| h.file("/etc/docker/deamon.json", "{}")),
        alice("daemon-json-not-reloaded", |h| h.file(DAEMON, "{}").at(9_000_000_000)),
        with("daemon-proxy-missing", &[("HTTPS_PROXY", "http://proxy.example")], |h| h),
        alice("userns-remap-invalid", |h| h.file(DAEMON, "{\"userns-remap\": \"bob\"}")),
        alice("ip-forward-disabled", |h| h.file("/proc/sys/net/ipv4/ip_forward", "0\n")),
        alice("iptables-missing", |h| h.without("/usr/bin/iptables")),
        root("iptables-chains-flushed", |h| nat(h, "*nat\nCOMMIT\n")),
        root("iptables-mixed-backends", |h| {
            h.file("/proc/net/ip_tables_names", "nat\n")
                .answer(Question::IptablesSave { program: "iptables-legacy-save", table: "nat" }, RULES)
        }),
        alice("docker-iptables-disabled", |h| h.file(DAEMON, "{\"iptables\": false}")),
        root("ufw-bypassed", |h| {
            nat(h, "-A DOCKER ! -i docker0 -p tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80\n")
                .file("/etc/ufw/ufw.conf", "ENABLED=yes\n")
        }),
        alice("firewalld-zone-conflict", |h| {
            h.file("/usr/sbin/firewalld", "")
                .file("/etc/firewalld/zones/trusted.xml", "<interface name=\"docker0\"/>")
        }),
        alice("br-netfilter-missing", |h| h.file(DAEMON, "{\"icc\": false}")),
        alice("address-pool-exhausted", |h| {
            (0..31).fold(h, |h, number| h.directory(format!("/sys/class/net/br-{number:012x}")))
        }),
        alice("subnet-overlaps-host", |h| {
            let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask\ndocker0 000011AC 0 1 0 0 0 0000FFFF\n\
                          tun0 000511AC 0 1 0 0 0 00FFFFFF\n";
            h.file("/proc/net/route", routes)
        }),
        alice("dns-resolver-dangling", |h| {
            h.link("/etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf")
        }),
        alice("dns-loopback-only", |h| h.file("/etc/resolv.conf", "nameserver 127.0.0.1\n")),
        alice("interfaces-managed", |h| h.file("/etc/systemd/network/all.network", "[Match]\nName=*\n")),
        root("port-in-use", |h| {
            let failed = "{\"Name\": \"/web\", \"State\": {\"Running\": false, \"Error\": \"failed to bind host port 0.0.0.0:8080/tcp: address already in use\"}}";
            published(h, "{\"HostIp\": \"\", \"HostPort\": \"8080\"}")
                .file(CONTAINER, failed)
                .file("/proc/net/tcp", LISTENS)
        }),
        root("app-binds-container-loopback", |h| {
            published(h, "{\"HostIp\": \"\", \"HostPort\": \"8080\"}")
                .file("/proc/80/net/tcp", "  sl\n   0: 0100007F:0050 00000000:0000 0A\n")
        }),
        root("port-not-published", |h| {
            published(h, "").file("/proc/80/net/tcp", "  sl\n   0: 00000000:0050 00000000:0000 0A\n")
        }),
        root("port-published-to-loopback", |h| {
            published(h, "{\"HostIp\": \"127.0.0.1\", \"HostPort\": \"8080\"}")
        }),
        alice("disk-full", |h| h.room("/", room(3))),
        alice("inodes-full", |h| h.room("/", Room { inodes_free: 0, ..room(5000) })),
        alice("data-root-readonly", |h| h.room("/", Room { read_only: true, ..room(5000) })),
        alice("data-root-noexec", |h| {
            h.file(
                "/proc/self/mountinfo",
                "1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / /var rw,noexec - ext4 b rw\n",
            )
        }),
        alice("data-root-network-fs", |h| h.room("/", Room { magic: 0x6969, ..room(5000) })),
        alice("data-root-late-mount", |h| {
            h.file("/etc/fstab", "LABEL=data /var/lib/docker ext4 defaults 0 2\n")
        }),
        alice("containerd-root-not-moved", |h| {
            h.file(DAEMON, "{\"data-root\": \"/big/docker\"}")
                .directory("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs")
        }),
        alice("overlay-unsupported", |h| stopped(h).file("/proc/filesystems", "ext4\n")),
        alice("cgroup-devices-missing", |h| h.without("/sys/fs/cgroup")),
        alice("cgroup-v1-deprecated", |h| h.without("/sys/fs/cgroup").directory("/sys/fs/cgroup/memory")),
        alice("cgroup-controllers-missing", |h| h.file("/sys/fs/cgroup/cgroup.controllers", "cpu io pids\n")),
        alice("kernel-too-old", |h| h.file("/proc/sys/kernel/osrelease", "2.6.32-754.el6\n")),
        alice("kernel-modules-gone", |h| {
            h.without("/lib/modules/6.8.0-45-generic").directory("/lib/modules/6.8.0-48-generic")
        }),
        alice("kernel-config-missing", |h| {
            stopped(h)
                .without("/sys/class/net/docker0")
                .file("/boot/config-6.8.0-45-generic", "CONFIG_NET=y\n")
        }),
        alice("xt-addrtype-missing", |h| {
            stopped(h)
                .file("/lib/modules/6.8.0-45-generic/modules.dep", "kernel/net/netfilter/nf_nat.ko.xz:\n")
        }),
        alice("keyring-quota", |h| h.file("/proc/key-users", "    0:   200 199/199 200/200 9000/20000\n")),
        alice("apparmor-parser-missing", |h| h.file("/sys/module/apparmor/parameters/enabled", "Y\n")),
        root("json-log-unbounded", |h| h.large("/var/lib/docker/containers/abc/abc-json.log", 3 << 30)),
        alice("clock-skew", |h| h.at(1_000_000_000).written("/var/lib/dpkg/status", 1_700_000_000)),
        alice("apt-source-malformed", |h| {
            source(h, "a.list", "deb https://download.docker.com/linux/ubuntu $(lsb_release -cs) stable\n")
        }),
        alice("apt-signed-by-conflict", |h| {
            source(
                h,
                "docker.list",
                "deb [signed-by=/etc/apt/keyrings/docker.gpg] https://download.docker.com/linux/ubuntu noble stable\n",
            )
        }),
        alice("apt-no-pubkey", |h| h.without("/etc/apt/keyrings/docker.asc")),
        alice("apt-no-pubkey", |h| h.held("/etc/apt/keyrings/docker.asc", 0, 0, 0o600)),
        alice("apt-no-pubkey", |h| h.file("/etc/apt/keyrings/docker.asc", "<!DOCTYPE html>")),
        alice("apt-key-legacy", |h| {
            source(
                h.without("/etc/apt/sources.list.d"),
                "docker.list",
                "deb https://download.docker.com/linux/ubuntu noble stable\n",
            )
        }),
        alice("apt-codename-derivative", |h| {
            let mint = NOBLE
                .replace("ID=ubuntu", "ID=linuxmint")
                .replace("VERSION_CODENAME=noble", "VERSION_CODENAME=wilma");
            source(
                h.file("/etc/os-release", mint),
                "d.list",
                "deb [signed-by=/a] https://download.docker.com/linux/ubuntu wilma stable\n",
            )
        }),
        alice("apt-distro-mismatch", |h| {
            source(h, "d.list", "deb [signed-by=/a] https://download.docker.com/linux/debian noble stable\n")
        }),
        alice("dpkg-interrupted", |h| h.file("/var/lib/dpkg/updates/0001", "")),
        alice("pkg-conflict-distro", |h| {
            h.file("/var/lib/dpkg/info/docker-ce.list", "")
                .file("/var/lib/dpkg/info/docker-compose-v2.list", "")
        }),
        alice("rpm-repo-404", |h| {
            h.file(
                "/etc/yum.repos.d/docker-ce.repo",
                "[docker]\nbaseurl=https://download.docker.com/linux/centos/9.4/x86_64/stable\n",
            )
        }),
        alice("rpm-eol-mirror", |h| {
            h.file(
                "/etc/yum.repos.d/base.repo",
                "[base]\nmirrorlist=http://mirrorlist.centos.org/?release=7\n",
            )
        }),
    ];
    rows.extend(super::cards::rows());
    rows.extend(super::surroundings::rows());
    rows
}

/// Whoever asks systemd finds it silent: every question about units is unknown then, and never fine.
#[test]
fn a_systemd_that_does_not_answer_is_unknown() {
    let names = super::super::case::UNITS.map(str::to_owned).to_vec();
    let silent = Output { code: 1, stderr: "Failed to connect to bus".into(), ..Output::default() };
    let host = super::healthy().answer_whole(Question::UnitsShow { units: names }, silent);
    let report = super::alice(&host, &[], &["unit-inactive", "unit-masked"]);
    assert!(report.fine.is_empty() && report.unknown.len() == 2, "{report:#?}");
}
