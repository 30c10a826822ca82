//! Whose docker is looked at: the caller, the user behind sudo, or a user that is named; and the groups of that user.

use super::Who;
use super::processes::{self, Process};
use super::report::ShownSubject;
use crate::error::{Error, Result};
use crate::host::{Look, Question};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Subject {
    pub user: String,
    pub uid: u32,
    pub home: PathBuf,
    /// Named on the command line: only then may something be granted.
    pub named: bool,
    /// Whether the caller's own environment and session are this user's.
    pub own: bool,
    /// Root looks into a home that is not root's.
    pub as_root: bool,
    /// The process whose session is meant: the caller's, or that which called sudo.
    pub session: Option<Process>,
    /// The process whose variables are the caller's: sudo itself got what the shell had exported, and hands on nothing of it.
    pub behind: Option<Process>,
    /// By NSS: what a new login would have.
    pub groups: std::result::Result<Vec<u32>, String>,
    /// Whether /etc/passwd knows the user.
    pub local: bool,
}

impl Subject {
    /// # Errors
    /// There is no such user: exit 2.
    pub fn of(who: &Who, host: &dyn Look) -> Result<Subject> {
        let passwd = lines(host, "/etc/passwd");
        let caller = rustix_uid(who);
        let named = who.user.is_some();
        let sudo = who.environment.get("SUDO_USER").filter(|user| caller == 0 && *user != "root");
        let wanted = who.user.as_deref().or(sudo.map(String::as_str));
        let entry = match wanted {
            Some(name) => match passwd.iter().find_map(|line| entry(line).filter(|e| e.0 == name)) {
                Some(entry) => entry,
                None => asked(host, name)?.ok_or_else(|| {
                    Error::usage(format!("cannot look with the eyes of `{name}`"))
                        .because("there is no such user")
                        .hint("rprov doctor --user NAME")
                })?,
            },
            None => passwd
                .iter()
                .find_map(|line| entry(line).filter(|e| e.1 == caller))
                .or_else(|| asked(host, &caller.to_string()).ok().flatten())
                .unwrap_or_else(|| (caller.to_string(), caller, PathBuf::from("/"))),
        };
        let (user, uid, home) = entry;
        if caller != 0 && uid != caller {
            return Err(Error::refused(format!("cannot look with the eyes of `{user}`"))
                .because("only root may look for another user")
                .hint(format!("sudo rprov doctor --user {user}")));
        }
        let own = uid == caller;
        let home = match who.environment.get("HOME").filter(|home| own && !home.is_empty()) {
            Some(home) => PathBuf::from(home),
            None => home,
        };
        let above = match own {
            true => processes::one(host, "self").into_iter().collect(),
            false => processes::ancestors(host),
        };
        let behind = above.iter().find(|process| process.uid == uid).cloned();
        let session =
            above.into_iter().find(|process| own || (process.uid == uid && process.effective == uid));
        let local = passwd.iter().any(|line| entry_name(line) == user);
        let groups = numbers(host, &user);
        Ok(Subject {
            user,
            uid,
            home,
            named,
            own,
            as_root: caller == 0 && uid != 0,
            session,
            behind,
            groups,
            local,
        })
    }

    /// The groups that count now: the session's, or those of a new login where no session is meant.
    pub fn effective(&self) -> Option<&[u32]> {
        match &self.session {
            Some(session) => Some(&session.groups),
            None => self.groups.as_deref().ok(),
        }
    }

    /// Whether root asks, for whomever: what is unreadable then is no secret that is kept from the caller.
    pub fn root_asks(&self) -> bool {
        self.as_root || self.uid == 0
    }

    pub fn shown(&self) -> ShownSubject {
        ShownSubject { user: self.user.clone(), uid: self.uid, as_root: self.root_asks() }
    }
}

fn rustix_uid(who: &Who) -> u32 {
    who.uid
}

/// The lines of a file that may hold broken ones.
pub fn lines(host: &dyn Look, path: &str) -> Vec<String> {
    let bytes = host.read(Path::new(path)).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// `alice:x:1000:1000::/home/alice:/bin/bash` of passwd(5).
fn entry(line: &str) -> Option<(String, u32, PathBuf)> {
    let fields: Vec<&str> = line.trim_end().split(':').collect();
    Some((fields.first()?.to_string(), fields.get(2)?.parse().ok()?, PathBuf::from(fields.get(5)?)))
}

fn entry_name(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// Users whom only a directory service knows.
fn asked(host: &dyn Look, key: &str) -> Result<Option<(String, u32, PathBuf)>> {
    let answer = host.query(&Question::Getent { database: "passwd", key: key.to_owned() })?;
    Ok(answer.stdout.lines().next().and_then(entry))
}

fn numbers(host: &dyn Look, user: &str) -> std::result::Result<Vec<u32>, String> {
    let answer = host
        .query(&Question::GroupNumbersOf { user: user.to_owned() })
        .map_err(|error| super::words(&error))?;
    if !answer.ok() {
        return Err(format!("`id -G {user}` says: {}", answer.stderr.trim()));
    }
    Ok(answer.stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// A group of group(5), by file and by NSS.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

pub fn group_line(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.trim_end().split(':').collect();
    let members = fields.get(3)?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Group { name: fields.first()?.to_string(), gid: fields.get(2)?.parse().ok()?, members })
}
