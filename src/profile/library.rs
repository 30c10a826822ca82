//! Every profile there is: those in the binary, those of this host's administrator, and the one for this host.

use super::derivative::{
    Derivative, Release, adapted, named_base, own_target, with_own_archive, with_own_driver, with_own_engine,
};
use super::document::{Document, nearest};
use super::form::Profile;
use super::refusal::{near, no_own_engine, no_profile, old_processor, other_processor};
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
    /// By their `id`.
    derivatives: BTreeMap<String, Derivative>,
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

    /// The profile of the hosts that a bundle is for, also by the name of a derivative with packages of its own: `rocky-9`.
    pub fn target(&self, name: &str) -> Result<Profile> {
        for derivative in self.derivatives.values() {
            for (base, release) in derivative.on.iter().filter(|(_, release)| release.archive.is_some()) {
                let mut profile = self.get(base)?.profile.clone();
                profile.title.clone_from(&release.title);
                with_own_archive(&mut profile, &derivative.id, Some(release));
                if profile.target == name {
                    return Ok(profile);
                }
            }
        }
        Ok(self.get(name)?.profile.clone())
    }

    /// Whether any profile is for a distribution of this id.
    pub fn has(&self, id: &str) -> bool {
        self.list().any(|listed| listed.profile.matches.id == id)
    }

    /// What is known of the distribution of this id as a derivative.
    pub fn derivative(&self, id: &str) -> Option<&Derivative> {
        self.derivatives.get(id)
    }

    /// The known derivatives' releases that get this profile; each with the name of its own, where a bundle needs one.
    pub fn based_on<'l>(
        &'l self,
        profile: &'l Profile,
    ) -> impl Iterator<Item = (Option<String>, &'l Release)> {
        self.derivatives.values().filter_map(move |derivative| {
            let release = derivative.on.get(&profile.name)?;
            Some((release.archive.as_ref().map(|_| own_target(&derivative.id, profile)), release))
        })
    }

    /// The profiles of what this distribution is based on, if it is a derivative.
    fn bases(&self, host: &Distribution) -> Vec<&Listed> {
        let known = self.derivative(&host.id);
        let rolling = || known.and_then(|derivative| self.profiles.get(derivative.base.as_ref()?));
        match named_base(host, known) {
            Some((key, name)) => self
                .list()
                .filter(|l| l.profile.matches.derivatives.get(&key).is_some_and(|has| has == name))
                .collect(),
            None => rolling().into_iter().collect(),
        }
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

    /// The same for what is known of a derivative; its id.
    pub fn check_derivative(&self, file: &Path, text: &str) -> Result<String> {
        Ok(self.compile_derivative(&Document::new(file.display().to_string(), text))?.id)
    }

    fn compile_derivative(&self, document: &Document) -> Result<Derivative> {
        let derivative: Derivative = document.read()?;
        let base = derivative.base.iter().map(|name| (name, vec!["base"]));
        let like = derivative.engine.iter().map(|own| (&own.like, vec!["engine", "like"]));
        let on = derivative.on.keys().map(|name| (name, vec!["on", name.as_str()]));
        match base.chain(like).chain(on).find(|(name, _)| !self.profiles.contains_key(*name)) {
            Some((name, keys)) => Err(document.wrong_at(&keys, format!("there is no profile `{name}`"))),
            None => Ok(derivative),
        }
    }

    fn compile(&self, name: &str, document: &Document) -> Result<Profile> {
        let mut profile = self.parse(document)?;
        self.agrees(document, &profile)?;
        profile.name = name.to_owned();
        profile.target = name.to_owned();
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
        let (kind, key) = (profile.repository.kind(), &profile.repository.key().name);
        if !self.keys.contains_key(key) {
            let reason = format!("there is no key `{key}` in `keys/` beside the profiles");
            return Err(document.wrong_at(&["repository", kind, "key", "name"], reason));
        }
        let (channel, channels) = profile.repository.channels();
        if !channels.contains(channel) {
            let reason = format!("the channel `{channel}` is none of `channels`");
            return Err(document.wrong_at(&["repository", kind, "channel"], reason));
        }
        if !profile.units.start.contains(&profile.units.engine) {
            let reason = format!("the engine's unit `{}` is none of `start`", profile.units.engine);
            return Err(document.wrong_at(&["units", "engine"], reason));
        }
        Ok(())
    }
}

/// What lies beside the profiles.
const DIRECTORIES: [&str; 3] = ["keys", "family", "derivatives"];

