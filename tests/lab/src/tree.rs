//! A host's files, packages, marks, groups and units at one moment, and how two moments differ.

use crate::cache;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What changes by itself, or is a log or a cache: for comparing a host with itself before an install.
/// A pattern ends with `*` where it stands for all that begins so. Each has its reason.
pub const BY_ITSELF: &[(&str, &str)] = &[
    ("/var/log/*", "logs"),
    ("/var/tmp/systemd-private-*", "systemd's private directories, named by chance at each boot"),
    ("/var/cache/apt/*", "apt's own cache"),
    ("/var/cache/ldconfig/*", "ldconfig's own cache"),
    ("/var/cache/debconf/*", "debconf's own cache"),
    ("/var/lib/apt/*", "apt's own lists and marks; the marks are compared by what apt says"),
    ("/var/lib/dpkg/*", "dpkg's own database; the packages are compared by what dpkg says"),
    ("/var/cache/dnf*", "dnf's own cache"),
    ("/var/lib/dnf*", "dnf's own history and counters; the reasons are compared by what dnf says"),
    ("/var/lib/rpm*", "rpm's own database; the packages and keys are compared by what rpm says"),
    ("/var/lib/systemd/*", "systemd's timers, random seed and deb-systemd-helper's notes"),
    ("/etc/group-", "the backup that groupadd makes by itself"),
    ("/etc/gshadow-", "the backup that groupadd makes by itself"),
    ("/etc/passwd-", "the backup that useradd makes by itself"),
    ("/etc/shadow-", "the backup that useradd makes by itself"),
    ("/etc/subuid-", "the backup that useradd makes by itself"),
    ("/etc/subgid-", "the backup that useradd makes by itself"),
    ("/etc/ld.so.cache", "written by ldconfig at each change of a library"),
    ("/etc/machine-id", "written at the first boot"),
    ("/var/lib/dbus/machine-id", "written at the first boot"),
    ("/etc/.updated", "systemd's note of when it saw /etc"),
    ("/var/.updated", "systemd's note of when it saw /var"),
    ("/etc/.pwd.lock", "made by whoever locks the users' database first"),
];

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `file`, `dir`, `link` or `other`.
    pub kind: &'static str,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// SHA-256 of a file's bytes, or a link's target.
    pub content: String,
    pub xattrs: Vec<(String, String)>,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
}

impl Entry {
    fn line(&self) -> String {
        let content =
            if self.kind == "link" { self.content.as_str() } else { self.content.get(..12).unwrap_or("") };
        let attributes: Vec<&str> = self.xattrs.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "{} {:o} {}:{} {} {content} {}",
            self.kind,
            self.mode,
            self.uid,
            self.gid,
            self.size,
            attributes.join(",")
        )
    }

    fn same(&self, other: &Entry, times: bool) -> bool {
        // A directory's size and time are its file system's matter: its entries are compared.
        let size = self.kind == "dir" || self.size == other.size;
        let time = !times || self.mtime == other.mtime;
        size && time
            && (self.kind, self.mode, self.uid, self.gid) == (other.kind, other.mode, other.uid, other.gid)
            && self.content == other.content
            && self.xattrs == other.xattrs
    }
}

/// Every path of a root filesystem, but for what is mounted at boot.
#[derive(Clone, Debug, Default)]
pub struct Tree(pub BTreeMap<String, Entry>);

impl Tree {
    pub fn of(root: &Path) -> Result<Tree> {
        let mut tree = Tree::default();
        tree.walk(root, "")?;
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, below: &str) -> Result<()> {
        let dir = root.join(below.trim_start_matches('/'));
        let listed = match fs::read_dir(&dir) {
            Ok(listed) => listed,
            // A running host may remove what was just seen.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("listing {}", dir.display())),
        };
        for found in listed {
            let name = found.with_context(|| format!("listing {}", dir.display()))?.file_name();
            let path = format!("{below}/{}", name.to_string_lossy());
            let at = dir.join(&name);
            let Some(entry) = entry(&at).with_context(|| format!("looking at {}", at.display()))? else {
                continue;
            };
            let inside =
                entry.kind == "dir" && !["/proc", "/sys", "/dev", "/run", "/tmp"].contains(&path.as_str());
            self.0.insert(path.clone(), entry);
            if inside {
                self.walk(root, &path)?;
            }
        }
        Ok(())
    }

    /// How another tree differs, a line a path; nothing where it does not.
    pub fn diff(&self, other: &Tree, ignoring: &[(&str, &str)]) -> Vec<String> {
        self.compare(other, ignoring, false)
    }

