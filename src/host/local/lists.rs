//! The lists that were fetched for a question become the host's, under apt's own lock.

use super::{LocalHost, apt_state};
use crate::error::{Error, OrFail, Result};
use crate::host::{APT_LISTS, Touch};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// False where no question fetched any.
pub fn adopt(host: &LocalHost) -> Result<bool> {
    let refreshed = host.refreshed.borrow();
    let Some(kept) = refreshed.as_ref() else { return Ok(false) };
    let lists = host.at(Path::new(APT_LISTS));
    fs::create_dir_all(&lists).or_fail(|| format!("cannot make `{}`", lists.display()))?;
    let _lock = lock(&lists.join("lock"), host)?;
    apt_state::copy_all(kept.path(), &lists)?;
    Ok(true)
}

/// apt locks this file by fcntl(2), and ends at once if somebody else has.
fn lock(path: &Path, host: &LocalHost) -> Result<fs::File> {
    let cannot = || "cannot put the package lists in their place".to_owned();
    let file = fs::File::options().create(true).truncate(false).write(true).open(path).or_fail(cannot)?;
    while let Err(error) = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        if !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) {
            return Err(error).or_fail(cannot);
        }
        let holder = holder(&file).unwrap_or_else(|| "another package manager".into());
        if host.left().is_zero() {
            return Err(Error::try_again(cannot())
                .because(format!("{holder} holds apt's lock"))
                .hint("wait for it, or give a longer --wait"));
        }
        host.pause(&format!("{holder}, which holds apt's lock"))?;
    }
    Ok(file)
}

/// `process 1719 (unattended-upgr)`, by the lines of proc_locks(5): `1: POSIX ADVISORY WRITE 1719 08:01:4711 0 EOF`.
fn holder(file: &fs::File) -> Option<String> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = words.get(5)?;
        (place.rsplit(':').next() == Some(&inode)).then(|| words[4].to_owned())
    })?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("process {process} ({})", name.trim()))
}
