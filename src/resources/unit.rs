//! A systemd unit: enabled and running, or neither.

use super::{Change, How, Resource, WayBack};
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Question, Touch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// No unit file: the package is not there yet, or no more.
    #[serde(default)]
    pub missing: bool,
    #[serde(default)]
    pub masked: bool,
    pub enabled: bool,
    pub active: bool,
}

impl UnitState {
    pub const RUNNING: UnitState = UnitState { missing: false, masked: false, enabled: true, active: true };
    /// In an image, where nothing runs: it starts when a machine of it boots.
    pub const ENABLED: UnitState = UnitState { active: false, ..UnitState::RUNNING };
}

/// Whether systemd runs here (sd_booted(3)); an image that is built has its programs, and nothing that runs.
pub fn systemd_runs(host: &dyn Look) -> Result<bool> {
    host.exists(Path::new("/run/systemd/system"))
}

/// What `systemctl show` says of one unit; in a chroot it is silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown(BTreeMap<String, String>);

impl Shown {
    pub fn of(host: &dyn Look, unit: &str) -> Result<Shown> {
        let answer = host.query(&Question::UnitShow { unit: unit.to_owned() })?;
        if !answer.ok() && !systemd_runs(host)? {
            return Ok(Shown::default());
        }
        if !answer.ok() {
            return Err(Error::failed(format!("cannot ask systemd about `{unit}`")).tail(&answer.stderr));
        }
        Ok(Shown::parse(&answer.stdout))
    }
    pub fn parse(text: &str) -> Shown {
        Shown(text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
    }
    pub fn get(&self, property: &str) -> &str {
        self.0.get(property).map(String::as_str).unwrap_or_default()
    }
    /// When the unit last became active, in microseconds since the epoch; 0 if not since the boot. By the monotonic
    /// stamp: the other one is words, in another form with every systemd.
    pub fn started_us(&self) -> u64 {
        let started: u64 = self.get("ActiveEnterTimestampMonotonic").parse().unwrap_or(0);
        if started == 0 {
            return 0;
        }
        crate::clock::now_us().saturating_sub(crate::clock::up_us().saturating_sub(started))
    }
    /// What `systemctl is-enabled` says, where there is no manager to ask: nothing, or a word since systemd 253, of a unit
    /// that is not there.
    fn of_file(word: &str) -> Shown {
        let load = if matches!(word, "" | "not-found") { "not-found" } else { "" };
        Shown::parse(&format!("LoadState={load}\nUnitFileState={word}"))
    }
    fn state(&self) -> UnitState {
        let file = self.get("UnitFileState");
        UnitState {
            missing: self.get("LoadState") == "not-found",
            masked: self.get("LoadState") == "masked" || file.starts_with("masked"),
            // What cannot be enabled by itself needs no enabling.
            enabled: matches!(
                file,
                "enabled" | "enabled-runtime" | "static" | "alias" | "indirect" | "generated"
            ),
            active: self.get("ActiveState") == "active",
        }
    }
}

impl Unit {
    /// By which it is enabled, below the directories of those that want it.
    pub fn links(&self, host: &dyn Look) -> Result<Vec<PathBuf>> {
        let mut links = Vec::new();
        for name in host.list(Path::new(LINKS))?.iter().filter(|name| name.ends_with(".wants")) {
            let link = Path::new(LINKS).join(name).join(&self.name);
            if host.exists(&link)? {
                links.push(link);
            }
        }
        Ok(links)
    }
}

/// Where an administrator's units and links are (systemd.unit(5)).
const LINKS: &str = "/etc/systemd/system";

impl Resource for Unit {
    type State = UnitState;

    fn get(&self, host: &dyn Look) -> Result<UnitState> {
        let shown = Shown::of(host, &self.name)?;
        if !shown.0.is_empty() {
            return Ok(shown.state());
        }
        let file = host.query(&Question::UnitFile { unit: self.name.clone() })?;
        Ok(UnitState { active: false, ..Shown::of_file(file.stdout.trim()).state() })
    }

    fn set(&self, state: &UnitState, host: &dyn Touch) -> Result<()> {
        let now = self.get(host)?;
        if now == *state {
            return Ok(());
        }
        self.start(host, now, *state)?;
        self.stop(host, now, *state)?;
        if state.masked && !now.masked { self.run(host, "mask") } else { Ok(()) }
    }

    fn meets(now: &UnitState, want: &UnitState) -> bool {
        now.enabled == want.enabled && now.active == want.active && now.masked == want.masked
    }