/// The files of all profiles before they are read: a profile needs families and keys, a derivative profiles.
#[derive(Default)]
struct Shelf {
    profiles: BTreeMap<String, (Origin, Document)>,
    families: BTreeMap<String, Document>,
    keys: BTreeMap<String, Vec<u8>>,
    derivatives: BTreeMap<String, Document>,
}

impl Shelf {
    fn shipped() -> Result<Shelf> {
        let mut shelf = Shelf::default();
        let below = |name: &str| SHIPPED.get_dir(name).into_iter().flat_map(|dir| dir.files());
        for file in DIRECTORIES.into_iter().flat_map(below).chain(SHIPPED.files()) {
            let path = Path::new("profiles").join(file.path());
            shelf.add(&path, file.contents(), Origin::Shipped)?;
        }
        Ok(shelf)
    }

    fn add_site(&mut self, host: &dyn Look) -> Result<()> {
        for directory in DIRECTORIES.into_iter().chain([""]) {
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
            match directory.to_str() {
                Some("family") => drop(self.families.insert(name, document)),
                Some("derivatives") => drop(self.derivatives.insert(name, document)),
                _ => drop(self.profiles.insert(name, (origin, document))),
            }
        }
        Ok(())
    }

    fn library(self) -> Result<Library> {
        let mut library = Library { families: self.families, keys: self.keys, ..Library::default() };
        for (name, (origin, document)) in self.profiles {
            let profile = library.compile(&name, &document).map_err(|error| checkable(error, &document))?;
            library.profiles.insert(name, Listed { profile, origin });
        }
        // Shipped ones first: of two files for one distribution, the site's is the mistake.
        let (site, shipped): (Vec<_>, Vec<_>) =
            self.derivatives.into_values().partition(|document| document.file.starts_with(SITE));
        for document in shipped.into_iter().chain(site) {
            let read = library.compile_derivative(&document).map_err(|error| checkable(error, &document))?;
            if library.derivatives.contains_key(&read.id) {
                let reason =
                    format!("another file is for `{}` already; under its name this one replaces it", read.id);
                return Err(document.wrong_at(&["id"], reason));
            }
            library.derivatives.insert(read.id.clone(), read);
        }
        Ok(library)
    }
}

/// A mistake in a file, with the command that looks at that file alone.
fn checkable(error: Error, document: &Document) -> Error {
    match error.next() {
        Some(_) => error,
        None => error.hint(format!("rprov profile check {}", document.file)),
    }
}

