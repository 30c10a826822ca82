//! Proves that a container gets the card: by the runtime, by `--gpus`, and by its CDI name where the engine knows that.

use super::{Engine, SOCKET, image};
use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::{Command, Look, Question, Touch};
use crate::resources::unit::Shown;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// What a container was lent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    pub nonce: String,
    /// Below `/dev`.
    pub nodes: Vec<String>,
    /// Files of the driver: `libcuda.so.580.95.05`.
    pub libraries: Vec<String>,
}

impl Lent {
    fn versions(&self) -> Vec<&str> {
        let of = |name: &str| -> Vec<&str> {
            let versions = self.libraries.iter().filter_map(|file| file.strip_prefix(name));
            versions.filter(|version| version.contains('.')).collect()
        };
        let mut all = of("libcuda.so.");
        all.extend(of("libnvidia-ml.so."));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The nodes by which a program reaches a card, and a library that speaks to them.
    fn is_whole(&self) -> bool {
        let card =
            |name: &String| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
        let wsl = self.nodes.iter().any(|name| name == "dxg");
        (self.nodes.iter().any(card) || wsl) && !self.versions().is_empty()
    }
}

/// What the program does as the container's only process.
pub fn inside(nonce: &str) -> Result<String> {
    let list = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let mut nodes = list(Path::new("/dev"));
    nodes.retain(|name| name.starts_with("nvidia") || name == "dxg");
    nodes.sort();
    let mut libraries = Vec::new();
    let mut left = ["/usr/lib", "/usr/lib64", "/lib64"].map(std::path::PathBuf::from).to_vec();
    while let Some(directory) = left.pop() {
        for name in list(&directory) {
            let path = directory.join(&name);
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else if name.starts_with("libcuda.so.") || name.starts_with("libnvidia-ml.so.") {
                libraries.push(name);
            }
        }
    }
    libraries.sort();
    libraries.dedup();
    let lent = Lent { nonce: nonce.to_owned(), nodes, libraries };
    serde_json::to_string(&lent).or_fail(|| "cannot say it".into())
}

const REFRESH: &str = "nvidia-cdi-refresh.service";
/// Where it writes; the first is gone with every boot, and written again.
const SPECIFICATIONS: [&str; 2] = ["/var/run/cdi/nvidia.yaml", "/etc/cdi/nvidia.yaml"];

/// The unit that describes the cards to engines may have failed before there was a driver, and stays failed then.
/// Without a driver there is nothing to describe, and it is left alone.
///
/// # Errors
/// It fails although the driver is loaded.
pub fn refresh(host: &dyn Touch) -> Result<()> {
    if !host.exists(Path::new("/sys/module/nvidia"))?
        || Shown::of(host, REFRESH)?.get("LoadState") != "loaded"
    {
        return Ok(());
    }
    let path = REFRESH.replace(".service", ".path");
    host.run(&Command::new(["systemctl", "reset-failed", REFRESH, &path]))?;
    let started =
        host.run(&Command::new(["systemctl", "restart", REFRESH]).timeout(Duration::from_secs(180)))?;
    let written = SPECIFICATIONS.iter().any(|path| host.exists(Path::new(path)).unwrap_or(false));
    if started.ok() && written {
        return Ok(());
    }
    let journal = host.query(&Question::Journal { unit: REFRESH.to_owned() })?;
    let why = match started.ok() {
        true => "it wrote no description of the cards",
        false => "it failed",
    };
    Err(Error::failed(format!("cannot bring `{REFRESH}` up"))
        .because(why)
        .tail(&journal.stdout)
        .hint(format!("nvidia-smi -L; journalctl -u {REFRESH} --no-pager")))
}

/// How a container can be given the cards.
struct Way {
    id: &'static str,
    words: &'static str,
    options: &'static [&'static str],
}

const WAYS: [Way; 3] = [
    Way {
        id: "gpu-runtime",
        words: "--runtime nvidia",
        options: &[
            "--runtime",
            "nvidia",
            "-e",
            "NVIDIA_VISIBLE_DEVICES=all",
            "-e",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ],
    },
    Way { id: "gpu-gpus", words: "--gpus all", options: &["--gpus", "all"] },
    Way { id: "gpu-cdi", words: "--device nvidia.com/gpu=all", options: &["--device", "nvidia.com/gpu=all"] },
];