    fn still_ours(now: &UnitState, after: &UnitState) -> bool {
        // Stopped by hand is still ours to disable; masked by hand is somebody's will.
        now.masked == after.masked
    }

    /// A unit that was stopped is drift, whoever stopped it.
    fn drifted(&self, after: &UnitState, host: &dyn Look) -> Result<Option<UnitState>> {
        let now = self.get(host)?;
        // An image's unit was enabled only: it runs since the machine booted.
        let booted = UnitState { active: now.active, ..*after };
        let as_made = Self::meets(&now, if *after == UnitState::ENABLED { &booted } else { after });
        Ok((!as_made).then_some(now))
    }

    fn describe(&self, before: &UnitState, after: &UnitState) -> Vec<Line> {
        let mut words = Vec::new();
        for (was, is, yes, no) in [
            (before.masked, after.masked, "masked", "unmasked"),
            (before.enabled, after.enabled, "enabled", "disabled"),
            (before.active, after.active, "started", "stopped"),
        ] {
            if was != is {
                words.push(if is { yes } else { no });
            }
        }
        if words.is_empty() {
            return Vec::new();
        }
        vec![match after.active || (after.enabled && !before.enabled) {
            true => Line::add("unit", &self.name, words.join(", ")),
            false => Line::remove("unit", &self.name, words.join(", ")),
        }]
    }

    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<UnitState>> {
        let now = self.get(host)?;
        Ok(if now.missing || Self::meets(&now, &change.before) {
            WayBack::AlreadyAsBefore
        } else if Self::still_ours(&now, &change.after) || how.force {
            WayBack::Restore { now, to: change.before, told: Vec::new() }
        } else {
            WayBack::ChangedSince { why: "it was masked since".into() }
        })
    }
}

/// dockerd may take its time on a slow disk: systemd's own limit for it is longer than most.
const START: Duration = Duration::from_secs(180);

impl Unit {
    fn start(&self, host: &dyn Touch, now: UnitState, want: UnitState) -> Result<()> {
        if now.masked && !want.masked {
            // After unmask the socket says "service not loaded" until systemd has read the files again (DietPi#8108).
            self.run(host, "unmask")?;
            host.run(&Command::new(["systemctl", "daemon-reload"]))?.or_failed(|| self.cannot("reload"))?;
        }
        if want.enabled && !now.enabled {
            self.run(host, "enable")?;
        }
        if want.active && !now.active {
            // Three failed starts in a minute would hide the reason behind "start-limit-hit".
            host.run(&Command::new(["systemctl", "reset-failed", &self.name]))?;
            let output = host.run(&Command::new(["systemctl", "start", &self.name]).timeout(START))?;
            if !output.ok() {
                return Err(self.failure(host, self.cannot("start")));
            }
        }
        Ok(())
    }

    fn stop(&self, host: &dyn Touch, now: UnitState, want: UnitState) -> Result<()> {
        if now.enabled && !want.enabled {
            self.run(host, "disable")?;
        }
        if now.active && !want.active {
            self.run(host, "stop")?;
        }
        if !now.missing && !want.active {
            host.run(&Command::new(["systemctl", "reset-failed", &self.name]))?;
        }
        Ok(())
    }

    fn run(&self, host: &dyn Touch, verb: &str) -> Result<()> {
        host.run(&Command::new(["systemctl", verb, &self.name]).timeout(START))?
            .or_failed(|| self.cannot(verb))
    }

    fn cannot(&self, verb: &str) -> String {
        format!("cannot {verb} the unit `{}`", self.name)
    }

