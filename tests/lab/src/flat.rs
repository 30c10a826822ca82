//! Lays a vendor's flat repositories, of debs and of rpms, once as they should be and once for each thing that can be
//! wrong with them.

use crate::keys::{Key, Signer};
use crate::mirror::{Variant, cut, flip};
use crate::release::{self, Release};
use crate::{rpm, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The variants that there are of a flat repository; the others are 404.
pub const VARIANTS: [Variant; 14] = [
    Variant::Good,
    Variant::NoSuite,
    Variant::TruncatedIndex,
    Variant::TruncatedDeb,
    Variant::MidSync,
    Variant::RogueKey,
    Variant::ExpiredKey,
    Variant::TamperedInRelease,
    Variant::TamperedPackages,
    Variant::TamperedDeb,
    Variant::Older,
    Variant::Newer,
    Variant::Future,
    Variant::OnlyOld,
];

/// A repository: its packages lie beside its index.
pub struct Flat<'a> {
    /// Directories of packages, a generation each, oldest first. The last is in `Newer` only.
    pub generations: &'a [PathBuf],
    /// The package that is cut or altered, where one is.
    pub victim: &'a str,
    pub origin: &'a str,
    pub label: &'a str,
    pub keys: &'a [Key],
    pub date: i64,
    /// Done to a directory of rpms of so many generations when its index is written, and before that is signed.
    pub indexed: &'a dyn Fn(&Path, usize) -> Result<()>,
}