/// What NVIDIA's programs are linked with, at the places of glibc on both families; the loader stands first.
const C_LIBRARY: [(&str, &str); 4] = [
    ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu"),
    ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64"),
    ("/lib/ld-linux-aarch64.so.1", "/lib/aarch64-linux-gnu"),
    ("/lib/ld-linux-aarch64.so.1", "/usr/lib64"),
];
/// The last three are part of the first since glibc 2.34, and older programs still name them.
const PARTS: [&str; 5] = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"];

/// The files of the host's C library.
fn c_library(host: &dyn Look) -> Result<Vec<String>> {
    for (loader, directory) in C_LIBRARY {
        let mut files = vec![loader.to_owned()];
        files.extend(PARTS.iter().map(|part| format!("{directory}/{part}")));
        if host.exists(Path::new(&files[0]))? && host.exists(Path::new(&files[1]))? {
            let there = |file: &String| host.exists(Path::new(file)).unwrap_or(false);
            return Ok(files.into_iter().filter(there).collect());
        }
    }
    Ok(Vec::new())
}

/// The last line that speaks of an error, or all of it.
fn last_line(said: &str) -> &str {
    said.lines().rfind(|line| line.contains("rror")).unwrap_or(said).trim()
}

/// The first engine that knows CDI at all.
const CDI: u32 = 25;

/// Runs the image each way, and tells which of them work.
///
/// # Errors
/// None of them does.
pub fn smoke(host: &dyn Touch, pull: Option<&str>) -> Result<()> {
    let work = crate::host::private_directory("smoke").or_fail(|| "cannot make a directory".into())?;
    let engine = Engine { host, config: work.path().join("config").display().to_string() };
    let nonce = format!("{:016x}", crate::clock::now_us());
    let tag = format!("rprov-smoke-gpu:{nonce}");
    let archive = work.path().join("image.tar");
    image::write(&archive, &tag)?;
    engine
        .asked(&["load", "-q", "-i", &archive.display().to_string()], "load the image of the smoke test")?;
    let tried = engine.each_way(&tag, &nonce);
    let removed = engine.remove(&format!("rprov-smoke-gpu-{nonce}"), &tag);
    tried.and(removed)?;
    pull.map_or(Ok(()), |image| engine.of_their_choice(image))
}

