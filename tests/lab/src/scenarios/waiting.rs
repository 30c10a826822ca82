//! Locks, half-done work of others, mirrors in trouble and names that lead nowhere: waited for, mended, or told.

use super::common::{
    DATA, INSTALL, LONG, UNINSTALL, engine_works, host, leaves_all_alone, packages_are_whole, says, succeeds,
    untouched,
};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::net;
use crate::run::Running;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "wait-for-locks",
        about: "a lock of apt or dpkg is waited for, its holder named; past --wait the run ends with 5",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: locks,
    },
    Scenario {
        name: "wait-after-interrupted-dpkg",
        about: "what an interrupted dpkg left half done is completed first, and stays after uninstall",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: interrupted_dpkg,
    },
    Scenario {
        name: "wait-mirror-faults",
        about: "a mirror that fails, cuts off, hangs or is in mid-sync leaves nothing half; the good one finishes",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: mirror_faults,
    },
    Scenario {
        name: "wait-names",
        about: "a dead nameserver and a broken IPv6 path do not hold an install up; an unknown name is told",
        on: &[Identity::Debian13, Identity::Debian12],
        run: names,
    },
    Scenario {
        name: "wait-conffiles",
        about: "a conffile that somebody wrote before asks no question, is kept, and survives uninstall",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: conffiles,
    },
];

/// Holds a lock as package managers do (fcntl, not flock), under the name of one.
fn hold(host: &Host, path: &str) -> Result<Running> {
    let program = "use Fcntl; $0 = 'unattended-upgr'; open(my $f, '>>', $ARGV[0]) or die;
        my $lock = pack('ssx4qqix4', F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $lock) or die; $| = 1; print \"held\\n\"; sleep 600";
    let mut holder = host.spawn(&["perl", "-e", program, path])?;
    holder.wait_for("held", Duration::from_secs(10))?;
    Ok(holder)
}

const LISTS: &str = "/var/lib/apt/lists/lock";
const DPKG: &str = "/var/lib/dpkg/lock-frontend";

fn locks(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    // Lists that must be fetched: their lock is needed too.
    host.no_lists()?;
    let packages = host.packages()?;
    let short = ["rprov", "install", "--yes", "--wait", "1s"];
    let lists = hold(&host, LISTS)?;
    let output = host.run_within(LONG, &short)?.code_is(5)?;
    says(&output, &["error:", "(unattended-upgr)", "--wait"])?;
    drop(lists);
    let dpkg = hold(&host, DPKG)?;
    let output = host.run_within(LONG, &short)?.code_is(5)?;
    says(&output, &["error:", "(unattended-upgr)", "hint:", "--wait"])?;
    ensure!(host.packages()? == packages, "packages came or went under another's lock");
    // Now both, one after the other.
    let lists = hold(&host, LISTS)?;
    host.sh("rm -f /var/lib/apt/lists/*Packages*")?.ok()?;
    let mut install = host.spawn(INSTALL)?;
    install.wait_for("waiting for", Duration::from_secs(60))?;
    let named = format!("process {}", lists.pid()?);
    drop(lists);
    let named_too = format!("process {}", dpkg.pid()?);
    install.wait_for(&named_too, Duration::from_secs(60))?;
    ensure!(install.said().contains(&named), "the holder of the lists is not named:\n{}", install.said());
    drop(dpkg);
    let output = install.wait(LONG)?.ok()?;
    let told = output.stderr.matches("waiting for").count();
    ensure!(told <= 4, "each wait is told once, not {told} times:\n{}", output.stderr);
    engine_works(&host)
}

