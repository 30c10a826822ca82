//! What has to be so for this plan before anything is touched: room for its packages, and that they may start what they bring.

use super::settings::Settings;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::host::Look;
use crate::plan::Plan;
use crate::resources::packages::Manager;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the first images need beside the engine itself.
const FLOOR: u64 = 512 << 20;

/// Asked by whatever starts services for a package on Debian; it may forbid it (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether packages may be forbidden to start what they bring: the units are then started after them.
pub fn starts_forbidden(host: &dyn Look) -> Result<bool> {
    host.exists(Path::new(POLICY))
}

/// Looks at the host for a plan that brings packages; what is to be told before it is made. What has to be so on any host
/// with an engine is asked by doctor's checks.
///
/// # Errors
/// Too little room: refused, with the way out.
pub fn look(plan: &Plan, settings: &Settings, facts: &Facts, host: &dyn Look) -> Result<Vec<String>> {
    let Some(manager) = plan.brings_packages() else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    // In an image nothing starts anyway.
    if manager == Manager::Apt && !facts.is_image() && starts_forbidden(host)? {
        notes.push(format!(
            "`{POLICY}` may forbid the packages to start what they bring: the units are started after them"
        ));
    }
    has_room(plan, settings, facts, host)?;
    Ok(notes)
}

/// What is needed on one file system, and by what.
#[derive(Default)]
struct Need<'p> {
    bytes: u64,
    of: Vec<&'p Path>,
}

fn has_room(plan: &Plan, settings: &Settings, facts: &Facts, host: &dyn Look) -> Result<()> {
    let needs = plan.needs();
    let floor = if facts.engine { 0 } else { FLOOR };
    let asked = settings.daemon.asked.get("data-root").and_then(|root| root.as_str());
    let containerd = settings.site.containerd_root.as_deref().unwrap_or(Path::new("/var/lib/containerd"));
    let places = [
        (Path::new("/usr"), needs.installed),
        (Path::new("/var/cache"), needs.download),
        (Path::new(asked.unwrap_or("/var/lib/docker")), floor),
        (containerd, floor),
    ];
    let mounts = host.read_text(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
    let mut all: BTreeMap<PathBuf, Need> = BTreeMap::new();
    for (place, bytes) in places.into_iter().filter(|(_, bytes)| *bytes > 0) {
        let need = all.entry(mount_point(&mounts, place)).or_default();
        // Images and their containers share one floor where they share a file system.
        need.bytes += if bytes == FLOOR && need.bytes >= FLOOR { 0 } else { bytes };
        need.of.push(place);
    }
    for (mounted, need) in &all {
        let Some(room) = host.room(mounted)? else { continue };
        let places = need.of.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        let cannot = || Error::refused(format!("there is too little room for {places}"));
        if room.bytes_free < need.bytes {
            return Err(cannot()
                .because(format!(
                    "the file system of {} has {} left, and {} are needed",
                    mounted.display(),
                    megabytes(room.bytes_free),
                    megabytes(need.bytes)
                ))
                .hint(format!(
                    "make room on {}, or name another place for images with `data-root` in `[daemon]`",
                    mounted.display()
                )));
        }
        if room.inodes > 0 && room.inodes_free < INODES {
            return Err(cannot().because(format!(
                "the file system of {} has room for {} more files only",
                mounted.display(),
                room.inodes_free
            )));
        }
    }
    Ok(())
}

/// Fewer than one image has.
const INODES: u64 = 2000;

fn megabytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Where the file system of a path is mounted, by lines of proc_pid_mountinfo(5): the fifth field.
fn mount_point(mounts: &str, path: &Path) -> PathBuf {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let above = points.filter(|point| path.starts_with(point));
    above.max_by_key(|point| point.components().count()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Room;
    use crate::host::fake::FakeHost;

    fn settings() -> Settings {
        let library = crate::profile::Library::shipped().expect("is right");
        let profile = library.get("rhel-10").expect("is there").profile.clone();
        Settings::merge(Default::default(), Default::default(), profile, &library).expect("merges")
    }

    #[test]
    fn the_file_system_of_a_path_is_the_nearest_mount_above_it() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /var rw - ext4 /dev/b rw\n\
                      3 2 8:3 / /var/lib/docker rw - xfs /dev/c rw\n";
        for (path, expected) in [
            ("/usr", "/"),
            ("/var/lib/containerd", "/var"),
            ("/var/lib/docker", "/var/lib/docker"),
            ("/variety", "/"),
        ] {
            assert_eq!(mount_point(mounts, Path::new(path)), Path::new(expected), "{path}");
        }
        assert_eq!(mount_point("", Path::new("/usr")), Path::new("/"));
    }

    #[test]
    fn room_is_counted_by_the_file_system() {
        let room = |free: u64| Room {
            bytes: 1 << 40,
            bytes_free: free,
            inodes: 0,
            inodes_free: 0,
            magic: 0,
            read_only: false,
        };
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /var rw - ext4 /dev/b rw\n";
        let host = |free: u64| {
            let host = FakeHost::new().file("/proc/self/mountinfo", mounts).directory("/var");
            host.room("/", room(1 << 40)).room("/var", room(free))
        };
        let facts = crate::facts::gather(&FakeHost::new()).expect("gathers");
        let look = |free| has_room(&Plan::default(), &settings(), &facts, &host(free));
        look(FLOOR).expect("is enough: images and containers share the floor");
        let error = look(FLOOR - 1).expect_err("is too little").to_string();
        assert!(error.contains("/var has 511 MiB left, and 512 MiB are needed"), "{error}");
        assert!(error.contains("/var/lib/docker, /var/lib/containerd"), "{error}");
    }
}