impl Engine<'_> {
    fn each_way(&self, tag: &str, nonce: &str) -> Result<()> {
        let version =
            self.asked(&["version", "--format", "{{.Server.Version}}"], "ask the engine for its version")?;
        let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
        let mut works = Vec::new();
        let mut against = Vec::new();
        for way in WAYS.iter().filter(|way| way.id != "gpu-cdi" || major >= CDI) {
            match self.lent(way, tag, nonce) {
                Ok(lent) => {
                    works.push(way);
                    let text = format!(
                        "`docker run {}`: {}, driver {}",
                        way.words,
                        lent.nodes.iter().map(|node| format!("/dev/{node}")).collect::<Vec<_>>().join(" "),
                        lent.versions().join(" and ")
                    );
                    self.host.tell(Event::Check { id: format!("smoke-{}", way.id), ok: true, text });
                }
                Err(why) => {
                    let text = format!("`docker run {}` does not work: {why}", way.words);
                    self.host.tell(Event::Check { id: format!("smoke-{}", way.id), ok: false, text });
                    against.push(format!("{}: {why}", way.words));
                }
            }
        }
        let Some(way) = works.first() else {
            return Err(Error::failed("no container can be given the card")
                .tail(&against.join("\n"))
                .hint("nvidia-smi -L  tells whether the host itself reaches it"));
        };
        self.nvidias_program(way, tag, nonce)
    }

    /// NVIDIA's own program in the container, on the host's C library: the image has none. Where the host's is not to
    /// be found, or is of another kind, there is nothing to say.
    fn nvidias_program(&self, way: &Way, tag: &str, nonce: &str) -> Result<()> {
        let library = c_library(self.host)?;
        if library.is_empty() {
            return Ok(());
        }
        let name = format!("rprov-smoke-gpu-{nonce}");
        let mounts: Vec<String> = library.iter().map(|file| format!("{file}:{file}:ro")).collect();
        let mut run = vec!["run", "--rm", "--network", "none", "--pull", "never", "--name", &name];
        run.extend(way.options);
        run.extend(mounts.iter().flat_map(|mount| ["-v", mount]));
        run.extend(["--entrypoint", "/usr/bin/nvidia-smi", tag, "-L"]);
        let output = self.docker(&run)?;
        // NVIDIA's program tells its troubles on standard output.
        let all = format!("{}{}", output.stdout, output.stderr);
        let said = if output.ok() { output.stdout.trim() } else { last_line(&all) };
        self.host.tell(Event::Check {
            id: "smoke-gpu-smi".into(),
            ok: output.ok(),
            text: format!("`nvidia-smi -L` in the container: {said}"),
        });
        Ok(())
    }

    fn lent(&self, way: &Way, tag: &str, nonce: &str) -> std::result::Result<Lent, String> {
        let name = format!("rprov-smoke-gpu-{nonce}");
        let mut run = vec!["run", "--rm", "--network", "none", "--pull", "never", "--name", &name];
        run.extend(way.options);
        run.extend([tag, "inside", nonce, "--gpu"]);
        let output = self.docker(&run).map_err(|error| error.to_string())?;
        if !output.ok() {
            return Err(last_line(&output.stderr).to_owned());
        }
        let lent: Lent = serde_json::from_str(output.stdout.trim()).map_err(|error| error.to_string())?;
        match lent.nonce == nonce && lent.is_whole() {
            true => Ok(lent),
            false => Err(format!(
                "the container ran, and got {} device nodes and {} libraries of a driver",
                lent.nodes.len(),
                lent.libraries.len()
            )),
        }
    }

    /// With a C library of its own in it, the image runs NVIDIA's program.
    fn of_their_choice(&self, image: &str) -> Result<()> {
        let run = ["run", "--rm", "--gpus", "all", image, "nvidia-smi", "-L"];
        let mut argv = vec!["docker", "--config", &self.config, "-H", SOCKET];
        argv.extend(run);
        // A pull of some gigabytes is among it.
        let output = self.host.run(&Command::new(argv).capture().timeout(Duration::from_secs(3600)))?;
        let said = output.stdout.trim().to_owned();
        output.or_failed(|| format!("cannot run `nvidia-smi -L` in `{image}`"))?;
        self.host.tell(Event::Check {
            id: "smoke-gpu-image".into(),
            ok: true,
            text: format!("`{image}`: {said}"),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    #[test]
    fn the_hosts_c_library_is_lent_where_it_is_to_be_found() {
        let host = |files: &[&str]| files.iter().fold(FakeHost::new(), |host, path| host.file(path, ""));
        let debian = host(&["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"]);
        assert_eq!(c_library(&debian).expect("looks").len(), 2);
        let redhat = ["/lib64/ld-linux-x86-64.so.2", "/usr/lib64/libc.so.6", "/usr/lib64/libm.so.6"];
        assert_eq!(c_library(&host(&redhat)).expect("looks"), redhat);
        assert!(c_library(&host(&["/lib/ld-musl-x86_64.so.1"])).expect("looks").is_empty());
    }

    #[test]
    fn a_container_has_the_card_only_with_a_node_of_it_and_a_library() {
        let lent = |nodes: &[&str], libraries: &[&str]| Lent {
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
            libraries: libraries.iter().map(|name| (*name).to_owned()).collect(),
            ..Lent::default()
        };
        let cases = [
            (lent(&["nvidia0", "nvidiactl"], &["libcuda.so.1", "libcuda.so.580.95.05"]), true),
            (lent(&["nvidiactl", "nvidia-uvm"], &["libcuda.so.580.95.05"]), false),
            (lent(&["nvidia0"], &["libcuda.so.1"]), false),
            (lent(&["nvidia0"], &[]), false),
            (lent(&["dxg"], &["libcuda.so.1.1"]), true),
            (lent(&[], &["libcuda.so.580.95.05"]), false),
        ];
        for (lent, whole) in cases {
            assert_eq!(lent.is_whole(), whole, "{lent:?}");
        }
    }
}
