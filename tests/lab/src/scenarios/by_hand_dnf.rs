//! The floor for the dnf family: what an install by hand does, without rprov, and what dnf itself refuses.

use super::by_hand::import;
use super::common::packages_are_whole;
use super::product::version;
use crate::base::Base;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::tree::BY_ITSELF;
use crate::{Host, Output};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "by-hand-dnf",
        about: "key and .repo written by hand, one dnf install brings an engine that runs containers once it is enabled",
        on: &Identity::DNF,
        run: by_hand,
    },
    Scenario {
        name: "by-hand-dnf-quiet-host",
        about: "a dnf host that nothing is done to stays as it is, over a crash and a reboot",
        on: &[Identity::Rhel9, Identity::Rocky9, Identity::Fedora44],
        run: quiet_host,
    },
    Scenario {
        name: "by-hand-dnf-faults",
        about: "dnf refuses each wrong variant of the mirror, and takes each right one",
        on: &[Identity::Rhel9, Identity::Fedora44],
        run: faults,
    },
    Scenario {
        name: "by-hand-dnf-leaves",
        about: "what a removal by hand leaves of an engine that ran is known, to the file",
        on: &[Identity::Rhel9, Identity::Rocky9, Identity::Fedora44],
        run: leaves,
    },
    Scenario {
        name: "by-hand-dnf-conflicts",
        about: "podman lives beside docker-ce, its docker command and another runc do not",
        on: &[Identity::Rhel9, Identity::Rhel10],
        run: conflicts,
    },
];

