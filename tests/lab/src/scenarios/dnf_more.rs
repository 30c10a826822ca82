//! What may happen to a host of the dnf family beside the main job: signals, proxies, cut-off transactions, files of others.

use super::common::{INSTALL, LONG, engine_works, leaves_all_alone, packages_are_whole, says, succeeds};
use super::gate::{self, Manager, until, with_gate};
use super::product::{QUIET, host, install, rprov, uninstall, version};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::identity::{ARCHIVE, Identity};
use crate::keys::NAMES;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::net;
use crate::proxy::Proxy;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "dnf-ctrl-c",
        about: "Ctrl-C ends a run after the rpm transaction in hand, twice at once; the next run waits for dnf and goes on",
        on: &[Identity::Rhel9, Identity::Rhel10],
        run: ctrl_c,
    },
    Scenario {
        name: "dnf-cut-off",
        about: "a dnf that is killed in the middle, and a package that is there twice, are mended or told how to mend",
        on: &[Identity::Rhel9, Identity::Rhel10],
        run: cut_off,
    },
    Scenario {
        name: "dnf-conffiles",
        about: "configuration that somebody wrote, before the install or after it, is at its place after uninstall",
        on: &[Identity::Rhel9, Identity::Rhel10],
        run: conffiles,
    },
    Scenario {
        name: "dnf-proxy",
        about: "all goes by the proxy of dnf's configuration, and no log has its password",
        on: &[Identity::Rhel9],
        run: proxy,
    },
    Scenario {
        name: "dnf-no",
        about: "where podman's docker command would have to go, no is no",
        on: &[Identity::Rhel9],
        run: no,
    },
];

fn restores(host: &Host, fresh: &crate::tree::State) -> Result<()> {
    uninstall(host, &["--purge-data"])?;
    packages_are_whole(host)?;
    back(fresh, &host.state()?, &[QUIET, EXCEPTIONS, CACHES].concat())
}

const CACHES: &[(&str, &str)] = &[
    ("/usr/lib/python3/dist-packages/dnf-plugins/__pycache__*", "python's, of the gate"),
    ("/var/tmp/rpm-tmp.*", "a scriptlet that was killed with its rpm"),
];

fn ctrl_c(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    with_gate(&host)?;
    let fresh = host.state()?;
    let dnf = Manager {
        program: "dnf",
        holds: "holds dnf's lock",
        waits: &|_| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        },
        restores: &|| restores(&host, &fresh),
    };
    gate::ctrl_c(&host, &dnf)
}

/// The power goes before the files are on the disk, and after rpm's database is.
fn without_its_files(host: &Host) -> Result<()> {
    install(host, &["--no-smoke"])?;
    host.sh("sed -i '$d' $(ls /var/lib/rprov/receipts/*.jsonl | tail -n 1) && rm /usr/bin/docker")?.ok()?;
    let told = rprov(host, &["install", "--yes"])?.code_is(1)?;
    says(&told, &["`docker-ce-cli` is installed, and has no /usr/bin/docker", "reinstall docker-ce-cli"])?;
    host.run_within(LONG, &["dnf", "-y", "reinstall", "docker-ce-cli"])?.ok()?;
    install(host, &[])?;
    uninstall(host, &["--purge-data"]).map(drop)
}

