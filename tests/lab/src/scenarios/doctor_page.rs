//! The page of `doctor --html`: what it tells, what it leaves out, and what a browser makes of it.

use super::common::LONG;
use super::doctor::installed;
use crate::browser::Browser;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::{Host, cache};
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[Scenario {
    name: "doctor-page",
    about: "the page tells findings, facts, receipts and the last install, and neither names nor addresses nor secrets",
    on: &[Identity::Debian12, Identity::Rhel9],
    run: page,
}];

/// Broken in several ways, with what is nobody else's business all over it.
const BREAK: &str = "cp /etc/docker/daemon.json /root/good.json; \
    gpasswd -d alice docker; chmod 644 /usr/bin/sudo; echo 'nameserver 10.20.30.40' > /etc/resolv.conf; \
    printf '{\\n  \"log-driver\": \"splunk\",\\n  \"log-opts\": { \"splunk-token\": \"hunter2\", \"splunk-url\": \"https://logs.corp.example:8088\", },\\n}\\n' \
    > /etc/docker/daemon.json; systemctl restart docker.service; true";

fn page(lab: &Lab, identity: Identity) -> Result<()> {
    let host = installed(lab, identity)?;
    let well = made(&host, "/root/well.html", &[])?;
    host.sh(BREAK)?.ok()?;
    let broken = made(&host, "/root/broken.html", &[])?;
    for text in [
        "daemon-json-syntax",
        "sudo-setuid-missing",
        "USER1",
        "a comma stands before",
        "No longer as it was made",
        "the engine",
    ] {
        ensure!(broken.contains(text), "the page does not tell `{text}`:\n{broken}");
    }
    for text in ["alice", "hunter2", "corp.example", "10.20.30.40", &host.address()] {
        ensure!(!broken.contains(text), "the page tells `{text}`:\n{broken}");
    }
    let named = made(&host, "/root/named.html", &["--with-names"])?;
    ensure!(
        named.contains("alice") && named.contains("corp.example") && !named.contains("hunter2"),
        "{named}"
    );
    ensure!(
        host.mode("/root/broken.html")? & 0o777 == 0o644 && host.mode("/root/named.html")? & 0o777 == 0o600
    );
    // Without root there are no receipts to tell of, and the page says so.
    host.run_as_login("alice", "rprov doctor --html page.html; true")?.ok()?;
    ensure!(host.read("/home/alice/page.html")?.contains("Only root may read the receipts."));
    // A link is replaced, and what it leads to stays as it is.
    host.sh("ln -s /etc/hostname /root/link.html && mkdir /root/directory.html")?.ok()?;
    made(&host, "/root/link.html", &[])?;
    ensure!(!host.read("/etc/hostname")?.contains("<html"), "the link was followed");
    let refused = host.run(&["rprov", "doctor", "--html", "/root/directory.html"])?.code_is(1)?;
    ensure!(refused.stderr.contains("no file lies there"), "{}", refused.text());
    in_a_browser(identity, &well, &broken)
}

fn made(host: &Host, path: &str, more: &[&str]) -> Result<String> {
    host.run_within(LONG, &[&["rprov", "doctor", "--user", "alice", "--html", path], more].concat())?;
    host.read(path)
}

fn in_a_browser(identity: Identity, well: &str, broken: &str) -> Result<()> {
    let directory = cache::dir().join("logs").join(format!("doctor-page@{}", identity.name()));
    let browser = match Browser::open(&directory)? {
        Ok(browser) => browser,
        Err(why) => {
            println!("skipped doctor-page in a browser: {why}");
            return Ok(());
        }
    };
    let screens = [("light", 1200, 1900, false), ("dark", 1200, 1900, true), ("phone", 390, 2600, false)];
    for (name, page) in [("well", well), ("broken", broken)] {
        for (screen, width, height, dark) in screens {
            let seen = browser.look(&format!("{name}-{screen}"), page, width, height, dark)?;
            ensure!(seen.width <= seen.room && seen.room == width, "{screen} is too narrow for it: {seen:?}");
            ensure!(seen.fetched == 0 && seen.dark == dark, "{seen:?}");
            let headline = if name == "well" { "Healthy" } else { "Docker cannot be used" };
            for text in
                [headline, "The last install, step by step", "What rprov did on this machine", "Kernel"]
            {
                ensure!(seen.text.contains(text), "`{text}` is not to be read: {}", seen.text);
            }
        }
    }
    Ok(())
}
