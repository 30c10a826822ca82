//! A bundle: made on a host with a network, installed on one that has no route to anywhere, and refused where somebody
//! has tampered with it.

use super::common::{LONG, engine_works, host, leaves_all_alone, packages_are_whole, says, succeeds};
use super::gpu_driver::{card_works, machine, resumed};
use super::interruption::{PURGE, comes_to_its_end, goes_back_from};
use super::product::{QUIET, same};
use super::uninstall::{EXCEPTIONS, back};
use crate::card::Card;
use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::Lab;
use crate::mirror::{self, Variant};
use crate::scenario::Scenario;
use crate::{Host, cache, cargo, debs, kernel, nvidia_mirror, registry, sh, whole};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "bundle-installs",
        about: "a bundle made on Debian 12 installs without a route to anywhere, and uninstall restores the host",
        on: &[
            Identity::Ubuntu2404,
            Identity::Debian12,
            Identity::Ubuntu2204,
            Identity::Debian13,
            Identity::Mint22,
        ],
        run: installs,
    },
    Scenario {
        name: "bundle-more",
        about: "a bundle carries an older engine, the container toolkit and an image; a broken download goes on",
        on: &[Identity::Debian12, Identity::Ubuntu2204],
        run: more,
    },
    Scenario {
        name: "bundle-driver",
        about: "with a bundle that has the driver, a machine with a card and no network gets it, over the reboot that nouveau needs",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: driver,
    },
    Scenario {
        name: "bundle-tampered",
        about: "a bundle that somebody tampered with is refused by its name, and nothing is written",
        on: &[Identity::Ubuntu2404, Identity::Debian12],
        run: tampered,
    },
    Scenario {
        name: "bundle-refused",
        about: "a bundle for another host, without a keyring, or of a mirror that is wrong is refused with the way out",
        on: &[Identity::Debian12],
        run: refused,
    },
    Scenario {
        name: "bundle-stopped",
        about: "an install from a bundle that is killed at an entry of its receipt goes on, and goes back",
        on: &[Identity::Debian12, Identity::Ubuntu2404],
        run: stopped,
    },
];

pub(super) const FILE: &str = "/root/host.bundle";
pub(super) const INSTALL: &[&str] = &["rprov", "bundle", "install", FILE, "--yes"];
const PLAN: &[&str] = &["rprov", "bundle", "plan", FILE, "--exit-code"];
pub(super) const VERIFY: &[&str] = &["rprov", "bundle", "verify", FILE];

/// The distribution's own packages are the lab's here, as Docker's are: both keys are the administrator's.
pub fn pin_archive(host: &Host, url: &str) -> Result<()> {
    host.pin_source("archive", Key::Archive)?;
    let config = host.read("/etc/rprov/config.toml")?;
    host.write("/etc/rprov/config.toml", format!("{config}{url}"))
}

/// A Debian 12 that makes bundles.
pub(super) fn maker(lab: &Lab) -> Result<Host> {
    whole::serve(lab)?;
    let maker = host(lab, Identity::Debian12)?;
    pin_archive(&maker, &format!("url = \"{}\"\n", whole::ADDRESS))?;
    maker.pin_source("nvidia", Key::Toolkit)?;
    Ok(maker)
}

pub(super) fn create(identity: Identity) -> [&'static str; 9] {
    // What is based on a release takes the bundle of that.
    let profile = if identity == Identity::Mint22 { Identity::Ubuntu2404 } else { identity };
    ["rprov", "bundle", "create", "--for", profile.name(), "--arch", "amd64", "-o", FILE]
}

/// Makes a bundle there, and takes it out.
pub(super) fn made(maker: &Host, identity: Identity, more: &[&str]) -> Result<PathBuf> {
    succeeds(maker, &[&create(identity), more].concat())?;
    let file = maker.lab().dir().join(format!("{}-{}.bundle", identity.name(), maker.address()));
    fs::copy(maker.at(FILE), &file).context("taking the bundle out")?;
    Ok(file)
}

/// A host that has the bundle, and no route to anywhere.
pub(super) fn alone(lab: &Lab, identity: Identity, bundle: &Path) -> Result<Host> {
    let host = host(lab, identity)?;
    without_network(&host, bundle)?;
    // The cache that apt makes of the lists on the first question.
    host.marks()?;
    Ok(host)
}