fn interrupted_dpkg(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let script = "set -e; mkdir -p /root/half/DEBIAN; cd /root
printf 'Package: half\\nVersion: 1\\nArchitecture: all\\nMaintainer: lab\\nDescription: half\\n' > half/DEBIAN/control
printf '#!/bin/sh\\necho whole > /etc/half\\n' > half/DEBIAN/postinst; chmod 755 half/DEBIAN/postinst
dpkg-deb -b half half.deb; dpkg --unpack half.deb; dpkg-query -s half > /var/lib/dpkg/updates/0001; rm -r half half.deb";
    host.sh(script)?.ok()?;
    let plan = host.run(&["rprov", "plan"])?.ok()?;
    ensure!(!host.exists("/etc/half"), "a plan completed dpkg's work:\n{}", plan.text());
    let output = succeeds(&host, INSTALL)?;
    says(&output, &["dpkg was interrupted"])?;
    ensure!(host.exists("/etc/half"), "the work of dpkg was not completed");
    engine_works(&host)?;
    succeeds(&host, UNINSTALL)?;
    let packages = host.packages()?;
    ensure!(packages.get("half").is_some_and(|p| p == "1 ii"), "{:?}", packages.get("half"));
    packages_are_whole(&host)
}

fn mirror_faults(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    // The silent mirror is waited for meanwhile.
    let silent = format!(
        "[source.docker]\nurl = \"http://{}\"\nkey = \"/etc/rprov/keys/lab.asc\"\n",
        net::address(Variant::Hang)
    );
    host.write("/root/silent.toml", silent)?;
    let silent = host.spawn(&["rprov", "plan", "--config", "/root/silent.toml"])?;
    let cases: &[(Variant, i32, &[&str])] = &[
        (Variant::NotFound, 4, &["is not published"]),
        (Variant::Unavailable, 5, &["503"]),
        (Variant::Refused, 5, &["refused"]),
        (Variant::TruncatedIndex, 5, &["is not what was signed", "mirror"]),
        (Variant::MidSync, 5, &["is not what was signed", "mirror"]),
    ];
    for (variant, code, words) in cases {
        host.mirror(*variant)?;
        leaves_all_alone(&host, INSTALL, *code, &[&["error:"], *words].concat())?;
    }
    let packages = host.packages()?;
    host.mirror(Variant::TruncatedDeb)?;
    let output = host.run_within(LONG, INSTALL)?.code_is(5)?;
    says(&output, &["error:", "shorter than what was signed", "hint:", "again"])?;
    packages_are_whole(&host)?;
    ensure!(host.packages()? == packages, "packages came or went");
    // Nor does what is there get worse while the mirror is away.
    host.mirror(Variant::Refused)?;
    let output = host.run_within(LONG, INSTALL)?.code_is(5)?;
    says(&output, &["error:", "hint:"])?;
    host.mirror(Variant::Good)?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)?;
    let silent = silent.wait(LONG)?.code_is(5)?;
    says(&silent, &["error:", "cannot fetch"])
}

fn names(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    host.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 host\n")?;
    let output = leaves_all_alone(&host, INSTALL, 5, &["error:", "download.docker.com", "does not know it"])?;
    ensure!(!output.stderr.contains("panicked"), "{}", output.stderr);
    host.mirror(Variant::Good)?;
    host.name(net::DEAD6, "download.docker.com")?;
    host.write("/etc/resolv.conf", format!("nameserver {}\n", net::DEAD))?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}

const KEPT: [(&str, &str); 2] = [
    ("/etc/default/docker", "# mine\nDOCKER_TMPDIR=/var/tmp\n"),
    ("/etc/containerd/config.toml", "# mine\ndisabled_plugins = [\"cri\"]\n# and this\n"),
];

fn conffiles(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    for (path, text) in KEPT {
        host.write(path, text)?;
    }
    let fresh = host.state()?;
    succeeds(&host, INSTALL)?;
    for (path, text) in KEPT {
        ensure!(host.read(path)? == text, "install changed {path}");
    }
    engine_works(&host)?;
    succeeds(&host, UNINSTALL)?;
    back(&fresh, &host.state()?, &[EXCEPTIONS, DATA].concat())?;
    let before = host.tree()?;
    host.run(UNINSTALL)?.ok()?;
    untouched(&host, &before, "a second uninstall")
}
