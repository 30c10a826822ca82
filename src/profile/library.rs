//! Every profile there is: those in the binary, those of this host's administrator, and the one for this host.

use super::document::{Document, nearest};
use super::form::{Profile, Repository};
use crate::error::{Error, OrFail, Result};
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

impl Listed {
    /// The whole profile as TOML, with what it has from its family: it can be read again.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.profile).or_fail(|| format!("cannot write the profile `{}`", self.profile.name))
    }
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
        let mut profile = self.parse(document)?;
        self.agrees(document, &profile)?;
        profile.name = name.to_owned();
        Ok(profile)
    }

    fn parse(&self, document: &Document) -> Result<Profile> {
        let Some(base) = document.text_at("extends") else { return document.read() };
        match self.families.get(&base) {
            Some(family) if family.text_at("extends").is_some() => {
                Err(family.wrong_at(&["extends"], "a family extends nothing: there is one level"))
            }
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
            let profile = library.compile(&name, &document).map_err(|error| match error.next() {
                Some(_) => error,
                None => error.hint(format!("rprov profile check {}", document.file)),
            })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::facts::gather;
    use crate::host::Question;
    use crate::host::fake::FakeHost;
    use sequoia_openpgp::Cert;
    use sequoia_openpgp::parse::Parse;

    /// The facts of a host with this os-release.
    fn facts(os_release: &str, architecture: &str) -> Facts {
        let host = FakeHost::new()
            .file("/etc/os-release", os_release)
            .file("/usr/bin/dpkg", "")
            .answer(Question::DpkgArchitecture, architecture);
        gather(&host).expect("gathers")
    }

    fn host_with(name: &str, text: &str) -> FakeHost {
        FakeHost::new().file(format!("{SITE}/{name}"), text)
    }

    const NOBLE: &str = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\nNAME=Ubuntu\n";

    #[test]
    fn every_supported_release_has_its_profile_on_both_architectures() {
        let library = Library::shipped().expect("is right");
        let releases = [
            ("ubuntu", "22.04", "jammy"),
            ("ubuntu", "24.04", "noble"),
            ("ubuntu", "26.04", "resolute"),
            ("debian", "11", "bullseye"),
            ("debian", "12", "bookworm"),
            ("debian", "13", "trixie"),
        ];
        for (id, version, suite) in releases {
            for architecture in ["amd64", "arm64"] {
                let facts = facts(&format!("ID={id}\nVERSION_ID=\"{version}\"\n"), architecture);
                let profile = choose(&facts, &library).expect(version);
                assert_eq!(profile.name, format!("{id}-{version}"));
                let Repository::Apt(apt) = &profile.repository;
                assert_eq!((apt.path.as_str(), apt.suite.as_str()), (format!("linux/{id}").as_str(), suite));
                assert!(!profile.conflicts.remove.contains(&"docker".to_owned()), "it is another program");
            }
        }
        assert_eq!(library.list().count(), releases.len());
    }

    #[test]
    fn every_key_that_a_profile_names_has_the_fingerprint_that_is_pinned() {
        let library = Library::shipped().expect("is right");
        for listed in library.list() {
            let Repository::Apt(apt) = &listed.profile.repository;
            let bytes = library.key(&apt.key.name).expect("is shipped");
            let certificate = Cert::from_bytes(bytes).expect("is one certificate");
            assert_eq!(certificate.fingerprint().to_hex(), apt.key.fingerprint.as_str(), "{}", apt.key.name);
        }
    }

    #[test]
    fn every_file_of_the_profiles_directory_is_shipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        for directory in ["", "family", "keys"] {
            for entry in std::fs::read_dir(root.join(directory)).expect("is there") {
                let path = entry.expect("is there").path();
                if path.is_file() {
                    let inside = path.strip_prefix(&root).expect("is below");
                    assert!(SHIPPED.get_file(inside).is_some(), "{}", inside.display());
                }
            }
        }
    }

    #[test]
    fn a_profile_that_is_shown_can_be_read_again() {
        let library = Library::shipped().expect("is right");
        for listed in library.list() {
            let text = listed.to_toml().expect("writes");
            let name = format!("{}.toml", listed.profile.name);
            let again = library.check(Path::new(&name), &text).expect("reads");
            assert_eq!(again, Profile { extends: None, ..listed.profile.clone() });
        }
    }

    #[test]
    fn a_host_without_a_profile_is_refused_with_the_nearest_that_works() {
        let library = Library::shipped().expect("is right");
        let cases = [
            ("ID=ubuntu\nVERSION_ID=25.10", "amd64", "the nearest is `ubuntu-24.04`"),
            ("ID=ubuntu\nVERSION_ID=18.04", "amd64", "the nearest is `ubuntu-22.04`"),
            ("ID=debian\nVERSION_CODENAME=forky", "amd64", "the nearest is `debian-13`"),
            ("ID=linuxmint\nVERSION_ID=22\nUBUNTU_CODENAME=noble", "amd64", "the nearest is `ubuntu-24.04`"),
            ("ID=linuxmint\nVERSION_ID=6\nDEBIAN_CODENAME=bookworm", "amd64", "the nearest is `debian-12`"),
            ("ID=kali\nID_LIKE=debian\nVERSION_ID=2026.1", "amd64", "the nearest is `debian-13`"),
            ("ID=rocky\nID_LIKE=\"rhel centos\"\nVERSION_ID=9.4", "amd64", "nor for anything near it"),
            ("", "amd64", "nor for anything near it"),
            (NOBLE, "riscv64", "`ubuntu-24.04` is for amd64 and arm64"),
        ];
        for (os_release, architecture, reason) in cases {
            let error = choose(&facts(os_release, architecture), &library).expect_err(reason);
            assert_eq!(error.exit, Exit::Refused);
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.next().is_some_and(|hint| hint.contains("rprov profile list")), "{error}");
        }
    }

    #[test]
    fn a_sites_profile_goes_before_the_shipped_one() {
        let text = "extends = \"apt\"\ntitle = \"ours\"\nend_of_life = \"2030-01-01\"\ngroup = \"engine\"\n\
                    [matches]\nid = \"ubuntu\"\nversion = \"24.04\"\narchitectures = [\"amd64\"]\n\
                    [repository.apt]\npath = \"linux/ubuntu\"\nsuite = \"noble\"\n";
        let here = facts(NOBLE, "amd64");
        for name in ["ours.toml", "ubuntu-24.04.toml"] {
            let library = Library::load(&host_with(name, text)).expect("is right");
            let chosen = choose(&here, &library).expect("chooses");
            assert_eq!((chosen.title.as_str(), chosen.group.as_str()), ("ours", "engine"));
            let origin = &library.get(&chosen.name).expect("is there").origin;
            assert_eq!(*origin, Origin::Site(Path::new(SITE).join(name)));
        }
        let two = host_with("one.toml", text).file(format!("{SITE}/two.toml"), text);
        let library = Library::load(&two).expect("is right");
        let error = choose(&here, &library).expect_err("two are for it");
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.what().contains("`one` and `two`"), "{error}");
    }

    #[test]
    fn a_site_brings_families_and_keys_of_its_own() {
        let family = "group = \"docker\"\nextends = \"apt\"\n";
        let own = "extends = \"site\"\n";
        let host = host_with("own.toml", own).file(format!("{SITE}/family/site.toml"), family);
        let error = Library::load(&host).expect_err("there is one level");
        assert_eq!(error.what(), format!("cannot use `{SITE}/family/site.toml:2:11`"), "{error}");
        let library =
            Library::load(&FakeHost::new().file(format!("{SITE}/keys/site.asc"), "key")).expect("is right");
        assert_eq!(library.key("site.asc"), Some(b"key".as_slice()));
    }

    #[test]
    fn a_sites_profile_that_others_could_write_is_refused() {
        let path = format!("{SITE}/own.toml");
        let error =
            Library::load(&host_with("own.toml", "").owned(&path, 1000, 0o644)).expect_err("is not root's");
        assert_eq!(error.exit, Exit::Refused);
        let error =
            Library::load(&host_with("own.toml", "").owned(SITE, 0, 0o775)).expect_err("is a group's");
        assert!(error.to_string().contains("can write `/etc/rprov/profiles` (mode 0775)"), "{error}");
    }

    #[test]
    fn a_profile_that_is_wrong_is_refused_with_its_place_and_what_was_expected() {
        let library = Library::shipped().expect("is right");
        let shipped = include_str!("../../profiles/ubuntu-24.04.toml");
        let cases = [
            ("title =", "titel =", "own.toml:2:1", "unknown field `titel`, expected `title`"),
            (
                "extends = \"apt\"",
                "extends = \"atp\"",
                "own.toml:1:11",
                "there is no family `atp`, expected one of `apt`",
            ),
            ("2029-05-31", "2029-31-05", "own.toml:3:15", "expected a date such as"),
            ("version = \"24.04\"", "", "own.toml:5:1", "expected `version` or `codename`"),
            ("version = \"24.04\"", "version = 24.04", "own.toml:7:11", "expected a string"),
            ("[\"amd64\", \"arm64\"]", "[]", "own.toml:5:1", "at least one name in `architectures`"),
            ("path = \"linux/ubuntu\"", "", "own.toml:10:1", "missing field `path`"),
            ("[repository.apt]", "[repository.atp]", "own.toml", "missing field `path` in `repository.apt`"),
            (
                "[repository.apt]",
                "[repository.zypper]\n[repository.apt]",
                "own.toml:10:13",
                "`zypper`, expected `apt`",
            ),
            ("suite =", "channel = \"edge\"\nsuite =", "own.toml:12:11", "none of `channels`"),
            ("suite =", "file = \"docker.sources\"\nsuite =", "own.toml:12:8", "expected an absolute path"),
            ("suite =", "key.name = \"x.asc\"\nsuite =", "own.toml:12:12", "there is no key `x.asc`"),
            ("suite =", "key.fingerprint = \"0EBFCD88\"\nsuite =", "own.toml:12:19", "a whole fingerprint"),
            (
                "[repository.apt]",
                "[packages.when]\nno-certs = []\n[repository.apt]",
                "own.toml:11:1",
                "unknown variant",
            ),
            (
                "[repository.apt]",
                "[packages.with]\nx = [\"-y\"]\n[repository.apt]",
                "own.toml:11:5",
                "found `-y`",
            ),
            (
                "[repository.apt]",
                "[daemon]\nsince = 2024-01-01\n[repository.apt]",
                "own.toml:10:1",
                "JSON has no dates",
            ),
            (
                "[repository.apt]",
                "[units]\nengine = \"x\"\n[repository.apt]",
                "own.toml:11:10",
                "none of `start`",
            ),
        ];
        for (from, to, place, reason) in cases {
            let error = library.check(Path::new("own.toml"), &shipped.replacen(from, to, 1)).expect_err(to);
            assert_eq!(error.exit, Exit::Usage, "{error}");
            assert_eq!(error.what(), format!("cannot use `{place}`"), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let library = Library::shipped().expect("is right");
        for (name, hint) in
            [("ubuntu-2404", "rprov profile show ubuntu-24.04"), ("arch", "rprov profile list")]
        {
            let error = library.get(name).expect_err(name);
            assert_eq!((error.exit, error.next()), (Exit::Usage, Some(hint)));
        }
    }
}