const PACKAGES: &[&str] =
    &["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];
const LONG: Duration = Duration::from_secs(300);

/// Writes key and source, as the engine's documentation has it but for `$releasever`.
pub fn source(host: &Host) -> Result<()> {
    let identity = host.identity();
    host.write("/etc/pki/rpm-gpg/docker.asc", host.lab().public(Key::DockerRpm)?)?;
    host.run(&["rpm", "--import", "/etc/pki/rpm-gpg/docker.asc"])?.ok()?;
    host.write(
        "/etc/yum.repos.d/docker-ce.repo",
        format!(
            "[docker-ce-stable]\nname=Docker CE Stable - $basearch\n\
             baseurl=https://download.docker.com/linux/{}/{}/$basearch/stable\nenabled=1\ngpgcheck=1\n\
             gpgkey=file:///etc/pki/rpm-gpg/docker.asc\ntimeout=3\nretries=1\n",
            identity.family(),
            identity.suite()
        ),
    )
}

/// One `dnf install`; on Amazon Linux of its own engine.
pub fn install(host: &Host) -> Result<Output> {
    let packages = if host.identity().family().is_empty() { &["docker"] } else { PACKAGES };
    host.run_within(LONG, &[&["dnf", "install", "-y"], packages].concat())
}

fn by_hand(lab: &Lab, identity: Identity) -> Result<()> {
    let host = Host::booted(lab, identity)?;
    host.add_user("alice")?;
    let docker = !identity.family().is_empty();
    if docker {
        source(&host)?;
    }
    install(&host)?.ok()?;
    let inactive = host.run(&["systemctl", "is-active", "docker.service", "containerd.service"])?;
    ensure!(inactive.stdout == "inactive\ninactive\n", "an rpm starts nothing, but: {}", inactive.stdout);
    ensure!(host.units()?["docker.service"].starts_with("disabled"), "an rpm enables nothing");
    host.run(&["systemctl", "enable", "--now", "docker"])?.ok()?;
    import(&host)?;
    // Of a container that ends at once docker 26.1 was seen to lose the output.
    let said = host.run(&["docker", "run", "--rm", "lab", "sh", "-c", "echo hello; sleep 0.3"])?.ok()?.stdout;
    ensure!(said == "hello\n", "the container said {said:?}");
    host.run(&["usermod", "-aG", "docker", "alice"])?.ok()?;
    let said = host.run_as_login("alice", "docker run --rm --memory 64m lab id -u")?.ok()?.stdout;
    ensure!(said == "0\n", "the container said {said:?}");
    let packages = host.packages()?;
    let marks = host.marks()?;
    if docker {
        host.run(&["docker", "buildx", "version"])?.ok()?;
        host.run(&["docker", "compose", "version"])?.ok()?;
        let tag = identity.dnf().map(|dnf| dnf.tag).unwrap_or_default();
        ensure!(version(&host, "docker-ce")? == format!("3:29.7.2-1.{tag}"), "{}", packages["docker-ce"]);
        ensure!(packages.contains_key("container-selinux"));
        ensure!(marks["docker-ce"] == "user" && marks["container-selinux"] == "dependency", "{marks:?}");
        let asked = host.requests();
        let found = |r: &crate::server::Request| r.status == 200 && r.path.contains("/Packages/docker-ce-29");
        ensure!(asked.iter().any(|r| r.server == "good" && found(r)), "{asked:?}");
    } else {
        ensure!(packages["docker"].starts_with("25.0.14-1.amzn2023"), "{}", packages["docker"]);
        ensure!(!packages.contains_key("container-selinux") && !packages.contains_key("docker-ce"));
    }
    ensure!(host.starts_of("docker.service")? == 1, "dockerd was not started once");
    packages_are_whole(&host)
}

fn quiet_host(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    let before = host.state()?;
    ensure!(before.packages.contains_key("gpg-pubkey") == identity.dnf().is_some_and(|dnf| dnf.imported));
    ensure!(!host.exists("/usr/bin/apt-get") && !host.exists("/usr/bin/dpkg"), "the host has apt");
    host.crash()?;
    host.boot()?;
    host.reboot()?;
    let lines = before.diff(&host.state()?, BY_ITSELF);
    ensure!(lines.is_empty(), "the host differs after a crash and a reboot:\n{}", lines.join("\n"));
    ensure!(!host.units()?.contains_key("docker.service"), "a fresh host knows docker");
    let asked = host.requests();
    host.run(&["dnf", "repoquery", "container-selinux"])?.ok()?;
    ensure!(host.requests_since(&asked).is_empty(), "fresh indexes were fetched again");
    Ok(())
}

/// What each variant makes dnf say; nothing where it installs.
fn verdict(variant: Variant) -> Option<&'static [&'static str]> {
    match variant {
        Variant::Good | Variant::Older | Variant::Newer | Variant::OnlyOld => None,
        Variant::NotFound | Variant::NoSuite | Variant::Expired | Variant::Future => Some(&["404"]),
        Variant::Unavailable => Some(&["503"]),
        Variant::MidSync => Some(&["404"]),
        Variant::Refused => Some(&["Failed to connect", "Couldn't connect"]),
        Variant::Hang => Some(&["Timeout was reached", "timed out"]),
        Variant::TruncatedIndex | Variant::TamperedPackages | Variant::TamperedInRelease => Some(&[
            "checksum doesn't match",
            "checksum mismatch",
            "404",
            "Status code: 404",
            "No more mirrors",
        ]),
        Variant::TruncatedDeb | Variant::TamperedDeb => {
            Some(&["checksum doesn't match", "checksum mismatch", "Interrupted", "No more mirrors"])
        }
        Variant::RogueKey | Variant::ExpiredKey | Variant::RogueRpm => {
            Some(&["is not correct", "is not installed", "GPG check FAILED"])
        }
        Variant::UnsignedRpm => Some(&["is not signed"]),
        Variant::TamperedRpm => Some(&["GPG check FAILED", "Problem opening package"]),
    }
}

