//! What goes into a bundle, and how: for another architecture, archives of several images, and downloads that break off,
//! are watched, or are ended.

use super::bundle::{
    FILE, INSTALL, Opened, VERIFY, alone, create, made, maker, pin_archive, without_network,
};
use super::by_hand;
use super::common::{LONG, UNINSTALL, host, leaves_all_alone, says, succeeds, until};
use super::product::QUIET;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::line::Line;
use crate::run::Running;
use crate::scenario::Scenario;
use crate::{Host, Output, foreign, registry, scratch, sh};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "bundle-fetch",
        about: "a download that broke off in the middle of a package goes on from there, and how far it is shows on a terminal alone",
        on: &[Identity::Debian12],
        run: fetch,
    },
    Scenario {
        name: "bundle-foreign",
        about: "a bundle for machines of another architecture has that one's packages, and this one is not taken for such",
        on: &[Identity::Debian12],
        run: foreign,
    },
    Scenario {
        name: "bundle-ended",
        about: "a signal ends the making, the checking and the unpacking of a bundle at once, and leaves nothing",
        on: &[Identity::Debian12],
        run: ended,
    },
    Scenario {
        name: "bundle-images",
        about: "an archive of several images as the engine saves it is carried over, loaded, and taken back but for what is used",
        on: &[Identity::Debian12, Identity::Debian13],
        run: images,
    },
];

// ---- for others

fn foreign(lab: &Lab, identity: Identity) -> Result<()> {
    foreign::serve(lab)?;
    let maker = host(lab, identity)?;
    scratch::install(&maker, "dnf")?;
    pin_archive(&maker, &format!("url = \"{}\"\n", foreign::ADDRESS))?;
    docker_from(&maker, foreign::ADDRESS)?;
    for (of, engine, key) in [
        (Identity::Ubuntu2404, "docker-ce=29.7.2", Key::Docker),
        (Identity::Rhel9, "docker-ce-29.7.2-1.el9", Key::DockerRpm),
    ] {
        maker.write("/etc/rprov/keys/lab.asc", lab.public(key)?)?;
        let create = ["rprov", "bundle", "create", "--for", of.name(), "--arch", "arm64", "-o", FILE];
        succeeds(&maker, &create)?;
        let said = maker.run(VERIFY)?.ok()?.stdout;
        ensure!(said.contains(", arm64; made") && said.contains(engine), "{said}");
        let bundle = lab.dir().join(format!("{}-arm64.bundle", of.name()));
        fs::copy(maker.at(FILE), &bundle).context("taking the bundle out")?;
        let opened = Opened::new(lab, &bundle)?;
        opened.path_of("/libxtables")?;
        ensure!(opened.path_of("/hello").is_err(), "what nobody needs is in it");
        let host = host(lab, of)?;
        without_network(&host, &bundle)?;
        let words = format!("it is for {0} on arm64, and this is {0} on amd64", of.name());
        leaves_all_alone(&host, INSTALL, 4, &[&words, "--arch amd64"])?;
    }
    Ok(())
}

// ---- downloads

/// Lets a maker have Docker's packages from somewhere else.
fn docker_from(maker: &Host, url: &str) -> Result<()> {
    let config = maker.read("/etc/rprov/config.toml")?;
    let section = "[source.docker]\n";
    ensure!(config.contains(section), "{config}");
    maker.write("/etc/rprov/config.toml", config.replace(section, &format!("{section}url = \"{url}\"\n")))
}

/// A maker whose line to Docker's packages is ours to break.
pub(super) fn over_a_line(maker: Host) -> Result<(Host, Line)> {
    let line = Line::start(maker.lab())?;
    docker_from(&maker, &line.url)?;
    Ok((maker, line))
}

/// The requests for the package that is fetched when the line breaks.
fn of_containerd(asked: Vec<String>) -> Vec<String> {
    asked.into_iter().filter(|request| request.contains("/containerd.io_")).collect()
}

