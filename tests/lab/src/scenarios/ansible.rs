//! Many hosts at once: what `rprov render ansible` writes, run by the real Ansible over SSH.

use super::gpu_driver::{card_works, machine};
use super::product::{QUIET, alice_runs, host, same, says};
use crate::ansible::Controller;
use crate::card::Card;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::tree::State;
use crate::{Host, Output, cargo, sh};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "ansible-five-hosts",
        about: "Ansible brings up five hosts at once: one is refused and left alone, one reboots for its card's driver",
        on: &[Identity::Ubuntu2404],
        run: five_hosts,
    },
    Scenario {
        name: "ansible-carries",
        about: "configuration and keys are carried, and where they or the program are wrong nothing is put on the host",
        on: &[Identity::Debian12, Identity::Rocky9],
        run: carries,
    },
];

const LONG: Duration = Duration::from_secs(500);

/// What Ansible itself leaves on a host.
const ANSIBLE: &[(&str, &str)] = &[
    ("/home/ops/.ansible*", "Ansible's own directory for what it runs, emptied by it"),
    ("/var/log/wtmp.db*", "sessions, written by sshd"),
    ("/var/log/dnf*", "what the lab itself asks dnf"),
    ("/var/log/hawkey.log", "what the lab itself asks dnf"),
    ("/var/log/rprov*", "what dnf said, which the error names"),
];

/// Without rprov, and with what Ansible needs: SSH and Python.
fn bare(host: Host, controller: &Controller) -> Result<Host> {
    host.remove("/usr/local/bin/rprov")?;
    // dnf brings its own.
    host.sh(
        "command -v python3 || (apt-get update -q && apt-get install -y -q --no-install-recommends python3)",
    )?
    .ok()?;
    controller.reaches(&host)?;
    Ok(host)
}

/// The playbook with these options, and an inventory of these hosts.
fn rendered(controller: &Controller, hosts: &[Host], options: &[&str]) -> Result<()> {
    let rprov = cargo::rprov()?;
    let (rprov, at) = (rprov.to_string_lossy(), controller.home().join("play"));
    sh::run(&[&[rprov.as_ref(), "render", "ansible", "-o", &at.to_string_lossy()], options].concat())?;
    let example = sh::read(&at.join("inventory.yml"))?;
    // Kept, where it was rendered before.
    let Some((head, _)) = example.split_once("    host1.example.com:") else { return Ok(()) };
    let lines: String = hosts
        .iter()
        .map(|host| format!("    {}:\n      ansible_host: {}\n", host.identity().name(), host.address()))
        .collect();
    sh::write(&at.join("inventory.yml"), format!("{head}{lines}"))
}

const PLAY: &[&str] = &["playbook", "-i", "inventory.yml", "install.yml", "--diff"];

fn states(hosts: &[Host]) -> Result<Vec<State>> {
    hosts.iter().map(Host::state).collect()
}

fn five_hosts(lab: &Lab, identity: Identity) -> Result<()> {
    let controller = Controller::new(lab)?;
    let card = machine(lab, identity, &[Card::L4])?;
    card.nouveau()?;
    let mut hosts = vec![bare(card, &controller)?];
    for identity in [Identity::Debian12, Identity::Ubuntu2204, Identity::Rhel9, Identity::Void] {
        hosts.push(bare(host(lab, identity)?, &controller)?);
    }
    rendered(&controller, &hosts, &["--user", "alice", "--gpu=auto", "--reboot"])?;

    let before = states(&hosts)?;
    let said = controller.run("play", &[PLAY, &["--check"]].concat())?.code_is(2)?;
    says(&said, &["+ docker-ce", "+ nvidia-open", "+ alice in docker", "~ /usr/local/bin/rprov: carried"])?;
    for (host, before) in hosts.iter().zip(&before) {
        same(host.identity().name(), before, &host.state()?, &[QUIET, ANSIBLE].concat())?;
    }

    let running = controller.start("play", PLAY)?;
    hosts[0].rebooted(LONG)?;
    let said = running.wait(LONG)?.code_is(2)?;
    let (taken, refused) = hosts.split_at(4);
    for host in taken {
        ended(&said, host, "failed=0")?;
        alice_can(host)?;
    }
    card_works(&hosts[0])?;
    says(&said, &["is not supported: no profile is for it"])?;
    for (host, before) in refused.iter().zip(&before[4..]) {
        ended(&said, host, "changed=0")?;
        ended(&said, host, "failed=1")?;
        same(host.identity().name(), before, &host.state()?, &[QUIET, ANSIBLE].concat())?;
    }

    let again = controller.run("play", PLAY)?.code_is(2)?;
    taken.iter().try_for_each(|host| ended(&again, host, "changed=0"))
}

/// What the recap says of a host.
fn ended(said: &Output, host: &Host, words: &str) -> Result<()> {
    let name = host.identity().name();
    let recap = said.stdout.split("PLAY RECAP").nth(1).context("there is no recap")?;
    let line = recap.lines().find(|line| line.split_whitespace().next() == Some(name));
    let fine = line.is_some_and(|line| line.split_whitespace().any(|word| word == words));
    ensure!(fine, "the recap does not say `{words}` of {name}:\n{}", said.text());
    Ok(())
}