/// Gives a host the bundle, and takes its network away.
pub(super) fn without_network(host: &Host, bundle: &Path) -> Result<()> {
    pin_archive(host, "")?;
    host.pin_source("nvidia", Key::Toolkit)?;
    host.copy_in(bundle, FILE)?;
    host.run(&["ip", "link", "set", "host0", "down"])?.ok().map(drop)
}

pub(super) fn restores(host: &Host, fresh: &crate::tree::State) -> Result<()> {
    succeeds(host, PURGE)?;
    packages_are_whole(host)?;
    back(fresh, &host.state()?, EXCEPTIONS)
}

fn installs(lab: &Lab, identity: Identity) -> Result<()> {
    let bundle = made_alone(maker(lab)?, identity, "docker-ce=5:29.7.2")?;
    let host = alone(lab, identity, &bundle)?;
    let fresh = host.state()?;
    brings_the_engine(&host)?;
    let sources =
        host.sh("cat /etc/apt/sources.list.d/docker.sources; apt-cache policy docker-ce")?.ok()?.stdout;
    ensure!(sources.contains("https://download.docker.com/linux"), "{sources}");
    ensure!(!sources.contains("copy:") && !sources.contains("Trusted"), "{sources}");
    restores(&host, &fresh)
}

/// Made, with this engine in it, and nothing else of it is on the maker, where apt has a hook that would leave something.
pub(super) fn made_alone(maker: Host, identity: Identity, engine: &str) -> Result<PathBuf> {
    let hook = "APT::Update::Post-Invoke-Success { \"touch /etc/hook-ran\"; };\n";
    maker.write("/etc/apt/apt.conf.d/15update-stamp", hook)?;
    maker.marks()?;
    let before = maker.state()?;
    let bundle = made(&maker, identity, &[])?;
    let except = [(FILE, "what was asked for"), ("/var/log/*", "logs: rprov's own")];
    same("the maker", &before, &maker.state()?, &[QUIET, &except].concat())?;
    let said = maker.run(VERIFY)?.ok()?;
    ensure!(said.stdout.contains(engine), "{}", said.text());
    Ok(bundle)
}

/// The install works, leaves nothing unpacked, and leaves nothing to do.
pub(super) fn brings_the_engine(host: &Host) -> Result<()> {
    let before = host.state()?;
    let planned = host.run_within(LONG, PLAN)?.code_is(3)?;
    says(&planned, &["is whole", "no connection is made"])?;
    let logs = [("/var/log/*", "logs: what the lab asks dnf")];
    same("a plan", &before, &host.state()?, &[QUIET, &logs].concat())?;
    ensure!(planned.stdout.contains("+ docker-ce"), "{}", planned.text());
    let said = host.run_within(LONG, INSTALL)?;
    says(&said.ok()?, &["is whole", "no connection is made"])?;
    engine_works(host)?;
    ensure!(
        host.sh("ls -d /var/tmp/rprov-* /var/cache/rprov")?.stdout.is_empty(),
        "the bundle is still unpacked"
    );
    for again in [INSTALL, &["rprov", "install", "--yes"]] {
        says(&host.run(again)?.ok()?, &["nothing to do"])?;
    }
    host.run(PLAN)?.ok().map(drop)
}

fn more(lab: &Lab, identity: Identity) -> Result<()> {
    let mut maker = maker(lab)?;
    maker.copy_in(&registry::archive()?, "/root/registry.tar")?;
    let options = ["--version", "28.5", "--gpu", "--image", "/root/registry.tar"];
    let latest = [&create(identity)[..], &options[2..]].concat();
    // The mirror goes away in the middle: what came stays, and the same command goes on from it.
    maker.mirror(Variant::TruncatedDeb)?;
    let said = maker.run_within(LONG, &latest)?.code_is(5)?;
    says(&said, &["cannot fetch the packages of the bundle", "goes on from there"])?;
    ensure!(!maker.exists(FILE), "half a bundle was written");
    let archives = "ls /root/host.bundle.part/apt/archives/*.deb";
    let kept = maker.sh(archives)?.ok()?.stdout.lines().count();
    ensure!(kept > 5, "only {kept} packages are kept");
    maker.mirror(Variant::Good)?;
    let asked = maker.requests();
    let bundle = made(&maker, identity, &options)?;
    let again = maker.requests_since(&asked);
    ensure!(!again.iter().any(|request| request.path.contains("/libc6_")), "what was there came again");
    brings_more(lab, identity, &maker, &bundle, "5:28.5.2")
}