/// The rest alone was asked for, from where it broke off.
fn goes_on(line: &Line, kept: u64) -> Result<()> {
    let asked = of_containerd(line.asked()?);
    let range = format!("Range: bytes={kept}-");
    ensure!(matches!(&asked[..], [one] if one.contains(&range)), "not {range}, but {asked:#?}");
    Ok(())
}

fn kept(maker: &Host) -> Result<u64> {
    let sizes =
        maker.sh("stat -c %s /root/host.bundle.part/apt/archives/partial/containerd.io_*")?.ok()?.stdout;
    sizes.trim().parse().with_context(|| format!("`{sizes}` is no size of one file"))
}

fn fetch(lab: &Lab, identity: Identity) -> Result<()> {
    let (maker, line) = over_a_line(maker(lab)?)?;
    let create = create(identity);
    // In the middle of containerd.io, which has 34 MB.
    line.break_after(20_000_000)?;
    let said = maker.run_within(LONG, &create)?.code_is(5)?;
    says(&said, &["cannot fetch the packages of the bundle", "goes on from there"])?;
    ensure!(of_containerd(line.asked()?).len() == 1, "it broke off elsewhere");
    let kept = kept(&maker)?;
    ensure!(kept > 10_000_000, "only {kept} bytes are kept");
    line.mend()?;
    let said = succeeds(&maker, &create)?;
    goes_on(&line, kept)?;
    says(&said, &["fetched ", " MB/s"])?;
    // Lines for a log: nothing that is drawn over.
    let drawn = |text: &str| text.contains(" % ") || text.contains(['\r', '\x1b']);
    ensure!(!drawn(&said.text()), "progress is drawn without a terminal: {:?}", said.text());
    maker.run(VERIFY)?.ok()?;
    maker.remove(FILE)?;

    line.slow_down(30_000_000)?;
    let mut running = maker.on_terminal(&create.join(" "))?;
    running.wait_for(" % Retrieving file ", LONG)?;
    let said = running.wait(LONG)?.ok()?.stdout;
    rates(&said, &[" % Retrieving file ", " % writing, ", " % checking, "])?;
    let said = maker.on_terminal(&VERIFY.join(" "))?.wait(LONG)?.ok()?.stdout;
    rates(&said, &[" % checking, "])?;
    let said = maker.on_terminal(&format!("rprov bundle plan {FILE}"))?.wait(LONG)?.ok()?.stdout;
    rates(&said, &[" % checking, ", " % unpacking, "])
}

/// What is drawn on a terminal says how fast each of these goes.
fn rates(said: &str, doing: &[&str]) -> Result<()> {
    for what in doing {
        let rate = |line: &str| {
            let place = [what, " MB at ", " MB/s"].map(|words| line.find(words));
            place.iter().all(Option::is_some) && place.is_sorted()
        };
        ensure!(said.split('\r').any(rate), "no rates of `{what}`: {said:?}");
    }
    Ok(())
}

// ---- signals

/// The directories of runs that lie below /var/tmp.
fn unpacked(host: &Host) -> Result<Vec<PathBuf>> {
    let all = fs::read_dir(host.at("/var/tmp")).context("listing /var/tmp")?;
    let ours = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("rprov-"));
    Ok(all.flatten().map(|entry| entry.path()).filter(ours).collect())
}

/// The signal ends it, long before it would have come to its end.
fn ends(host: &Host, running: Running, signal: &str, words: &[&str]) -> Result<()> {
    running.signal(signal)?;
    let said = running.wait(Duration::from_secs(20))?.code_is(130)?;
    says(&said, words)?;
    ensure!(unpacked(host)?.is_empty(), "left: {:?}", unpacked(host)?);
    Ok(())
}

