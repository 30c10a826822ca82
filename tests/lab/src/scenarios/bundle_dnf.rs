//! A bundle for hosts with dnf: made on a Debian that has dnf among its packages, installed without a route to anywhere.

use super::bundle::{
    FILE, Opened, VERIFY, alone, brings_more, brings_the_engine, create, goes_on_and_back, is_refused, made,
    made_alone, maker, pin_archive, restores, sealed,
};
use super::bundle_fetch::over_a_line;
use super::common::{LONG, host, says, succeeds};
use super::product::{QUIET, same};
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::{Host, registry, rpm_mirror, scratch, sh, whole_dnf};
use anyhow::{Context, Result, ensure};
use std::fs;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "bundle-dnf",
        about: "a bundle made on Debian 12 installs on a host with dnf without a route to anywhere, and uninstall restores it",
        on: &[Identity::Rhel9, Identity::Rocky9, Identity::Fedora44],
        run: installs,
    },
    Scenario {
        name: "bundle-dnf-own",
        about: "a host with dnf makes its own bundle, and is left as it was; without a network it installs from it",
        on: &[Identity::Rhel9],
        run: own,
    },
    Scenario {
        name: "bundle-dnf-more",
        about: "with dnf a bundle carries an older engine, the container toolkit and an image",
        on: &[Identity::Rhel9],
        run: more,
    },
    Scenario {
        name: "bundle-dnf-fetch",
        about: "with dnf a download that broke off goes on, and how far it is shows on a terminal",
        on: &[Identity::Rhel9],
        run: fetch,
    },
    Scenario {
        name: "bundle-dnf-tampered",
        about: "a bundle of rpms that somebody tampered with is refused by its name, and nothing is written",
        on: &[Identity::Rhel9],
        run: tampered,
    },
    Scenario {
        name: "bundle-dnf-stopped",
        about: "with dnf an install from a bundle that is killed at an entry of its receipt goes on, and goes back",
        // The first at a sample of the entries, the other at each.
        on: &[Identity::Rocky9, Identity::Rhel9],
        run: stopped,
    },
];

/// A Debian 12 with dnf, that knows where the lab has the repositories.
fn dnf_maker(lab: &Lab) -> Result<Host> {
    whole_dnf::serve(lab)?;
    let maker = maker(lab)?;
    scratch::install(&maker, "dnf")?;
    let config = maker.read("/etc/rprov/config.toml")?.replace(crate::whole::ADDRESS, whole_dnf::ADDRESS);
    maker.write("/etc/rprov/config.toml", config)?;
    maker.write("/etc/rprov/keys/lab.asc", lab.public(Key::DockerRpm)?)?;
    Ok(maker)
}

fn installs(lab: &Lab, identity: Identity) -> Result<()> {
    let bundle = made_alone(dnf_maker(lab)?, identity, "docker-ce-3:29.7.2-1.")?;
    let host = alone(lab, identity, &bundle)?;
    let fresh = host.state()?;
    brings_the_engine(&host)?;
    let source = host.read("/etc/yum.repos.d/docker-ce.repo")?;
    ensure!(source.contains("baseurl=https://download.docker.com/linux/"), "{source}");
    ensure!(source.contains("gpgcheck=1"), "{source}");
    restores(&host, &fresh)
}

fn own(lab: &Lab, identity: Identity) -> Result<()> {
    whole_dnf::serve(lab)?;
    let host = host(lab, identity)?;
    pin_archive(&host, &format!("url = \"{}\"\n", whole_dnf::ADDRESS))?;
    host.marks()?;
    let before = host.state()?;
    succeeds(&host, &create(identity))?;
    let except =
        [(FILE, "what was asked for"), ("/var/log/*", "logs: what the lab asks dnf, and rprov's own")];
    same("the maker", &before, &host.state()?, &[QUIET, &except].concat())?;
    host.run(&["ip", "link", "set", "host0", "down"])?.ok()?;
    let fresh = host.state()?;
    brings_the_engine(&host)?;
    restores(&host, &fresh)
}

fn more(lab: &Lab, identity: Identity) -> Result<()> {
    let maker = dnf_maker(lab)?;
    maker.copy_in(&registry::archive()?, "/root/registry.tar")?;
    let options = ["--version", "28.5", "--gpu", "--image", "/root/registry.tar"];
    let driver = ["--gpu", "--driver", "open", "--kernel", "5.14.0-570.58.1.el9_6.x86_64"];
    let said = maker.run(&[&create(identity)[..], &driver].concat())?.code_is(4)?;
    says(&said, &["cannot put that driver into a bundle", "leave `--driver` out"])?;
    let bundle = made(&maker, identity, &options)?;
    brings_more(lab, identity, &maker, &bundle, "3:28.5.2")
}

