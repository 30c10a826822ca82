//! daemon.json: what others wrote in it is kept to the byte, and what the daemon would not start with is refused.

use super::by_hand;
use super::product::{does_not_say, host, install, rprov, says, uninstall, untouched};
use super::uninstall::{EXCEPTIONS, back};
use crate::Host;
use crate::identity::Identity;
use crate::lab::{CONFIG, Lab};
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "daemon-json-kept",
        about: "every foreign key of daemon.json stays in its place and layout, and an uninstall restores the bytes",
        on: &[Identity::Debian13, Identity::Ubuntu2204],
        run: kept,
    },
    Scenario {
        name: "daemon-json-refused",
        about: "a daemon.json that is broken, or lies where others can write, is refused and nothing is touched",
        on: &[Identity::Debian12],
        run: refused,
    },
    Scenario {
        name: "daemon-json-blamed",
        about: "a configuration that only the daemon finds wrong is taken back, and the packages are configured",
        on: &[Identity::Debian13, Identity::Debian12],
        run: blamed,
    },
];

const FILE: &str = "/etc/docker/daemon.json";

/// Files as people have them, each with what must be in it once our two keys are; the first is there before an engine.
const FILES: &[(&str, &[&str])] = &[
    (
        "{\n\t\"log-driver\":\t\"journald\",\r\n\t\"labels\": [ \"a=1\",\"b=2\" ]\r\n}\r\n",
        &["\t\"log-driver\":\t\"journald\",\r\n", "\"labels\": [ \"a=1\",\"b=2\" ]"],
    ),
    (
        "{\r\n   \"shutdown-timeout\" : 9,\r\n\r\n   \"features\":{\"buildkit\":true},   \"debug\":false\r\n}",
        &["\"features\":{\"buildkit\":true},   \"debug\":", "{\r\n   \"shutdown-timeout\" : "],
    ),
    ("{\"labels\":[\"z=1\"],\"debug\":true}", &["\"labels\":[\"z=1\"]", "\"debug\":"]),
    ("{}\n", &[]),
];

const OURS: &str = "\n[daemon]\ndebug = true\nshutdown-timeout = 21\n";

fn kept(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let (first, kept) = FILES[0];
    host.write(FILE, first)?;
    let before = host.state()?;
    says(&install(&host, &["--no-smoke"])?, &["docker-ce"])?;
    ensure!(host.read(FILE)? == first, "a default was added beside their log driver: {:?}", host.read(FILE)?);
    let info = host.run(&["docker", "info", "--format", "{{.LoggingDriver}} {{.Labels}}"])?.ok()?.stdout;
    // The daemon keeps labels in a map: their order is any.
    ensure!(
        ["journald [a=1 b=2]\n", "journald [b=2 a=1]\n"].contains(&info.as_str()),
        "the daemon says {info}"
    );

    // The same host, with keys of ours asked for.
    host.write("/etc/rprov/config.toml", format!("{CONFIG}{OURS}"))?;
    install(&host, &["--no-smoke"])?;
    is_set(&host, kept)?;
    uninstall(&host, &["--purge-data"])?;
    ensure!(host.read(FILE)? == first, "daemon.json is not as it was: {:?}", host.read(FILE)?);
    let except: Vec<_> =
        EXCEPTIONS.iter().copied().chain([("/etc/rprov/config.toml", "the scenario's")]).collect();
    back(&before, &host.state()?, &except)?;

    by_hand::source(&host)?;
    by_hand::install(&host)?;
    let old = identity.base() == crate::base::Base::Bookworm;
    let mark = "\u{feff}{\n  \"debug\": false\n}\n";
    let with_mark = [(mark, &["\u{feff}{\n  \"debug\": "][..])];
    for (bytes, kept) in FILES[1..].iter().chain(if old { &[][..] } else { &with_mark }) {
        round(&host, bytes, kept)?;
    }
    // A link whose parts are root's is followed, and stays a link.
    host.remove(FILE)?;
    host.sh("mkdir -p /srv/conf && ln -s ../../srv/conf/docker.json /etc/docker/daemon.json")?.ok()?;
    round(&host, "{ \"labels\": [\"behind=link\"] }\n", &["\"labels\": [\"behind=link\"]"])?;
    let link = host.run(&["readlink", FILE])?.ok()?.stdout;
    ensure!(link == "../../srv/conf/docker.json\n", "the link leads to {link}");
    Ok(())
}

