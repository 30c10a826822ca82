//! Lays the rpm side of Docker's mirror, once as it should be and once for each thing that can be wrong with it.

use crate::debs::GENERATIONS;
use crate::docker_rpms::{self, TARGETS, Target};
use crate::keys::{Key, Keys, Signer};
use crate::mirror::{Variant, cut, flip};
use crate::{cache, release, rpm, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The directories that upstream has for clones: without an engine in them.
const WITHOUT_ENGINE: [(&str, &str); 2] = [("rocky/9", "el9"), ("alma/9", "el9")];

/// The mirror's trees, as `VARIANT/linux/rhel/9/x86_64/stable/...`.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let rpms = docker_rpms::ensure()?;
    let parts = [
        include_str!("rpm_mirror.rs"),
        include_str!("rpm.rs"),
        include_str!("mirror.rs"),
        &rpms.to_string_lossy(),
        &keys.hash()?,
    ];
    cache::ensure("mirror-rpm", &parts, |dir| build(dir, &rpms, keys))
}

/// How a variant's packages differ from the good ones; nothing where there are none.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    /// All signed by Docker's stand-in, of so many generations.
    Good(usize),
    /// The newest good generation, all signed by another key.
    By(Key),
    /// The same by Docker's stand-in, but for its docker-ce, which nobody or another has signed.
    Unsigned,
    RogueOne,
    /// As many bytes in the payload of docker-ce, but others, and the index says so.
    Tampered,
}

impl Set {
    fn of(variant: Variant) -> Option<Set> {
        match variant {
            Variant::NotFound | Variant::Unavailable | Variant::Hang | Variant::Refused => None,
            // An rpm index is not dated by a signature: there is nothing that could be past its time.
            Variant::Expired | Variant::Future => None,
            Variant::Older | Variant::OnlyOld => Some(Set::Good(1)),
            Variant::Newer => Some(Set::Good(3)),
            Variant::RogueKey => Some(Set::By(Key::Rogue)),
            Variant::ExpiredKey => Some(Set::By(Key::Expired)),
            Variant::UnsignedRpm => Some(Set::Unsigned),
            Variant::RogueRpm => Some(Set::RogueOne),
            Variant::TamperedRpm => Some(Set::Tampered),
            _ => Some(Set::Good(2)),
        }
    }

    fn name(self) -> String {
        match self {
            Set::Good(n) => format!("good-{n}"),
            Set::By(key) => format!("by-{key:?}"),
            Set::Unsigned => "unsigned".to_string(),
            Set::RogueOne => "rogue-one".to_string(),
            Set::Tampered => "tampered".to_string(),
        }
    }
}

fn build(dir: &Path, rpms: &Path, keys: &Keys) -> Result<()> {
    println!("lab: laying the mirror's rpms");
    let signer = keys.signer()?;
    let date = release::now() - 300;
    for target in &TARGETS {
        let sets = dir.join("sets").join(target.tag);
        sign_all(&rpms.join(target.tag), &sets.join("signed"), Key::DockerRpm, &signer)?;
        let mut made = Vec::new();
        for variant in Variant::ALL {
            let Some(set) = Set::of(variant) else { continue };
            let at = sets.join(set.name());
            if !made.contains(&set) {
                lay_set(set, &rpms.join(target.tag), &sets.join("signed"), &at, &signer)?;
                rpm::index(&at, date - 3600 * 24 * 30 + variant_age(set))?;
                made.push(set);
            }
            for directory in target.dirs {
                let linux = dir.join(variant.name()).join("linux");
                lay(variant, &at, &linux.join(directory), keys, date)?;
            }
            for (directory, _) in WITHOUT_ENGINE.iter().filter(|(_, tag)| *tag == target.tag) {
                let linux = dir.join(variant.name()).join("linux");
                if variant == Variant::Good {
                    lay_without_engine(&at, &linux.join(directory), date)?;
                }
            }
        }
    }
    Ok(())
}

/// Indexes with more in them are newer.
fn variant_age(set: Set) -> i64 {
    match set {
        Set::Good(n) => n as i64 * 24 * 3600,
        _ => 2 * 24 * 3600,
    }
}

/// Signs a copy of all generations.
fn sign_all(from: &Path, to: &Path, key: Key, signer: &Signer) -> Result<()> {
    fs::create_dir_all(to).context("making a set of packages")?;
    for n in 0..GENERATIONS.len() {
        let at = to.join(n.to_string());
        sh::run(&["cp", "-a", &from.join(n.to_string()).to_string_lossy(), &at.to_string_lossy()])?;
        rpm::sign(&rpm::list(&at)?, key, signer)?;
    }
    Ok(())
}

fn lay_set(set: Set, plain: &Path, signed: &Path, at: &Path, signer: &Signer) -> Result<()> {
    let packages = at.join("Packages");
    fs::create_dir_all(&packages).context("making a set of packages")?;
    let newest = (GENERATIONS.len() - 2).to_string();
    let link = |from: &Path| -> Result<()> {
        for file in rpm::list(from)? {
            let name = file.file_name().unwrap_or_default().to_os_string();
            fs::hard_link(&file, packages.join(name)).context("linking a package")?;
        }
        Ok(())
    };
    if let Set::Good(n) = set {
        return (0..n).try_for_each(|n| link(&signed.join(n.to_string())));
    }
    if let Set::By(key) = set {
        let from = plain.join(&newest);
        sh::run(&["cp", "-a", &format!("{}/.", from.display()), &packages.to_string_lossy()])?;
        return rpm::sign(&rpm::list(&packages)?, key, signer);
    }
    link(&signed.join(&newest))?;
    let engine = docker_ce(&packages)?;
    let name = engine.file_name().unwrap_or_default().to_os_string();
    fs::remove_file(&engine).context("unlinking a package")?;
    let from = if set == Set::Tampered { signed } else { plain }.join(&newest).join(name);
    fs::copy(&from, &engine).context("copying a package")?;
    match set {
        Set::RogueOne => rpm::sign(&[engine], Key::Rogue, signer),
        Set::Tampered => flip(&engine),
        _ => Ok(()),
    }
}

