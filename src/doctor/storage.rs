//! Whether there is room, a file system and a kernel that containers can live on.

mod apparmor;
mod kernel;

use super::Severity::{Block, Degraded, Info, Warn};
use super::{Answer, Case, Check, Finding, Fix, check};
use crate::error::Result;
use crate::facts::{Cgroup, Virtualisation};
use crate::host::Room;
use std::path::{Path, PathBuf};

pub(super) const CHECKS: &[Check] = &[
    check("disk-full", Block, "Is there room where docker writes?", disk),
    check("inodes-full", Block, "Are there inodes left where docker writes?", inodes),
    check("data-root-readonly", Block, "Can docker's data directory be written?", read_only),
    check("data-root-noexec", Degraded, "May programs run from docker's data directory?", noexec),
    check(
        "data-root-network-fs",
        Degraded,
        "Does docker's data directory lie on a local file system?",
        network,
    ),
    check("data-root-late-mount", Warn, "Is what fstab wants below docker's data directory mounted?", late),
    check("containerd-root-not-moved", Warn, "Do the images lie where `data-root` says?", not_moved),
    check("json-log-unbounded", Warn, "Are the logs of containers bounded?", logs).root(),
    check(
        "prior-drivers-ambiguous",
        Block,
        "Does one storage driver have data, not several?",
        several_drivers,
    )
    .root()
    .under(&[
        "engine-not-installed",
        "daemon-json-syntax",
        "daemon-json-encoding",
        "daemon-json-unreadable",
    ]),
    check("overlay-unsupported", Block, "Does the kernel know overlay?", overlay)
        .under(&["kernel-modules-gone"]),
    check("cgroup-devices-missing", Block, "Are control groups mounted?", no_cgroup),
    check("cgroup-v1-deprecated", Warn, "Are the control groups of version 2?", cgroup_v1),
    check("cgroup-controllers-missing", Warn, "Are all controllers there that limits need?", controllers),
    check("kernel-too-old", Block, "Is the kernel new enough?", kernel::too_old),
    check("kernel-modules-gone", Block, "Are the modules of the running kernel there?", kernel::modules_gone),
    check("kernel-config-missing", Block, "Has the kernel what an engine needs?", kernel::options)
        .under(&["kernel-modules-gone", "kernel-too-old"]),
    check(
        "xt-addrtype-missing",
        Block,
        "Has the kernel the match that dockerd's rules need?",
        kernel::addrtype,
    )
    .under(&["kernel-modules-gone", "kernel-config-missing"]),
    check(
        "kernel-option-missing",
        Warn,
        "Has the kernel what is asked of it here beyond that?",
        kernel::wanted,
    )
    .under(&["kernel-modules-gone", "kernel-too-old", "kernel-config-missing"]),
    check("keyring-quota", Degraded, "Are there keys left in the kernel's quota?", keys),
    check(
        "apparmor-parser-missing",
        Degraded,
        "Is AppArmor's parser there where AppArmor is on?",
        apparmor::parser,
    )
    .under(&["engine-not-installed"]),
    check("apparmor-profile-unloadable", Degraded, "Has AppArmor docker's profile?", apparmor::profile)
        .root()
        .under(&["apparmor-parser-missing"]),
];

/// Where docker writes, with the file system below: the nearest directory that is there already.
fn rooms(case: &Case) -> Result<Vec<(PathBuf, Room)>> {
    let mut rooms: Vec<(PathBuf, Room)> = Vec::new();
    for path in [case.data_root(), "/var/lib/containerd".into(), "/run".into(), "/tmp".into()] {
        for part in path.ancestors() {
            let Some(room) = case.host.room(part)? else { continue };
            if !rooms.iter().any(|(_, known)| known == &room) {
                rooms.push((path.clone(), room));
            }
            break;
        }
    }
    Ok(rooms)
}

const MIB: u64 = 1024 * 1024;