/// An older engine, the container toolkit and an image are in it, and nothing newer is to be had.
pub(super) fn brings_more(
    lab: &Lab,
    identity: Identity,
    maker: &Host,
    bundle: &Path,
    engine: &str,
) -> Result<()> {
    let said = maker.run(VERIFY)?.ok()?.stdout;
    ensure!(said.contains("images/registry_lab.tar") && said.contains("nvidia-container-toolkit"), "{said}");

    let host = alone(lab, identity, bundle)?;
    let fresh = host.state()?;
    succeeds(&host, &[INSTALL, &["--gpu=toolkit"]].concat())?;
    let packages = host.packages()?;
    let has =
        |name: &str, version: &str| packages.iter().any(|(n, v)| n.starts_with(name) && v.contains(version));
    ensure!(has("docker-ce", "28.5.2") && has("nvidia-container-toolkit", ""), "{packages:?}");
    host.run(&["docker", "image", "inspect", registry::NAME])?.ok()?;
    // What is not in the bundle is not to be had, and nothing is asked of the network.
    let newer = [INSTALL, &["--version", "29", "--upgrade"]].concat();
    says(&host.run(&newer)?.code_is(4)?, &[&format!("the newest there is {engine}")])?;
    restores(&host, &fresh)
}

fn driver(lab: &Lab, identity: Identity) -> Result<()> {
    let maker = maker(lab)?;
    maker.pin_source("cuda", nvidia_mirror::cuda_key(identity))?;
    let kernel = kernel::of(identity).release;
    let bundle = made(&maker, identity, &["--gpu", "--driver", "580-open", "--kernel", kernel])?;
    let said = maker.run(VERIFY)?.ok()?.stdout;
    ensure!(said.contains("nvidia-open=580") && said.contains(kernel), "{said}");
    drop(maker);

    let mut host = machine(lab, identity, &[Card::L4])?;
    host.nouveau()?;
    pin_archive(&host, "")?;
    host.pin_source("nvidia", Key::Toolkit)?;
    host.pin_source("cuda", nvidia_mirror::cuda_key(identity))?;
    host.copy_in(&bundle, FILE)?;
    // No route to anywhere, in the next boot either.
    host.write("/etc/systemd/system/lab-alone.service", ALONE)?;
    host.run(&["systemctl", "enable", "--now", "lab-alone"])?.ok()?;
    let other = [INSTALL, &["--gpu", "--driver", "595"]].concat();
    says(&host.run(&other)?.code_is(4)?, &["cannot find version 595", "the newest there is 580"])?;
    let said = host.run_within(LONG, &[INSTALL, &["--gpu", "--reboot"]].concat())?;
    ensure!(said.code == 6, "it ended with {}:\n{}", said.code, said.text());
    host.rebooted(Duration::from_secs(60))?;
    resumed(&host, "attempt 1 of 2")?;
    ensure!(host.sh("ip -br link show host0")?.stdout.contains("DOWN"), "the host has a network");
    card_works(&host)
}

const ALONE: &str = "[Unit]\nBefore=network.target\n\n[Service]\nType=oneshot\nExecStart=/usr/sbin/ip link set host0 down\n\n\
    [Install]\nWantedBy=sysinit.target\n";

fn stopped(lab: &Lab, identity: Identity) -> Result<()> {
    goes_on_and_back(lab, identity, &made(&maker(lab)?, identity, &[])?)
}

/// Killed at entries of the receipt.
pub(super) fn goes_on_and_back(lab: &Lab, identity: Identity, bundle: &Path) -> Result<()> {
    let host = alone(lab, identity, bundle)?;
    host.with_rprov(&cargo::rprov_stop_at()?)?;
    let fresh = host.state()?;
    comes_to_its_end(&host, &[INSTALL, &["--no-smoke"]].concat())?;
    engine_works(&host)?;
    restores(&host, &fresh)?;
    goes_back_from(&host, &[INSTALL, &["--no-smoke"]].concat(), &fresh)
}

