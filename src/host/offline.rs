//! A directory in place of the network: what is fetched comes from it, and a package manager reads it instead of its sources.

use crate::error::{Error, OrFail, Result};
use crate::host::fetch::mask;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A part of the repositories at their own paths, unpacked and checked.
#[derive(Clone, Debug)]
pub struct Offline {
    pub directory: PathBuf,
    pub places: Vec<Place>,
}

/// What stands for an address of the network.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub address: String,
    /// Below the directory of all.
    pub directory: String,
    /// Whether it has packages of rpm's.
    pub rpms: bool,
    /// The key file that each of these has to be signed by; without one their digests are.
    pub key: Option<PathBuf>,
}

impl Offline {
    /// Where apt finds its sources.
    pub fn apt_sources(&self) -> PathBuf {
        self.directory.join("sources.list.d")
    }

    /// Where dnf finds its repositories.
    pub fn dnf_repositories(&self) -> PathBuf {
        self.directory.join("yum.repos.d")
    }

    /// The packages of rpm's of one source, by the directory that it lies in.
    pub fn packages(&self, place: &str) -> Result<Vec<PathBuf>> {
        let (mut found, mut below) = (Vec::new(), vec![self.directory.join(place)]);
        while let Some(directory) = below.pop() {
            let cannot = || format!("cannot list `{}`", directory.display());
            for entry in fs::read_dir(&directory).or_fail(cannot)? {
                let path = entry.or_fail(cannot)?.path();
                if path.is_dir() {
                    below.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rpm") {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The file that stands for an address, where there is one.
    pub fn find(&self, url: &str) -> Option<PathBuf> {
        let below = self.places.iter().filter_map(|place| {
            Some((url.strip_prefix(place.address.trim_end_matches('/'))?.strip_prefix('/')?, place))
        });
        // One address may lie below another.
        let (rest, place) = below.min_by_key(|(rest, _)| rest.len())?;
        let path = self.directory.join(&place.directory).join(rest);
        let plain =
            Path::new(rest).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        (plain && path.is_file()).then_some(path)
    }

    /// # Errors
    /// Nothing stands for the address: absent.
    pub fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        let cannot = || format!("cannot fetch `{}`", mask(url));
        let path = self.find(url).ok_or_else(|| {
            Error::refused(cannot())
                .because("it is not in the bundle, and no connection is made")
                .absent()
                .hint("make the bundle with the options that you install with")
        })?;
        if fs::metadata(&path).or_fail(cannot)?.len() > limit {
            return Err(Error::refused(cannot()).because(format!("it is larger than {limit} bytes")));
        }
        fs::read(&path).or_fail(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_below_the_directory_that_stands_for_it_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("docker/dists")).unwrap();
        fs::write(directory.path().join("docker/dists/InRelease"), "signed").unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        let place = |address: &str, directory: &str| Place {
            address: address.to_owned(),
            directory: directory.to_owned(),
            ..Place::default()
        };
        let places = vec![place("https://a.example", "all"), place("https://a.example/ubuntu", "docker")];
        let offline = Offline { directory: directory.path().to_owned(), places };
        assert_eq!(offline.fetch("https://a.example/ubuntu/dists/InRelease", 6).unwrap(), b"signed");
        assert!(offline.find("https://a.example/ubuntu/./dists/InRelease").is_some());
        for url in ["dists/Release", "../secret", "dists/../../secret", "dists", ""] {
            let url = format!("https://a.example/ubuntu/{url}");
            assert!(offline.fetch(&url, 6).unwrap_err().absent, "{url}");
        }
        for url in
            ["https://a.example/ubuntu-other/dists/InRelease", "https://b.example/ubuntu/dists/InRelease"]
        {
            assert!(offline.find(url).is_none(), "{url}");
        }
        assert!(!offline.fetch("https://a.example/ubuntu/dists/InRelease", 5).unwrap_err().absent);
    }
}
