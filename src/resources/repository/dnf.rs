//! A source as dnf reads it: `.repo` files below `/etc/yum.repos.d`, and the key file that one names (dnf.conf(5)).

use super::{Files, Repository, Source as AnySource, accepted, place_of, shortened};
use crate::error::Result;
use crate::host::{DNF_REPOSITORIES, Look, Touch};
use crate::resources::Resource;
use crate::resources::file::Node;
use crate::trust::repomd::{RpmIndex, RpmSource, Signed, repomd, rpm_index};
use crate::trust::{self, Pin};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A repository, and where its two files are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// `docker-ce-stable`.
    pub id: String,
    /// Its address has the literal release and architecture in it: `$releasever` is `9.4` on a host that is locked to a
    /// minor release, and upstream has no such directory.
    pub index: RpmSource,
    /// What repositories of Docker's lie below, here and at the original.
    pub addresses: Vec<String>,
    pub file: PathBuf,
    pub key_file: PathBuf,
    /// Packages that it has too, and that come from another repository.
    pub without: Vec<String>,
}

impl Source {
    fn text(&self) -> String {
        let without = match self.without.is_empty() {
            true => String::new(),
            false => format!("excludepkgs={}\n", self.without.join(",")),
        };
        include_str!("../../../templates/dnf.repo")
            .replace("{id}", &self.id)
            .replace("{address}", &self.index.url)
            .replace("{checks}", self.checks())
            .replace("{key}", &self.key_file.display().to_string())
            .replace("{without}", &without)
    }

    /// What dnf has to check (dnf.conf(5)).
    fn checks(&self) -> &'static str {
        match self.index.signed {
            Signed::Packages => "gpgcheck=1",
            Signed::Index => "repo_gpgcheck=1\ngpgcheck=0",
        }
    }

    /// Whether a key file holds nothing but pinned certificates.
    fn pins(&self, key: &[u8]) -> bool {
        let pin = Pin { key: key.to_vec(), fingerprints: self.index.pin.fingerprints.clone() };
        trust::certificates(&pin).is_ok()
    }

    fn any(&self) -> AnySource {
        AnySource::Dnf(self.clone())
    }
}

/// A section of a `.repo` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub file: PathBuf,
    pub id: String,
    /// Words of the values by key; `baseurl` and `gpgkey` may have several.
    pub values: BTreeMap<String, Vec<String>>,
    /// The lines of the file that make it, from and to, the latter excluded.
    pub lines: (usize, usize),
}