fn refused(lab: &Lab, identity: Identity) -> Result<()> {
    let mut maker = maker(lab)?;
    let argv = create(Identity::Ubuntu2404);
    for (variant, code, words) in [
        (Variant::RogueKey, 4, &["signature is not that of the pinned key"][..]),
        (Variant::TamperedDeb, 4, &["what came is not what was signed"]),
        (Variant::Refused, 5, &["cannot fetch"]),
    ] {
        maker.mirror(variant)?;
        says(&maker.run_within(LONG, &argv)?.code_is(code)?, words)?;
        ensure!(!maker.exists(FILE), "a bundle was written");
        maker.remove("/root/host.bundle.part")?;
    }
    maker.mirror(Variant::Good)?;
    let said = maker.run(&["rprov", "bundle", "create", "--for", "ubuntu-24.40", "-o", FILE])?.code_is(2)?;
    says(&said, &["no profile `ubuntu-24.40`", "ubuntu-24.04"])?;
    let said =
        maker.run(&["rprov", "bundle", "create", "--for", "ubuntu-24.04", "--arch", "s390x", "-o", FILE])?;
    says(&said.code_is(4)?, &["on s390x", "amd64, arm64"])?;
    let said = maker.run(&["rprov", "bundle", "create", "--for", "rhel-9", "--arch", "amd64", "-o", FILE])?;
    says(&said.code_is(4)?, &["this machine has no `dnf`", "install the package `dnf`"])?;
    // Nobody needs to be root for it.
    maker.add_user("alice")?;
    let line = "rprov bundle create --for debian-12 --arch amd64 -o own.bundle && rprov bundle verify own.bundle \
                && rprov bundle plan own.bundle";
    let said = maker.run_as_login("alice", line)?.ok()?;
    ensure!(
        said.stdout.contains("docker-ce=5:29.7.2") && said.stdout.contains("+ docker-ce"),
        "{}",
        said.text()
    );
    // One for another host.
    let bundle = made(&maker, Identity::Ubuntu2404, &[])?;
    let host = alone(lab, identity, &bundle)?;
    let words = ["it is for ubuntu-24.04 on amd64, and this is debian-12 on amd64", "--for debian-12"];
    leaves_all_alone(&host, INSTALL, 4, &words)?;
    host.remove(FILE)?;
    leaves_all_alone(&host, INSTALL, 2, &["there is no such file", "rprov bundle create"])?;
    // Without the administrator's keys the shipped ones count, and what the lab has signed is nobody's.
    host.copy_in(&bundle, FILE)?;
    host.remove("/etc/rprov")?;
    host.run(VERIFY)?.code_is(4)?;
    maker.remove("/etc/rprov")?;
    says(&maker.run(&argv)?.code_is(4)?, &["ubuntu-archive-keyring.gpg", "install `ubuntu-keyring`"])
}

// ---- tampering

/// Neither installed nor taken for right, and the host is left alone.
pub(super) fn is_refused(host: &Host, what: &str, bytes: &[u8], words: &[&str]) -> Result<()> {
    host.note(what);
    host.write(FILE, bytes)?;
    leaves_all_alone(host, INSTALL, 4, &[&["error:", "hint:"], words].concat())
        .with_context(|| what.to_owned())?;
    host.run(VERIFY)?.code_is(4).map(drop)
}

