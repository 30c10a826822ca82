//! Where the docker command would connect to, found as the command itself finds it.

use super::home;
use super::report::ShownEndpoint;
use super::subject::Subject;
use super::{Flag, Who};
use crate::host::Look;
use crate::host::fetch::mask;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Where the address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    /// The command line.
    Flag,
    Environment,
    /// A file that a login reads.
    Profile,
    Context,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Unix(PathBuf),
    /// tcp://, ssh:// and what else is not on this host, or no address at all: never dialled.
    Remote(String),
    /// A context that is named and not there.
    NoContext(String),
}

#[derive(Clone, Debug)]
pub struct Endpoint {
    pub source: Source,
    /// In words: `DOCKER_HOST in the environment`.
    pub from: String,
    pub target: Target,
    /// Whether what it says may be shown: not from the home of somebody else.
    pub quotable: bool,
}

pub const DEFAULT: &str = "/var/run/docker.sock";

/// The places where a login finds variables, in the order in which a later one wins.
const PROFILES: [&str; 9] = [
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bashrc",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".config/environment.d/docker.conf",
    ".pam_environment",
];

impl Endpoint {
    /// The command line, DOCKER_HOST, DOCKER_CONTEXT, `currentContext` of config.json, the default (docker/cli,
    /// resolveContextName). The context `default` is DOCKER_HOST where that is set.
    pub fn of(who: &Who, subject: &Subject, host: &dyn Look) -> Endpoint {
        let flag = |from: &str, target: Target| Endpoint {
            source: Source::Flag,
            from: format!("{from} on the command line"),
            target,
            quotable: true,
        };
        match &who.flag {
            Some(Flag::Host(url)) => return flag("`--host`", target(url)),
            Some(Flag::Context(name)) if name != "default" => {
                let config = directory(who, subject);
                return flag("`--context`", context(name, &config, subject, host));
            }
            _ => {}
        }
        if let Some(found) = variable("DOCKER_HOST", who, subject, host) {
            return Endpoint { target: target(&found.value), ..found.endpoint() };
        }
        if who.flag.is_some() {
            return flag("`--context`", Target::Unix(DEFAULT.into()));
        }
        let config = directory(who, subject);
        if let Some(found) = variable("DOCKER_CONTEXT", who, subject, host) {
            let target = context(&found.value, &config, subject, host);
            return Endpoint { target, ..found.endpoint() };
        }
        let path = config.join("config.json");
        let text = home::read(&path, subject, host).ok().flatten().unwrap_or_default();
        let current = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|config| config["currentContext"].as_str().map(str::to_owned))
            .filter(|name| !name.is_empty() && name != "default");
        let quotable = !(subject.as_root && path.starts_with(&subject.home));
        match current {
            Some(name) => Endpoint {
                source: Source::Context,
                from: format!("`currentContext` in {}", path.display()),
                target: context(&name, &config, subject, host),
                quotable,
            },
            None => Endpoint::default(),
        }
    }

    /// The socket of this host that it leads to.
    pub fn socket(&self) -> Option<&Path> {
        match &self.target {
            Target::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// Whether it is the system's own engine.
    pub fn is_default(&self) -> bool {
        self.socket().is_some_and(|path| spelled(path) == Path::new("/run/docker.sock"))
    }

    pub fn shown(&self) -> ShownEndpoint {
        let url = match &self.target {
            Target::Unix(path) => Some(format!("unix://{}", path.display())),
            Target::Remote(url) => Some(mask(url)),
            Target::NoContext(_) => None,
        };
        let source = match self.source {
            Source::Default => "default",
            Source::Flag => "flag",
            Source::Environment => "environment",
            Source::Profile => "profile",
            Source::Context => "context",
        };
        ShownEndpoint { source, url: url.filter(|_| self.quotable), from: self.from.clone() }
    }
}

impl Default for Endpoint {
    fn default() -> Endpoint {
        Endpoint {
            source: Source::Default,
            from: "the default".into(),
            target: Target::Unix(DEFAULT.into()),
            quotable: true,
        }
    }
}

/// `/var/run` is `/run` by another name.
pub fn spelled(path: &Path) -> PathBuf {
    match path.strip_prefix("/var/run") {
        Ok(rest) => Path::new("/run").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// A variable, where it stands, and what it says.
struct Variable {
    value: String,
    source: Source,
    from: String,
    quotable: bool,
}

impl Variable {
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            source: self.source,
            from: self.from.clone(),
            target: Target::Remote(String::new()),
            quotable: self.quotable,
        }
    }
}

/// The caller's own environment; else that of the session behind sudo; else what the next login would set.
fn variable(name: &str, who: &Who, subject: &Subject, host: &dyn Look) -> Option<Variable> {
    let environment =
        |value: String, from: String| Variable { value, source: Source::Environment, from, quotable: true };
    if subject.own {
        let value = who.environment.get(name).filter(|value| !value.is_empty())?;
        return Some(environment(value.clone(), written(name, subject, host)));
    }
    if let Some(behind) = &subject.behind {
        let path = Path::new("/proc").join(behind.pid.to_string()).join("environ");
        let bytes = host.read(&path).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let value = text.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let from = format!("{name} in the environment of process {} ({})", behind.pid, behind.name);
            return Some(environment(value.to_owned(), from));
        }
    }
    profile(name, subject, host)
}

