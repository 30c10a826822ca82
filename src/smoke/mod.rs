//! Proves an engine with a container made of this very program: no registry, no network.

pub mod gpu;
mod image;

use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::{Command, Output, Touch};
use crate::steps::registry::{ADDRESS, UNIT};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// The engine is spoken to here, whatever DOCKER_HOST or a context say.
const SOCKET: &str = "unix:///run/docker.sock";

/// What the program says of itself inside the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inside {
    pub nonce: String,
    pub pid: u32,
    pub interfaces: Vec<String>,
}

/// What the program does as the container's only process.
pub fn inside(nonce: &str) -> Result<String> {
    let entries = std::fs::read_dir("/sys/class/net").or_fail(|| "cannot list the interfaces".into())?;
    let mut interfaces: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    interfaces.sort();
    let inside = Inside { nonce: nonce.to_owned(), pid: std::process::id(), interfaces };
    serde_json::to_string(&inside).or_fail(|| "cannot say it".into())
}

/// Asks the engine for its versions, then loads, runs and removes the image.
///
/// # Errors
/// Whatever failed, with the engine's own words; container and image are removed all the same.
pub fn smoke(host: &dyn Touch) -> Result<()> {
    let work = crate::host::private_directory("smoke").or_fail(|| "cannot make a directory".into())?;
    let engine = Engine { host, config: work.path().join("config").display().to_string() };
    engine.versions()?;
    engine.facts()?;
    engine.container(work.path())
}

/// Asks the local registry whether it is one; it may take a moment to start.
///
/// # Errors
/// Nobody answers there within half a minute, or somebody who is no registry.
pub fn registry(host: &dyn Touch) -> Result<()> {
    let cannot = || Error::failed(format!("the registry does not answer on {ADDRESS}"));
    let hint = format!("journalctl -u {UNIT} --no-pager");
    let mut answer = String::new();
    for _ in 0..60 {
        answer = version_check().unwrap_or_default();
        if answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200") {
            let text = format!("a registry answers on {ADDRESS}");
            host.tell(Event::Check { id: "smoke-registry".into(), ok: true, text });
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Err(cannot().because(answer.lines().next().unwrap_or("nobody listens")).hint(hint))
}

/// The version check of the distribution protocol: 200 is a registry that lets everybody in.
fn version_check() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /v2/ HTTP/1.0\r\nHost: localhost:5000\r\n\r\n")?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

struct Engine<'a> {
    host: &'a dyn Touch,
    /// A client configuration of our own: nothing of root's is read, and none is left.
    config: String,
}

impl Engine<'_> {
    fn docker(&self, arguments: &[&str]) -> Result<Output> {
        let mut argv = vec!["docker", "--config", &self.config, "-H", SOCKET];
        argv.extend(arguments);
        self.host.run(&Command::new(argv).capture().timeout(Duration::from_secs(180)))
    }

    fn asked(&self, arguments: &[&str], what: &str) -> Result<String> {
        let output = self.docker(arguments)?;
        let text = output.stdout.trim().to_owned();
        output
            .or_failed(|| format!("cannot {what}"))
            .map_err(|e| e.hint("journalctl -u docker --no-pager"))?;
        Ok(text)
    }

    fn versions(&self) -> Result<()> {
        let format = "{{.Client.Version}} {{.Server.Version}}";
        let text = self.asked(&["version", "--format", format], "ask the engine for its version")?;
        let (client, server) = text.split_once(' ').unwrap_or((&text, ""));
        self.check("version", format!("client {client} speaks with server {server}"));
        Ok(())
    }

    fn facts(&self) -> Result<()> {
        let format = "{{.Driver}} {{.CgroupDriver}} {{.CgroupVersion}} {{.DefaultRuntime}}";
        let text = self.asked(&["info", "--format", format], "ask the engine about itself")?;
        let words: Vec<&str> = text.split(' ').collect();
        if let [storage, driver, version, runtime] = words[..] {
            self.check("storage", format!("storage driver {storage}"));
            self.check("cgroup", format!("cgroup v{version}, driver {driver}"));
            self.check("runtime", format!("default runtime {runtime}"));
        }
        Ok(())
    }

    fn container(&self, work: &Path) -> Result<()> {
        let nonce = format!("{:016x}", crate::clock::now_us());
        let name = format!("rprov-smoke-{nonce}");
        let tag = format!("rprov-smoke:{nonce}");
        let archive = work.join("image.tar");
        image::write(&archive, &tag)?;
        let ran = self.load_and_run(&archive.display().to_string(), &name, &tag, &nonce);
        let removed = self.remove(&name, &tag);
        ran.and(removed)
    }

    fn load_and_run(&self, archive: &str, name: &str, tag: &str, nonce: &str) -> Result<()> {
        self.asked(&["load", "-q", "-i", archive], "load the image of the smoke test")?;
        let run =
            ["run", "--rm", "--network", "none", "--pull", "never", "--name", name, tag, "inside", nonce];
        let said = self.asked(&run, "run a container")?;
        let inside: Inside = serde_json::from_str(&said)
            .map_err(|e| Error::failed("cannot understand what the container said").because(e).tail(&said))?;
        if inside.nonce != nonce || inside.pid != 1 {
            return Err(Error::failed("the container is not what was run").tail(&said));
        }
        if inside.interfaces.iter().any(|name| name.starts_with("eth")) {
            return Err(Error::failed("the container has a network that it was not given").tail(&said));
        }
        self.check("container", "a container ran, alone and without a network".to_owned());
        Ok(())
    }

    fn remove(&self, name: &str, tag: &str) -> Result<()> {
        self.docker(&["rm", "-f", name])?;
        let output = self.docker(&["rmi", "-f", tag])?;
        let gone = output.ok() || output.stderr.contains("No such image");
        if gone { Ok(()) } else { output.or_failed(|| "cannot remove the image of the smoke test".into()) }
    }

    fn check(&self, id: &str, text: String) {
        self.host.tell(Event::Check { id: format!("smoke-{id}"), ok: true, text });
    }
}