fn tampered(lab: &Lab, identity: Identity) -> Result<()> {
    let bundle = made(&maker(lab)?, identity, &[])?;
    let host = alone(lab, identity, &bundle)?;
    let right = fs::read(&bundle).context("reading the bundle")?;
    let is_refused = |what: &str, bytes: &[u8], words: &[&str]| is_refused(&host, what, bytes, words);
    for part in 0..8 {
        let mut bytes = right.clone();
        let at = (right.len() - 1) * part / 7;
        bytes[at] ^= 4;
        is_refused(&format!("byte {at} of {}", right.len()), &bytes, &[])?;
    }
    is_refused("cut off", &right[..right.len() / 2], &["cut off"])?;
    is_refused("trailing data", &[&right[..], b"more"].concat(), &["does not end as a bundle does"])?;
    let opened = Opened::new(lab, &bundle)?;
    let trailing = [&opened.tar()?[..], b"more"].concat();
    is_refused("trailing data, sealed", &sealed(&trailing)?, &["behind its end"])?;

    // An older package that Docker has signed, under the name of the newer; the manifest agrees.
    let engine = opened.path_of("/docker-ce_")?;
    let old = debs::version("docker-ce", &debs::GENERATIONS[0], identity);
    let mirror = mirror::ensure(lab.keys())?.join("good/linux").join(identity.family());
    let deb = mirror.join(format!(
        "dists/{}/pool/stable/amd64/docker-ce_{}_amd64.deb",
        identity.suite(),
        old.trim_start_matches("5:")
    ));
    let swapped = opened.copy()?;
    fs::remove_file(swapped.at(&engine)).context("removing the newer")?;
    fs::copy(&deb, swapped.at(&engine)).context("putting the older in its place")?;
    swapped.measure(&engine)?;
    is_refused("an older package", &sealed(&swapped.tar()?)?, &[&engine, "is not what its index lists"])?;

    // An index that somebody else has signed, of the same packages.
    let rogue = opened.copy()?;
    let index = opened.path_of("docker/dists/")?;
    ensure!(index.ends_with("InRelease"), "{index}");
    let theirs = mirror::ensure(lab.keys())?.join("rogue-key/linux").join(identity.family());
    fs::copy(theirs.join(format!("dists/{}/InRelease", identity.suite())), rogue.at(&index))
        .context("putting another index in its place")?;
    rogue.measure(&index)?;
    is_refused("another key", &sealed(&rogue.tar()?)?, &[&index, "not that of the pinned key"])?;

    // Manifests that lie.
    let lie = |change: &dyn Fn(&mut Value)| -> Result<Vec<u8>> {
        let lying = opened.copy()?;
        let mut manifest = lying.manifest()?;
        change(&mut manifest);
        sh::write(&lying.at("manifest.json"), serde_json::to_vec(&manifest)?)?;
        sealed(&lying.tar_of(&opened.names()?)?)
    };
    let last = opened.names()?.len() - 2;
    let file = |manifest: &mut Value, key: &str, value: Value| manifest["files"][last][key] = value;
    let zeros = "0".repeat(64);
    let bytes = lie(&|manifest| file(manifest, "sha256", zeros.clone().into()))?;
    is_refused("a digest that lies", &bytes, &["is not what the manifest says"])?;
    for path in ["../../../etc/cron.d/evil", "/etc/cron.d/evil"] {
        let bytes = lie(&|manifest| file(manifest, "path", path.into()))?;
        is_refused(path, &bytes, &[path, "leads elsewhere"])?;
    }
    let bytes = lie(&|manifest| file(manifest, "size", (100_u64 << 30).into()))?;
    is_refused("100 GB", &bytes, &["would unpack to 100 GiB"])?;
    let bytes = lie(&|manifest| manifest["indexes"][0]["suite"] = "sid".into())?;
    is_refused("another suite", &bytes, &["nobody is pinned for it"])?;
    let bytes = lie(&|manifest| manifest["indexes"] = Value::Array(Vec::new()))?;
    is_refused("no index", &bytes, &["listed in no index"])?;

    // A link in the place of a package.
    let linked = opened.copy()?;
    fs::remove_file(linked.at(&engine)).context("removing a package")?;
    symlink("/etc/shadow", linked.at(&engine)).context("linking elsewhere")?;
    is_refused("a link", &sealed(&linked.tar()?)?, &[&engine, "is no plain file"])?;

    // And the right one is still right.
    host.write(FILE, &right)?;
    host.run(VERIFY)?.ok().map(drop)
}

/// A bundle, unpacked on this machine's disk.
pub struct Opened<'l> {
    lab: &'l Lab,
    directory: PathBuf,
}

impl<'l> Opened<'l> {
    fn place(lab: &Lab) -> Result<PathBuf> {
        let parent = lab.dir().join("bundles");
        fs::create_dir_all(&parent).context("making a place for bundles")?;
        let directory = parent.join(fs::read_dir(&parent)?.count().to_string());
        fs::create_dir(&directory).context("making a place for a bundle").map(|()| directory)
    }

