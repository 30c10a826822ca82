//! The processes of a user with the groups that each of them has: a group that was added later is in none of them.

use crate::host::Look;
use std::path::Path;

#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub name: String,
    pub uid: u32,
    /// Whose rights it has: sudo itself is the caller's, with root's rights and groups.
    pub effective: u32,
    pub groups: Vec<u32>,
}

/// `/proc/PID/status`, proc_pid_status(5).
pub fn parse(pid: u32, status: &str) -> Option<Process> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let number = |name: &str, place: usize| field(name)?.split_whitespace().nth(place)?.parse::<u32>().ok();
    let mut groups: Vec<u32> =
        field("Groups:")?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    groups.extend(number("Gid:", 1));
    Some(Process {
        pid: number("Pid:", 0).unwrap_or(pid),
        parent: number("PPid:", 0)?,
        name: field("Name:")?.to_owned(),
        uid: number("Uid:", 0)?,
        effective: number("Uid:", 1)?,
        groups,
    })
}

/// A process by its number, or `self`.
pub fn one(host: &dyn Look, pid: &str) -> Option<Process> {
    let bytes = host.read(&Path::new("/proc").join(pid).join("status")).ok().flatten()?;
    parse(pid.parse().unwrap_or_default(), &String::from_utf8_lossy(&bytes))
}

/// Those above this one, the nearest first.
pub fn ancestors(host: &dyn Look) -> Vec<Process> {
    let mut above = Vec::new();
    let mut next = one(host, "self").map(|process| process.parent);
    while let Some(pid) = next.filter(|pid| *pid > 1 && above.len() < 64) {
        let Some(process) = one(host, &pid.to_string()) else { break };
        next = Some(process.parent);
        above.push(process);
    }
    above
}

/// All of one user. The owner of the directory says whose it is, so that those of others are not read.
pub fn of_user(host: &dyn Look, uid: u32) -> Vec<Process> {
    let names = host.list(Path::new("/proc")).unwrap_or_default();
    let numbers = names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let theirs = numbers.filter(|pid| {
        host.stat(&Path::new("/proc").join(pid)).ok().flatten().is_some_and(|stat| stat.uid == uid)
    });
    theirs.filter_map(|pid| one(host, pid)).collect()
}

/// What kind of program keeps old groups, by its name and its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    UserManager,
    Multiplexer,
    Editor,
    Service,
    Other,
}

impl Process {
    pub fn keeper(&self, host: &dyn Look) -> Keeper {
        match self.name.as_str() {
            "systemd" | "(sd-pam)" => return Keeper::UserManager,
            name if name.starts_with("tmux") || name.eq_ignore_ascii_case("screen") => {
                return Keeper::Multiplexer;
            }
            "zellij" | "byobu" => return Keeper::Multiplexer,
            _ => {}
        }
        let read = |file: &str| {
            let bytes = host.read(&Path::new("/proc").join(self.pid.to_string()).join(file));
            String::from_utf8_lossy(&bytes.ok().flatten().unwrap_or_default()).into_owned()
        };
        let line = read("cmdline");
        let editors =
            [".vscode-server", ".cursor-server", ".vscodium-server", ".windsurf-server", "remote-dev-server"];
        if editors.iter().any(|editor| line.contains(editor)) {
            return Keeper::Editor;
        }
        // A unit of the system with a user of its own: a runner of a build service, mostly.
        let group = read("cgroup");
        if group.contains("/system.slice/") && group.contains(".service") {
            Keeper::Service
        } else {
            Keeper::Other
        }
    }

    /// The unit of the system that it is a process of: `jenkins.service`.
    pub fn unit(&self, host: &dyn Look) -> Option<String> {
        let path = Path::new("/proc").join(self.pid.to_string()).join("cgroup");
        let text = String::from_utf8(host.read(&path).ok().flatten()?).ok()?;
        let line = text.lines().find(|line| line.contains("/system.slice/"))?;
        line.split('/').rev().find(|part| part.ends_with(".service")).map(str::to_owned)
    }
}