fn name_of(path: &Path) -> &str {
    path.file_stem().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The profile for this host: its own, else that of the release that it is based on. A host that no profile is for
/// is refused (exit 4), with the nearest that works.
///
/// A site's profile goes before a shipped one; two of the same kind for one host are a mistake (exit 2).
pub fn choose(facts: &Facts, library: &Library) -> Result<Profile> {
    let host = &facts.distribution;
    let own: Vec<&Listed> = library.list().filter(|l| l.profile.matches.distribution(host)).collect();
    let derivative = own.is_empty();
    let for_this = if derivative { library.bases(host) } else { own };
    let site: Vec<&Listed> = for_this.iter().copied().filter(|l| l.origin != Origin::Shipped).collect();
    let best = if site.is_empty() { for_this } else { site };
    let runs = |listed: &&&Listed| listed.profile.matches.architectures.contains(&facts.architecture);
    let fitting: Vec<&&Listed> = best.iter().filter(runs).collect();
    match (fitting.as_slice(), best.as_slice()) {
        ([only], _) if facts.armv6 => Err(old_processor(facts, &only.profile)),
        ([only], _) if derivative => Ok(adapted(&only.profile, host, library.derivative(&host.id))),
        ([only], _) => Ok(only.profile.clone()),
        ([first, second, ..], _) => Err(Error::usage(format!(
            "cannot choose between the profiles `{}` and `{}`",
            first.profile.name, second.profile.name
        ))
        .because("both are for this host")
        .hint("rprov profile list")),
        ([], [other, ..]) => Err(other_processor(facts, &other.profile)),
        ([], []) => Err(no_profile(facts, library)),
    }
}

/// The profile for the engine that the distribution of this host has itself, which needs nothing that upstream builds:
/// that of the host, whatever its processor, else that of the nearest release that works.
pub fn choose_own_engine(facts: &Facts, library: &Library) -> Result<Profile> {
    let host = &facts.distribution;
    if let Some(own) = library.derivative(&host.id).and_then(|derivative| derivative.engine.as_ref()) {
        return Ok(with_own_engine(&library.get(&own.like)?.profile, host, Some(own)));
    }
    let for_this = library.list().find(|listed| listed.profile.matches.distribution(host));
    let found = for_this.or_else(|| library.bases(host).into_iter().next()).map(|listed| &listed.profile);
    let near = || {
        let mut near = near(host, library)?.clone();
        with_own_driver(&mut near, None);
        Some(near)
    };
    let found = found.cloned().or_else(near).filter(|found| !found.packages.distribution.is_empty());
    found.map(|found| with_own_engine(&found, host, None)).ok_or_else(|| no_own_engine(facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::host::fake::FakeHost;
    use crate::profile::Repository;
    use crate::profile::facts_of as facts;
    use sequoia_openpgp::Cert;
    use sequoia_openpgp::parse::Parse;

    fn host_with(name: &str, text: &str) -> FakeHost {
        FakeHost::new().file(format!("{SITE}/{name}"), text)
    }

    const NOBLE: &str = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\nNAME=Ubuntu\n";

    #[test]
    fn every_supported_release_has_its_profile_on_both_architectures() {
        let library = Library::shipped().expect("is right");
        let releases = [
            ("ubuntu", "20.04", "focal"),
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
                let Repository::Apt(apt) = &profile.repository else { panic!("it has apt") };
                assert_eq!((apt.path.as_str(), apt.suite.as_str()), (format!("linux/{id}").as_str(), suite));
                assert!(!profile.conflicts.remove.contains(&"docker".to_owned()), "it is another program");
            }
        }
        let of_apt = |listed: &&Listed| matches!(listed.profile.repository, Repository::Apt(_));
        assert_eq!(library.list().filter(of_apt).count(), releases.len());
    }

    #[test]
    fn the_dnf_family_gets_the_literal_major_of_rhel_whatever_its_name_and_minor() {
        let library = Library::shipped().expect("is right");
        let cases = [
            ("rhel", "8.10", "el8", "rhel-8", "linux/rhel/8"),
            ("rhel", "9.4", "el9", "rhel-9", "linux/rhel/9"),
            ("rhel", "10.0", "el10", "rhel-10", "linux/rhel/10"),
            ("centos", "9", "el9", "rhel-9", "linux/rhel/9"),
            ("centos", "10", "el10", "rhel-10", "linux/rhel/10"),
            ("rocky", "8.10", "el8", "rhel-8", "linux/rhel/8"),
            ("almalinux", "9.6", "el9", "rhel-9", "linux/rhel/9"),
            ("ol", "10.0", "el10", "rhel-10", "linux/rhel/10"),
            ("eurolinux", "9.4", "el9", "rhel-9", "linux/rhel/9"),
            ("fedora", "43", "f43", "fedora-43", "linux/fedora/43"),
            ("fedora", "44", "f44", "fedora-44", "linux/fedora/44"),
        ];
        for (id, version, platform, name, path) in cases {
            let text = format!("ID={id}\nVERSION_ID=\"{version}\"\nPLATFORM_ID=\"platform:{platform}\"\n");
            let profile = choose(&facts(&text, "amd64"), &library).expect(id);
            assert_eq!((profile.name.as_str(), profile.repository.address().1), (name, path), "{id}");
        }
    }

    #[test]
    fn amazon_linux_is_refused_with_the_reason_and_its_own_engine() {
        let text = "ID=amzn\nID_LIKE=fedora\nVERSION_ID=2023\nPLATFORM_ID=\"platform:al2023\"\n";
        let library = Library::shipped().expect("is right");
        let error = choose(&facts(text, "amd64"), &library).expect_err("is refused");
        assert_eq!(error.exit, Exit::Refused);
        assert!(error.to_string().contains("no packages for Amazon Linux"), "{error}");
        assert!(error.next().is_some_and(|hint| hint.contains("--engine distribution")), "{error}");
    }

    #[test]
    fn the_distributions_own_engine_is_known_where_upstream_builds_none() {
        let library = Library::shipped().expect("is right");
        let cases = [
            ("ID=amzn\nVERSION_ID=2023\nPRETTY_NAME=\"Amazon Linux 2023\"", "amd64", "rhel-9", "docker"),
            ("ID=debian\nVERSION_ID=12", "s390x", "debian-12", "docker.io"),
            ("ID=debian\nVERSION_ID=13", "riscv64", "debian-13", "docker.io docker-cli"),
            ("ID=debian\nVERSION_CODENAME=forky", "amd64", "debian-13", "docker.io docker-cli"),
            ("ID=ubuntu\nVERSION_ID=25.10\nUBUNTU_CODENAME=questing", "amd64", "ubuntu-24.04", "docker.io"),
            ("ID=linuxmint\nVERSION_ID=22\nUBUNTU_CODENAME=noble", "ppc64el", "ubuntu-24.04", "docker.io"),
        ];
        for (os_release, architecture, name, packages) in cases {
            let found = choose_own_engine(&facts(os_release, architecture), &library).expect(os_release);
            let found = (found.name, found.packages.distribution.join(" "));
            assert_eq!(found, (name.to_owned(), packages.to_owned()), "{os_release}");
        }
        let cuda = |os_release: &str| {
            let found = choose_own_engine(&facts(os_release, "amd64"), &library).expect(os_release);
            found.gpu.and_then(|nvidia| nvidia.cuda).map(|cuda| cuda.directory)
        };
        assert_eq!(cuda("ID=amzn\nVERSION_ID=2023").as_deref(), Some("amzn2023"));
        assert_eq!(cuda("ID=debian\nVERSION_ID=12").as_deref(), Some("debian12"));
        assert_eq!(cuda("ID=ubuntu\nVERSION_ID=25.10"), None, "no driver for an older release is taken");
        for os_release in ["ID=gentoo", "ID=rocky\nVERSION_ID=9\nPLATFORM_ID=\"platform:el9\""] {
            let error = choose_own_engine(&facts(os_release, "amd64"), &library).expect_err("knows none");
            assert_eq!(error.exit, Exit::Refused, "{error}");
        }
    }

    #[test]
    fn every_key_that_a_profile_names_has_the_fingerprint_that_is_pinned() {
        let library = Library::shipped().expect("is right");
        for listed in library.list() {
            let gpu = listed.profile.gpu.as_ref().expect("every family has it");
            let of_cuda = gpu.cuda.as_ref().and_then(|cuda| cuda.key.as_ref());
            let of_cuda = of_cuda.and_then(|key| Some((key.name.as_ref()?, &key.fingerprint)));
            let others = [listed.profile.repository.key(), &gpu.toolkit.repository.key];
            for (name, fingerprint) in
                others.map(|key| (&key.name, &key.fingerprint)).into_iter().chain(of_cuda)
            {
                let bytes = library.key(name).expect("is shipped");
                let certificate = Cert::from_bytes(bytes).expect("is one certificate");
                assert_eq!(certificate.fingerprint().to_hex(), fingerprint.as_str(), "{name}");
            }
        }
    }

    #[test]
    fn every_file_of_the_profiles_directory_is_shipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        for directory in ["", "derivatives", "family", "gpu", "keys"] {
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
                "there is no family `atp`, expected one of `apt`, `dnf`",
            ),
            ("2029-05-31", "2029-31-05", "own.toml:3:15", "expected a date such as"),
            ("version = \"24.04\"", "", "own.toml:5:1", "expected `version` or `codename`"),
            ("version = \"24.04\"", "version = 24.04", "own.toml:7:11", "expected a string"),
            ("[\"amd64\", \"arm64\"]", "[]", "own.toml:5:1", "at least one name in `architectures`"),
            ("path = \"linux/ubuntu\"", "", "own.toml:11:1", "missing field `path`"),
            ("[repository.apt]", "[repository.atp]", "own.toml", "missing field `path` in `repository.apt`"),
            (
                "[repository.apt]",
                "[repository.zypper]\n[repository.apt]",
                "own.toml:11:13",
                "`zypper`, expected `apt`",
            ),
            ("suite =", "channel = \"edge\"\nsuite =", "own.toml:13:11", "none of `channels`"),
            ("suite =", "file = \"docker.sources\"\nsuite =", "own.toml:13:8", "expected an absolute path"),
            ("suite =", "key.name = \"x.asc\"\nsuite =", "own.toml:13:12", "there is no key `x.asc`"),
            ("suite =", "key.fingerprint = \"0EBFCD88\"\nsuite =", "own.toml:13:19", "a whole fingerprint"),
            (
                "[repository.apt]",
                "[packages.when]\nno-certs = []\n[repository.apt]",
                "own.toml:12:1",
                "unknown variant",
            ),
            (
                "[repository.apt]",
                "[packages.with]\nx = [\"-y\"]\n[repository.apt]",
                "own.toml:12:5",
                "found `-y`",
            ),
            (
                "[repository.apt]",
                "[daemon]\nsince = 2024-01-01\n[repository.apt]",
                "own.toml:11:1",
                "JSON has no dates",
            ),
            (
                "[repository.apt]",
                "[units]\nengine = \"x\"\n[repository.apt]",
                "own.toml:12:10",
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