fn disk(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    let rooms = rooms(case)?;
    // /run is small by nature; a file system without size (proc, some overlays) says nothing.
    let scarce = |room: &Room, least: u64| room.bytes > 0 && room.bytes_free < least;
    let full: Vec<&(PathBuf, Room)> = rooms.iter().filter(|(_, room)| scarce(room, 16 * MIB)).collect();
    let shown = |(path, room): &(PathBuf, Room)| {
        format!("{}: {} MiB free of {} MiB", path.display(), room.bytes_free / MIB, room.bytes / MIB)
    };
    let fix = || {
        Fix::told("make room: images and build caches that nothing uses go first")
            .types("docker system df")
            .types("docker system prune")
    };
    if let Some((path, _)) = full.first() {
        let cause = format!("the file system of {} is full", path.display());
        return Ok(Finding::new(cause, fix()).all(full.into_iter().map(shown)).into());
    }
    let low: Vec<&(PathBuf, Room)> = rooms
        .iter()
        .filter(|(path, room)| {
            path.starts_with("/var") && scarce(room, 1024 * MIB) && room.bytes_free < room.bytes / 20
        })
        .collect();
    match low.first() {
        Some((path, _)) => {
            let cause = format!("the file system of {} is nearly full", path.display());
            Ok(Finding::new(cause, fix()).all(low.into_iter().map(shown)).only(Warn).into())
        }
        None => Ok(Answer::Fine),
    }
}

fn inodes(case: &Case) -> Result<Answer> {
    if !case.engine() {
        return Ok(Answer::Fine);
    }
    let rooms = rooms(case)?;
    let full = rooms.iter().find(|(_, room)| room.inodes > 0 && room.inodes_free < 64);
    let Some((path, room)) = full else { return Ok(Answer::Fine) };
    let fix = Fix::told("remove what has many small files: images and build caches that nothing uses")
        .types("df -i")
        .types("docker system prune");
    let cause = format!(
        "the file system of {} has no inodes left: `no space left on device`, with room",
        path.display()
    );
    Ok(Finding::new(cause, fix)
        .saw(format!("{}: {} of {} free", path.display(), room.inodes_free, room.inodes))
        .into())
}

/// Of the data directory, or of where it will be.
fn data_room(case: &Case) -> Result<Option<(PathBuf, Room)>> {
    let path = case.data_root();
    for part in path.ancestors() {
        if let Some(room) = case.host.room(part)? {
            return Ok(Some((path, room)));
        }
    }
    Ok(None)
}

fn read_only(case: &Case) -> Result<Answer> {
    match data_room(case)? {
        Some((path, room)) if room.read_only && case.engine() => {
            let fix =
                Fix::told("see why in dmesg, check the file system, and mount it again").types(format!(
                    "mount -o remount,rw {}",
                    mount_of(case, &path)?.map_or_else(|| "/".into(), |mount| mount.point)
                ));
            let cause = format!("{} lies on a file system that is mounted read-only", path.display());
            Ok(Finding::new(cause, fix).saw("statvfs: ro").into())
        }
        _ => Ok(Answer::Fine),
    }
}

struct Mount {
    point: String,
    options: String,
}

/// The mount that a path lies on: of those that hold it the longest, the last one.
fn mount_of(case: &Case, path: &Path) -> Result<Option<Mount>> {
    let text = case.text("/proc/self/mountinfo")?.unwrap_or_default();
    let mut best: Option<Mount> = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (Some(point), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
        if path.starts_with(point) && best.as_ref().is_none_or(|best| point.len() >= best.point.len()) {
            best = Some(Mount { point: point.to_string(), options: options.to_string() });
        }
    }
    Ok(best)
}

fn noexec(case: &Case) -> Result<Answer> {
    let path = case.data_root();
    if !case.engine() || !case.host.exists(&path)? {
        return Ok(Answer::Fine);
    }
    let Some(mount) = mount_of(case, &path)? else { return Ok(Answer::Fine) };
    let Some(wrong) = mount.options.split(',').find(|o| ["noexec", "nosuid", "nodev"].contains(o)) else {
        return Ok(Answer::Fine);
    };
    let cause =
        format!("{} is mounted with {wrong}: programs in containers do not run as they should", mount.point);
    let fix = Fix::told("mount it without, in /etc/fstab too")
        .types(format!("mount -o remount,exec,suid,dev {}", mount.point));
    Ok(Finding::new(cause, fix).saw(format!("options of {}: {}", mount.point, mount.options)).into())
}

/// statfs(2): NFS and CIFS.
const NETWORK: [u64; 3] = [0x6969, 0xff53_4d42, 0xfe53_4d42];

