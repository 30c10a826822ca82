//! Real sites: mirrors with keys of their own, mirrors that are away, and proxies that want a password.

use super::common::{INSTALL, LONG, engine_works, host, leaves_all_alone, says, succeeds};
use super::product::{rprov, version};
use crate::Host;
use crate::identity::{ARCHIVE, Identity};
use crate::keys::{Key, NAMES};
use crate::lab::Lab;
use crate::mirror::{self, Variant};
use crate::net;
use crate::proxy::Proxy;
use crate::release::{self, Release};
use crate::scenario::Scenario;
use crate::{server, sh};
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "sites-mirror",
        about: "a mirror that is re-signed serves with its key and is refused without; away, it is exit 5",
        on: &[Identity::Debian13, Identity::Ubuntu2204],
        run: resigned,
    },
    Scenario {
        name: "sites-own-mirror",
        about: "a mirror of a site's own, without the newest suite and with more packages, serves from the one before",
        on: &[Identity::Ubuntu2604],
        run: own_mirror,
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

fn resigned(lab: &Lab, identity: Identity) -> Result<()> {
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

/// Lays and serves a mirror of Ubuntu's older suite alone, signed by the site, with one package more.
fn lay_own_mirror(lab: &Lab) -> Result<String> {
    const PORT: &str = "8081";
    let suite = Identity::Ubuntu2404.suite();
    let good = mirror::ensure(lab.keys())?.join("good/linux/ubuntu/dists").join(suite);
    let own = lab.dir().join("own-mirror");
    let to = own.join("linux/ubuntu/dists").join(suite);
    let (pool, from) = (to.join("pool"), good.join("pool"));
    std::fs::create_dir_all(&to)?;
    sh::run(&["cp", "-al", &from.to_string_lossy(), &pool.to_string_lossy()])?;
    let script = "set -e; mkdir -p x/DEBIAN x/usr/libexec/docker/cli-plugins
printf 'Package: docker-model-plugin\\nVersion: 1.2.3-1\\nArchitecture: amd64\\nMaintainer: lab\\nDescription: model\\n' > x/DEBIAN/control
printf '#!/bin/sh\\necho model\\n' > x/usr/libexec/docker/cli-plugins/docker-model; chmod 755 x/usr/libexec/docker/cli-plugins/docker-model
dpkg-deb -b x docker-model-plugin_1.2.3-1_amd64.deb >/dev/null; rm -r x; apt-ftparchive packages .";
    let one = own.join("one");
    std::fs::create_dir_all(&one)?;
    let stanza = sh::run_in(&one, &["sh", "-c", script])?;
    let place = format!("Filename: dists/{suite}/pool/stable/amd64/");
    let deb = "docker-model-plugin_1.2.3-1_amd64.deb";
    std::fs::rename(one.join(deb), pool.join("stable/amd64").join(deb))?;
    let text =
        sh::read(&good.join("stable/binary-amd64/Packages"))? + &stanza.replace("Filename: ./", &place);
    release::packages(&to.join("stable/binary-amd64"), &text)?;
    release::packages(&to.join("test/binary-amd64"), "")?;
    let date = release::now() - 60;
    let release =
        Release { origin: "Site", label: "Site", suite, components: "stable test", date, valid_until: None };
    release::write(&to, &release, Key::Rogue, &lab.keys().signer()?)?;
    let conf = own.join("nginx.conf");
    let at = own.display();
    let text = format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{ }}\n\
         http {{ access_log off; server {{ listen {}:{PORT}; root {at}; }} }}\n",
        net::GATEWAY
    );
    sh::write(&conf, text)?;
    let nginx = server::detached(
        &lab.shared.net,
        &["nginx", "-p", &own.to_string_lossy(), "-c", &conf.to_string_lossy()],
    )?;
    lab.shared.run.record(nginx)?;
    Ok(format!("http://{}:{PORT}", net::GATEWAY))
}

fn own_mirror(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    let url = lay_own_mirror(lab)?;
    host.write(SITE_KEY, lab.public(Key::Rogue)?)?;
    host.write(
        CONFIG,
        format!("with = [\"model\"]\n[source.docker]\nurl = \"{url}\"\nkey = \"{SITE_KEY}\"\n"),
    )?;
    succeeds(&host, INSTALL)?;
    let source = host.read("/etc/apt/sources.list.d/docker.sources")?;
    ensure!(source.contains(&url) && source.contains("Suites: noble"), "{source}");
    ensure!(version(&host, "docker-model-plugin")? == "1.2.3-1");
    engine_works(&host)?;
    says(&rprov(&host, &["install", "--yes"])?.ok()?, &["nothing to do"])?;
    the_engine_pulls_by_a_proxy(&host)?;
    rprov(&host, &["uninstall", "--yes"])?.ok()?;
    ensure!(!host.exists("/usr/libexec/docker/cli-plugins"), "plugins are left");
    Ok(())
}

/// Its password is in daemon.json, for root's eyes, and is told to nobody.
fn the_engine_pulls_by_a_proxy(host: &Host) -> Result<()> {
    let config = host.read(CONFIG)?;
    let by = "http://alice:s3cret-of-engine@proxy.example:3128";
    host.write(CONFIG, format!("{config}[daemon.proxies]\nhttps-proxy = \"{by}\"\n"))?;
    let plan = rprov(host, &["plan"])?.ok()?;
    for words in ["http://***@proxy.example:3128", "mode 0644 → 0600", "then docker.service restarts"] {
        ensure!(plan.stdout.contains(words), "`{words}` is not in:\n{}", plan.stdout);
    }
    let said = succeeds(host, &[INSTALL, &["--no-smoke", "-v"]].concat())?;
    ensure!(!said.text().contains("s3cret"), "the password is told:\n{}", said.text());
    ensure!(host.mode("/etc/docker/daemon.json")? == 0o600);
    nothing_holds(host, "s3cret-of-engine", &["/var/log/rprov"])?;
    let proxy = host.run(&["docker", "info", "--format", "{{.HTTPSProxy}}"])?.ok()?.stdout;
    ensure!(proxy.contains("@proxy.example:3128"), "the engine pulls by {proxy}");
    host.write(CONFIG, config)
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
    let line = |login: &str| format!("Acquire::http::Proxy \"http://{login}{}/\";\n", proxy.address);
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
    says(&said, &["name it in `[daemon.proxies]`"])?;
    nothing_holds(&host, SECRET, &["/var/log", "/run/log", "/var/lib/rprov"])?;
    let asked = proxy.asked();
    ensure!(asked.contains("200 CONNECT download.docker.com:443"), "{asked}");
    ensure!(asked.contains(&format!("200 GET http://{ARCHIVE}/")), "{asked}");
    engine_works(&host)?;
    rprov(&host, &["uninstall", "--yes"])?.ok()?;

    // The same by the environment.
    host.remove(APT)?;
    let by = format!("http://alice:s3cr3t%25pa55@{}", proxy.address);
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
