//! Machines that nobody sits at: what `rprov render` writes brings them up by itself.

use super::common::until;
use super::gpu_driver::{card_works, machine};
use super::product::{host, says};
use crate::card::Card;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::run::Output;
use crate::scenario::Scenario;
use crate::{Host, cargo, sh, upgrades};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "unattended-cloud-init",
        about: "user-data brings up a host on its first boot, while unattended-upgrades is at work; again it changes nothing",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: cloud_init,
    },
    Scenario {
        name: "unattended-wrong-key",
        about: "where a key is not the pinned one, cloud-init tells an error, and why",
        on: &[Identity::Debian12],
        run: wrong_key,
    },
    Scenario {
        name: "unattended-without-rprov",
        about: "where rprov cannot be fetched, is another one or cannot be run, cloud-init and the result say so",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: without_rprov,
    },
    Scenario {
        name: "unattended-embedded",
        about: "user-data that has rprov in it brings up a host to which nobody serves rprov",
        on: &[Identity::Ubuntu2404],
        run: embedded,
    },
    Scenario {
        name: "unattended-late-mirror",
        about: "where the mirror is down for the first two minutes, cloud-init waits and succeeds",
        on: &[Identity::Ubuntu2404],
        run: late_mirror,
    },
    Scenario {
        name: "unattended-gpu",
        about: "cloud-init reboots for a driver, and is done when what was left is done; where that fails it is an error",
        on: &[Identity::Ubuntu2404],
        run: gpu,
    },
    Scenario {
        name: "unattended-script",
        about: "the script brings up a host without cloud-init, and ends with rprov's exit code",
        on: &[Identity::Ubuntu2404, Identity::Rocky9],
        run: script,
    },
];

const LONG: Duration = Duration::from_secs(400);
const URL: &str = "http://127.0.0.1:8000/rprov";

/// Serves rprov in the host itself, from some seconds after its start on: until then nothing is there.
const SERVER: &str = "[Unit]\nBefore=cloud-final.service\n\n[Service]\nWorkingDirectory=/srv\n\
    ExecStart=/bin/sh -c 'sleep 3; exec python3 -m http.server --bind 127.0.0.1 8000'\n\n\
    [Install]\nWantedBy=sysinit.target\n";

/// There are no SSH and no locales in a lab's host, and its network is there already.
const CLOUD: &str =
    "datasource_list: [NoCloud]\nnetwork: {config: disabled}\nssh_genkeytypes: []\nlocale: false\n";

/// A host with cloud-init, and rprov where only the web has it.
fn cloud_host(lab: &Lab, identity: Identity) -> Result<Host> {
    with_cloud_init(host(lab, identity)?)
}

fn with_cloud_init(host: Host) -> Result<Host> {
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends cloud-init")?
        .ok()?;
    host.write("/etc/cloud/cloud.cfg.d/99-lab.cfg", CLOUD)?;
    host.write("/etc/systemd/system/lab-server.service", SERVER)?;
    host.sh("mv /usr/local/bin/rprov /srv/rprov && mkdir /srv/lab && mv /etc/rprov/* /srv/lab && rmdir /etc/rprov \
             && sed -i s,/etc/rprov,/srv/lab, /srv/lab/config.toml && systemctl enable lab-server")?
        .ok()?;
    Ok(host)
}

/// What `rprov render` writes there, with the lab's key and for the user carol.
fn rendered(host: &Host, what: &str, more: &[&str]) -> Result<String> {
    let argv = ["/srv/rprov", "render", what, "--config", "/srv/lab/config.toml", "--user", "carol"];
    Ok(host.run(&[&argv, more].concat())?.ok()?.stdout)
}

/// A first boot with this user-data.
fn first_boot(host: &mut Host, user_data: &str) -> Result<Output> {
    seed(host, user_data)?;
    host.reboot()?;
    status(host)
}

fn status(host: &Host) -> Result<Output> {
    host.run_within(LONG, &["cloud-init", "status", "--wait", "--long"])
}

/// User-data with a command behind rprov's, as somebody may add one.
fn with_a_command_behind(user_data: &str) -> Result<String> {
    let (ours, rest) = user_data.split_once("\nruncmd:\n").context("there is no runcmd")?;
    let (command, rest) = rest.split_once('\n').context("runcmd is empty")?;
    Ok(format!("{ours}\nruncmd:\n{command}\n  - touch {BEHIND}\n{rest}"))
}

const BEHIND: &str = "/run/behind-rprov";

/// What cloud-init finds at the next boot.
fn seed(host: &Host, user_data: &str) -> Result<()> {
    host.write("/var/lib/cloud/seed/nocloud/meta-data", "instance-id: lab\n")?;
    host.write("/var/lib/cloud/seed/nocloud/user-data", user_data)?;
    let valid = host.run_within(
        LONG,
        &["cloud-init", "schema", "--config-file", "/var/lib/cloud/seed/nocloud/user-data"],
    )?;
    says(&valid.ok()?, &["Valid"])?;
    host.run(&["cloud-init", "clean", "--logs"])?.ok().map(drop)
}