fn cut_off(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let fresh = host.state()?;
    let cut = host.spawn(INSTALL)?;
    until("rpm installs docker-ce", || {
        Ok(host.sh("grep -Eqs 'Installing +: (docker-ce-cli|containerd)' /var/log/rprov/*-install.log")?.code
            == 0)
    })?;
    host.sh("kill -9 $(pgrep -x dnf)")?.ok()?;
    ensure!(cut.wait(LONG)?.code != 0, "the run did not notice that dnf was killed");
    succeeds(&host, INSTALL)?;
    engine_works(&host)?;
    restores(&host, &fresh)?;
    without_its_files(&host)?;

    // The old one stays beside the new where the power goes before it is taken away.
    install(&host, &["--version", "28", "--no-smoke"])?;
    let old = version(&host, "docker-ce")?;
    let fetch = "dnf -y -q --downloadonly --setopt=localpkg_gpgcheck=0 --downloaddir=/run/rpms upgrade docker-ce docker-ce-cli";
    host.run_within(LONG, &["sh", "-c", fetch])?.ok()?;
    host.sh("rpm -i --justdb --nodeps --force /run/rpms/docker-ce-29*.rpm")?.ok()?;
    ensure!(host.run(&["rpm", "-q", "docker-ce"])?.stdout.lines().count() == 2, "it is not there twice");
    let told = rprov(&host, &["install", "--yes", "--upgrade"])?.code_is(1)?;
    says(&told, &["`docker-ce` is installed twice", "dnf -y remove --duplicates"])?;
    host.run_within(LONG, &["dnf", "-y", "remove", "--duplicates"])?.ok()?;
    install(&host, &["--upgrade"])?;
    ensure!(version(&host, "docker-ce")? != old, "docker-ce is still {old}");
    packages_are_whole(&host)?;
    engine_works(&host)
}

const CONFIG: &str = "/etc/containerd/config.toml";
const THEIRS: &str = "disabled_plugins = [\"cri\"]\n# ours\n";

fn conffiles(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    install(&host, &["--no-smoke"])?;
    ensure!(host.exists(CONFIG), "the package has no configuration");
    host.write(CONFIG, THEIRS)?;
    uninstall(&host, &["--purge-data"])?;
    ensure!(host.read(CONFIG)? == THEIRS, "what somebody wrote is gone");
    let left = host.sh("ls -d /etc/containerd/*.rpm* 2>/dev/null")?.stdout;
    ensure!(left.is_empty(), "left: {left}");
    // Now it is there before.
    let fresh = host.state()?;
    install(&host, &[])?;
    ensure!(host.read(CONFIG)? == THEIRS, "the package replaced what somebody wrote");
    uninstall(&host, &["--purge-data"])?;
    ensure!(host.read(CONFIG)? == THEIRS, "what somebody wrote is gone");
    back(&fresh, &host.state()?, &[QUIET, EXCEPTIONS].concat())
}

const SECRET: &str = "s3cr3t";

fn proxy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let to_mirror = NAMES.iter().map(|name| format!("{name}={}", net::address(Variant::Good)));
    let to_archive = [format!("{ARCHIVE}={}", net::GATEWAY)];
    let proxy = Proxy::start(lab, "alice:s3cr3t", &to_mirror.chain(to_archive).collect::<Vec<_>>())?;
    host.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 host\n")?;
    leaves_all_alone(&host, &["rprov", "install", "--yes", "--wait", "5s"], 5, &["error:", "hint:"])?;
    let conf = host.read("/etc/dnf/dnf.conf")?;
    let by = format!("proxy=http://{}\nproxy_username=alice\nproxy_password=s3cr3t\n", proxy.address);
    host.write("/etc/dnf/dnf.conf", format!("{}\n{by}", conf.trim_end()))?;
    let said = succeeds(&host, &[INSTALL, &["-v"]].concat())?;
    ensure!(!said.text().contains(SECRET), "the password is told:\n{}", said.text());
    let held = host.run(&["grep", "-rls", SECRET, "/var/log", "/run/log", "/var/lib/rprov"])?.stdout;
    ensure!(held.is_empty(), "the password is in:\n{held}");
    let asked = proxy.asked();
    ensure!(asked.contains("200 CONNECT download.docker.com:443"), "{asked}");
    engine_works(&host)
}

fn no(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.run_within(LONG, &["dnf", "install", "-y", "podman", "podman-docker", "runc"])?.ok()?;
    let before = host.tree()?;
    let mut running = host.on_terminal("rprov install")?;
    running.wait_for("[y/N]", Duration::from_secs(90))?;
    ensure!(running.said().contains("podman-docker"), "it is not shown:\n{}", running.said());
    running.send(b"n\n")?;
    running.wait(LONG)?.ok()?;
    let lines = before.diff_with_times(&host.tree()?, QUIET);
    ensure!(lines.is_empty(), "`no` touched the host:\n{}", lines.join("\n"));
    ensure!(host.packages()?.contains_key("podman-docker"), "podman's docker command went");
    Ok(())
}