fn network(case: &Case) -> Result<Answer> {
    match data_room(case)? {
        Some((path, room)) if NETWORK.contains(&room.magic) => {
            let cause =
                format!("{} lies on a network file system, where layers cannot be kept", path.display());
            let fix = Fix::told("a local `data-root`, with volumes on the network where they are needed");
            Ok(Finding::new(cause, fix).saw(format!("statfs: {:#x}", room.magic)).into())
        }
        _ => Ok(Answer::Fine),
    }
}

fn late(case: &Case) -> Result<Answer> {
    let fstab = case.text("/etc/fstab")?.unwrap_or_default();
    let mounts = case.text("/proc/self/mountinfo")?.unwrap_or_default();
    let roots = [case.data_root(), "/var/lib/containerd".into()];
    let wanted = fstab.lines().filter(|line| !line.trim_start().starts_with('#')).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let point = *fields.get(1)?;
        let ours = roots.iter().any(|root| root.starts_with(point) && point.len() > "/var/lib".len());
        let manual = fields.get(3).is_some_and(|options| options.split(',').any(|o| o == "noauto"));
        let mounted = mounts.lines().any(|line| line.split(' ').nth(4) == Some(point));
        (ours && !manual && !mounted).then_some(point)
    });
    let Some(point) = wanted else { return Ok(Answer::Fine) };
    let cause = format!("fstab wants something mounted at {point}, and it is not: docker writes beside it");
    let fix = Fix::told("stop docker, mount it, and let the unit wait for it")
        .types("systemctl stop docker.service docker.socket")
        .types(format!("mount {point}"))
        .types(format!("systemctl edit docker.service   # [Unit] RequiresMountsFor={point}"));
    Ok(Finding::new(cause, fix).saw(format!("/etc/fstab: {point}")).into())
}