fn result(host: &Host) -> Result<Value> {
    let text = host.read("/run/rprov/result.json")?;
    ensure!(host.mode("/run/rprov/result.json")? & 0o777 == 0o600, "others can read how it ended");
    serde_json::from_str(&text).with_context(|| format!("no result: {text}"))
}

const CAROL: &str = "users:\n  - name: carol\n    shell: /bin/bash\n";
const UPGRADED: &str = "/var/log/unattended-upgrades/unattended-upgrades.log";

/// The web has rprov only now that dpkg is at work, which it is until rprov tells that it waits, or for two minutes.
const MEANWHILE: &str = "mv /srv/later /srv/rprov
for second in $(seq 120); do
    ! grep -q '\"event\":\"waiting\"' /var/log/cloud-init-output.log || break
    sleep 1
done
";

fn cloud_init(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = cloud_host(lab, identity)?;
    let user_data = rendered(&host, "cloud-init", &["--url", URL])?;
    upgrades::lay(&host, MEANWHILE)?;
    host.run(&["mv", "/srv/rprov", "/srv/later"])?.ok()?;
    let status = first_boot(&mut host, &format!("{user_data}{CAROL}"))?.ok()?;
    says(&status, &["status: done"])?;
    let told = host.read("/var/log/cloud-init-output.log")?;
    let waits = "(unattended-upgr), which holds apt's lock";
    for word in ["cannot be fetched yet", "\"event\":\"plan\"", waits, "rprov: DONE"] {
        ensure!(told.contains(word), "cloud-init's log does not say `{word}`:\n{told}");
    }
    let upgraded = host.packages()?.remove(upgrades::PACKAGE);
    ensure!(upgraded.as_deref() == Some("2-1 ii"), "unattended-upgrades left {upgraded:?}");
    says(&host.run(&["cat", UPGRADED])?.ok()?, &["All upgrades installed"])?;
    // By cloud-init's version another unit of its own runs the script.
    let journal = host.run(&["journalctl", "-b", "--no-pager", "-u", "cloud-*"])?.ok()?;
    says(&journal, &["rprov: DONE"])?;
    let ended = result(&host)?;
    ensure!(ended["finished"]["exit"] == 0 && ended["error"].is_null(), "{ended}");
    ensure!(ended["finished"]["changes"].as_u64() > Some(4), "{ended}");
    runs_a_container(&host)?;

    let status = first_boot(&mut host, &format!("{user_data}{CAROL}"))?.ok()?;
    says(&status, &["status: done"])?;
    let ended = result(&host)?;
    ensure!(ended["finished"]["exit"] == 0 && ended["finished"]["changes"] == 0, "{ended}");
    runs_a_container(&host)
}

fn runs_a_container(host: &Host) -> Result<()> {
    let image = host.lab().image()?;
    host.copy_in(&image, "/srv/image.tar")?;
    host.run_as_login("carol", "docker import /srv/image.tar lab")?.ok()?;
    let said = host.run_as_login("carol", "docker run --rm lab echo hello")?.ok()?;
    says(&said, &["hello"])
}

fn wrong_key(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = cloud_host(lab, identity)?;
    host.write("/srv/lab/keys/lab.asc", lab.public(Key::Rogue)?)?;
    let user_data = rendered(&host, "cloud-init", &["--url", URL])?;
    let user_data = with_a_command_behind(&user_data)?;
    let status = first_boot(&mut host, &format!("{user_data}{CAROL}"))?;
    says(&status, &["status: error"])?;
    ensure!(!host.exists(BEHIND), "what is behind rprov's command ran, and may hide its failure");
    let told = host.read("/var/log/cloud-init-output.log")?;
    ensure!(told.contains("rprov: FAILED with exit code 4"), "{told}");
    let ended = result(&host)?;
    ensure!(ended["finished"]["exit"] == 4, "{ended}");
    ensure!(ended["error"]["what"].as_str().is_some_and(|what| !what.is_empty()), "{ended}");
    ensure!(
        !host.exists("/etc/apt/sources.list.d/docker.sources"),
        "a source with the wrong key was written"
    );
    Ok(())
}