impl Flat<'_> {
    /// How many of the generations a variant has.
    fn count(&self, variant: Variant) -> usize {
        match variant {
            Variant::OnlyOld => 1,
            Variant::Older => (self.generations.len() - 2).max(1),
            Variant::Newer => self.generations.len(),
            _ => self.generations.len() - 1,
        }
    }

    fn signers(&self, variant: Variant) -> Vec<Key> {
        match variant {
            Variant::RogueKey => vec![Key::Rogue],
            Variant::ExpiredKey => vec![Key::Expired],
            _ => self.keys.to_vec(),
        }
    }

    /// Links the packages of so many generations into a directory.
    fn link(&self, count: usize, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).context("making a repository")?;
        for file in self.generations[..count].iter().map(|from| files(from)) {
            for file in file? {
                let name = file.file_name().unwrap_or_default();
                fs::hard_link(&file, dir.join(name))
                    .with_context(|| format!("linking {}", file.display()))?;
            }
        }
        Ok(())
    }

    /// The newest of the package that is to suffer: a copy, for the others are links.
    fn victim(&self, dir: &Path) -> Result<PathBuf> {
        let mut found: Vec<PathBuf> = files(dir)?;
        found.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rest = name.strip_prefix(self.victim).unwrap_or_default();
            rest.trim_start_matches(['_', '-']).starts_with(|c: char| c.is_ascii_digit())
        });
        let victim = found.pop().with_context(|| format!("there is no {}", self.victim))?;
        let bytes = fs::read(&victim).context("reading a package")?;
        fs::remove_file(&victim).context("unlinking a package")?;
        sh::write(&victim, bytes)?;
        Ok(victim)
    }

    /// A flat suite of debs: Packages, Release, InRelease and Release.gpg beside the packages.
    pub fn debs(&self, variant: Variant, dir: &Path, signer: &Signer) -> Result<()> {
        let count = self.count(variant);
        self.link(count, dir)?;
        if variant == Variant::NoSuite {
            return Ok(());
        }
        let all = index(dir)?;
        release::packages(dir, &all)?;
        let about = Release {
            origin: self.origin,
            label: self.label,
            suite: "",
            components: "",
            date: variant.date(self.date),
            valid_until: None,
        };
        release::write_by(dir, &about, &self.signers(variant), signer)?;
        let indexes = ["Packages", "Packages.gz", "Packages.bz2"].map(|name| dir.join(name));
        match variant {
            Variant::MidSync => {
                let half: Vec<&str> = all.split_inclusive("\n\n").collect();
                release::packages(dir, &half[..half.len() / 2].concat())?;
            }
            Variant::TruncatedIndex => indexes.iter().try_for_each(|path| cut(path))?,
            Variant::TamperedPackages => indexes.iter().try_for_each(|path| flip(path))?,
            Variant::TamperedInRelease => {
                for name in ["InRelease", "Release"] {
                    let path = dir.join(name);
                    sh::write(&path, sh::read(&path)?.replacen("Label: NVIDIA", "Label: NVDIIA", 1))?;
                }
            }
            Variant::TamperedDeb => flip(&self.victim(dir)?)?,
            Variant::TruncatedDeb => cut(&self.victim(dir)?)?,
            _ => {}
        }
        self.touch(variant, dir)
    }

    /// Packages and `repodata` beside them; signed where `signs`, or else the packages are, by their own key.
    pub fn rpms(&self, variant: Variant, dir: &Path, signs: bool, signer: &Signer) -> Result<()> {
        self.link(self.count(variant), dir)?;
        if variant == Variant::NoSuite {
            return Ok(());
        }
        if !signs && [Variant::RogueKey, Variant::ExpiredKey].contains(&variant) {
            // Signed once more: copies, for the others are links.
            let own = dir.join("own");
            fs::create_dir(&own).context("making a place for copies")?;
            for file in rpm::list(dir)? {
                let to = own.join(file.file_name().unwrap_or_default());
                fs::copy(&file, &to).context("copying a package")?;
                fs::rename(&to, &file).context("taking a copy")?;
            }
            fs::remove_dir(&own).context("removing a place for copies")?;
            let argv: Vec<String> =
                rpm::list(dir)?.iter().map(|f| f.to_string_lossy().into_owned()).collect();
            let mut delete = vec!["rpmsign", "--delsign"];
            delete.extend(argv.iter().map(String::as_str));
            sh::run(&delete)?;
            rpm::sign(&rpm::list(dir)?, self.signers(variant)[0], signer)?;
        }
        rpm::index(dir, variant.date(self.date))?;
        (self.indexed)(dir, self.count(variant))?;
        let data = dir.join("repodata");
        let repomd = data.join("repomd.xml");
        if signs {
            signer.detached(&self.signers(variant), &repomd, &data.join("repomd.xml.asc"))?;
        }
        let mut indexes = files(&data)?;
        indexes.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
        match variant {
            Variant::TruncatedIndex => indexes.iter().try_for_each(|path| cut(path))?,
            Variant::TamperedPackages => indexes.iter().try_for_each(|path| flip(path))?,
            Variant::MidSync => {
                indexes.iter().try_for_each(|path| fs::remove_file(path).context("removing an index"))?;
            }
            Variant::TamperedInRelease => {
                let text = sh::read(&repomd)?;
                sh::write(&repomd, text.replacen("<revision>", "<revision>9", 1))?;
            }
            Variant::TamperedDeb => flip(&self.victim(dir)?)?,
            Variant::TruncatedDeb => cut(&self.victim(dir)?)?,
            _ => {}
        }
        Ok(())
    }

    /// Each variant's files have a time of their own, or "not modified" would be the answer after a switch.
    fn touch(&self, variant: Variant, dir: &Path) -> Result<()> {
        let place = VARIANTS.iter().position(|other| *other == variant).unwrap_or_default();
        let time = format!("@{}", variant.date(self.date) + place as i64);
        for name in ["Packages", "Packages.gz", "Packages.bz2", "Release", "InRelease", "Release.gpg"] {
            sh::run(&["touch", "-d", &time, &dir.join(name).to_string_lossy()])?;
        }
        Ok(())
    }
}

/// The stanzas of the debs in a directory, as `./NAME.deb`.
fn index(dir: &Path) -> Result<String> {
    let quick = ["-o", "APT::FTPArchive::SHA1=false", "-o", "APT::FTPArchive::MD5=false"];
    let mut argv = vec!["apt-ftparchive"];
    argv.extend(quick);
    argv.extend(["packages", "."]);
    sh::run_in(dir, &argv)
}

/// The files of a directory, by name.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}