fn alice_can(host: &Host) -> Result<()> {
    host.copy_in(&host.lab().image()?, "/srv/image.tar")?;
    host.run(&["docker", "import", "/srv/image.tar", "lab"])?.ok()?;
    ensure!(alice_runs(host, "echo hello")? == "hello\n");
    Ok(())
}

/// A program and a configuration of earlier, whose owner and modes are not those that are carried.
const OLDER: &str = "set -e; cd /usr/local/bin; echo older >rprov; chown alice: rprov; chmod 4710 rprov
mkdir -m 750 /etc/rprov; cd /etc/rprov; echo '# older' >older.toml; ln -s older.toml config.toml";

/// Where a key counts: nobody else can write it or what lies above it, as they can where a checkout is below /tmp.
struct Place {
    path: PathBuf,
    made: bool,
}

impl Place {
    fn of(controller: &Controller, number: u32) -> Result<Place> {
        let home = controller.home();
        let open = |at: &Path| fs::metadata(at).is_ok_and(|meta| meta.permissions().mode() & 0o022 != 0);
        if !home.ancestors().any(open) {
            return Ok(Place { path: home.to_owned(), made: false });
        }
        let path = PathBuf::from(format!("/run/rprov-lab-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).context("making a place for a key")?;
        Ok(Place { path, made: true })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.made {
            let _gone = fs::remove_dir_all(&self.path);
        }
    }
}

fn carries(lab: &Lab, identity: Identity) -> Result<()> {
    let controller = Controller::new(lab)?;
    let hosts = [bare(host(lab, identity)?, &controller)?];
    let [host] = &hosts;
    host.remove("/etc/rprov")?;
    let place = Place::of(&controller, lab.number())?;
    let key = place.path.join("mirror.asc").to_string_lossy().into_owned();
    let config = controller.home().join("site.toml").to_string_lossy().into_owned();
    sh::write(config.as_ref(), format!("[source.docker]\nkey = \"{key}\"\n"))?;
    let options = ["--config", &config, "--user", "alice", "--no-smoke"];
    let untouched =
        |before: &State| same("a refused host", before, &host.state()?, &[QUIET, ANSIBLE].concat());

    // apt's index is signed, so that the plan knows; dnf's packages are, so that only the install does.
    sh::write(key.as_ref(), lab.public(Key::Rogue)?)?;
    rendered(&controller, &hosts, &options)?;
    let mut before = host.state()?;
    for older in [false, true] {
        if older {
            host.sh(OLDER)?.ok()?;
            before = host.state()?;
        }
        let said = controller.run("play", PLAY)?.code_is(2)?;
        says(&said, &["Make it a Docker host", "hint: "])?;
        ended(&said, host, "changed=0")?;
        untouched(&before)?;
    }

    sh::write(key.as_ref(), lab.public(identity.key(Key::Docker))?)?;
    rendered(&controller, &hosts, &options)?;
    let other = controller.home().join("other").to_string_lossy().into_owned();
    sh::write(other.as_ref(), "\x7fELF of another machine")?;
    let elsewhere = format!("rprov_binary={other}");
    let said = controller.run("play", &[PLAY, &["-e", &elsewhere]].concat())?.code_is(2)?;
    says(&said, &["cannot run rprov", "is it built for x86_64?"])?;
    untouched(&before)?;

    let playbook = controller.home().join("play/install.yml");
    let text = sh::read(&playbook)?;
    let home = "      path: ~/bin/rprov\n      binary:";
    sh::write(&playbook, text.replace("      binary:", home))?;
    let said = controller.run("play", PLAY)?.code_is(2)?;
    says(&said, &["cannot carry a file to `~/bin/rprov`"])?;
    sh::write(&playbook, text)?;

    host.sh("mount --bind /home/ops /home/ops && mount -o remount,bind,noexec /home/ops")?.ok()?;
    let said = controller.run("play", PLAY)?.code_is(2)?;
    says(&said, &["cannot run rprov", "/home/ops/.ansible/tmp/", "mounted noexec", "ansible_remote_tmp"])?;
    host.sh("umount /home/ops")?.ok()?;
    untouched(&before)?;

    let said = controller.run("play", &[PLAY, &["--check"]].concat())?.ok()?;
    let carried = ["/etc/rprov/config.toml", key.as_str(), "/usr/local/bin/rprov"];
    says(&said, &carried.map(|path| format!("~ {path}: carried")).each_ref().map(String::as_str))?;
    untouched(&before)?;

    controller.run("play", PLAY)?.ok()?;
    for (path, mode) in carried.iter().zip([0o600, 0o600, 0o755]) {
        ensure!(host.mode(path)? == mode, "{path} has the mode {:o}", host.mode(path)?);
    }
    alice_can(host)?;
    ended(&controller.run("play", PLAY)?.ok()?, host, "changed=0")?;

    host.sh("chmod 644 /etc/rprov/config.toml && chown alice /usr/local/bin/rprov")?.ok()?;
    ended(&controller.run("play", PLAY)?.ok()?, host, "changed=1")?;
    let told =
        host.run(&["stat", "-c", "%U:%G %a", "/etc/rprov/config.toml", "/usr/local/bin/rprov"])?.ok()?;
    ensure!(told.stdout == "root:root 600\nroot:root 755\n", "{}", told.stdout);
    ended(&controller.run("play", PLAY)?.ok()?, host, "changed=0")
}