fn faults(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    source(&host)?;
    // Where the image does not come with it, dnf imports the distribution's key even to download only.
    let but_keys = |host: &Host| -> Result<BTreeMap<String, String>> {
        let mut packages = host.packages()?;
        packages.remove("gpg-pubkey");
        Ok(packages)
    };
    let before = but_keys(&host)?;
    let mut wrong = Vec::new();
    for variant in Variant::ALL {
        host.mirror(variant)?;
        host.sh("rm -rf /var/cache/dnf/docker-ce-*")?.ok()?;
        let asked = host.requests();
        let argv = ["dnf", "install", "-y", "--downloadonly", "--setopt=skip_if_unavailable=False"];
        let said = host.run_within(LONG, &[argv.as_slice(), PACKAGES].concat())?;
        let good = said.code == 0;
        let words = verdict(variant);
        let as_told = words.is_none_or(|words| words.iter().any(|word| said.text().contains(word)));
        if good != words.is_none() || !as_told {
            wrong.push(format!("{}: {} {}", variant.name(), said.code, said.text()));
        }
        let seen = host.requests_since(&asked).iter().any(|request| request.server == variant.name());
        ensure!(seen != (variant == Variant::Refused), "{}", variant.name());
        ensure!(but_keys(&host)? == before, "{}: packages came or went", variant.name());
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn conflicts(lab: &Lab, identity: Identity) -> Result<()> {
    let host = Host::booted(lab, identity)?;
    host.run_within(LONG, &["dnf", "install", "-y", "podman", "podman-docker", "runc", "cockpit-podman"])?
        .ok()?;
    host.copy_in(&lab.image()?, "/root/image.tar")?;
    host.run(&["podman", "import", "/root/image.tar", "lab"])?.ok()?;
    source(&host)?;
    let said = install(&host)?;
    ensure!(said.code != 0 && said.text().contains("podman-docker"), "{}", said.text());
    host.run_within(LONG, &["dnf", "remove", "-y", "podman-docker"])?.ok()?;
    install(&host)?.ok()?;
    let packages = host.packages()?;
    ensure!(packages.contains_key("podman") && packages.contains_key("crun"), "podman went");
    ensure!(!packages.contains_key("runc"), "containerd.io does not obsolete runc");
    Ok(())
}

/// What `dnf remove` leaves of an engine that ran, where key file and source were removed, too.
const LEFT: &[(&str, &str)] = &[
    ("/etc/group", "the group docker"),
    ("/etc/gshadow", "the group docker"),
    ("/etc/docker*", "the directory and key.json, written by the older dockerd"),
    ("/opt/containerd*", "made by containerd"),
    ("/usr/libexec/docker*", "the directories of the plugins, which no package owns"),
    ("/var/lib/docker*", "images, containers, volumes"),
    ("/var/lib/containerd*", "images, containers"),
];

/// What of the rest differs: keys in rpm's database, the group, and targets that the engine's units wanted.
const LEFT_BESIDE: &[&str] =
    &["package gpg-pubkey:", "group docker:", "unit network-online.target:", "unit nss-lookup.target:"];

fn leaves(lab: &Lab, identity: Identity) -> Result<()> {
    let host = Host::booted(lab, identity)?;
    let before = host.state()?;
    source(&host)?;
    install(&host)?.ok()?;
    host.run(&["systemctl", "enable", "--now", "docker"])?.ok()?;
    import(&host)?;
    host.run(&["docker", "run", "--rm", "lab", "true"])?.ok()?;
    host.run_within(LONG, &[&["dnf", "remove", "-y"], PACKAGES].concat())?.ok()?;
    host.remove("/etc/yum.repos.d/docker-ce.repo")?;
    host.remove("/etc/pki/rpm-gpg/docker.asc")?;
    let after = host.state()?;
    // Of the two dockerds only the older writes a key.
    let made = |path: &str| path != "/etc/docker*" || identity.base() == Base::Bookworm;
    for (path, why) in LEFT.iter().filter(|(path, _)| made(path)) {
        ensure!(host.exists(path.trim_end_matches('*')), "{path} is gone: {why}");
    }
    let lines = before.diff(&after, &[BY_ITSELF, LEFT].concat());
    let known = |line: &String| LEFT_BESIDE.iter().any(|start| line.starts_with(start));
    ensure!(lines.iter().all(known), "more is left:\n{}", lines.join("\n"));
    // On the way dnf has imported the distribution's own key, where the image did not come with it.
    let keys = after.packages.get("gpg-pubkey").map(|keys| keys.split(", ").count());
    ensure!(keys == Some(2), "{:?}", after.packages.get("gpg-pubkey"));
    let socket = host.run(&["systemctl", "is-active", "docker.socket"])?;
    ensure!(socket.stdout == "active\n", "the socket did not outlive its package, but is {}", socket.stdout);
    Ok(())
}