/// Where a variable of the environment may come from: the file, if one sets it.
fn written(name: &str, subject: &Subject, host: &dyn Look) -> String {
    match profile(name, subject, host) {
        Some(found) => format!("{name} in the environment ({})", found.from),
        None => format!("{name} in the environment"),
    }
}

fn profile(name: &str, subject: &Subject, host: &dyn Look) -> Option<Variable> {
    let mut files: Vec<PathBuf> = vec!["/etc/environment".into()];
    let scripts = host.list(Path::new("/etc/profile.d")).unwrap_or_default();
    files.extend(scripts.iter().map(|name| Path::new("/etc/profile.d").join(name)));
    files.extend(PROFILES.iter().map(|name| subject.home.join(name)));
    let mut found = None;
    for path in files {
        let text = home::read(&path, subject, host).ok().flatten().unwrap_or_default();
        if let Some((line, value)) = home::assigned(&text, name).filter(|(_, value)| !value.is_empty()) {
            let from = format!("{name} in {}, line {line}", path.display());
            let quotable = !(subject.as_root && path.starts_with(&subject.home));
            found = Some(Variable { value, source: Source::Profile, from, quotable });
        }
    }
    found
}

/// Where the docker command keeps its files.
pub fn directory(who: &Who, subject: &Subject) -> PathBuf {
    match who.environment.get("DOCKER_CONFIG").filter(|path| subject.own && !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => subject.home.join(".docker"),
    }
}

/// `unix://` alone is the default, and an address without a scheme is one of TCP (docker/cli, opts.ParseHost).
fn target(url: &str) -> Target {
    let url = url.trim();
    match url.strip_prefix("unix://") {
        Some("") => Target::Unix(DEFAULT.into()),
        Some(path) => Target::Unix(path.into()),
        None if url.contains("://") || url.starts_with('/') => Target::Remote(url.to_owned()),
        None => Target::Remote(format!("tcp://{url}")),
    }
}

/// `contexts/meta/SHA256-OF-NAME/meta.json` (docker/cli, cli/context/store).
fn context(name: &str, config: &Path, subject: &Subject, host: &dyn Look) -> Target {
    if name == "default" {
        return Target::Unix(DEFAULT.into());
    }
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(name.as_bytes()));
    let path = config.join("contexts/meta").join(digest).join("meta.json");
    let text = home::read(&path, subject, host).ok().flatten();
    let meta = text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    match meta.as_ref().and_then(|meta| meta["Endpoints"]["docker"]["Host"].as_str()) {
        Some(url) => target(url),
        None => Target::NoContext(name.to_owned()),
    }
}
