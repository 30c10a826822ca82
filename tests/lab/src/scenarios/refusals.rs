//! Who and what is refused, with which exit code, and that nothing is touched then.

use super::common::{INSTALL, LONG, UNINSTALL, host, leaves_all_alone, says};
use super::product::QUIET;
use crate::Host;
use crate::identity::Identity;
use crate::lab::{self, Lab};
use crate::scenario::Scenario;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "refuse-host",
        about: "another user than root, a chroot, another architecture and an engine from a snap are refused with 4",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: hosts,
    },
    Scenario {
        name: "refuse-distribution",
        about: "a distribution that nobody supports is refused with 4, and the way to a profile is told",
        on: &[Identity::Void],
        run: distribution,
    },
    Scenario {
        name: "refuse-wishes",
        about: "wrong command lines, users, configurations and profiles end with 2, untrusted ones with 4, \
                and each says where and why",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: wishes,
    },
    Scenario {
        name: "refuse-without-answer",
        about: "without a terminal nothing is asked and nothing done; on one, no is no and yes is yes",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: answers,
    },
    Scenario {
        name: "exit-codes",
        about: "each exit code means what the contract says of it",
        on: &[Identity::Ubuntu2404],
        run: exit_codes,
    },
];

const CONFIG: &str = "/etc/rprov/config.toml";

