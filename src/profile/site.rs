//! What a look at the host adds to what is wanted: addresses that are free, places that are not there yet, the image of
//! the registry; and what a person should know of it beforehand.

use super::gpu;
use super::preconditions::starts_forbidden;
use super::settings::{Settings, Trust};
use crate::addresses::{self, Choice};
use crate::daemon_config::{self, Severity};
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::host::Look;
use crate::json::{self, KeyPath};
use crate::resources::image::Image;
use crate::resources::json_keys::installed_version;
use crate::steps::daemon_json::FILE;
use crate::steps::driver::BLOCKED;
use crate::steps::drop_in::{DropIn, is_plain};
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The name that `--with` takes for the local registry; all others are the profile's.
pub const REGISTRY: &str = "registry";

/// Where the containerd image store keeps everything, whatever `data-root` says (moby#50517).
const CONTAINERD: &str = "/var/lib/containerd";
const DOCKER: &str = "/var/lib/docker";

/// Whoever names one of these has chosen addresses.
pub(super) const POOL_KEYS: [&str; 2] = ["default-address-pools", "bip"];

/// What this host needs, and others do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// Address pools in place of dockerd's own.
    pub pools: Option<Value>,
    /// Where containerd keeps images and snapshots, in place of its own directory.
    pub containerd_root: Option<PathBuf>,
    /// `data-root` of an engine that comes, where it is not there yet.
    pub data: Option<PathBuf>,
    /// The directories above it that are not there yet, from the top.
    pub made: Vec<PathBuf>,
    pub registry: Option<Image>,
    /// What daemon.json lacks for a card.
    pub gpu_keys: Vec<(KeyPath, Value)>,
    /// Of NVIDIA's repository, where it had to be fetched.
    pub cuda_key: Option<Trust>,
    /// A run before this one installed the driver, and a reboot was needed.
    pub driver_is_ours: bool,
    /// Whether packages may be forbidden to start what they bring.
    pub starts_forbidden: bool,
}

