//! Real sites: mirrors with keys of their own, mirrors that are away, and proxies that want a password.

use super::common::{INSTALL, LONG, engine_works, host, leaves_all_alone, says, succeeds};
use super::product::rprov;
use crate::Host;
use crate::identity::{ARCHIVE, Identity};
use crate::keys::{Key, NAMES};
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::net;
use crate::proxy::Proxy;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "sites-mirror",
        about: "a mirror that is re-signed serves with its key and is refused without; away, it is exit 5",
        on: &[Identity::Debian13, Identity::Ubuntu2204],
        run: mirror,
    },
    Scenario {
        name: "sites-proxy",
        about: "all goes by a proxy that wants a password, of apt's configuration or of the environment, \
                and no log has the password",
        on: &[Identity::Debian13, Identity::Debian12],
        run: proxy,
    },
];

const SITE_KEY: &str = "/etc/rprov/keys/site.asc";
const CONFIG: &str = "/etc/rprov/config.toml";

fn mirror(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = host(lab, identity)?;
    // The whole archive signed again by somebody else: a site that mirrors and signs.
    let url = format!("http://{}", net::address(Variant::RogueKey));
    host.write(SITE_KEY, lab.public(Key::Rogue)?)?;
    host.write(CONFIG, format!("[source.docker]\nurl = \"{url}\"\n"))?;
    leaves_all_alone(&host, INSTALL, 4, &["not that of the pinned key", "hint:"])?;
    // A name and a password in the address are written for apt, and told to nobody.
    let with_login = url.replace("://", "://reader:s3cret-of-mirror@");
    host.write(CONFIG, format!("[source.docker]\nurl = \"{with_login}\"\nkey = \"{SITE_KEY}\"\n"))?;
    let said = succeeds(&host, &[INSTALL, &["-v"]].concat())?;
    ensure!(!said.text().contains("s3cret"), "the password is told:\n{}", said.text());
    nothing_holds(&host, "s3cret-of-mirror", &["/var/log", "/run/log"])?;
    let source = host.read("/etc/apt/sources.list.d/docker.sources")?;
    ensure!(source.contains(&with_login) && host.exists("/etc/apt/keyrings/docker.asc"), "{source}");
    engine_works(&host)?;
    host.run(&["apt-get", "update"])?.ok()?;
    let asked = host.requests();
    host.run(INSTALL)?.ok()?;
    ensure!(host.requests_since(&asked).is_empty(), "a second install asked the mirror");
    rprov(&host, &["uninstall", "--yes", "--purge-data"])?.ok()?;

    // The authority that signed the mirror's certificate is the site's own: without it in the store, no.
    host.write(CONFIG, crate::lab::CONFIG)?;
    host.mirror(Variant::Good)?;
    host.sh("mv /usr/local/share/ca-certificates/lab.crt /root && update-ca-certificates --fresh")?.ok()?;
    leaves_all_alone(&host, INSTALL, 4, &["does not trust the certificate", "update-ca-certificates"])?;
    host.sh("mv /root/lab.crt /usr/local/share/ca-certificates && update-ca-certificates")?.ok()?;
    rprov(&host, &["plan"])?.ok()?;

    // Away: nobody listens, or nobody answers.
    host.mirror(Variant::Refused)?;
    leaves_all_alone(&host, INSTALL, 5, &["cannot fetch", "hint:"])?;
    host.name(net::DEAD, "away.example")?;
    host.write(CONFIG, format!("[source.docker]\nurl = \"https://away.example\"\nkey = \"{SITE_KEY}\"\n"))?;
    let away = leaves_all_alone(&host, INSTALL, 5, &["cannot fetch", "away.example"])?;
    ensure!(away.wall.as_secs() < 60, "it took {:?}", away.wall);
    Ok(())
}

const LOGIN: &str = "alice:s3cr3t%pa55";
const SECRET: &str = "s3cr3t";
const APT: &str = "/etc/apt/apt.conf.d/99proxy";

fn proxy(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let to_mirror = NAMES.iter().map(|name| format!("{name}={}", net::address(Variant::Good)));
    let to_archive = [format!("{ARCHIVE}={}", net::GATEWAY)];
    let proxy = Proxy::start(lab, LOGIN, &to_mirror.chain(to_archive).collect::<Vec<_>>())?;
    // Names lead nowhere but for the proxy.
    host.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 host\n")?;
    leaves_all_alone(&host, INSTALL, 5, &["download.docker.com", "does not know it"])?;
    let line = |login: &str| format!("Acquire::http::Proxy \"http://{login}{}/\";\n", Proxy::address());
    host.write(APT, line(""))?;
    leaves_all_alone(
        &host,
        INSTALL,
        1,
        &["the proxy wants a user name and a password", "Acquire::http::Proxy"],
    )?;
    host.write(APT, line("alice:wr0ng-s3cr3t@"))?;
    let wrong = leaves_all_alone(&host, INSTALL, 1, &["the proxy wants", "***@"])?;
    ensure!(!wrong.text().contains(SECRET), "{}", wrong.text());
    ensure!(proxy.asked().lines().all(|line| line.starts_with("407")), "{}", proxy.asked());

    host.write(APT, line("alice:s3cr3t%25pa55@"))?;
    let said = succeeds(&host, &[INSTALL, &["-v"]].concat())?;
    ensure!(!said.text().contains(SECRET), "the password is told:\n{}", said.text());
    nothing_holds(&host, SECRET, &["/var/log", "/run/log", "/var/lib/rprov"])?;
    let asked = proxy.asked();
    ensure!(asked.contains("200 CONNECT download.docker.com:443"), "{asked}");
    ensure!(asked.contains(&format!("200 GET http://{ARCHIVE}/")), "{asked}");
    engine_works(&host)?;
    rprov(&host, &["uninstall", "--yes"])?.ok()?;

    // The same by the environment.
    host.remove(APT)?;
    let by = format!("http://alice:s3cr3t%25pa55@{}", Proxy::address());
    let environment = [format!("https_proxy={by}"), format!("http_proxy={by}")];
    let argv: Vec<&str> = ["env"]
        .into_iter()
        .chain(environment.iter().map(String::as_str))
        .chain(INSTALL.iter().copied())
        .chain(["-v"])
        .collect();
    let said = host.run_within(LONG, &argv)?.ok()?;
    ensure!(!said.text().contains(SECRET), "the password is told:\n{}", said.text());
    nothing_holds(&host, SECRET, &["/var/log", "/run/log", "/var/lib/rprov"])?;
    says(&said, &["[1/"])?;
    engine_works(&host)
}

/// No file below these directories has the word in it, and the journal has it not.
fn nothing_holds(host: &Host, word: &str, directories: &[&str]) -> Result<()> {
    let found = host.run(&[&["grep", "-rls", word], directories].concat())?.stdout;
    ensure!(found.is_empty(), "`{word}` is in:\n{found}");
    let journal = host.run(&["journalctl", "--no-pager", "-o", "cat"])?.ok()?.stdout;
    ensure!(!journal.contains(word), "`{word}` is in the journal");
    Ok(())
}