fn fetch(lab: &Lab, identity: Identity) -> Result<()> {
    let (maker, line) = over_a_line(dnf_maker(lab)?)?;
    line.break_after(40_000_000)?;
    let said = maker.run_within(LONG, &create(identity))?.code_is(5)?;
    says(&said, &["of the bundle", "goes on from there"])?;
    ensure!(!maker.exists(FILE), "half a bundle was written");
    line.asked()?;
    let came = maker.sh("cd /root/host.bundle.part/dnf/cache/docker-ce-stable-*/packages && ls *.rpm")?;
    let came = came.ok()?.stdout;
    ensure!(came.lines().count() > 0, "no package came whole");
    line.mend()?;
    line.slow_down(30_000_000)?;
    let mut running = maker.on_terminal(&create(identity).join(" "))?;
    running.wait_for(" % fetching, ", LONG)?;
    let said = running.wait(LONG)?.ok()?.stdout;
    let rate = |line: &str| line.contains(" % fetching, ") && line.contains(" MB/s");
    ensure!(said.split('\r').any(rate), "no rates: {said:?}");
    let asked = line.asked()?.concat();
    let again = came.lines().find(|name| asked.contains(*name));
    ensure!(again.is_none(), "{again:?} was there, and came again:\n{asked}");
    maker.run(VERIFY)?.ok().map(drop)
}

fn stopped(lab: &Lab, identity: Identity) -> Result<()> {
    goes_on_and_back(lab, identity, &made(&dnf_maker(lab)?, identity, &[])?)
}

fn tampered(lab: &Lab, identity: Identity) -> Result<()> {
    let bundle = made(&dnf_maker(lab)?, identity, &[])?;
    let host = alone(lab, identity, &bundle)?;
    let right = fs::read(&bundle).context("reading the bundle")?;
    let is_refused = |what: &str, bytes: &[u8], words: &[&str]| is_refused(&host, what, bytes, words);
    let opened = Opened::new(lab, &bundle)?;
    let engine = opened.path_of("/docker-ce-29")?;
    let theirs = |variant: &str, name: &str| -> Result<Vec<u8>> {
        let good = rpm_mirror::ensure(lab.keys())?.join(variant).join("linux/rhel/9/x86_64/stable/Packages");
        fs::read(good.join(name)).with_context(|| format!("reading {name} of the mirror {variant}"))
    };
    let name = engine.rsplit('/').next().unwrap_or_default();

    // An older package that Docker has signed, under the name of the newer; the manifest agrees.
    let swapped = opened.copy()?;
    fs::write(swapped.at(&engine), theirs("good", "docker-ce-28.5.2-1.el9.x86_64.rpm")?)?;
    swapped.measure(&engine)?;
    is_refused("an older package", &sealed(&swapped.tar()?)?, &[&engine, "is not what its index lists"])?;
    // And the index agrees, too, which nobody signs.
    let index = opened.path_of("docker-ce-stable/repodata/repomd.xml")?;
    swapped.relist(&engine, &index)?;
    is_refused(
        "an older package, listed",
        &sealed(&swapped.tar()?)?,
        &[&engine, "it is docker-ce-3:28.5.2"],
    )?;

    // The same package by somebody else, listed as if it were right.
    let rogue = opened.copy()?;
    fs::write(rogue.at(&engine), theirs("rogue-key", name)?)?;
    rogue.measure(&engine)?;
    rogue.relist(&engine, &index)?;
    is_refused("another key", &sealed(&rogue.tar()?)?, &[&engine, "not that of the pinned key"])?;

    // One byte of a package that comes along, listed as if it were right.
    let flipped = opened.copy()?;
    let along = opened.path_of("/iptables-nft-")?;
    let mut bytes = fs::read(flipped.at(&along))?;
    let last = bytes.len() - 1;
    bytes[last] ^= 4;
    fs::write(flipped.at(&along), bytes)?;
    flipped.measure(&along)?;
    flipped.relist(&along, &opened.path_of("baseos/repodata/repomd.xml")?)?;
    is_refused(
        "a byte",
        &sealed(&flipped.tar()?)?,
        &[&along, "its payload is not the one that its header names"],
    )?;

    // An index of which there is no package: its list would be shown to dnf as a whole.
    let another = opened.copy()?;
    let mut manifest = another.manifest()?;
    let of_appstream = |path: &str| path.starts_with("appstream/Packages/");
    manifest["files"]
        .as_array_mut()
        .context("a manifest without files")?
        .retain(|file| !file["path"].as_str().is_some_and(of_appstream));
    sh::write(&another.at("manifest.json"), serde_json::to_vec(&manifest)?)?;
    is_refused("no package", &sealed(&another.tar()?)?, &["an index of `appstream` and no package of it"])?;

    // An index that is not the one that is named.
    let listed = opened.copy()?;
    let list = opened.path_of("docker-ce-stable/repodata/")?;
    let list = if list == index { opened.path_of("-primary.xml")? } else { list };
    fs::write(listed.at(&list), b"<metadata/>")?;
    listed.measure(&list)?;
    is_refused("another list", &sealed(&listed.tar()?)?, &["is not what its index says"])?;

    host.write(FILE, &right)?;
    host.run(VERIFY)?.ok().map(drop)
}