fn embedded(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = cloud_host(lab, identity)?;
    // As a release has it: with what debuggers want it is too much for cloud-init.
    let small = lab.dir().join(format!("embedded-{}", lab.number()));
    sh::run(&["strip", "-o", &small.to_string_lossy(), &cargo::rprov()?.to_string_lossy()])?;
    host.copy_in(&small, "/srv/rprov")?;
    // To a file: the log of the scenario is to be read.
    host.sh(
        "/srv/rprov render cloud-init --config /srv/lab/config.toml --user carol --embed >/srv/user-data",
    )?
    .ok()?;
    let user_data = host.read("/srv/user-data")?;
    host.sh("mv /srv/rprov /srv/embedded && systemctl disable lab-server")?.ok()?;
    let status = first_boot(&mut host, &format!("{user_data}{CAROL}"))?.ok()?;
    says(&status, &["status: done"])?;
    host.run(&["cmp", "/usr/local/bin/rprov", "/srv/embedded"])?.ok()?;
    ensure!(host.mode("/usr/local/bin/rprov")? & 0o7777 == 0o755, "rprov's mode is another one");
    ensure!(result(&host)?["finished"]["exit"] == 0, "{}", result(&host)?);
    runs_a_container(&host)
}

/// Nobody serves anything there.
const NOWHERE: &str = "http://127.0.0.1:9/rprov";

fn without_rprov(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = cloud_host(lab, identity)?;
    let script = rendered(&host, "script", &["--url", URL])?;
    let soon = |text: &str| text.replace("-lt 600", "-lt 20");
    let user_data = soon(&rendered(&host, "cloud-init", &["--url", NOWHERE])?);
    let status = first_boot(&mut host, &format!("{user_data}{CAROL}"))?;
    says(&status, &["status: error"])?;
    let told = host.read("/var/log/cloud-init-output.log")?;
    for word in ["cannot be fetched yet", &format!("rprov: FAILED: {NOWHERE} cannot be fetched")] {
        ensure!(told.contains(word), "cloud-init's log does not say `{word}`:\n{told}");
    }
    ended_without(&host, 5, "cannot be fetched")?;

    // Each finds the result of the one before.
    let wrong = script.replace("sha256=", "sha256=0");
    fails(&host, &wrong, 4, "its SHA-256 is another one")?;
    ensure!(!host.exists("/usr/local/bin/rprov"), "a program of another digest was put in place");
    let elsewhere = script.replace("\"$(uname -m)\" =", "riscv64 =");
    fails(&host, &elsewhere, 4, "this rprov is for x86_64")?;
    host.sh("mount -t tmpfs -o noexec lab /usr/local/bin")?.ok()?;
    fails(&host, &script, 126, "rprov ended with exit code 126")?;
    host.sh("rm /usr/local/bin/rprov && mount -o remount,ro /usr/local/bin")?.ok()?;
    fails(&host, &script, 1, "cannot write beside /usr/local/bin/rprov")
}

/// A script in which rprov never runs.
fn fails(host: &Host, script: &str, exit: i32, why: &str) -> Result<()> {
    host.write("/root/fails.sh", script)?;
    let said = host.run(&["sh", "/root/fails.sh"])?.code_is(exit)?;
    says(&said, &["rprov: FAILED: ", why])?;
    ended_without(host, exit, why)
}

/// The result is as rprov's own.
fn ended_without(host: &Host, exit: i32, why: &str) -> Result<()> {
    let ended = result(host)?;
    ensure!(ended["schema"] == "rprov.result/1" && ended["verb"] == "install", "{ended}");
    ensure!(ended["finished"]["event"] == "finished" && ended["finished"]["exit"] == exit, "{ended}");
    ensure!(ended["error"]["event"] == "error", "{ended}");
    ensure!(ended["error"]["what"].as_str().is_some_and(|what| what.contains(why)), "{ended}");
    Ok(())
}

/// Brings the mirror back two minutes after the host has started.
const MIRROR: &str = "[Service]\nExecStart=/bin/sh -c 'sleep 120; cat /srv/hosts >/etc/hosts'\n\n\
    [Install]\nWantedBy=multi-user.target\n";

fn late_mirror(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = cloud_host(lab, identity)?;
    let user_data = rendered(&host, "cloud-init", &["--url", URL])?;
    host.write("/srv/hosts", host.read("/etc/hosts")?)?;
    host.write("/etc/systemd/system/lab-mirror.service", MIRROR)?;
    host.run(&["systemctl", "enable", "lab-mirror"])?.ok()?;
    host.mirror(Variant::Refused)?;
    let user_data = with_a_command_behind(&user_data)?;
    let status = first_boot(&mut host, &format!("{user_data}{CAROL}"))?.ok()?;
    says(&status, &["status: done"])?;
    ensure!(host.exists(BEHIND), "what is behind rprov's command did not run");
    let told = host.read("/var/log/cloud-init-output.log")?;
    for word in ["\"exit\":5", "rprov: DONE"] {
        ensure!(told.contains(word), "cloud-init's log does not say `{word}`:\n{told}");
    }
    runs_a_container(&host)
}

