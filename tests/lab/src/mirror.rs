//! Lays Docker's mirror, once as it should be and once for each thing that can be wrong with it.

use crate::base::Base;
use crate::debs::{self, GENERATIONS};
use crate::identity::Identity;
use crate::keys::{Key, Keys, Signer};
use crate::release::{self, Release};
use crate::{cache, sh};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const DAY: i64 = 24 * 3600;

/// What a mirror serves. Each has an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Good,
    /// Everything is 404.
    NotFound,
    /// The directory is there, the suite is not.
    NoSuite,
    /// Everything is 503.
    Unavailable,
    /// The packages' indexes end in the middle.
    TruncatedIndex,
    /// The newest docker-ce ends in the middle.
    TruncatedDeb,
    /// Accepts, and never answers.
    Hang,
    /// Nobody listens.
    Refused,
    /// A new InRelease over the old Packages.
    MidSync,
    /// Signed by somebody else, whose key is also the one that is served.
    RogueKey,
    /// Signed by a key that has expired: `host.pin(Key::Expired)` makes it the pinned one.
    ExpiredKey,
    TamperedInRelease,
    TamperedPackages,
    /// The newest docker-ce has as many bytes, but others.
    TamperedDeb,
    /// Validly signed a month before `Good`, with older packages only.
    Older,
    /// Validly signed a day after `Good`, with a newer generation.
    Newer,
    /// Dated in ten years.
    Future,
    /// Past its Valid-Until.
    Expired,
    /// Validly signed a day before `Good`, with the oldest generation only.
    OnlyOld,
    /// Of rpms: nobody has signed the newest docker-ce.
    UnsignedRpm,
    /// Of rpms: somebody else has signed the newest docker-ce.
    RogueRpm,
    /// Of rpms: the newest docker-ce has other bytes, and the index lists just those.
    TamperedRpm,
}

impl Variant {
    pub const ALL: [Variant; 22] = [
        Variant::Good,
        Variant::NotFound,
        Variant::NoSuite,
        Variant::Unavailable,
        Variant::TruncatedIndex,
        Variant::TruncatedDeb,
        Variant::Hang,
        Variant::Refused,
        Variant::MidSync,
        Variant::RogueKey,
        Variant::ExpiredKey,
        Variant::TamperedInRelease,
        Variant::TamperedPackages,
        Variant::TamperedDeb,
        Variant::Older,
        Variant::Newer,
        Variant::Future,
        Variant::Expired,
        Variant::OnlyOld,
        Variant::UnsignedRpm,
        Variant::RogueRpm,
        Variant::TamperedRpm,
    ];

    /// Whether it is a matter of rpms only.
    pub fn of_rpms_only(self) -> bool {
        matches!(self, Variant::UnsignedRpm | Variant::RogueRpm | Variant::TamperedRpm)
    }

    pub fn name(self) -> &'static str {
        match self {
            Variant::Good => "good",
            Variant::NotFound => "404",
            Variant::NoSuite => "no-suite",
            Variant::Unavailable => "503",
            Variant::TruncatedIndex => "truncated-index",
            Variant::TruncatedDeb => "truncated-deb",
            Variant::Hang => "hang",
            Variant::Refused => "refused",
            Variant::MidSync => "mid-sync",
            Variant::RogueKey => "rogue-key",
            Variant::ExpiredKey => "expired-key",
            Variant::TamperedInRelease => "tampered-inrelease",
            Variant::TamperedPackages => "tampered-packages",
            Variant::TamperedDeb => "tampered-deb",
            Variant::Older => "older",
            Variant::Newer => "newer",
            Variant::Future => "future",
            Variant::Expired => "expired",
            Variant::OnlyOld => "only-old",
            Variant::UnsignedRpm => "unsigned-rpm",
            Variant::RogueRpm => "rogue-rpm",
            Variant::TamperedRpm => "tampered-rpm",
        }
    }

    /// Whether there are debs behind it.
    fn has_tree(self) -> bool {
        !self.of_rpms_only()
            && !matches!(self, Variant::NotFound | Variant::Unavailable | Variant::Hang | Variant::Refused)
    }

    fn signer(self) -> Key {
        match self {
            Variant::RogueKey => Key::Rogue,
            Variant::ExpiredKey => Key::Expired,
            _ => Key::Docker,
        }
    }

    /// How many of the generations its indexes name.
    fn generations(self) -> usize {
        match self {
            Variant::Older | Variant::OnlyOld => 1,
            Variant::Newer => 3,
            _ => 2,
        }
    }

    /// When its index was made, beside that of the good one.
    pub fn date(self, good: i64) -> i64 {
        match self {
            Variant::Older => good - 30 * DAY,
            Variant::OnlyOld | Variant::Expired => good - DAY,
            Variant::Newer => good + 60,
            Variant::Future => good + 3650 * DAY,
            _ => good,
        }
    }
}

/// The mirror's trees, as `VARIANT/linux/ubuntu/dists/noble/...`.
pub fn ensure(keys: &Keys) -> Result<PathBuf> {
    let debs = [debs::ensure(Base::Bookworm)?, debs::ensure(Base::Trixie)?];
    let names: Vec<String> = debs.iter().map(|dir| dir.to_string_lossy().into_owned()).collect();
    let parts = [include_str!("mirror.rs"), include_str!("release.rs"), &names.concat(), &keys.hash()?];
    cache::ensure("mirror", &parts, |dir| build(dir, &debs, keys))
}