    pub fn new(lab: &'l Lab, bundle: &Path) -> Result<Opened<'l>> {
        let directory = Opened::place(lab)?;
        let script = "zstd -dcq \"$1\" | tar x -C \"$2\"";
        sh::run(&["sh", "-ec", script, "sh", &bundle.to_string_lossy(), &directory.to_string_lossy()])?;
        Ok(Opened { lab, directory })
    }

    pub fn copy(&self) -> Result<Opened<'l>> {
        let directory = Opened::place(self.lab)?;
        sh::run(&["cp", "-a", &format!("{}/.", self.directory.display()), &directory.to_string_lossy()])?;
        Ok(Opened { lab: self.lab, directory })
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    pub fn manifest(&self) -> Result<Value> {
        serde_json::from_slice(&fs::read(self.at("manifest.json"))?).context("reading the manifest")
    }

    /// The files in their order, the manifest first.
    fn names(&self) -> Result<Vec<String>> {
        let manifest = self.manifest()?;
        let files = manifest["files"].as_array().context("a manifest without files")?;
        let paths = files.iter().filter_map(|file| file["path"].as_str()).map(str::to_owned);
        Ok(std::iter::once("manifest.json".to_owned()).chain(paths).collect())
    }

    pub fn path_of(&self, part: &str) -> Result<String> {
        self.names()?
            .into_iter()
            .find(|name| name.contains(part))
            .with_context(|| format!("there is no {part}"))
    }

    /// Makes the manifest agree with a file.
    pub fn measure(&self, path: &str) -> Result<()> {
        let bytes = fs::read(self.at(path)).context("measuring a file")?;
        let mut manifest = self.manifest()?;
        for file in manifest["files"].as_array_mut().context("a manifest without files")? {
            if file["path"] == path {
                file["size"] = bytes.len().into();
                file["sha256"] = cache::sha256(&bytes).into();
            }
        }
        sh::write(&self.at("manifest.json"), serde_json::to_vec(&manifest)?)
    }

    /// Makes an index of rpms that nobody signs agree with a package, down to its own digests.
    pub fn relist(&self, path: &str, index: &str) -> Result<()> {
        let list = {
            let directory = index.trim_end_matches("repomd.xml");
            let is_list = |name: &String| name.starts_with(directory) && name.contains("primary.xml");
            self.names()?.into_iter().find(is_list).context("there is no list of packages")?
        };
        let href = path.split_once("/").map(|(_, href)| href).unwrap_or_default();
        let script = "set -eu; list=$1 index=$2 package=$3 href=$4
            xml=$(mktemp); zcat \"$list\" > \"$xml\"
            old=$(awk -v h=\"$href\" '/<checksum type=\"sha256\" pkgid/ { split($0, a, /[<>]/); sum = a[3] }
                                     index($0, \"href=\\\"\" h \"\\\"\") { print sum; exit }' \"$xml\")
            new=$(sha256sum < \"$package\" | cut -d' ' -f1); size=$(stat -c %s \"$package\")
            awk -v old=\"$old\" -v new=\"$new\" -v size=\"$size\" '
                index($0, old) { sub(old, new); ours = 1 }
                ours && /<size package=/ { sub(/package=\"[0-9]*\"/, \"package=\\\"\" size \"\\\"\"); ours = 0 }
                { print }' \"$xml\" > \"$xml.new\"
            before=$(sha256sum < \"$list\" | cut -d' ' -f1)
            gzip -nc \"$xml.new\" > \"$list\"; rm \"$xml\" \"$xml.new\"
            after=$(sha256sum < \"$list\" | cut -d' ' -f1)
            sed -i \"/<checksum/s/$before/$after/\" \"$index\"";
        let at = |path: &str| self.at(path).to_string_lossy().into_owned();
        sh::run(&["sh", "-c", script, "sh", &at(&list), &at(index), &at(path), href])?;
        self.measure(&list)?;
        self.measure(index)
    }

    pub fn tar(&self) -> Result<Vec<u8>> {
        self.tar_of(&self.names()?)
    }

    fn tar_of(&self, names: &[String]) -> Result<Vec<u8>> {
        let file = self.directory.with_extension("tar");
        let (list, at) = (self.directory.with_extension("list"), self.directory.to_string_lossy());
        sh::write(&list, names.join("\n"))?;
        let (list, out) = (list.to_string_lossy(), file.to_string_lossy());
        sh::run(&["tar", "-c", "--format=ustar", "-b1", "-C", &at, "-T", &list, "-f", &out])?;
        fs::read(&file).context("reading a tar")
    }
}

/// Compressed, with the digest of that behind it: whoever tampers can do as much.
pub fn sealed(tar: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut zstd =
        Command::new("zstd").args(["-qc", "-1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut into = zstd.stdin.take().context("no pipe to zstd")?;
    let frame = std::thread::scope(|scope| {
        scope.spawn(move || into.write_all(tar));
        zstd.wait_with_output()
    })?;
    let digest = Sha256::digest(&frame.stdout);
    Ok([&frame.stdout[..], &0x184D_2A50_u32.to_le_bytes(), &32_u32.to_le_bytes(), &digest].concat())
}