fn round(host: &Host, bytes: &str, kept: &[&str]) -> Result<()> {
    // Through a link, if it is one.
    host.write("/root/daemon.json", bytes)?;
    host.sh(&format!("cat /root/daemon.json > {FILE} && chmod 640 {FILE}"))?.ok()?;
    host.remove("/root/daemon.json")?;
    host.run(&["systemctl", "reset-failed"])?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    install(host, &["--no-smoke"])?;
    is_set(host, kept)?;
    ensure!(host.sh(&format!("stat -Lc %a {FILE}"))?.stdout == "640\n", "its mode has changed");
    uninstall(host, &[])?;
    ensure!(host.read(FILE)? == bytes, "daemon.json is not as it was: {:?} not {bytes:?}", host.read(FILE)?);
    host.run(&["docker", "info"])?.ok().map(drop)
}

/// Our two keys are in the file, with what must have stayed; no default of ours; and the daemon heeds them.
fn is_set(host: &Host, kept: &[&str]) -> Result<()> {
    let text = host.read(FILE)?;
    for part in kept.iter().chain(&["21"]) {
        ensure!(text.contains(part), "{part:?} is not in {text:?}");
    }
    ensure!(!text.contains("log-opts"), "a default was added: {text:?}");
    let debug = host.run(&["docker", "info", "--format", "{{.Debug}}"])?.ok()?.stdout;
    ensure!(debug == "true\n", "the daemon was not told: debug is {debug}");
    Ok(())
}

fn refused(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let no = |words: &[&str]| -> Result<()> {
        let before = host.state()?;
        for verb in [&["plan"][..], &["install", "--yes"]] {
            let said = rprov(&host, verb)?.code_is(4)?;
            says(&said, words)?;
            does_not_say(&said, &["[1/"])?;
        }
        untouched("a refused daemon.json changed the host", &before, &host.state()?)
    };
    host.write(FILE, "{\n  \"debug\": true,\n  \"labels\": [\"a\" \"b\"]\n}\n")?;
    no(&["/etc/docker/daemon.json", "line 3, column 18"])?;
    host.write(FILE, "{\"debug\": true, \"debug\": false, \"log-levle\": \"info\"}")?;
    no(&["log-level"])?;
    host.write(FILE, "{\"log-opts\": {\"max-file\": 3}}")?;
    no(&["log-opts.max-file", "a text"])?;
    host.write(FILE, "[]")?;
    no(&[FILE])?;
    host.remove(FILE)?;
    host.sh("mkdir -m 777 /srv/open && echo '{}' > /srv/open/d.json && ln -s /srv/open/d.json /etc/docker/daemon.json")?
        .ok()?;
    no(&["/srv/open"])?;
    host.remove(FILE)?;
    host.sh("su alice -c 'echo {} > /home/alice/d.json'; ln -s /home/alice/d.json /etc/docker/daemon.json")?
        .ok()?;
    no(&["/home/alice"])
}

fn blamed(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let theirs = "{ \"labels\": [\"theirs=1\"] }\n";
    host.write(FILE, theirs)?;
    let before = host.state()?;
    host.write(
        "/etc/rprov/config.toml",
        format!("{CONFIG}\n[daemon]\ndata-root = \"/etc/hostname/docker\"\n"),
    )?;
    let failed = rprov(&host, &["install", "--yes"])?.code_is(1)?;
    says(&failed, &["error:", "/etc/hostname", "the daemon's configuration` is taken back"])?;
    ensure!(host.read(FILE)? == theirs, "their bytes are not back: {:?}", host.read(FILE)?);
    let audit = host.run(&["dpkg", "--audit"])?.ok()?.stdout;
    ensure!(audit.is_empty(), "packages are left half configured: {audit}");
    host.run(&["docker", "info"])?.ok()?;

    host.write("/etc/rprov/config.toml", CONFIG)?;
    install(&host, &[])?;
    ensure!(host.read(FILE)?.contains("\"theirs=1\""));
    rprov(&host, &["status"])?.ok()?;
    uninstall(&host, &["--purge-data"])?;
    ensure!(host.read(FILE)? == theirs, "daemon.json is not as it was: {:?}", host.read(FILE)?);
    back(&before, &host.state()?, EXCEPTIONS)
}
