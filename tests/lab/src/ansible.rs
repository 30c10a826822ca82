//! A controller with the real ansible-core: on this machine, in the lab's network, with a home and an SSH key of its own.

use crate::lab::Lab;
use crate::log::Log;
use crate::run::{Output, Running};
use crate::{Host, cache, sh, ssh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// As it is on PyPI.
const ANSIBLE: &str = "ansible-core==2.19.14";

const PATIENCE: Duration = Duration::from_secs(580);

/// Nothing of it outlives a run, and nothing of this machine's own SSH counts.
const SSH: &str = "-F none -o ControlMaster=no -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";

pub struct Controller {
    lab: Lab,
    ansible: PathBuf,
    home: PathBuf,
}

impl Controller {
    pub fn new(lab: &Lab) -> Result<Controller> {
        let missing = [("ssh", "openssh-client"), ("python3", "python3")];
        let mut missing: Vec<&str> = missing.iter().filter(|(p, _)| !sh::has(p)).map(|(_, p)| *p).collect();
        if sh::run(&["python3", "-m", "pip", "--version"]).is_err() {
            missing.push("python3-pip");
        }
        sh::install(&missing)?;
        let home = lab.dir().join(format!("controller-{}", lab.number()));
        fs::create_dir_all(&home).context("making the controller's home")?;
        sh::run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &home.join("key").to_string_lossy()])?;
        Ok(Controller { lab: lab.clone(), ansible: ensure()?, home })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Makes a host one that it reaches.
    pub fn reaches(&self, host: &Host) -> Result<()> {
        ssh::serve(host, &sh::read(&self.home.join("key.pub"))?)
    }

    /// Starts `ansible-playbook`, or another of its commands, in a directory below its home.
    pub fn start(&self, below: &str, words: &[&str]) -> Result<Running> {
        let mut command = self.lab.shared.net.command(&[&["python3", "-m", "ansible"], words].concat());
        command.current_dir(self.home.join(below));
        self.environment(&mut command);
        let argv = format!("ansible {}", words.join(" "));
        Running::start(command, argv, self.home.join("pid"), Vec::new(), Log::current())
    }

    /// The same, to its end.
    pub fn run(&self, below: &str, words: &[&str]) -> Result<Output> {
        self.start(below, words)?.wait(PATIENCE)
    }

    fn environment(&self, command: &mut Command) {
        command.env("PYTHONPATH", &self.ansible).env("HOME", &self.home);
        command.env("ANSIBLE_HOME", self.home.join(".ansible")).env("ANSIBLE_NOCOLOR", "1");
        command.env("ANSIBLE_REMOTE_USER", ssh::USER).env("ANSIBLE_SSH_ARGS", SSH);
        command.env("ANSIBLE_PRIVATE_KEY_FILE", self.home.join("key"));
    }
}

/// By the machine's own pip, for the machine's own Python.
fn ensure() -> Result<PathBuf> {
    let _building = cache::lock()?;
    let python = sh::run(&["python3", "--version"])?;
    cache::ensure("ansible", &[ANSIBLE, &python], |dir| {
        let at = dir.to_string_lossy();
        sh::run(&["python3", "-m", "pip", "install", "--quiet", "--target", &at, ANSIBLE]).map(drop)
    })
}
