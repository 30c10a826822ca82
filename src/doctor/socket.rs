//! What sits where the docker command would connect to, part by part of the path, and who may use it.

use super::endpoint::spelled;
use super::subject::Subject;
use crate::host::{Kind, Look, Stat};
use std::path::{Component, Path, PathBuf};

#[derive(Clone, Debug, PartialEq)]
pub enum Seat {
    /// The first part that is not there, and the link that leads to it, if one does.
    Missing {
        part: PathBuf,
        link: Option<PathBuf>,
    },
    Directory {
        path: PathBuf,
        empty: bool,
    },
    NotASocket {
        path: PathBuf,
    },
    /// A socket that nobody listens on.
    Dead {
        path: PathBuf,
    },
    Live {
        path: PathBuf,
        stat: Stat,
    },
    /// A directory on the way that the subject may not pass.
    Closed {
        part: PathBuf,
        stat: Stat,
    },
    /// A link in somebody else's home, which is not followed; or what cannot be looked at.
    Hidden {
        why: String,
    },
}

/// Walks the path as the kernel would for the subject.
pub fn walk(path: &Path, subject: &Subject, host: &dyn Look) -> Seat {
    match seek(path, subject, host) {
        Ok(seat) => seat,
        Err(error) => Seat::Hidden { why: super::words(&error) },
    }
}

fn seek(path: &Path, subject: &Subject, host: &dyn Look) -> crate::error::Result<Seat> {
    let mut ahead: Vec<PathBuf> = parts(path);
    let mut at = PathBuf::from("/");
    let mut link = None;
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part.as_os_str() == ".." {
            at.pop();
            continue;
        }
        at.push(&part);
        let Some(stat) = host.stat(&at)? else { return Ok(Seat::Missing { part: at, link }) };
        match stat.kind {
            Kind::Link => {
                links += 1;
                if links > 40 {
                    return Ok(Seat::Hidden { why: format!("`{}` leads round in circles", path.display()) });
                }
                if subject.as_root && at.starts_with(&subject.home) {
                    return Ok(Seat::Hidden { why: "a link in the user's home is not followed".into() });
                }
                let target = host.link(&at)?.unwrap_or_default();
                if at != Path::new("/var/run") {
                    link = Some(at.clone());
                }
                match target.is_absolute() {
                    true => at = PathBuf::from("/"),
                    false => drop(at.pop()),
                }
                ahead.extend(parts(&target));
            }
            Kind::Directory if !ahead.is_empty() => {
                let groups = subject.effective().unwrap_or_default();
                if !may(&stat, None, subject.uid, groups, 1) {
                    return Ok(Seat::Closed { part: at, stat });
                }
            }
            Kind::Directory => {
                let empty = host.list(&at).is_ok_and(|names| names.is_empty());
                return Ok(Seat::Directory { path: at, empty });
            }
            Kind::Socket if ahead.is_empty() => {
                return Ok(match listens(host, path, &at)? {
                    true => Seat::Live { path: at, stat },
                    false => Seat::Dead { path: at },
                });
            }
            _ => return Ok(Seat::NotASocket { path: at }),
        }
    }
    Ok(Seat::Directory { path: at, empty: false })
}

/// The names of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut names: Vec<PathBuf> = names.collect();
    names.reverse();
    names
}

/// A line of /proc/net/unix with the flag of a listener (SO_ACCEPTCON), by either name of the socket.
fn listens(host: &dyn Look, named: &Path, real: &Path) -> crate::error::Result<bool> {
    let text = host.read_text(Path::new("/proc/net/unix"))?.unwrap_or_default();
    let wanted = [spelled(named), spelled(real)];
    Ok(text.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"00010000")
            && fields.get(7).is_some_and(|path| wanted.contains(&spelled(Path::new(path))))
    }))
}

/// Another user's entry in an access control list (acl(5)), as the kernel stores it.
pub const ACL: &str = "system.posix_acl_access";

/// Whether a user with these groups may: 4 read, 2 write, 1 pass. The kernel's order: owner, list, groups, others.
pub fn may(stat: &Stat, acl: Option<&[u8]>, uid: u32, groups: &[u32], wanted: u32) -> bool {
    if uid == 0 {
        return true;
    }
    let has = |bits: u32| bits & wanted == wanted;
    if uid == stat.uid {
        return has(stat.mode >> 6);
    }
    let Some(acl) = acl.filter(|acl| acl.len() > 4) else {
        return if groups.contains(&stat.gid) { has(stat.mode >> 3) } else { has(stat.mode) };
    };
    let entries: Vec<(u16, u32, u32)> = acl[4..]
        .chunks_exact(8)
        .map(|e| {
            let short = |at: usize| u16::from_le_bytes([e[at], e[at + 1]]);
            (short(0), u32::from(short(2)), u32::from_le_bytes([e[4], e[5], e[6], e[7]]))
        })
        .collect();
    let mask = entries.iter().find(|e| e.0 == 0x10).map_or(7, |e| e.1);
    if let Some(user) = entries.iter().find(|e| e.0 == 0x02 && e.2 == uid) {
        return has(user.1 & mask);
    }
    let of_groups: Vec<u32> = entries
        .iter()
        .filter(|e| (e.0 == 0x04 && groups.contains(&stat.gid)) || (e.0 == 0x08 && groups.contains(&e.2)))
        .map(|e| e.1 & mask)
        .collect();
    if of_groups.is_empty() { has(stat.mode) } else { of_groups.into_iter().any(has) }
}
