//! What is not signed by the pinned key, or not what was signed, never reaches the host.

use super::common::{INSTALL, LONG, engine_works, host, leaves_all_alone, says, succeeds, untouched};
use super::product::{QUIET, same};
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "trust-index",
        about: "an index by a wrong, expired or rogue key, tampered, outdated or of another day is refused, \
                and nothing is written",
        on: &[Identity::Debian12, Identity::Ubuntu2404, Identity::Debian13],
        run: index,
    },
    Scenario {
        name: "trust-rollback",
        about: "an index older than the one that was accepted is refused, a newer one is followed",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: rollback,
    },
    Scenario {
        name: "trust-package",
        about: "a package that is not what was signed is refused, and nothing is written",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: package,
    },
];

fn index(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    let cases: &[(Variant, Key, &[&str])] = &[
        (Variant::RogueKey, Key::Docker, &["not that of the pinned key"]),
        (Variant::Good, Key::Rogue, &["not that of the pinned key"]),
        (Variant::ExpiredKey, Key::Expired, &["Expired on"]),
        (Variant::TamperedInRelease, Key::Docker, &["not that of the pinned key"]),
        (Variant::TamperedPackages, Key::Docker, &["Packages", "is not what was signed"]),
        (Variant::Expired, Key::Docker, &["no longer valid"]),
        (Variant::NoSuite, Key::Docker, &["is not published", identity.suite()]),
    ];
    for (variant, key, words) in cases {
        host.mirror(*variant)?;
        host.pin(*key)?;
        let output = leaves_all_alone(&host, INSTALL, 4, words)?;
        says(&output, &["error:", "hint:"])?;
        leaves_all_alone(&host, &["rprov", "plan"], 4, words)?;
    }
    host.mirror(Variant::Future)?;
    host.pin(Key::Docker)?;
    let short = ["rprov", "install", "--yes", "--wait", "2s"];
    leaves_all_alone(&host, &short, 5, &["waiting for the clock", "is from the future", "timedatectl"])?;
    // Without a configuration the shipped pin holds, and the lab's key is none of Docker's.
    host.mirror(Variant::Good)?;
    host.remove("/etc/rprov")?;
    leaves_all_alone(&host, INSTALL, 4, &["not that of the pinned key", "hint:"]).map(drop)
}

fn rollback(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    succeeds(&host, INSTALL)?;
    host.mirror(Variant::Older)?;
    for more in [["--upgrade"].as_slice(), &["--version", "28"]] {
        let command = [INSTALL, more].concat();
        leaves_all_alone(&host, &command, 4, &["older than one that was accepted before", "hint:"])?;
    }
    host.mirror(Variant::Newer)?;
    let said = succeeds(&host, &[INSTALL, &["--upgrade"]].concat())?;
    let version = host.run(&["dpkg-query", "-W", "-f", "${Version}", "docker-ce"])?.ok()?.stdout;
    ensure!(version.starts_with("5:29.10.0-1~"), "docker-ce is {version}:\n{}", said.text());
    // And what was good is old by now.
    host.mirror(Variant::Good)?;
    host.run_within(LONG, &[INSTALL, &["--upgrade"]].concat())?.code_is(4)?;
    engine_works(&host)
}

fn package(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    host.mirror(Variant::TamperedDeb)?;
    // Asking for the marks makes apt write its cache.
    host.marks()?;
    let before = host.state()?;
    let output = host.run_within(LONG, INSTALL)?.code_is(4)?;
    says(&output, &["error:", "not what was signed", "hint:"])?;
    same("a refused package", &before, &host.state()?, &[QUIET, &[("/var/log/rprov*", "its log")]].concat())?;
    host.mirror(Variant::Good)?;
    succeeds(&host, INSTALL)?;
    engine_works(&host)?;
    let installed = host.tree()?;
    host.run(INSTALL)?.ok()?;
    untouched(&host, &installed, "a second install").map(drop)
}