fn build(dir: &Path, debs: &[PathBuf; 2], keys: &Keys) -> Result<()> {
    println!("lab: laying the mirror");
    let signer = keys.signer()?;
    // Dated some minutes back: a clock that is a little behind is another scenario's matter.
    let date = release::now() - 300;
    for identity in Identity::SUPPORTED {
        let from = if identity.base() == Base::Bookworm { &debs[0] } else { &debs[1] };
        let pool = dir.join("pool").join(identity.suite());
        fs::create_dir_all(dir.join("pool")).context("making the pool")?;
        sh::run(&["cp", "-al", &from.join(identity.suite()).to_string_lossy(), &pool.to_string_lossy()])?;
        let index = index(dir, identity)?;
        for variant in Variant::ALL.into_iter().filter(|variant| variant.has_tree()) {
            let root = dir.join(variant.name()).join("linux").join(identity.family());
            fs::create_dir_all(&root).context("making a mirror's directory")?;
            let key = if variant == Variant::RogueKey { Key::Rogue } else { Key::Docker };
            fs::copy(keys.public(key), root.join("gpg")).context("serving the key")?;
            if variant != Variant::NoSuite {
                suite(
                    &root.join("dists").join(identity.suite()),
                    &pool,
                    &index,
                    variant,
                    identity,
                    date,
                    &signer,
                )
                .with_context(|| format!("laying {} for {}", variant.name(), identity.name()))?;
            }
        }
    }
    Ok(())
}

/// The stanzas of all packages of an identity, each with its generation's place.
fn index(dir: &Path, identity: Identity) -> Result<Vec<(usize, String)>> {
    let path = format!("pool/{}", identity.suite());
    let quick = ["-o", "APT::FTPArchive::SHA1=false", "-o", "APT::FTPArchive::MD5=false"];
    let mut argv = vec!["apt-ftparchive"];
    argv.extend(quick);
    argv.extend(["packages", &path]);
    let all = sh::run_in(dir, &argv)?;
    let served = format!("Filename: dists/{}/pool/stable/amd64/", identity.suite());
    let all = all.replace(&format!("Filename: {path}/"), &served);
    let field = |stanza: &str, name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_string()
    };
    all.split("\n\n")
        .filter(|stanza| !stanza.trim().is_empty())
        .map(|stanza| {
            let (package, version) = (field(stanza, "Package: "), field(stanza, "Version: "));
            let place = GENERATIONS.iter().position(|g| debs::version(&package, g, identity) == version);
            Ok((
                place.with_context(|| format!("{package} {version} is of no generation"))?,
                format!("{stanza}\n\n"),
            ))
        })
        .collect()
}

fn suite(
    dir: &Path,
    pool: &Path,
    index: &[(usize, String)],
    variant: Variant,
    identity: Identity,
    date: i64,
    signer: &Signer,
) -> Result<()> {
    let text = |generations: usize| -> String {
        index.iter().filter(|(place, _)| *place < generations).map(|(_, stanza)| stanza.as_str()).collect()
    };
    let indexes = dir.join("stable/binary-amd64");
    release::packages(&indexes, &text(variant.generations()))?;
    release::packages(&dir.join("test/binary-amd64"), "")?;
    let release = Release {
        origin: "Docker",
        label: "Docker CE",
        suite: identity.suite(),
        components: "stable test",
        date: variant.date(date),
        valid_until: (variant == Variant::Expired).then_some(date - 3600),
    };
    release::write(dir, &release, variant.signer(), signer)?;
    let files = ["Packages", "Packages.gz", "Packages.bz2"].map(|name| indexes.join(name));
    match variant {
        Variant::MidSync => release::packages(&indexes, &text(1))?,
        Variant::TruncatedIndex => files.iter().try_for_each(|path| cut(path))?,
        Variant::TamperedPackages => files.iter().try_for_each(|path| flip(path))?,
        Variant::TamperedInRelease => {
            for name in ["InRelease", "Release"] {
                let path = dir.join(name);
                sh::write(&path, sh::read(&path)?.replacen("Label: Docker CE", "Label: Docker EC", 1))?;
            }
        }
        _ => {}
    }
    // Each variant's files have a time of their own, or "not modified" would be the answer after a switch.
    let place = Variant::ALL.iter().position(|other| *other == variant).unwrap_or_default();
    let time = format!("@{}", variant.date(date) + place as i64);
    sh::run(&["find", &dir.to_string_lossy(), "-type", "f", "-exec", "touch", "-d", &time, "{}", "+"])?;
    let debs = dir.join("pool/stable/amd64");
    fs::create_dir_all(dir.join("pool/stable")).context("making the pool")?;
    sh::run(&["cp", "-al", &pool.to_string_lossy(), &debs.to_string_lossy()])?;
    if matches!(variant, Variant::TamperedDeb | Variant::TruncatedDeb) {
        let newest = &GENERATIONS[variant.generations() - 1];
        let version = debs::version("docker-ce", newest, identity);
        let deb = debs.join(format!("docker-ce_{}_amd64.deb", version.trim_start_matches("5:")));
        let bytes = fs::read(&deb).with_context(|| format!("reading {}", deb.display()))?;
        fs::remove_file(&deb).context("unlinking a package")?;
        sh::write(&deb, bytes)?;
        if variant == Variant::TamperedDeb { flip(&deb)? } else { cut(&deb)? }
    }
    Ok(())
}

/// Another byte in the middle; as many of them.
pub(crate) fn flip(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => bail!("{} is empty", path.display()),
    }
    sh::write(path, bytes)
}

/// The first half only.
pub(crate) fn cut(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    sh::write(path, &bytes[..bytes.len() / 2])
}
