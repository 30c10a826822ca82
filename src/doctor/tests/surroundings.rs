//! The same for what stands round the engine: its users, its kernel, its packages, and other programs' networks.

use super::speaking::{Asks, Row};
use super::{UNITS, caller, healthy, units};
use crate::host::Question;
use crate::host::fake::FakeHost;

const DAEMON: &str = "/etc/docker/daemon.json";
const MODULES: &str = "/lib/modules/6.8.0-45-generic/modules.dep";
const LISTS: &str = "/var/lib/apt/lists";

fn stopped(host: FakeHost) -> FakeHost {
    let off = UNITS.replace("ActiveState=active", "ActiveState=inactive");
    units(host, &off).answer(Question::JournalOf { invocation: "abc".into() }, "")
}

/// Alice's rootless engine is set up, and does not run.
fn rootless(host: FakeHost) -> FakeHost {
    host.file("/home/alice/.config/systemd/user/docker.service", "[Service]\n")
        .file("/usr/bin/newuidmap", "")
        .file("/usr/bin/newgidmap", "")
        .file("/etc/subuid", "alice:100000:65536\n")
        .file("/etc/subgid", "alice:100000:65536\n")
        .file("/proc/sys/user/max_user_namespaces", "28633\n")
}

/// The kernel has these modules, and says so of no other.
fn modules(host: FakeHost, names: &[&str]) -> FakeHost {
    let lines: String = names.iter().map(|name| format!("kernel/net/{name}.ko:\n")).collect();
    stopped(host).without("/sys/class/net/docker0").file(MODULES, lines)
}

fn forwards(host: FakeHost, rules: &str) -> FakeHost {
    host.directory("/sys/class/net/lxdbr0")
        .answer(Question::IptablesSave { program: "iptables-save", table: "filter" }, rules)
}

/// An older /etc/group beside the one that is there.
fn groups(host: FakeHost, before: &str, now: &str) -> FakeHost {
    host.file("/etc/group-", before).file("/etc/group", now)
}

fn apparmor(host: FakeHost, profiles: &str) -> FakeHost {
    host.file("/sys/module/apparmor/parameters/enabled", "Y\n")
        .file("/usr/sbin/apparmor_parser", "")
        .file("/sys/kernel/security/apparmor/profiles", profiles)
}

fn no_engine(host: FakeHost) -> FakeHost {
    host.without("/usr/bin/dockerd")
}

