//! The lab's card: what NVIDIA's own pages say to type, without rprov. It shows that the pretended card is one.

use super::{by_hand, by_hand_dnf};
use crate::Host;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use crate::toolkit::{PACKAGES, VERSIONS};
use anyhow::{Result, ensure};
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "card-toolkit",
    about: "the container toolkit comes as its page says, and each wrong variant of its repository is refused",
    on: &[Identity::Ubuntu2404, Identity::Debian12, Identity::Rhel9, Identity::Rhel10],
    run: toolkit,
}];

const LONG: Duration = Duration::from_secs(300);
const NVIDIA: &str = "nvidia.github.io";

/// Key and source of the toolkit, as its page has it; the page's key is the real one.
pub fn toolkit_source(host: &Host) -> Result<()> {
    let key = host.lab().public(Key::Toolkit)?;
    if host.identity().dnf().is_some() {
        host.write("/etc/pki/rpm-gpg/nvidia.asc", key)?;
        let repo = crate::toolkit::repo().replace(
            "https://nvidia.github.io/libnvidia-container/gpgkey",
            "file:///etc/pki/rpm-gpg/nvidia.asc",
        );
        return host.write("/etc/yum.repos.d/nvidia-container-toolkit.repo", repo);
    }
    let keyring = "/usr/share/keyrings/nvidia-container-toolkit-keyring.asc";
    host.write(keyring, key)?;
    let list = crate::toolkit::LIST.replace("deb https", &format!("deb [signed-by={keyring}] https"));
    host.write("/etc/apt/sources.list.d/nvidia-container-toolkit.list", list)
}

/// The four packages of one version.
pub fn toolkit_install(host: &Host, version: &str) -> Result<()> {
    if host.identity().dnf().is_some() {
        let packages = PACKAGES.map(|name| format!("{name}-{version}-1"));
        let argv: Vec<&str> =
            ["dnf", "install", "-y"].into_iter().chain(packages.iter().map(String::as_str)).collect();
        return host.run_within(LONG, &argv)?.ok().map(drop);
    }
    host.run(&["apt-get", "update"])?.ok()?;
    let packages = PACKAGES.map(|name| format!("{name}={version}-1"));
    let argv = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"];
    let argv: Vec<&str> = argv.into_iter().chain(packages.iter().map(String::as_str)).collect();
    host.run_within(LONG, &argv)?.ok().map(drop)
}

/// An engine, by hand, that runs.
fn engine(host: &Host) -> Result<()> {
    if host.identity().dnf().is_some() {
        by_hand_dnf::source(host)?;
        by_hand_dnf::install(host)?.ok()?;
        host.run(&["systemctl", "enable", "--now", "docker"])?.ok()?;
    } else {
        by_hand::source(host)?;
        by_hand::install(host)?;
    }
    by_hand::import(host)
}

fn toolkit(lab: &Lab, identity: Identity) -> Result<()> {
    let mut host = Host::booted(lab, identity)?;
    engine(&host)?;
    toolkit_source(&host)?;
    refusals(&mut host)?;
    toolkit_install(&host, VERSIONS[2])?;
    let packages = host.packages()?;
    for name in PACKAGES {
        let found = packages.iter().find(|(package, _)| package.split(':').next() == Some(name));
        ensure!(found.is_some_and(|(_, version)| version.starts_with("1.20.0-1")), "{name}: {found:?}");
    }
    ensure!(host.read("/etc/nvidia-container-runtime/config.toml")?.contains("mode = \"auto\""));
    let unit = host.units()?.get("nvidia-cdi-refresh.path").cloned().unwrap_or_default();
    ensure!(unit == "enabled active", "nvidia-cdi-refresh.path is {unit}");
    // Without a driver there is nothing to write, and that is no failure.
    let list = host.run(&["nvidia-ctk", "cdi", "list"])?.ok()?;
    ensure!(list.stdout.is_empty() && list.stderr.contains("Found 0 CDI devices"), "{}", list.text());
    ensure!(host.run(&["nvidia-ctk", "cdi", "generate"])?.code == 1, "a specification without a driver");
    host.run(&["nvidia-ctk", "runtime", "configure", "--runtime=docker"])?.ok()?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    let run = ["docker", "run", "--rm", "--runtime", "nvidia"];
    host.run(&[run.as_slice(), &["lab", "true"]].concat())?.ok()?;
    ensure!(
        host.read("/var/log/nvidia-container-runtime.log")?.contains(" create "),
        "the runtime did not run"
    );
    let wants = host.run(&[run.as_slice(), &["-e", "NVIDIA_VISIBLE_DEVICES=all", "lab", "true"]].concat())?;
    ensure!(wants.code != 0 && wants.stderr.contains("load library failed"), "{}", wants.text());
    Ok(())
}

/// What apt and dnf say to each variant of the toolkit's repository; the engine's is right throughout.
fn refusals(host: &mut Host) -> Result<()> {
    let dnf = host.identity().dnf().is_some();
    for variant in crate::flat::VARIANTS {
        host.mirror_of(NVIDIA, variant)?;
        let said = if dnf {
            host.sh("rm -rf /var/cache/dnf/nvidia-*")?.ok()?;
            host.run(&["dnf", "-y", "makecache", "--setopt=skip_if_unavailable=False", "--setopt=retries=1"])?
        } else {
            host.sh("rm -f /var/lib/apt/lists/nvidia*")?.ok()?;
            host.run(&["apt-get", "update", "-o", "Acquire::Retries=0"])?
        };
        let good = said.code == 0 && !said.stderr.contains("W: ") && !said.stderr.contains("E: ");
        let right = match variant {
            Variant::Good | Variant::Older | Variant::Newer | Variant::OnlyOld => true,
            Variant::TamperedDeb | Variant::TruncatedDeb => true,
            // An index of rpms is not dated by its signature.
            Variant::Future => dnf,
            _ => false,
        };
        ensure!(good == right, "{}: {} {}", variant.name(), said.code, said.text());
    }
    host.mirror_of(NVIDIA, Variant::Good)?;
    host.sh("rm -rf /var/cache/dnf/nvidia-* /var/lib/apt/lists/nvidia*")?.ok().map(drop)
}