    /// The same, and the times too: for what must not have touched anything.
    pub fn diff_with_times(&self, other: &Tree, ignoring: &[(&str, &str)]) -> Vec<String> {
        self.compare(other, ignoring, true)
    }

    fn compare(&self, other: &Tree, ignoring: &[(&str, &str)], times: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let ignored = |path: &str| ignoring.iter().any(|(pattern, _)| matches(pattern, path));
        for (path, before) in self.0.iter().filter(|(path, _)| !ignored(path)) {
            match other.0.get(path) {
                None => lines.push(format!("gone     {path}  {}", before.line())),
                Some(after) if !before.same(after, times) => {
                    let time = if times && before.mtime != after.mtime { " (time)" } else { "" };
                    lines.push(format!("changed{time}  {path}  {}  ->  {}", before.line(), after.line()));
                }
                Some(_) => {}
            }
        }
        for (path, after) in other.0.iter().filter(|(path, _)| !ignored(path)) {
            if !self.0.contains_key(path) {
                lines.push(format!("new      {path}  {}", after.line()));
            }
        }
        lines
    }
}

/// Whether a pattern of exceptions means a path.
pub fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern == path,
    }
}

fn entry(path: &Path) -> Result<Option<Entry>> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kind = meta.file_type();
    let (kind, content) = if kind.is_dir() {
        ("dir", String::new())
    } else if kind.is_symlink() {
        ("link", fs::read_link(path)?.to_string_lossy().into_owned())
    } else if kind.is_file() {
        match digest(path) {
            Ok(digest) => ("file", digest),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    } else if kind.is_char_device() || kind.is_block_device() {
        ("other", meta.rdev().to_string())
    } else {
        ("other", String::new())
    };
    let mut xattrs = Vec::new();
    for name in xattr::list(path).into_iter().flatten() {
        let value = xattr::get(path, &name).ok().flatten().unwrap_or_default();
        xattrs.push((name.to_string_lossy().into_owned(), cache::hex(&value)));
    }
    xattrs.sort();
    Ok(Some(Entry {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        size: meta.size(),
        content,
        xattrs,
        mtime: (meta.mtime(), meta.mtime_nsec()),
    }))
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(cache::hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Everything that an uninstall must bring back.
#[derive(Clone, Debug)]
pub struct State {
    pub tree: Tree,
    pub packages: BTreeMap<String, String>,
    pub marks: BTreeMap<String, String>,
    pub groups: BTreeMap<String, String>,
    pub units: BTreeMap<String, String>,
}

impl State {
    /// How a later state differs, a line a difference.
    pub fn diff(&self, later: &State, ignoring: &[(&str, &str)]) -> Vec<String> {
        let mut lines = self.tree.diff(&later.tree, ignoring);
        let maps = [
            ("package", &self.packages, &later.packages),
            ("mark", &self.marks, &later.marks),
            ("group", &self.groups, &later.groups),
            ("unit", &self.units, &later.units),
        ];
        for (what, before, after) in maps {
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let (was, is) = (before.get(name), after.get(name));
                if was != is {
                    let show =
                        |value: Option<&String>| value.map_or("absent".to_string(), |v| format!("`{v}`"));
                    lines.push(format!("{what} {name}: {} -> {}", show(was), show(is)));
                }
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_that_begins_so() {
        assert!(matches("/var/log/*", "/var/log/a/b"));
        assert!(!matches("/var/log/*", "/var/log"));
        assert!(matches("/etc/group-", "/etc/group-"));
        assert!(!matches("/etc/group-", "/etc/group-x"));
    }

    #[test]
    fn a_tree_tells_new_gone_and_changed_paths() {
        let dir = std::env::temp_dir().join(format!("lab-tree-{}", std::process::id()));
        crate::sh::write(&dir.join("a"), "1").expect("writing");
        crate::sh::write(&dir.join("sub/b"), "2").expect("writing");
        let before = Tree::of(&dir).expect("walking");
        assert!(before.diff(&before, &[]).is_empty());
        crate::sh::write(&dir.join("a"), "3").expect("writing");
        crate::sh::write(&dir.join("c"), "4").expect("writing");
        fs::remove_file(dir.join("sub/b")).expect("removing");
        let lines = before.diff(&Tree::of(&dir).expect("walking"), &[("/nothing", "")]);
        let words: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(words, ["changed", "gone", "new"], "{lines:?}");
        fs::remove_dir_all(&dir).expect("cleaning up");
    }
}