fn ended(lab: &Lab, identity: Identity) -> Result<()> {
    let (maker, line) = over_a_line(maker(lab)?)?;
    let create = create(identity);
    let words = ["interrupted", "run the same command again"];
    // While apt fetches: containerd.io alone would take 34 seconds.
    line.slow_down(1_000_000)?;
    for signal in ["INT", "TERM"] {
        let running = maker.spawn(&create)?;
        let partial = maker.at("/root/host.bundle.part/apt/archives/partial");
        until("a package is on its way", || {
            let names = fs::read_dir(&partial).into_iter().flatten().flatten();
            let large = |name: fs::DirEntry| name.metadata().is_ok_and(|meta| meta.len() > 1_000_000);
            Ok(names.into_iter().any(large))
        })?;
        ends(&maker, running, signal, &words)?;
        let apt = maker.sh("pgrep -l apt-get")?.stdout;
        ensure!(apt.is_empty(), "still at work: {apt}");
    }
    ensure!(!maker.exists(FILE), "half a bundle was written");
    let kept = kept(&maker)?;
    line.asked()?;
    line.mend()?;
    // While the bundle is written.
    let running = maker.spawn(&create)?;
    until("the bundle grows", || Ok(maker.exists("/root/host.bundle.part/bundle")))?;
    ends(&maker, running, "INT", &words)?;
    goes_on(&line, kept)?;
    ensure!(!maker.exists(FILE), "half a bundle was written");
    let bundle = made(&maker, identity, &[])?;
    drop(maker);

    let host = alone(lab, identity, &bundle)?;
    let (before, words) = (host.tree()?, ["interrupted before anything was changed"]);
    for signal in ["INT", "TERM", "HUP"] {
        let opened = |running: &Running| -> Result<bool> {
            let files = host.at(&format!("/proc/{}/fd", running.pid()?));
            let files = fs::read_dir(files).into_iter().flatten().flatten();
            Ok(files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|file| file.ends_with("host.bundle")))
        };
        for argv in [VERIFY, INSTALL] {
            let running = host.spawn(argv)?;
            until("the bundle is read", || opened(&running))?;
            ends(&host, running, signal, &words)?;
        }
        let running = host.spawn(INSTALL)?;
        until("the bundle is unpacked", || {
            Ok(unpacked(&host)?.iter().any(|place| place.join("docker").exists()))
        })?;
        ends(&host, running, signal, &words)?;
    }
    let passing = ("/var/tmp", "the bundle was unpacked below it");
    let lines = before.diff_with_times(&host.tree()?, &[QUIET, &[passing]].concat());
    ensure!(lines.is_empty(), "what was ended touched the host:\n{}", lines.join("\n"));
    succeeds(&host, &[INSTALL, &["--no-smoke"]].concat()).map(drop)
}

// ---- images

/// What the engine saves below another name.
const SECOND: [&str; 2] = ["second:1", "also-second:1"];

fn docker(host: &Host, words: &str) -> Result<Output> {
    host.sh(&format!("docker {words}"))?.ok()
}

