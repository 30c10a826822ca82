//! Every profile there is: those in the binary, those of this host's administrator, and the one for this host.

use super::document::{Document, nearest};
use super::form::{Profile, Repository};
use crate::error::{Error, Result};
use crate::facts::{Distribution, Facts};
use crate::host::{Look, trusted};
use include_dir::{Dir, include_dir};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The data that is shipped: profiles, the families that they extend, and the keys that they name.
static SHIPPED: Dir = include_dir!("$CARGO_MANIFEST_DIR/profiles");

/// Where the administrator's own profiles are, in the layout of `profiles/`.
pub const SITE: &str = "/etc/rprov/profiles";

/// Where a profile comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is part of this build.
    Shipped,
    /// It is a file on this host.
    Site(PathBuf),
}

/// A profile and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub profile: Profile,
    pub origin: Origin,
}

/// All profiles by name, with their families and keys; a site's file replaces a shipped one of the same name.
#[derive(Clone, Debug, Default)]
pub struct Library {
    profiles: BTreeMap<String, Listed>,
    families: BTreeMap<String, Document>,
    keys: BTreeMap<String, Vec<u8>>,
}

impl Library {
    /// The shipped profiles alone.
    pub fn shipped() -> Result<Library> {
        Shelf::shipped()?.library()
    }

    /// The shipped profiles, and those of `/etc/rprov/profiles` over them.
    ///
    /// A file that somebody other than root could have written is refused (exit 4), and so is one that is wrong
    /// (exit 2): leaving it out would silently choose another profile.
    pub fn load(host: &dyn Look) -> Result<Library> {
        let mut shelf = Shelf::shipped()?;
        shelf.add_site(host)?;
        shelf.library()
    }

    /// Every profile, by name.
    pub fn list(&self) -> impl Iterator<Item = &Listed> {
        self.profiles.values()
    }

    /// The profile of this name.
    pub fn get(&self, name: &str) -> Result<&Listed> {
        self.profiles.get(name).ok_or_else(|| {
            let error = Error::usage(format!("there is no profile `{name}`"));
            match nearest(name, self.profiles.keys().map(String::as_str)) {
                Some(meant) => error.hint(format!("rprov profile show {meant}")),
                None => error.hint("rprov profile list"),
            }
        })
    }

    /// The certificate file of this name.
    pub fn key(&self, name: &str) -> Option<&[u8]> {
        self.keys.get(name).map(Vec::as_slice)
    }

    /// Reads a profile as if it were in the library; what is wrong is exit 2, with file, line and column.
    pub fn check(&self, file: &Path, text: &str) -> Result<Profile> {
        let document = Document::new(file.display().to_string(), text);
        self.compile(name_of(file), &document)
    }

    fn compile(&self, name: &str, document: &Document) -> Result<Profile> {
        let profile =
            self.parse(document).and_then(|profile| self.agrees(document, &profile).map(|()| profile));
        let mut profile = profile.map_err(|error| match error.next() {
            Some(_) => error,
            None => error.hint(format!("rprov profile check {}", document.file)),
        })?;
        profile.name = name.to_owned();
        Ok(profile)
    }

    fn parse(&self, document: &Document) -> Result<Profile> {
        let Some(base) = document.text_at("extends") else { return document.read() };
        match self.families.get(&base) {
            Some(family) => document.read_over(family),
            None => {
                let known =
                    self.families.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let reason = format!("there is no family `{base}`, expected one of {known}");
                Err(document.wrong_at(&["extends"], reason))
            }
        }
    }

    /// What one section says has to be there in another, or beside the file.
    fn agrees(&self, document: &Document, profile: &Profile) -> Result<()> {
        let Repository::Apt(apt) = &profile.repository;
        if !self.keys.contains_key(&apt.key.name) {
            let reason = format!("there is no key `{}` in `keys/` beside the profiles", apt.key.name);
            return Err(document.wrong_at(&["repository", "apt", "key", "name"], reason));
        }
        if !apt.channels.contains(&apt.channel) {
            let reason = format!("the channel `{}` is none of `channels`", apt.channel);
            return Err(document.wrong_at(&["repository", "apt", "channel"], reason));
        }
        if !profile.units.start.contains(&profile.units.engine) {
            let reason = format!("the engine's unit `{}` is none of `start`", profile.units.engine);
            return Err(document.wrong_at(&["units", "engine"], reason));
        }
        Ok(())
    }
}

/// The files of all profiles before they are read: families and keys first, since a profile needs them.
struct Shelf {
    profiles: BTreeMap<String, (Origin, Document)>,
    families: BTreeMap<String, Document>,
    keys: BTreeMap<String, Vec<u8>>,
}

impl Shelf {
    fn shipped() -> Result<Shelf> {
        let mut shelf = Shelf { profiles: BTreeMap::new(), families: BTreeMap::new(), keys: BTreeMap::new() };
        let below = |name: &str| SHIPPED.get_dir(name).into_iter().flat_map(|dir| dir.files());
        for file in below("keys").chain(below("family")).chain(SHIPPED.files()) {
            let path = Path::new("profiles").join(file.path());
            shelf.add(&path, file.contents(), Origin::Shipped)?;
        }
        Ok(shelf)
    }