/// The newest docker-ce among the packages of a variant that has two generations.
fn docker_ce(packages: &Path) -> Result<PathBuf> {
    let newest = format!("docker-ce-{}-", GENERATIONS[GENERATIONS.len() - 2].engine);
    let mut files = rpm::list(packages)?.into_iter();
    files
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&newest)))
        .context("there is no docker-ce among the packages")
}

/// One directory of a variant: `stable`, an empty `test`, and upstream's key and .repo file beside them.
fn lay(variant: Variant, set: &Path, directory: &Path, keys: &Keys, date: i64) -> Result<()> {
    let family = directory.parent().context("a directory of the mirror has no parent")?;
    fs::create_dir_all(family).context("making a mirror's directory")?;
    let key = if variant == Variant::RogueKey { Key::Rogue } else { Key::DockerRpm };
    fs::copy(keys.public(key), family.join("gpg")).context("serving the key")?;
    let name = family.file_name().unwrap_or_default().to_string_lossy();
    sh::write(&family.join("docker-ce.repo"), repo_file(&name))?;
    if variant == Variant::NoSuite {
        return Ok(());
    }
    let stable = directory.join("x86_64/stable");
    fs::create_dir_all(&stable).context("making a repository")?;
    let from = |part: &str| set.join(part).to_string_lossy().into_owned();
    let to = |part: &str| stable.join(part).to_string_lossy().into_owned();
    sh::run(&["cp", "-al", &from("Packages"), &to("Packages")])?;
    sh::run(&["cp", "-a", &from("repodata"), &to("repodata")])?;
    rpm::index(&directory.join("x86_64/test"), date)?;
    spoil(variant, &stable, set)
}

fn spoil(variant: Variant, stable: &Path, set: &Path) -> Result<()> {
    let indexes = || -> Result<Vec<PathBuf>> {
        let listed = fs::read_dir(stable.join("repodata")).context("listing the indexes")?;
        let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
        Ok(paths)
    };
    match variant {
        Variant::TruncatedIndex => indexes()?.iter().try_for_each(|path| cut(path)),
        Variant::TamperedPackages => indexes()?.iter().try_for_each(|path| flip(path)),
        // Of the index that lists two generations only its head is there yet, or still.
        Variant::MidSync => {
            indexes()?.iter().try_for_each(|path| fs::remove_file(path).context("removing an index"))
        }
        Variant::TamperedInRelease => {
            let path = stable.join("repodata/repomd.xml");
            let text = sh::read(&path)?;
            let at = text.find("<checksum type=\"sha256\">").context("repomd.xml has no checksum")? + 24;
            let digit = if text[at..].starts_with('0') { "1" } else { "0" };
            sh::write(&path, format!("{}{digit}{}", &text[..at], &text[at + 1..]))
        }
        Variant::TamperedDeb | Variant::TruncatedDeb => {
            let path = docker_ce(&stable.join("Packages"))?;
            let name = path.file_name().unwrap_or_default().to_os_string();
            fs::remove_file(&path).context("unlinking a package")?;
            fs::copy(set.join("Packages").join(name), &path).context("copying a package")?;
            if variant == Variant::TamperedDeb { flip(&path) } else { cut(&path) }
        }
        _ => Ok(()),
    }
}

/// What there is for clones: containerd.io and the plugins, as seen upstream in 2026.
fn lay_without_engine(set: &Path, directory: &Path, date: i64) -> Result<()> {
    let stable = directory.join("x86_64/stable");
    let packages = stable.join("Packages");
    fs::create_dir_all(&packages).context("making a repository")?;
    for file in rpm::list(&set.join("Packages"))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("docker-ce") {
            fs::hard_link(&file, packages.join(name)).context("linking a package")?;
        }
    }
    rpm::index(&stable, date)
}

/// Upstream's own .repo file, less the sections for sources and debugging.
fn repo_file(family: &str) -> String {
    let section = |channel: &str, enabled: u8| {
        let title = if channel == "stable" { "Stable" } else { "Test" };
        format!(
            "[docker-ce-{channel}]\nname=Docker CE {title} - $basearch\n\
             baseurl=https://download.docker.com/linux/{family}/$releasever/$basearch/{channel}\n\
             enabled={enabled}\ngpgcheck=1\ngpgkey=https://download.docker.com/linux/{family}/gpg\n"
        )
    };
    format!("{}\n{}", section("stable", 1), section("test", 0))
}

/// The tag of a directory of the mirror: `rhel/9` has `el9`.
pub fn tag(directory: &str) -> Option<&'static str> {
    let target: Option<&Target> = TARGETS.iter().find(|target| target.dirs.contains(&directory));
    target.map(|target| target.tag)
}