fn there(host: &Host) -> Result<Vec<String>> {
    let said = docker(host, "image ls --format '{{.Repository}}:{{.Tag}}'")?;
    let mut names: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Takes a file out of a host.
fn taken(host: &Host, name: &str) -> Result<PathBuf> {
    let to = host.lab().dir().join(format!("{}-{name}", host.address()));
    fs::copy(host.at(&format!("/root/{name}")), &to).with_context(|| format!("taking {name} out"))?;
    Ok(to)
}

fn images(lab: &Lab, identity: Identity) -> Result<()> {
    // An engine that was there before, so that what it is left with can be seen.
    let engine = host(lab, identity)?;
    by_hand::source(&engine)?;
    by_hand::install(&engine)?;
    engine.copy_in(&registry::archive()?, "/root/registry.tar")?;
    docker(&engine, "image load --quiet --input /root/registry.tar")?;
    by_hand::import(&engine)?;
    for name in SECOND {
        docker(&engine, &format!("image tag lab {name}"))?;
    }
    docker(&engine, &format!("image save --output /root/two.tar {} {}", registry::NAME, SECOND.join(" ")))?;
    engine.sh("cd /root && gzip -k two.tar && mkdir oci && tar xf two.tar -C oci")?.ok()?;
    let two = taken(&engine, "two.tar")?;
    let zstd = two.with_extension("tar.zst");
    sh::run(&["zstd", "-qf", &two.to_string_lossy(), "-o", &zstd.to_string_lossy()])?;
    engine.copy_in(&zstd, "/root/two.tar.zst")?;
    let layout = engine.exists("/root/oci/index.json");
    ensure!(layout == (identity == Identity::Debian13), "the engine writes another layout than it did");
    docker(&engine, &format!("image rm lab {} {}", registry::NAME, SECOND.join(" ")))?;

    // What the engine itself takes: zstd not before 23.0, and a layout without the engine's own list never.
    let loads = |file: &str| -> Result<bool> {
        let loaded = engine.run(&["docker", "image", "load", "--input", file])?.code == 0;
        let names = there(&engine)?;
        for name in names.iter().filter(|name| !name.starts_with("<none>")) {
            docker(&engine, &format!("image rm {name}"))?;
        }
        // Of a layout an old engine loads images without their names.
        docker(&engine, "image prune --force")?;
        Ok(loaded && names.len() == 3)
    };
    ensure!(loads("/root/two.tar.gz")?, "the engine does not load what is compressed by gzip");
    ensure!(loads("/root/two.tar.zst")? == layout, "zstd is another matter than it was");
    engine
        .sh("cd /root/oci && rm -f manifest.json repositories && touch index.json && tar cf ../oci.tar .")?
        .ok()?;
    ensure!(!loads("/root/oci.tar")?, "the engine loads a layout without a list");

    let maker = maker(lab)?;
    let oci = taken(&engine, "oci.tar")?;
    for (file, name) in [(&two, "two.tar"), (&zstd, "two.tar.zst"), (&oci, "oci.tar")] {
        maker.copy_in(file, &format!("/root/{name}"))?;
    }
    let with = |files: &[&'static str]| {
        let options = files.iter().flat_map(|file| ["--image", *file]);
        create(identity).into_iter().chain(options).collect::<Vec<&str>>()
    };
    let words =
        ["cannot use `/root/oci.tar`", "an OCI layout without", "skopeo copy oci-archive:/root/oci.tar"];
    leaves_all_alone(&maker, &with(&["oci.tar"]), 2, &words)?;
    // Which of them the engine saves first is its own affair.
    let words = ["two archives hold the image `", "leave one of them out"];
    leaves_all_alone(&maker, &with(&["two.tar", "two.tar.zst"]), 2, &words)?;
    // Compressed as no old engine reads it.
    let bundle = made(&maker, identity, &["--image", "two.tar.zst"])?;
    drop(maker);

    // One of the names stands for another image here.
    by_hand::import(&engine)?;
    docker(&engine, "image tag lab second:1")?;
    let before = docker(&engine, "image ls --no-trunc")?.stdout;
    without_network(&engine, &bundle)?;
    let installs = || succeeds(&engine, &[INSTALL, &["--no-smoke"]].concat());
    let planned = installs()?.stdout;
    ensure!(planned.contains("+ registry:lab ") && planned.contains("+ also-second:1 "), "{planned}");
    ensure!(!planned.contains("+ second:1 "), "what is there is planned: {planned}");
    let names = there(&engine)?;
    ensure!(names == ["also-second:1", "lab:latest", "registry:lab", "second:1"], "{names:?}");
    says(&installs()?, &["nothing to do"])?;
    succeeds(&engine, UNINSTALL)?;
    let after = docker(&engine, "image ls --no-trunc")?.stdout;
    ensure!(without_ages(&before) == without_ages(&after), "from\n{before}to\n{after}");

    // What a container uses stays.
    installs()?;
    docker(&engine, "create --name theirs also-second:1 true")?;
    says(
        &succeeds(&engine, UNINSTALL)?,
        &["the container `theirs` is made of `also-second:1`, which stays"],
    )?;
    let names = there(&engine)?;
    ensure!(names == ["also-second:1", "lab:latest", "second:1"], "{names:?}");
    Ok(())
}

/// The columns but `CREATED`.
fn without_ages(list: &str) -> Vec<String> {
    let columns = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = list.lines().map(columns).collect();
    lines.sort();
    lines
}