    fn add_site(&mut self, host: &dyn Look) -> Result<()> {
        for directory in ["keys", "family", ""] {
            let directory = Path::new(SITE).join(directory);
            for name in host.list(&directory)? {
                let path = directory.join(name);
                let wanted = path.extension().is_some_and(|e| e == "toml") || directory.ends_with("keys");
                if !wanted {
                    continue;
                }
                trusted(host, &path)?;
                if let Some(bytes) = host.read(&path)? {
                    self.add(&path, &bytes, Origin::Site(path.clone()))?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, bytes: &[u8], origin: Origin) -> Result<()> {
        let directory = path.parent().and_then(Path::file_name).unwrap_or_default();
        if directory == "keys" {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.keys.insert(name, bytes.to_vec());
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::str::from_utf8(bytes).map_err(|e| {
                Error::usage(format!("cannot use `{}`", path.display()))
                    .because(format!("it is not UTF-8: {e}"))
            })?;
            let document = Document::new(path.display().to_string(), text);
            let name = name_of(path).to_owned();
            if directory == "family" {
                self.families.insert(name, document);
            } else {
                self.profiles.insert(name, (origin, document));
            }
        }
        Ok(())
    }

    fn library(self) -> Result<Library> {
        let mut library = Library { profiles: BTreeMap::new(), families: self.families, keys: self.keys };
        for (name, (origin, document)) in self.profiles {
            let profile = library.compile(&name, &document)?;
            library.profiles.insert(name, Listed { profile, origin });
        }
        Ok(library)
    }
}

fn name_of(path: &Path) -> &str {
    path.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The profile for this host. A host that no profile is for is refused (exit 4), with the nearest that works.
///
/// A site's profile goes before a shipped one; two of the same kind for one host are a mistake (exit 2).
pub fn choose(facts: &Facts, library: &Library) -> Result<Profile> {
    let here = |listed: &&Listed| listed.profile.matches.distribution(&facts.distribution);
    let for_this: Vec<&Listed> = library.list().filter(here).collect();
    let site: Vec<&Listed> = for_this.iter().copied().filter(|l| l.origin != Origin::Shipped).collect();
    let runs = |listed: &&&Listed| listed.profile.matches.architectures.contains(&facts.architecture);
    let best = if site.is_empty() { &for_this } else { &site };
    let fitting: Vec<&&Listed> = best.iter().filter(runs).collect();
    match (fitting.as_slice(), best.as_slice()) {
        ([only], _) => Ok(only.profile.clone()),
        ([first, second, ..], _) => Err(Error::usage(format!(
            "cannot choose between the profiles `{}` and `{}`",
            first.profile.name, second.profile.name
        ))
        .because("both are for this host")
        .hint("rprov profile list")),
        ([], [other, ..]) => Err(unsupported(facts).because(format!(
            "`{}` is for {}",
            other.profile.name,
            other.profile.matches.architectures.join(" and ")
        ))),
        ([], []) => Err(match nearest_profile(&facts.distribution, library) {
            Some(near) => unsupported(facts)
                .because(format!("no profile is for it; the nearest is `{}` ({})", near.name, near.title)),
            None => unsupported(facts).because("no profile is for it, nor for anything near it"),
        }),
    }
}

fn unsupported(facts: &Facts) -> Error {
    let Distribution { id, version_id, name, .. } = &facts.distribution;
    let version = version_id.as_deref().unwrap_or("without a version");
    Error::refused(format!("{name} (`{id}` {version}) on {} is not supported", facts.architecture)).hint(format!(
        "`rprov profile list` shows what is; a profile of your own goes to `{SITE}`, see profiles/README.md"
    ))
}

/// What works and is nearest: the release whose archive this one builds on, else the newest one of the same
/// distribution that is not newer than this, else its oldest, else the newest of what it says that it is like.
fn nearest_profile<'l>(host: &Distribution, library: &'l Library) -> Option<&'l Profile> {
    let base = [&host.ubuntu_codename, &host.debian_codename].into_iter().flatten().next();
    let suite = |profile: &Profile| match &profile.repository {
        Repository::Apt(apt) => apt.suite.clone(),
    };
    if let Some(found) = base.and_then(|base| library.list().find(|l| suite(&l.profile) == *base)) {
        return Some(&found.profile);
    }
    let of = |id: &str| {
        let mut releases: Vec<&Profile> =
            library.list().map(|l| &l.profile).filter(|p| p.matches.id == id).collect();
        releases.sort_by_key(|profile| numbers(profile.matches.version.as_deref().unwrap_or_default()));
        releases
    };
    let own = of(&host.id);
    let version = numbers(host.version_id.as_deref().unwrap_or("9999"));
    let not_newer = |p: &&&Profile| numbers(p.matches.version.as_deref().unwrap_or_default()) <= version;
    own.iter()
        .rfind(not_newer)
        .or(own.first())
        .copied()
        .or_else(|| host.id_like.iter().find_map(|id| of(id).last().copied()))
}

/// `24.04` as numbers, for comparison.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}
