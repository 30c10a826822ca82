//! What another user may have put there: reached by descriptors through no link, and opened only where it is a plain file.

use super::{Look, Owner, Room, trusted};
use crate::error::{Error, OrFail, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Where the walk without links begins: behind the directories that are root's alone, whose links are root's word.
fn base<'a>(path: &'a Path, host: &dyn Look) -> (PathBuf, &'a Path) {
    for part in path.ancestors().skip(1) {
        if trusted(host, part).is_ok()
            && let Ok(rest) = path.strip_prefix(part)
        {
            return (part.to_owned(), rest);
        }
    }
    (PathBuf::from("/"), path.strip_prefix("/").unwrap_or(path))
}

/// A descriptor of what is at the path, which was not opened; nothing there is `None`.
fn descriptor(root: &Path, path: &Path, host: &dyn Look) -> Result<Option<OwnedFd>> {
    let cannot = || format!("cannot look at `{}`", path.display());
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let (base, rest) = base(path, host);
    let begin = root.join(base.strip_prefix("/").unwrap_or(&base));
    let mut at = match rustix::fs::open(&begin, flags | OFlags::DIRECTORY, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error).or_fail(cannot),
    };
    for part in rest.components() {
        let Component::Normal(name) = part else {
            return Err(Error::refused(cannot()).because("the path is not a plain one"));
        };
        at = match rustix::fs::openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::ACCESS) => return Err(Error::refused(cannot()).because("permission denied")),
            Err(error) => return Err(error).or_fail(cannot),
        };
        let stat = rustix::fs::fstat(&at).or_fail(cannot)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(Error::refused(cannot()).because("a link is in the way"));
        }
    }
    Ok(Some(at))
}

/// The bytes of a regular file of at most `limit` bytes. A pipe, a device or a link is not opened.
pub fn read(root: &Path, path: &Path, limit: u64, host: &dyn Look) -> Result<Option<Vec<u8>>> {
    let cannot = || format!("cannot read `{}`", path.display());
    let Some(place) = descriptor(root, path, host)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&place).or_fail(cannot)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::refused(cannot()).because("it is not a regular file"));
    }
    let opened = fs::File::open(format!("/proc/self/fd/{}", place.as_raw_fd()));
    let mut bytes = Vec::new();
    opened.and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).or_fail(cannot)?;
    if bytes.len() as u64 > limit {
        return Err(Error::refused(cannot()).because(format!("it is larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Another owner and mode for what is at the path, if that is its only name: a second one may be anybody's file.
pub fn give(root: &Path, path: &Path, owner: Owner, host: &dyn Look) -> Result<()> {
    let cannot = || format!("cannot change the owner of `{}`", path.display());
    let Some(place) = descriptor(root, path, host)? else {
        return Err(Error::failed(cannot()).because("it is not there"));
    };
    let stat = rustix::fs::fstat(&place).or_fail(cannot)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if !directory && stat.st_nlink > 1 {
        return Err(Error::refused(cannot()).because(format!("it has {} names", stat.st_nlink)));
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid), rustix::fs::Gid::from_raw(owner.gid));
    rustix::fs::chownat(&place, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).or_fail(cannot)?;
    let mode = fs::Permissions::from_mode(owner.mode);
    fs::set_permissions(format!("/proc/self/fd/{}", place.as_raw_fd()), mode).or_fail(cannot)
}

/// What statfs(2) and statvfs(3) say of the place.
pub fn room(place: &Path) -> std::io::Result<Option<Room>> {
    let (counts, kind) = match (rustix::fs::statvfs(place), rustix::fs::statfs(place)) {
        (Ok(counts), Ok(kind)) => (counts, kind),
        (Err(Errno::NOENT | Errno::NOTDIR), _) => return Ok(None),
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    Ok(Some(Room {
        bytes: counts.f_blocks * counts.f_frsize,
        bytes_free: counts.f_bavail * counts.f_frsize,
        inodes: counts.f_files,
        inodes_free: counts.f_favail,
        magic: u64::try_from(kind.f_type).unwrap_or_default() & 0xffff_ffff,
        read_only: counts.f_flag.contains(StatVfsMountFlags::RDONLY),
    }))
}

#[cfg(test)]
mod tests {
    use crate::host::Look;
    use crate::host::local::LocalHost;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn neither_links_nor_pipes_nor_large_files_of_others_are_read() {
        let directory = tempfile::tempdir().expect("makes a directory");
        let home = directory.path().join("home/alice");
        std::fs::create_dir_all(&home).expect("makes a home");
        std::fs::write(home.join("plain"), "text").expect("writes");
        std::fs::write(home.join("large"), [0; 20]).expect("writes");
        std::os::unix::fs::symlink("plain", home.join("link")).expect("links");
        let pipe = rustix::fs::CWD;
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(pipe, home.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).expect("pipes");
        let host = LocalHost::new(directory.path(), Box::new(|_| ()), Duration::ZERO, "/nowhere".into());
        let read = |name: &str| host.read_plain(&Path::new("/home/alice").join(name), 10);
        assert_eq!(read("plain").expect("reads"), Some(b"text".to_vec()));
        assert_eq!(read("absent").expect("looks"), None);
        for (name, why) in [("link", "link"), ("pipe", "regular"), ("large", "larger")] {
            let error = read(name).expect_err(name).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