fn not_moved(case: &Case) -> Result<Answer> {
    let config = case.config().unwrap_or_default();
    let Some(root) = config.get("data-root").and_then(serde_json::Value::as_str) else {
        return Ok(Answer::Fine);
    };
    let images = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs";
    let toml = case.text("/etc/containerd/config.toml")?.unwrap_or_default();
    let moved = toml
        .lines()
        .any(|line| line.trim_start().starts_with("root ") || line.trim_start().starts_with("root="));
    // With the graph driver's directory there, images are in the data root.
    let by_driver = case.exists(&format!("{root}/overlay2"));
    if moved || by_driver || !case.exists(images) || root.starts_with("/var/lib/docker") {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("stop docker and containerd, move /var/lib/containerd, and name the place as `root`")
        .types("sudoedit /etc/containerd/config.toml");
    let cause =
        format!("images lie in /var/lib/containerd, not in {root}: this engine keeps them with containerd");
    Ok(Finding::new(cause, fix)
        .saw(format!("{images} is there; /etc/containerd/config.toml names no root"))
        .into())
}

/// The storage drivers by the directories that they make; `vfs` does not count (moby, daemon/graphdriver).
const DRIVERS: [&str; 4] = ["overlay2", "btrfs", "zfs", "fuse-overlayfs"];

fn several_drivers(case: &Case) -> Result<Answer> {
    // What runs has chosen one.
    if !case.engine()
        || case.active("docker.service").unwrap_or(false)
        || case.config()?.contains_key("storage-driver")
    {
        return Ok(Answer::Fine);
    }
    let root = case.data_root();
    let there = case.host.list(&root)?;
    let mut with_data = Vec::new();
    for driver in DRIVERS.into_iter().filter(|driver| there.iter().any(|name| name == driver)) {
        if !case.host.list(&root.join(driver))?.is_empty() {
            with_data.push(driver);
        }
    }
    if with_data.len() < 2 {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told(
        "name the one in use as `storage-driver`, and start docker; the other's images stay unseen",
    )
    .types("sudoedit /etc/docker/daemon.json")
    .types("systemctl restart docker.service");
    let cause = "the data of several storage drivers lies in the data directory: dockerd chooses none";
    Ok(Finding::new(cause, fix)
        .all(with_data.into_iter().map(|driver| root.join(driver).display().to_string()))
        .into())
}

fn logs(case: &Case) -> Result<Answer> {
    let directory = case.data_root().join("containers");
    let mut large = Vec::new();
    for id in case.host.list(&directory)? {
        let path = directory.join(&id).join(format!("{id}-json.log"));
        if let Some(stat) = case.host.stat(&path)?
            && stat.size > 1024 * MIB
        {
            large.push(format!("{}: {} MiB", path.display(), stat.size / MIB));
        }
    }
    if large.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix =
        Fix::told("set `log-driver` to `local`, or `max-size` in `log-opts`; it counts for new containers")
            .types("sudoedit /etc/docker/daemon.json");
    Ok(Finding::new("the log of a container has grown past a gigabyte, and nothing bounds it", fix)
        .all(large)
        .into())
}

fn overlay(case: &Case) -> Result<Answer> {
    if !case.engine() || case.active("docker.service").unwrap_or(true) {
        return Ok(Answer::Fine);
    }
    let loads = case.exists(&format!("/lib/modules/{}/kernel/fs/overlayfs", case.facts.kernel));
    if kernel::knows_overlay(case)? || loads {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("load the module; in a container, on the host outside").types("modprobe overlay");
    Ok(Finding::new("the kernel knows no overlay: no image can be unpacked", fix)
        .saw("/proc/filesystems")
        .into())
}

fn no_cgroup(case: &Case) -> Result<Answer> {
    if case.facts.cgroup != Cgroup::None || !case.engine() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("boot with systemd, which mounts them; without it, mount /sys/fs/cgroup");
    Ok(Finding::new("no control groups are mounted: no container can start", fix)
        .saw("/sys/fs/cgroup")
        .into())
}

fn cgroup_v1(case: &Case) -> Result<Answer> {
    if !matches!(case.facts.cgroup, Cgroup::V1 | Cgroup::Hybrid) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told(
        "take `systemd.unified_cgroup_hierarchy=0` from the kernel's command line, or go to a newer release",
    );
    let finding =
        Finding::new("the control groups are those of version 1, which engines will drop from 2029 on", fix)
            .saw("/sys/fs/cgroup has a directory for each controller");
    // What the host outside mounts is nothing that can be changed here.
    let nested = matches!(case.facts.virtualisation, Virtualisation::Container(_));
    Ok(if nested { finding.only(Info) } else { finding }.into())
}

fn controllers(case: &Case) -> Result<Answer> {
    if case.facts.cgroup != Cgroup::V2 {
        return Ok(Answer::Fine);
    }
    let there = case.text("/sys/fs/cgroup/cgroup.controllers")?.unwrap_or_default();
    let missing: Vec<&str> = ["cpu", "cpuset", "io", "memory", "pids"]
        .into_iter()
        .filter(|name| !there.split_whitespace().any(|word| word == *name))
        .collect();
    if missing.is_empty() {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("see the kernel's command line: `cgroup_enable=memory`, no `cgroup_disable=`")
        .types("cat /proc/cmdline");
    let cause =
        format!("limits on {} have no effect: the kernel has no such controller on", missing.join(", "));
    Ok(Finding::new(cause, fix).saw("/sys/fs/cgroup/cgroup.controllers").into())
}

/// `    0:   123 122/122 100/1000000 2000/25000000`: keys of root's, of how many.
fn keys(case: &Case) -> Result<Answer> {
    let users = case.text("/proc/key-users")?.unwrap_or_default();
    for line in users.lines() {
        let Some((uid, rest)) = line.trim().split_once(':') else { continue };
        let Some((used, most)) = rest.split_whitespace().nth(2).and_then(|keys| keys.split_once('/')) else {
            continue;
        };
        let (Ok(used), Ok(most)) = (used.parse::<u64>(), most.parse::<u64>()) else { continue };
        if most > 0 && used * 100 >= most * 97 && case.engine() {
            let name = if uid == "0" { "kernel.keys.root_maxkeys" } else { "kernel.keys.maxkeys" };
            let fix = Fix::told("allow more").types(format!("sysctl -w {name}=1000000"));
            return Ok(Finding::new(
                "the kernel's quota of keys is used up: new containers do not start",
                fix,
            )
            .saw(format!("/proc/key-users: user {uid} has {used} of {most}"))
            .into());
        }
    }
    Ok(Answer::Fine)
}