impl Section {
    fn of(&self, key: &str) -> &[String] {
        self.values.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// dnf's booleans; what is not said is `otherwise`.
    fn is(&self, key: &str, otherwise: bool) -> bool {
        let word = self.of(key).first().map(|word| word.to_ascii_lowercase());
        word.map_or(otherwise, |word| matches!(word.as_str(), "1" | "yes" | "true" | "on"))
    }

    pub fn is_enabled(&self) -> bool {
        self.is("enabled", true)
    }

    fn lies_below(&self, addresses: &[String]) -> bool {
        let addresses: Vec<String> = addresses.iter().map(|address| place_of(address) + "/").collect();
        self.of("baseurl")
            .iter()
            .any(|url| addresses.iter().any(|address| place_of(url).starts_with(address)))
    }
}

pub fn is_source(path: &Path) -> bool {
    path.parent() == Some(Path::new(DNF_REPOSITORIES))
}

/// All sections of all files.
fn sections(host: &dyn Look) -> Result<Vec<Section>> {
    let mut found = Vec::new();
    for name in host.list(Path::new(DNF_REPOSITORIES))? {
        let path = Path::new(DNF_REPOSITORIES).join(name);
        let known = path.extension().is_some_and(|extension| extension == "repo");
        if let (true, Some(text)) = (known, host.read_text(&path)?) {
            found.extend(parse(&path, &text));
        }
    }
    Ok(found)
}

/// Whether there is one right section and no other that is enabled; and the files that have a part in it.
pub fn look(source: &Source, addresses: &[String], host: &dyn Look) -> Result<(bool, Vec<PathBuf>)> {
    let ours: Vec<Section> =
        sections(host)?.into_iter().filter(|section| section.lies_below(addresses)).collect();
    let live: Vec<&Section> = ours.iter().filter(|section| section.is_enabled()).collect();
    let right = match live[..] {
        [section] => is_right(section, source, host)?,
        _ => false,
    };
    let mut paths: Vec<PathBuf> = ours.into_iter().map(|section| section.file).collect();
    paths.extend([source.file.clone(), source.key_file.clone()]);
    paths.sort();
    paths.dedup();
    Ok((right, paths))
}

/// The very address, packages checked, and by a file that holds the pinned key: one that dnf would fetch may be any.
fn is_right(section: &Section, source: &Source, host: &dyn Look) -> Result<bool> {
    let [url] = section.of("baseurl") else { return Ok(false) };
    let is_ours = |url: String| url.trim_end_matches('/') == source.index.url.trim_end_matches('/');
    let same = source.index.url.split('/').any(|part| is_ours(url.replace("$basearch", part)));
    let [key] = section.of("gpgkey") else { return Ok(false) };
    let Some(key) = key.strip_prefix("file://") else { return Ok(false) };
    let pinned = host.read(Path::new(key))?.is_some_and(|bytes| source.pins(&bytes));
    let checked = match source.index.signed {
        Signed::Packages => section.is("gpgcheck", false),
        Signed::Index => section.is("repo_gpgcheck", false),
    };
    Ok(same && pinned && checked)
}

/// Every file as it has to be: our section in ours, and none for the same addresses elsewhere.
pub fn wanted(
    source: &Source,
    addresses: &[String],
    now: &Files,
    host: &dyn Look,
) -> Result<BTreeMap<PathBuf, Node>> {
    is_published(source, host)?;
    let all = sections(host)?;
    let ours: Vec<&Section> = all.iter().filter(|section| section.lies_below(addresses)).collect();
    let mut cleaned = Vec::new();
    let mut paths: Vec<&PathBuf> = ours.iter().map(|section| &section.file).collect();
    paths.dedup();
    for path in paths {
        let text = host.read_text(path)?.unwrap_or_default();
        let gone =
            |number: usize| ours.iter().any(|s| s.file == *path && (s.lines.0..s.lines.1).contains(&number));
        let lines = text.split_inclusive('\n').enumerate().filter(|(number, _)| !gone(*number));
        let rest: String = lines.map(|(_, line)| line).collect();
        let others = all.iter().any(|section| section.file == *path && !ours.contains(&section));
        cleaned.push((path.clone(), others.then(|| rest.into_bytes())));
    }
    let mut files = shortened(cleaned, now);
    files.insert(source.file.clone(), Node::file(source.text()));
    files.insert(source.key_file.clone(), Node::file(source.index.pin.key.clone()));
    Ok(files)
}

/// Asked before anything is written: a repository that is not there would stop every later call of dnf.
fn is_published(source: &Source, host: &dyn Look) -> Result<()> {
    if source.index.signed == Signed::Index {
        return index(host, source).map(drop);
    }
    repomd(host, &source.index.url).map(drop)
}

/// The verified index of a source that signs it: never older than what was accepted before.
pub fn index(host: &dyn Look, source: &Source) -> Result<RpmIndex> {
    rpm_index(host, &source.index, accepted::newest(host, &source.index.url)?)
}

/// What was fetched and verified is about to be used: its date is remembered.
pub fn accept(host: &dyn Touch, source: &Source) -> Result<()> {
    match source.index.signed {
        Signed::Packages => Ok(()),
        Signed::Index => accepted::remember(host, &source.index.url, index(host, source)?.made),
    }
}

/// The `.repo` files as the plan will leave them, for a simulation.
pub fn changed_files(host: &dyn Look, source: &Source) -> Result<Vec<(PathBuf, Option<Vec<u8>>)>> {
    let repository = Repository::of(&source.any());
    let now = repository.get(host)?;
    if now.right {
        return Ok(Vec::new());
    }
    let (_, after) = repository.resolve(&now, &Files::right(), host)?;
    let changed = after.files.into_iter().filter(|(path, _)| is_source(path));
    Ok(changed.map(|(path, node)| (path, node.bytes().map(<[u8]>::to_vec))).collect())
}

/// The id under which dnf knows the source: that of a right section that was there, else ours.
pub fn id(host: &dyn Look, source: &Source) -> Result<String> {
    if host.offline().is_some() {
        return Ok(source.id.clone());
    }
    let addresses = Repository::of(&source.any()).addresses;
    let mut live: Vec<Section> = sections(host)?;
    live.retain(|section| section.is_enabled() && section.lies_below(&addresses));
    Ok(match &live[..] {
        [section] if is_right(section, source, host)? => section.id.clone(),
        _ => source.id.clone(),
    })
}

/// What this host says to a repository at that address, in lines of its own: proxies, and the client certificate that a
/// subscription comes with (dnf.conf(5)).
pub fn access(host: &dyn Look, address: &str) -> Result<String> {
    let same = |section: &&Section| {
        let [url] = section.of("baseurl") else { return false };
        let (url, address) = (url.trim_end_matches('/').split('/'), address.trim_end_matches('/').split('/'));
        url.clone().count() == address.clone().count()
            && url.zip(address).all(|(theirs, ours)| theirs == ours || theirs.starts_with('$'))
    };
    let all = sections(host)?;
    let Some(section) = all.iter().filter(|section| section.is_enabled()).find(same) else {
        return Ok(String::new());
    };
    let of_access = |key: &str| {
        key.starts_with("ssl") || key.starts_with("proxy") || ["username", "password"].contains(&key)
    };
    let lines = section.values.iter().filter(|(key, _)| of_access(key));
    Ok(lines.map(|(key, words)| format!("{key}={}\n", words.join(" "))).collect())
}

/// Sections of `key = value`; a line that begins with a blank goes on with the value above it.
pub fn parse(path: &Path, text: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    let mut last = String::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(id) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let section = Section {
                file: path.to_owned(),
                id: id.to_owned(),
                values: BTreeMap::new(),
                lines: (number, number + 1),
            };
            found.push(section);
            continue;
        }
        let Some(section) = found.last_mut() else { continue };
        section.lines.1 = number + 1;
        if line.starts_with(['#', ';']) {
            continue;
        }
        let words = |text: &str| -> Vec<String> {
            text.split([' ', '\t', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        if line.starts_with([' ', '\t']) {
            section.values.entry(last.clone()).or_default().extend(words(line));
        } else if let Some((key, value)) = line.split_once('=') {
            last = key.trim().to_owned();
            section.values.insert(last.clone(), words(value));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn sections_are_read_with_their_values_and_lines() {
        let text = "# theirs\n[a]\nname=A b\nbaseurl = https://x/1\n  https://x/2\nenabled=0\n\n[b]\nbaseurl=https://y\n";
        let found = parse(Path::new("/etc/yum.repos.d/a.repo"), text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].of("baseurl"), ["https://x/1", "https://x/2"]);
        assert!(!found[0].is_enabled() && found[1].is_enabled());
        assert_eq!((found[0].lines, found[1].lines), ((1, 7), (7, 9)));
    }

    #[test]
    fn a_subscription_opens_the_repository_that_it_is_for() {
        let text = "[rhel-9-for-x86_64-baseos-rpms]\nbaseurl = https://cdn.example/dist/rhel9/$releasever/x86_64/baseos/os\n\
            gpgcheck=1\nsslverify = 1\nsslclientcert = /etc/pki/entitlement/1.pem\nsslclientkey = /etc/pki/entitlement/1-key.pem\n\
            [other]\nbaseurl = https://cdn.example/dist/rhel9/9/x86_64/appstream/os\nenabled = 0\nsslverify = 0\n";
        let host = FakeHost::new().file("/etc/yum.repos.d/redhat.repo", text);
        let opens = |path: &str| access(&host, &format!("https://cdn.example/dist/{path}")).unwrap();
        let found = opens("rhel9/9/x86_64/baseos/os");
        assert_eq!(
            found,
            "sslclientcert=/etc/pki/entitlement/1.pem\nsslclientkey=/etc/pki/entitlement/1-key.pem\nsslverify=1\n"
        );
        for elsewhere in ["rhel9/9/x86_64/appstream/os", "rhel9/9/x86_64/baseos", "rhel8/8/x86_64/baseos/os"]
        {
            assert_eq!(opens(elsewhere), "", "{elsewhere}");
        }
    }

    #[test]
    fn a_section_is_ours_by_its_address_whatever_its_name() {
        let ours = ["https://download.docker.com/linux".to_owned()];
        for (url, expected) in [
            ("https://download.docker.com/linux/centos/$releasever/$basearch/stable", true),
            ("http://Download.docker.com/linux/rhel/9/x86_64/stable/", true),
            ("https://download.docker.com/linux-other/x", false),
            ("https://elsewhere.example/linux/rhel", false),
        ] {
            let text = format!("[x]\nbaseurl={url}\n");
            assert_eq!(parse(Path::new("x.repo"), &text)[0].lies_below(&ours), expected, "{url}");
        }
    }
}