    /// A failed unit as an error: the journal's first error since its last start, not "start-limit-hit".
    pub fn failure(&self, host: &dyn Look, what: String) -> Error {
        let journal = host.query(&Question::Journal { unit: self.name.clone() }).unwrap_or_default();
        let hint = format!("journalctl -u {} --no-pager", self.name);
        let mut error = Error::failed(what).hint(hint);
        if let Some(first) = first_error(&journal.stdout) {
            error = error.because(first);
        }
        error.tail(&journal.stdout)
    }
}

/// The first line of a daemon's log that says why it ended.
pub fn first_error(journal: &str) -> Option<&str> {
    let words = [
        "failed to start daemon",
        "unable to configure",
        "level=fatal",
        "level=error",
        "error:",
        "panic:",
        "failed to",
    ];
    // What systemd says of any unit that ends. Its other words are a reason: no such program, killed for memory.
    let systemds = |line: &str| {
        let begins = ["starting ", "started ", "stopping ", "stopped "];
        let says = [
            "main process exited",
            "failed with result",
            "scheduled restart job",
            "deactivated successfully",
            ": consumed ",
            "start request repeated",
        ];
        begins.iter().any(|word| line.starts_with(word))
            || says.iter().any(|word| line.contains(word))
            || (line.starts_with("failed to start ") && line.contains(".service"))
    };
    let lines: Vec<(&str, String)> =
        journal.lines().map(str::trim).map(|line| (line, line.to_lowercase())).collect();
    let own = |line: &&(&str, String)| !line.0.is_empty() && !systemds(&line.1);
    let speaks = |line: &&(&str, String)| words.iter().any(|word| line.1.contains(word));
    // Without such words: what it said last before it ended.
    let last = || {
        let end = lines.iter().position(|line| line.1.contains("main process exited"))?;
        lines[..end].iter().rfind(own)
    };
    lines.iter().filter(own).find(speaks).or_else(last).map(|line| line.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Output;
    use crate::host::fake::FakeHost;

    #[test]
    fn the_journals_first_error_is_found_behind_the_noise() {
        let journal = "Starting up\n\
            unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character\n\
            docker.service: Main process exited, code=exited, status=1/FAILURE\n\
            Start request repeated too quickly.";
        assert_eq!(
            first_error(journal),
            Some(
                "unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character"
            )
        );
    }

    #[test]
    fn systemds_own_words_are_not_the_daemons() {
        let journal = "Starting docker.service...\nmkdir /proc/nowhere: no such file or directory\n\
            docker.service: Main process exited, code=exited, status=1/FAILURE\n\
            Failed to start docker.service - Docker Application Container Engine.";
        assert_eq!(first_error(journal), Some("mkdir /proc/nowhere: no such file or directory"));
        // The journal has lost what a process said that was gone before journald could ask whose it was.
        let journal = "Starting docker.service - Docker Application Container Engine...\n\
            docker.service: Main process exited, code=exited, status=1/FAILURE\n\
            docker.service: Failed with result 'exit-code'.\n\
            Failed to start docker.service - Docker Application Container Engine.";
        assert_eq!(first_error(journal), None);
        let journal = "Starting docker.service...\n\
            docker.service: Failed to locate executable /usr/bin/dockerd: No such file or directory\n\
            docker.service: Main process exited, code=exited, status=203/EXEC";
        assert_eq!(first_error(journal), journal.lines().nth(1));
    }

    #[test]
    fn in_an_image_the_files_say_whether_a_unit_is_enabled() {
        let unit = Unit { name: "docker.service".into() };
        let show = || Question::UnitShow { unit: unit.name.clone() };
        let file = || Question::UnitFile { unit: unit.name.clone() };
        let offline =
            Output { code: 1, stderr: "System has not been booted with systemd".into(), ..Output::default() };
        let container = FakeHost::new().answer_whole(show(), offline);
        let chroot = FakeHost::new().answer(show(), "");
        for host in [&container, &chroot] {
            let get = |said: &str| unit.get(&host.clone().answer(file(), said)).expect("answers");
            assert_eq!(get("enabled\n"), UnitState::ENABLED);
            assert!(get("").missing && get("not-found\n").missing && get("masked\n").masked);
        }
        let broken = container.directory("/run/systemd/system");
        assert!(unit.get(&broken).is_err(), "a systemd that runs and does not answer is an error");
    }

    #[test]
    fn a_unit_of_an_image_that_runs_on_its_machine_has_not_drifted() {
        let unit = Unit { name: "docker.service".into() };
        let says = |active: &str, file: &str| {
            let said = format!("LoadState=loaded\nActiveState={active}\nUnitFileState={file}\n");
            FakeHost::new().answer(Question::UnitShow { unit: "docker.service".into() }, &said)
        };
        let drifted =
            |after: UnitState, host: FakeHost| unit.drifted(&after, &host).expect("looks").is_some();
        assert!(!drifted(UnitState::ENABLED, says("active", "enabled")));
        assert!(drifted(UnitState::ENABLED, says("active", "disabled")));
        assert!(drifted(UnitState::RUNNING, says("inactive", "enabled")));
    }

    #[test]
    fn a_unit_that_systemd_does_not_know_is_missing() {
        let shown = Shown::parse("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n");
        assert_eq!(shown.state(), UnitState { missing: true, masked: false, enabled: false, active: false });
    }
}