pub fn rows() -> Vec<Row> {
    let alice = |id, host| Row { id, asks: Asks::Alice(&[]), host };
    let root = |id, host| Row { id, asks: Asks::Root, host };
    vec![
        alice("usermod-without-append", |h| {
            groups(
                h,
                "root:x:0:\nsudo:x:27:alice\ndocker:x:998:\nalice:x:1000:\n",
                "root:x:0:\nsudo:x:27:\ndocker:x:998:alice\nalice:x:1000:\n",
            )
        }),
        alice("rootless-userns-max-zero", |h| rootless(h).file("/proc/sys/user/max_user_namespaces", "0\n")),
        alice("rootless-userns-restricted", |h| {
            rootless(h).file("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
        }),
        root("rootless-userns-restricted", |h| {
            rootless(h)
                .held("/home/alice/.config/systemd/user/docker.service", 1000, 1000, 0o644)
                .file("/proc/sys/kernel/unprivileged_userns_clone", "0\n")
        }),
        alice("rootless-newuidmap-missing", |h| rootless(h).without("/usr/bin/newuidmap")),
        alice("rootless-subid-missing", |h| rootless(h).file("/etc/subgid", "bob:100000:65536\n")),
        alice("rootless-xdg-missing", rootless),
        alice("containerd-config-invalid", |h| {
            h.file("/etc/containerd/config.toml", "version = 2\ndisabled_plugins = [cri]\n")
        }),
        alice("second-daemon-running", |h| {
            stopped(h)
                .file("/proc/90/comm", "dockerd\n")
                .file("/proc/90/cmdline", "dockerd\0--debug")
                .file("/proc/90/cgroup", "0::/user.slice/user-0.slice/session-1.scope\n")
        }),
        alice("iptables-legacy-module-missing", |h| {
            modules(h, &["nf_tables"]).link("/etc/alternatives/iptables", "/usr/sbin/iptables-legacy")
        }),
        alice("iptables-nft-unsupported", |h| modules(h, &["ip_tables"])),
        alice("iptables-raw-table-missing", |h| {
            h.file(MODULES, "kernel/net/ip_tables.ko:\n")
                .link("/etc/alternatives/iptables", "/usr/sbin/iptables-legacy")
        }),
        Row {
            id: "api-version-too-old",
            asks: Asks::Alice(&[("DOCKER_API_VERSION", "1.41")]),
            host: |h| h.answer(Question::DockerdVersion, "Docker version 29.1.3, build abc\n"),
        },
        root("apparmor-profile-unloadable", |h| apparmor(h, "firefox (enforce)\n")),
        alice("nftables-forwarding-off", |h| {
            stopped(h)
                .file(DAEMON, "{\"firewall-backend\": \"nftables\"}")
                .file("/proc/sys/net/ipv4/ip_forward", "0\n")
        }),
        root("forward-policy-drop", |h| forwards(h, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n")),
        alice("no-ip-in-network", |h| h.file(DAEMON, "{\"bip\": \"10.0.0.1/30\"}")),
        alice("dns-daemon-lookup", |h| h.file("/etc/resolv.conf", "search example\n")),
        alice("dns-daemon-lookup", |h| h.file("/etc/resolv.conf", "nameserver 127.0.0.53\n")),
        root("prior-drivers-ambiguous", |h| {
            stopped(h).directory("/var/lib/docker/overlay2/abc").directory("/var/lib/docker/btrfs/abc")
        }),
        alice("kernel-option-missing", |h| h.file("/sys/fs/cgroup/system.slice/cpu.weight", "100\n")),
        alice("kernel-option-missing", |h| {
            h.file(DAEMON, "{\"storage-driver\": \"btrfs\"}").file(MODULES, "a/overlay.ko:\n")
        }),
        alice("pkg-candidate-missing", no_engine),
        alice("pkg-candidate-missing", |h| {
            no_engine(h).file(
                format!(
                    "{LISTS}/download.docker.com_linux_ubuntu_dists_noble_stable_binary-riscv64_Packages"
                ),
                "",
            )
        }),
        alice("apt-lock-held", |h| {
            h.file("/proc/locks", "1: POSIX  ADVISORY  WRITE 2448 08:01:131 0 EOF\n")
                .file("/proc/2448/comm", "unattended-upgr\n")
        }),
        alice("rpm-conflict-runc", |h| no_engine(h).without("/usr/bin/dpkg").file("/usr/bin/rpm", "")),
        alice("distro-eol", |h| h.file("/etc/os-release", "ID=centos\nVERSION_ID=\"7\"\nNAME=CentOS\n")),
        alice("distro-eol", |h| {
            h.file("/etc/os-release", "ID=fedora\nVERSION_ID=42\nNAME=Fedora\nSUPPORT_END=2026-05-13\n")
        }),
        alice("distro-eol", |h| {
            let table = "version,codename,series,created,release,eol,eol-server,eol-esm\n24.04 LTS,Noble,noble,2023-10-26,2024-04-25,2026-01-01\n";
            h.file("/usr/share/distro-info/ubuntu.csv", table)
        }),
    ]
}

fn silent(host: &FakeHost, id: &str) {
    let report = super::root(host, Some("alice"), &[id]);
    assert_eq!(report.fine, [id], "{report:#?}");
}

#[test]
fn what_others_look_after_themselves_is_nobodys_harm() {
    let ours = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i lxdbr0 -j ACCEPT\nCOMMIT\n";
    silent(&forwards(healthy(), ours), "forward-policy-drop");
    silent(&forwards(healthy(), "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"), "forward-policy-drop");
    silent(&healthy().file(DAEMON, "{\"bip\": \"10.0.0.1/24\"}"), "no-ip-in-network");
    silent(&healthy().file("/etc/containerd/config.toml", "version = 3\n"), "containerd-config-invalid");
    silent(&apparmor(healthy(), "docker-default (enforce)\n"), "apparmor-profile-unloadable");
    let table = "version,codename,series,created,release,eol,eol-lts\n13,Trixie,trixie,2023,2025-08-09,2028-08-09,2030-06-30\n";
    let debian = healthy()
        .file("/etc/os-release", "ID=debian\nVERSION_ID=\"13\"\nNAME=Debian\n")
        .file("/usr/share/distro-info/debian.csv", table);
    silent(&debian, "distro-eol");
}

#[test]
fn a_kernel_whose_daemon_runs_shows_that_it_has_what_rules_need() {
    let bare = healthy().file(MODULES, "kernel/fs/ext4.ko:\n");
    for id in ["iptables-nft-unsupported", "kernel-option-missing"] {
        silent(&bare, id);
    }
    silent(&stopped(bare), "iptables-nft-unsupported");
    // Without any list nothing is known of modules, and nothing is said of them.
    silent(&stopped(healthy()).without("/sys/class/net/docker0"), "iptables-nft-unsupported");
    silent(&modules(healthy(), &["nf_tables"]), "iptables-nft-unsupported");
}

#[test]
fn a_rootless_engine_that_runs_or_that_nobody_set_up_wants_nothing() {
    let bare = healthy().file("/proc/sys/user/max_user_namespaces", "0\n");
    let runs = rootless(healthy())
        .without("/etc/subuid")
        .socket("/run/user/1000/docker.sock")
        .held("/run/user/1000/docker.sock", 1000, 1000, 0o600)
        .file("/proc/net/unix", "0: 2 0 00010000 1 1 1 /run/user/1000/docker.sock\n");
    for id in ["rootless-userns-max-zero", "rootless-subid-missing", "rootless-newuidmap-missing"] {
        silent(&bare, id);
        let report = super::alice(&caller(runs.clone(), 1000, "1000 998"), &[], &[id]);
        assert_eq!(report.fine, [id], "{report:#?}");
    }
}

#[test]
fn groups_that_are_gone_as_a_whole_were_not_taken_from_a_user() {
    let before = "root:x:0:\nbuild:x:500:alice\ndocker:x:998:\n";
    silent(&groups(healthy(), before, "root:x:0:\ndocker:x:998:alice\n"), "usermod-without-append");
    let kept = "root:x:0:\nbuild:x:500:alice\ndocker:x:998:alice\n";
    silent(&groups(healthy(), before, kept), "usermod-without-append");
}