fn hosts(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.add_user("alice")?;
    for line in ["rprov install --yes", "rprov uninstall --yes", "rprov smoke"] {
        let argv = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c", line];
        leaves_all_alone(&host, &argv, 4, &["error:", "does not run as root", "hint:", "sudo"])?;
    }
    // What only looks works for anybody.
    let plan = leaves_all_alone(
        &host,
        &["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "rprov", "plan"],
        0,
        &[],
    )?;
    ensure!(plan.stdout.contains("docker-ce"), "{}", plan.text());

    let stub =
        "#!/bin/sh\n[ \"$1\" = --print-architecture ] && { echo riscv64; exit; }\nexec dpkg.real \"$@\"\n";
    host.sh("cp -a /usr/bin/dpkg /usr/bin/dpkg.real")?.ok()?;
    host.sh(&format!("printf '%s' '{stub}' > /usr/bin/dpkg"))?.ok()?;
    leaves_all_alone(&host, INSTALL, 4, &["error:", "riscv64", "is not supported", "amd64", "hint:"])?;
    host.run(&["mv", "/usr/bin/dpkg.real", "/usr/bin/dpkg"])?.ok()?;

    host.run(&["mkdir", "-p", "/snap/bin"])?.ok()?;
    host.write("/snap/bin/docker", "#!/bin/sh\n")?;
    leaves_all_alone(&host, INSTALL, 4, &["error:", "snap", "hint:", "snap remove docker"])?;
    host.remove("/snap")?;

    // A chroot into a copy of the host, under a process 1 that is no systemd.
    let script = "mkdir /run/chroot; mount --bind / /run/chroot; unshare --pid --fork --mount sh -c \
                  'mount -t proc proc /run/chroot/proc; exec chroot /run/chroot sh -c \"rprov install --yes; exit \\$?\"'";
    leaves_all_alone(&host, &["sh", "-c", script], 4, &["error:", "systemd does not run here", "hint:"])?;
    Ok(())
}

fn distribution(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    for argv in [INSTALL, &["rprov", "plan"]] {
        leaves_all_alone(
            &host,
            argv,
            4,
            &["error:", "Nowhere Linux", "is not supported", "hint:", "rprov profile list"],
        )?;
    }
    // A release that is not out yet is named with what is nearest.
    let text = host.read("/usr/lib/os-release")?;
    host.write("/usr/lib/os-release", text.replace("ID=nowhere\nVERSION_ID=1", "ID=debian\nVERSION_ID=14"))?;
    leaves_all_alone(&host, INSTALL, 4, &["is not supported", "nearest is `debian-13`"])?;
    host.write("/usr/lib/os-release", text.replace("ID=nowhere", "ID=nowhere\nID_LIKE=\"ubuntu debian\""))?;
    leaves_all_alone(&host, INSTALL, 4, &["is not supported", "nearest is `ubuntu-26.04`"]).map(drop)
}

fn wishes(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    wrong_lines(&host)?;
    wrong_configurations(&host)?;
    untrusted_files(&host)
}

fn wrong_lines(host: &Host) -> Result<()> {
    let cases: &[(&[&str], &[&str])] = &[
        (&["install", "--yes", "--user", "nobody-here"], &["nobody-here", "there is no such user", "hint:"]),
        (&["install", "--yes", "--user", "root"], &["root", "hint:"]),
        (&["install", "--yes", "--wait", "soon"], &["soon", "90s"]),
        (&["install", "--yes", "--with", "nonsense"], &["nonsense"]),
        (&["install", "--yes", "--config", "/root/absent.toml"], &["/root/absent.toml", "no such file"]),
        (&["install", "--yes", "--locked", "/root/absent.lock"], &["/root/absent.lock", "no such file"]),
        (&["install", "--wiat", "1m"], &["--wiat", "--wait"]),
        (&["instal"], &["instal", "install"]),
        (&[], &["Usage"]),
    ];
    for (arguments, words) in cases {
        leaves_all_alone(host, &[&["rprov"], *arguments].concat(), 2, words)?;
    }
    // What no index has is refused by what there is, not by the command line.
    let version = ["rprov", "install", "--yes", "--version", "99"];
    leaves_all_alone(host, &version, 4, &["version 99", "docker-ce", "29.7.2"]).map(drop)
}

fn wrong_configurations(host: &Host) -> Result<()> {
    let cases: &[(&str, &[&str])] = &[
        ("users = [\"alice\"\nversion = 1\n", &["config.toml:2:"]),
        ("user = [\"alice\"]\n", &["config.toml:1:", "`user`", "`users`"]),
        ("wait = \"soon\"\n", &["config.toml:1:", "soon", "90s"]),
        ("wait = 10\n", &["config.toml:1:"]),
        ("users = \"alice\"\n", &["config.toml:1:"]),
        ("[source.docker]\nurl = \"ftp://x\"\n", &["config.toml:2:", "https://"]),
        ("[source.docker]\nkey = \"key.asc\"\n", &["config.toml:2:", "absolute path"]),
        ("[source.docker]\nkey = \"/etc/rprov/absent.asc\"\n", &["/etc/rprov/absent.asc", "not there"]),
        ("[source.nobody]\nurl = \"https://x\"\n", &["config.toml:1:", "nobody"]),
        ("@[daemon]\nlog-drive = \"local\"\n", &["log-drive", "log-driver"]),
        ("@[daemon]\nlive-restore = \"yes\"\n", &["live-restore"]),
    ];
    for (text, words) in cases {
        // `@`: behind the pinned key, for what is only found out with the index at hand.
        host.write(CONFIG, text.replace('@', lab::CONFIG))?;
        leaves_all_alone(host, INSTALL, 2, &[&["error:"], *words].concat())?;
        leaves_all_alone(host, &["rprov", "plan"], 2, words)?;
    }
    host.write(CONFIG, lab::CONFIG)?;
    host.write("/etc/rprov/profiles/mine.toml", "extends = \"apt\"\ntitle = \"Mine\"\nendoflife = 1\n")?;
    let words = ["error:", "/etc/rprov/profiles/mine.toml:3:", "endoflife"];
    leaves_all_alone(host, INSTALL, 2, &words)?;
    leaves_all_alone(host, &["rprov", "profile", "check", "/etc/rprov/profiles/mine.toml"], 2, &words)?;
    host.remove("/etc/rprov/profiles")
}

/// As root only the administrator's word counts; what others could write is refused with the part that is wrong.
fn untrusted_files(host: &Host) -> Result<()> {
    let refused = |path: &str, argv: &[&str]| {
        leaves_all_alone(host, argv, 4, &["error:", "cannot trust", path, "hint:", "chmod go-w"])
    };
    for path in [CONFIG, "/etc/rprov", "/etc/rprov/keys", "/etc/rprov/keys/lab.asc"] {
        let mode = format!("{:o}", host.mode(path)?);
        host.run(&["chmod", "g+w", path])?.ok()?;
        refused(path, INSTALL)?;
        host.run(&["chmod", &mode, path])?.ok()?;
    }
    host.run(&["chown", "daemon", CONFIG])?.ok()?;
    leaves_all_alone(host, INSTALL, 4, &["cannot trust", CONFIG, "belongs to user", "chown root:root"])?;
    host.run(&["chown", "root", CONFIG])?.ok()?;

    host.write("/etc/rprov/profiles/mine.toml", "extends = \"apt\"\n")?;
    host.run(&["chmod", "o+w", "/etc/rprov/profiles/mine.toml"])?.ok()?;
    refused("/etc/rprov/profiles/mine.toml", INSTALL)?;
    host.remove("/etc/rprov/profiles")?;

    host.write("/srv/config.toml", lab::CONFIG)?;
    host.run(&["chmod", "o+w", "/srv/config.toml"])?.ok()?;
    refused("/srv/config.toml", &["env", "RPROV_CONFIG=/srv/config.toml", "rprov", "install", "--yes"])?;
    // The same file on the command line is the caller's word.
    leaves_all_alone(host, &["rprov", "plan", "--config", "/srv/config.toml"], 0, &[])?;
    host.remove("/srv/config.toml")
}

fn answers(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let second = Duration::from_secs(1);
    let output = leaves_all_alone(
        &host,
        &["rprov", "install"],
        2,
        &["error:", "there is no terminal", "hint:", "rprov install --yes"],
    )?;
    ensure!(!output.text().contains("[y/N]"), "a question was asked:\n{}", output.text());
    let before = host.tree()?;
    for no in ["n\n", "\n", "what?\n"] {
        let mut running = host.on_terminal("rprov install")?;
        running.wait_for("[y/N]", 60 * second)?;
        ensure!(running.said().contains("docker-ce"), "asked before the plan:\n{}", running.said());
        running.send(no.as_bytes())?;
        running.wait(30 * second)?.ok()?;
        let lines = before.diff_with_times(&host.tree()?, QUIET);
        ensure!(lines.is_empty(), "`no` touched the host:\n{}", lines.join("\n"));
    }
    let mut asked = host.on_terminal("rprov install")?;
    asked.wait_for("[y/N]", 60 * second)?;
    asked.send(b"\x03")?;
    asked.wait(30 * second)?.code_is(130)?;
    let lines = before.diff_with_times(&host.tree()?, QUIET);
    ensure!(lines.is_empty(), "Ctrl-C at the question touched the host:\n{}", lines.join("\n"));

    let mut running = host.on_terminal("rprov install")?;
    running.wait_for("[y/N]", 60 * second)?;
    running.send(b"y\n")?;
    let output = running.wait(LONG)?.ok()?;
    for line in output.stdout.lines().filter(|line| !line.contains('\u{1b}')) {
        let width = line.trim_end().chars().count();
        ensure!(width <= 80, "{width} columns on a terminal of 80: {line}");
    }
    host.run(&["docker", "version"])?.ok()?;
    leaves_all_alone(&host, &["rprov", "uninstall"], 2, &["there is no terminal", "rprov uninstall --yes"])?;
    let mut running = host.on_terminal("rprov uninstall")?;
    running.wait_for("[y/N]", 60 * second)?;
    running.send(b"n\n")?;
    running.wait(30 * second)?.ok()?;
    host.run(&["docker", "version"])?.ok()?;
    let mut running = host.on_terminal("rprov uninstall")?;
    running.wait_for("[y/N]", 60 * second)?;
    running.send(b"y\n")?;
    running.wait(LONG)?.ok()?;
    ensure!(!host.exists("/usr/bin/docker"), "uninstall left docker");
    Ok(())
}

fn exit_codes(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.run(&["rprov", "plan"])?.code_is(0)?;
    host.run(&["rprov", "plan", "--exit-code"])?.code_is(3)?;
    host.run(&["rprov", "status"])?.code_is(0)?;
    host.run(&["rprov", "uninstall"])?.code_is(0)?;
    // Something fails in the middle: a package that somebody holds back by other means.
    host.write("/etc/apt/preferences.d/never", "Package: docker-ce\nPin: version *\nPin-Priority: -1\n")?;
    host.write("/etc/dpkg/dpkg.cfg.d/broken", "no-such-option\n")?;
    let output = host.run_within(LONG, INSTALL)?.code_is(1)?;
    says(&output, &["error:", "hint:"])?;
    host.remove("/etc/dpkg/dpkg.cfg.d/broken")?;
    host.remove("/etc/apt/preferences.d/never")?;
    host.run_within(LONG, INSTALL)?.code_is(0)?;
    host.run(&["rprov", "plan", "--exit-code"])?.code_is(0)?;
    host.run(&["rprov", "status"])?.code_is(0)?;
    host.run(&["rprov", "smoke"])?.code_is(0)?;
    let daemon = "/etc/docker/daemon.json";
    let text = host.read(daemon)?;
    host.write(daemon, text.replace("json-file", "local"))?;
    let output = host.run(&["rprov", "status"])?.code_is(3)?;
    says(&output, &[daemon])?;
    host.write(daemon, text)?;
    host.run(&["systemctl", "disable", "docker.service"])?.ok()?;
    let output = host.run(&["rprov", "plan", "--exit-code"])?.code_is(3)?;
    let line = output.stdout.lines().find(|line| line.contains("docker.service"));
    ensure!(line.context("the plan does not name the unit")?.contains("enabled"));
    host.run(INSTALL)?.code_is(0)?;
    host.run(&["rprov", "status"])?.code_is(0)?;
    host.run_within(LONG, UNINSTALL)?.code_is(0).map(drop)
}