fn gpu(lab: &Lab, identity: Identity) -> Result<()> {
    let card = machine(lab, identity, &[Card::L4])?;
    card.nouveau()?;
    let mut host = with_cloud_init(card)?;
    let user_data = rendered(&host, "cloud-init", &["--url", URL, "--gpu", "--reboot"])?;
    seed(&host, &format!("{user_data}{CAROL}"))?;
    host.stop()?;
    let updated = host.copy()?;
    host.power_on()?;
    host.ended(LONG)?;

    let mut tampered = host.copy()?;
    tampered.mirror(Variant::TamperedDeb)?;
    tampered.boot()?;
    says(&status(&tampered)?, &["status: error"])?;
    let told = tampered.read("/var/log/cloud-init-output.log")?;
    for word in ["rprov: DONE but for a reboot", "rprov: FAILED after the reboot"] {
        ensure!(told.contains(word), "cloud-init's log does not say `{word}`:\n{told}");
    }
    ensure!(result(&tampered)?["finished"]["exit"] == 4, "{}", result(&tampered)?);
    drop(tampered);
    twice(updated)?;

    // The mirror is away for the first moments.
    host.mirror(Variant::Refused)?;
    host.power_on()?;
    until("the mirror is asked in vain", || {
        std::thread::sleep(Duration::from_secs(1));
        Ok(host.journal(RESUME).is_ok_and(|said| said.contains("is tried again")))
    })?;
    host.mirror(Variant::Good)?;
    is_done(&host)?;
    card_works(&host)?;
    runs_a_container(&host)?;
    // Nothing is left for a boot like any other.
    host.reboot()?;
    says(&status(&host)?.ok()?, &["status: done"])
}

const RESUME: &str = "rprov-resume.service";

/// A kernel that was updated needs a reboot before the driver can be built, and nouveau one after it.
fn twice(mut host: Host) -> Result<()> {
    let modules = format!("/lib/modules/{}", host.kernel());
    let (modules, aside) = (host.at(&modules), host.at("/lib/modules/9.9.9-new"));
    fs::rename(&modules, &aside).context("moving the modules aside")?;
    host.power_on()?;
    host.ended(LONG)?;
    let told = host.read("/var/log/cloud-init-output.log")?;
    ensure!(told.contains("rprov: DONE but for a reboot"), "{told}");
    fs::rename(&aside, &modules).context("moving the modules back")?;
    host.power_on()?;
    host.ended(LONG)?;
    let told = host.read("/var/log/cloud-init-output.log")?;
    ensure!(told.contains("rprov: DONE but for another reboot"), "{told}");
    host.power_on()?;
    is_done(&host)?;
    card_works(&host)
}

/// cloud-init, the log, the result and what is left all say so.
fn is_done(host: &Host) -> Result<()> {
    says(&status(host)?.ok()?, &["status: done"])?;
    let told = host.read("/var/log/cloud-init-output.log")?;
    ensure!(told.contains("rprov: DONE: this machine is a Docker host"), "{told}");
    ensure!(result(host)?["finished"]["exit"] == 0, "{}", result(host)?);
    for path in ["/etc/systemd/system/rprov-resume.service", "/usr/local/libexec/rprov/rprov"] {
        ensure!(!host.exists(path), "{path} is left");
    }
    Ok(())
}

fn script(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.add_user("carol")?;
    // dnf brings its own.
    host.sh("command -v python3 || apt-get install -y -q --no-install-recommends python3")?.ok()?;
    host.sh("mv /usr/local/bin/rprov /srv/rprov && mv /etc/rprov /srv/lab && sed -i s,/etc/rprov,/srv/lab, /srv/lab/config.toml")?
        .ok()?;
    host.write("/etc/systemd/system/lab-server.service", SERVER)?;
    host.run(&["systemctl", "start", "lab-server"])?.ok()?;
    let script = rendered(&host, "script", &["--url", URL, "--no-smoke"])?;
    host.write("/root/wrong.sh", script.replace("sha256=", "sha256=0"))?;
    std::thread::sleep(Duration::from_secs(4));
    let wrong = host.run(&["sh", "/root/wrong.sh"])?.code_is(4)?;
    says(&wrong, &["FAILED", "its SHA-256 is another one"])?;
    ensure!(!host.exists("/usr/local/bin/rprov"), "a program of another digest was put in place");
    host.write("/root/up.sh", &script)?;
    let said = host.run_within(LONG, &["sh", "/root/up.sh"])?.ok()?;
    says(&said, &["\"event\":\"plan\"", "rprov: DONE"])?;
    runs_a_container(&host)?;
    ensure!(host.mode("/etc/rprov/config.toml")? & 0o777 == 0o600, "others can read the configuration");
    let again = host.run_within(LONG, &["sh", "/root/up.sh"])?.ok()?;
    says(&again, &["nothing to do", "rprov: DONE"])
}
