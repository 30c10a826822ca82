//! What the kernel says of the file system that a place lies on.

use super::Room;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use std::path::Path;

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