impl Settings {
    /// Looks at the host, and gives back what is to be told before the plan.
    ///
    /// # Errors
    /// A `data-root` that systemd or dockerd cannot take, a registry without its image: exit 2.
    pub fn look_around(&mut self, facts: &Facts, host: &dyn Look) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        // What is wrong with the file is told by the plan.
        let file = host.read(Path::new(FILE))?.unwrap_or_default();
        let file = json::read(&file).unwrap_or_default();
        notes.extend(self.without_effect(facts, &file, host)?);
        notes.extend(self.open_to_all());
        notes.extend(self.loopback(&file));
        if !facts.engine {
            notes.extend(self.choose_pools(&file, host)?);
        }
        notes.extend(self.move_data(facts, &file, host)?);
        self.site.registry = self.registry_image(host)?;
        if self.wants_driver(facts)? {
            self.site.cuda_key = self.fetched_key(facts, host)?;
            self.site.driver_is_ours = host.exists(Path::new(BLOCKED))?;
        }
        self.site.gpu_keys = self.gpu_keys(facts, &file, host)?;
        self.site.starts_forbidden = starts_forbidden(host)?;
        Ok(notes)
    }

    fn gpu_keys(
        &self,
        facts: &Facts,
        file: &Map<String, Value>,
        host: &dyn Look,
    ) -> Result<Vec<(KeyPath, Value)>> {
        if !self.wants_toolkit(facts)? {
            return Ok(Vec::new());
        }
        let engine = match &self.version {
            Some(version) => Some(version.clone()),
            None if facts.engine => installed_version(host)?,
            None => None,
        };
        Ok(gpu::daemon_keys(file, &self.daemon.asked, engine.as_deref(), self.wish.default_runtime))
    }

    /// Keys that dockerd accepts and does nothing with, in what is asked for and in what is there.
    fn without_effect(
        &self,
        facts: &Facts,
        file: &Map<String, Value>,
        host: &dyn Look,
    ) -> Result<Vec<String>> {
        let ignored = |version: Option<&str>| -> Vec<String> {
            let of = |config, place: &'static str| {
                let problems = daemon_config::check(config, version, &[]);
                let warnings = problems.into_iter().filter(|p| p.severity() == Severity::Warn);
                warnings.map(move |problem| format!("{place}: {problem}"))
            };
            of(&self.daemon.asked, "`[daemon]`").chain(of(file, FILE)).collect()
        };
        let notes = ignored(self.version.as_deref());
        // To ask dockerd costs more than all the rest of a run that has nothing to do.
        if notes.is_empty() || !facts.engine || self.version.is_some() {
            return Ok(notes);
        }
        Ok(ignored(installed_version(host)?.as_deref()))
    }

    /// An address that others reach, and that asks nobody who they are.
    fn open_to_all(&self) -> Vec<String> {
        let asked = &self.daemon.asked;
        if asked.get("tlsverify") == Some(&Value::Bool(true)) {
            return Vec::new();
        }
        let open = texts(asked.get("hosts"))
            .into_iter()
            .filter(|address| address.strip_prefix("tcp://").is_some_and(|rest| !is_loopback(rest)));
        open.map(|address| format!("whoever reaches `{address}` is root here: dockerd asks for no certificate without `tlsverify`")).collect()
    }

    /// From 29.10 on, a list of insecure registries is the whole of it: what is on this machine is in it only if it is
    /// named (moby#53868).
    fn loopback(&self, file: &Map<String, Value>) -> Option<String> {
        let list =
            self.daemon.asked.get("insecure-registries").or_else(|| file.get("insecure-registries"))?;
        if self.registry_wanted() || names_loopback(list) {
            return None;
        }
        Some("`insecure-registries` names none of this machine: from docker 29.10 on, `localhost:5000` without TLS needs `127.0.0.0/8` in it".into())
    }

    fn choose_pools(&mut self, file: &Map<String, Value>, host: &dyn Look) -> Result<Option<String>> {
        let named = |key: &&str| self.daemon.asked.contains_key(*key) || file.contains_key(*key);
        if POOL_KEYS.iter().any(named) {
            return Ok(None);
        }
        Ok(match addresses::choose(&addresses::routes(host)?) {
            Choice::AsItIs => None,
            Choice::Instead { of, pool } => {
                self.site.pools =
                    Some(serde_json::json!([{ "base": pool.to_string(), "size": addresses::SIZE }]));
                Some(format!(
                    "a route of this host leads to {of}, where dockerd would take its networks from: they come from {pool} instead"
                ))
            }
            Choice::NothingFree { of } => Some(format!(
                "a route of this host leads to {of}, where dockerd takes its networks from, and no other private network is free: name one in `default-address-pools`"
            )),
        })
    }

    /// `data-root` alone leaves images where containerd keeps them. On a host without an engine both move; else
    /// nothing is moved that is there, and it is said.
    fn move_data(
        &mut self,
        facts: &Facts,
        file: &Map<String, Value>,
        host: &dyn Look,
    ) -> Result<Vec<String>> {
        let Some(Value::String(root)) = self.daemon.asked.get("data-root") else { return Ok(Vec::new()) };
        let root = Path::new(root);
        let cannot = || Error::usage(format!("cannot use `{}` as `data-root`", root.display()));
        if !root.is_absolute() || root.parent().is_none() || !is_plain(root) {
            return Err(
                cannot().because("expected an absolute path below `/`, without blanks, quotes, `$` and `%`")
            );
        }
        let mut above: Vec<&Path> = Vec::new();
        for path in root.ancestors().skip(1) {
            if host.exists(path)? {
                break;
            }
            above.insert(0, path);
        }
        // Of an engine that stays, nothing goes from under it.
        if !facts.engine && !host.exists(root)? {
            self.site.data = Some(root.to_owned());
            self.site.made = above.into_iter().map(Path::to_owned).collect();
        }
        let containerd = root.join("containerd-store");
        let ours = host.exists(&DropIn::containerd_root(&containerd).path())?;
        let free = !facts.engine && !host.exists(Path::new(CONTAINERD))?;
        let mut notes = Vec::new();
        if free || ours {
            self.site.containerd_root = Some(containerd);
        } else {
            notes.push(format!("images and containers of the containerd image store stay in {CONTAINERD}, whatever `data-root` says: `root` in /etc/containerd/config.toml moves them"));
        }
        let now = file.get("data-root").and_then(Value::as_str).unwrap_or(DOCKER);
        if facts.engine && Path::new(now) != root {
            notes.push(format!("what is in {now} stays there: it is neither moved nor seen by the engine with another `data-root`"));
        }
        Ok(notes)
    }

    pub(super) fn registry_wanted(&self) -> bool {
        self.with.iter().any(|name| name == REGISTRY)
    }

    fn registry_image(&self, host: &dyn Look) -> Result<Option<Image>> {
        if !self.registry_wanted() {
            return Ok(None);
        }
        let path = self.registry_image.as_deref().ok_or_else(|| {
            Error::usage("cannot set up the local registry")
                .because("no image for it was given, and none is pulled from anywhere unasked")
                .hint("docker save --output registry.tar registry:3, where the image is; then `--registry-image registry.tar`")
        })?;
        Image::of_one(path, host).map(Some)
    }

    /// What daemon.json is to hold: as asked, and with what has to be in it for that to work.
    pub fn daemon_asked(&self) -> Map<String, Value> {
        let mut asked = self.daemon.asked.clone();
        // Without its socket nothing on this host would reach it, and its unit is still there.
        if let Some(Value::Array(hosts)) = asked.get_mut("hosts") {
            let local = |host: &Value| {
                host.as_str().is_some_and(|h| h.starts_with("fd://") || h.starts_with("unix://"))
            };
            if !hosts.iter().any(local) {
                hosts.insert(0, "fd://".into());
            }
        }
        if let (true, Some(list)) = (self.registry_wanted(), asked.get_mut("insecure-registries"))
            && !names_loopback(list)
            && let Value::Array(list) = list
        {
            list.extend(["127.0.0.0/8".into(), "::1/128".into()]);
        }
        asked
    }
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn names_loopback(list: &Value) -> bool {
    texts(Some(list)).iter().any(|name| name.starts_with("127.") || name.starts_with("localhost"))
}

/// `127.0.0.1:2375`, `localhost:2375`, `[::1]:2375`.
fn is_loopback(address: &str) -> bool {
    let name = address.rsplit_once(':').map_or(address, |(name, _)| name).trim_matches(['[', ']']);
    // Without a name dockerd listens on the loopback.
    let empty = IpAddr::V4(Ipv4Addr::LOCALHOST);
    name == "localhost"
        || if name.is_empty() { empty } else { name.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) }
            .is_loopback()
}

#[cfg(test)]
mod tests;
