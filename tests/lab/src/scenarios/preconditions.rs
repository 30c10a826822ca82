//! What is found before anything is touched, told or refused with the way out.

use super::common::{INSTALL, engine_works, leaves_all_alone, succeeds};
use super::product::{host, rprov, says};
use crate::Host;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "before-room",
        about: "too little room for images is refused before anything is touched",
        on: &[Identity::Ubuntu2404, Identity::Rocky9],
        run: room,
    },
    Scenario {
        name: "before-policy",
        about: "where packages may start nothing it is told, and the engine comes up all the same, once",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: policy,
    },
    Scenario {
        name: "before-kernel",
        about: "a kernel without what the engine needs is refused",
        on: &[Identity::Rhel10, Identity::Ubuntu2404],
        run: kernel,
    },
    Scenario {
        name: "before-checks",
        about: "doctor's checks are asked before an install and after it: refused, told, and said to be fine",
        on: &[Identity::Debian12, Identity::Rocky9],
        run: checks,
    },
    Scenario {
        name: "before-subscription",
        about: "that a machine is not registered, or its certificate for the repositories is past its end, is said",
        on: &[Identity::Rhel9],
        run: subscription,
    },
];

fn room(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.sh("mkdir -p /var/lib/docker && mount -t tmpfs -o size=100m tmpfs /var/lib/docker")?.ok()?;
    let words = ["too little room for /var/lib/docker", "512 MiB are needed", "hint:", "data-root"];
    leaves_all_alone(&host, INSTALL, 4, &words)?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    says(&plan, &["install would not do this", "too little room"])?;
    host.sh("umount /var/lib/docker && rmdir /var/lib/docker")?.ok()?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

fn policy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.write(POLICY, "#!/bin/sh\nexit 101\n")?;
    host.run(&["chmod", "755", POLICY])?.ok()?;
    let done = succeeds(&host, INSTALL)?;
    says(&done, &["may forbid the packages to start"])?;
    for unit in ["docker.service", "containerd.service"] {
        ensure!(host.starts_of(unit)? == 1, "{unit} was not started once");
    }
    engine_works(&host)
}

fn modules(host: &Host) -> Result<String> {
    Ok(format!("/lib/modules/{}", host.run(&["uname", "-r"])?.ok()?.stdout.trim()))
}

fn kernel(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let (modules, package) = (
        modules(&host)?,
        match identity.dnf() {
            Some(_) => "dnf install kernel-modules-extra-",
            None => "apt-get install linux-modules-extra-",
        },
    );
    host.write(&format!("{modules}/modules.dep"), "kernel/net/netfilter/nf_nat.ko.xz:\n")?;
    // The machine that the lab runs on may have it loaded, which is as good.
    if !host.exists("/sys/module/xt_addrtype") {
        leaves_all_alone(&host, INSTALL, 4, &["no module `xt_addrtype`", package, "firewall-backend"])?;
    }
    host.write(&format!("{modules}/modules.dep"), "kernel/net/netfilter/xt_addrtype.ko.xz:\n")?;
    let plan = rprov(&host, &["plan"])?.ok()?;
    super::product::does_not_say(&plan, &["install would not do this"])?;
    Ok(())
}

const ROOT: &str = "/var/lib/docker";

/// The same table as doctor's: what blocks is refused with its words, the rest is told, and the end says what holds.
fn checks(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.sh(&format!("mkdir -p {ROOT} && mount -t tmpfs -o ro,noexec tmpfs {ROOT}"))?.ok()?;
    let words = ["could not be used on this host", "mounted read-only (data-root-readonly)", "remount,rw"];
    leaves_all_alone(&host, INSTALL, 4, &words)?;
    says(&rprov(&host, &["plan"])?.ok()?, &["install would not do this", "data-root-readonly", "noexec"])?;
    host.sh(&format!("mount -o remount,rw,noexec {ROOT}"))?.ok()?;
    let done = succeeds(&host, &[INSTALL, &["--no-smoke"]].concat())?;
    says(&done, &["degraded", "mounted with noexec", "id:   data-root-noexec", "doctor's checks are fine"])?;
    succeeds(&host, super::common::UNINSTALL)?;
    host.sh(&format!("umount {ROOT}; rmdir {ROOT}"))?;
    let done = succeeds(&host, INSTALL)?;
    says(&done, &["the verification", "of doctor's checks find nothing wrong"])?;
    // A cause that only shows when all is made: docker is there, and cannot be used.
    succeeds(&host, super::common::UNINSTALL)?;
    host.write("/etc/systemd/system/docker.socket.d/mode.conf", "[Socket]\nSocketMode=0600\n")?;
    let failed = host.run_within(super::common::LONG, &[INSTALL, &["--no-smoke"]].concat())?.code_is(1)?;
    says(&failed, &["docker is installed, and cannot be used", "(docker-socket-mode-changed)", "hint:"])?;
    host.remove("/etc/systemd/system/docker.socket.d")?;
    succeeds(&host, &["rprov", "doctor", "--fix=all", "--yes"])?;
    engine_works(&host)
}

const CERTIFICATE: &str = "/etc/pki/rhui/product/content.crt";

fn subscription(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let found = host.sh("grep -l -i appstream /etc/yum.repos.d/*.repo")?.ok()?.stdout;
    let file = found.lines().next().unwrap_or_default().to_string();
    let text = host.read(&file)?;
    let of_appstream = |line: &str, to: &str| {
        let script = format!(
            "awk '/^\\[/ {{ on = /appstream/ }} on && /^{line}=/ {{ $0 = \"{to}\" }} {{ print }}' {file} > /run/x && cat /run/x > {file}"
        );
        host.sh(&script)?.ok().map(drop)
    };
    of_appstream("enabled", "enabled=0")?;
    host.write("/usr/sbin/subscription-manager", "")?;
    let words = ["no enabled repository", "not registered", "subscription-manager register"];
    leaves_all_alone(&host, INSTALL, 4, &words)?;
    host.remove("/usr/sbin/subscription-manager")?;

    host.write(&file, text.clone())?;
    host.write(CERTIFICATE, include_str!("../../../fixtures/trust/expired-client.pem"))?;
    of_appstream("baseurl", &format!("baseurl=http://archive.lab/forbidden/\\nsslclientcert={CERTIFICATE}"))?;
    host.run(&["dnf", "clean", "all"])?.ok()?;
    let words = [CERTIFICATE, "has expired on 2021-01-02", "rpm -qf"];
    leaves_all_alone(&host, &["rprov", "install", "--yes", "--wait", "5s"], 5, &words)?;
    host.write(&file, text)?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)
}
