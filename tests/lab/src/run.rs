//! What a command on a host gives back, and commands that run on a terminal or beside the scenario.

use crate::log::Log;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a command gave back.
#[derive(Clone, Debug)]
pub struct Output {
    pub argv: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub wall: Duration,
}

impl Output {
    /// The output, or an error where the command did not succeed.
    pub fn ok(self) -> Result<Output> {
        self.code_is(0)
    }

    /// The output, or an error where the command ended otherwise.
    pub fn code_is(self, code: i32) -> Result<Output> {
        if self.code != code {
            bail!("`{}` ended with {}, not {code}:\n{}{}", self.argv, self.code, self.stdout, self.stderr);
        }
        Ok(self)
    }

    /// Both streams.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A command that runs on a host while the scenario goes on. It is killed when it is dropped.
pub struct Running {
    pub(crate) argv: String,
    pub(crate) child: Child,
    /// The host's /run/lab/N.pid, seen from here.
    pub(crate) pid_file: PathBuf,
    /// Enters the host.
    pub(crate) enter: Vec<String>,
    out: Bytes,
    err: Bytes,
    readers: Vec<JoinHandle<()>>,
    log: Log,
    start: Instant,
    done: Option<i32>,
}

impl Running {
    pub(crate) fn start(
        mut command: Command,
        argv: String,
        pid_file: PathBuf,
        enter: Vec<String>,
        log: Log,
    ) -> Result<Running> {
        use std::os::unix::process::CommandExt;
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting `{argv}`"))?;
        let (out, err) = (Bytes::default(), Bytes::default());
        let mut readers = Vec::new();
        if let Some(stream) = child.stdout.take() {
            readers.push(reader(stream, out.clone()));
        }
        if let Some(stream) = child.stderr.take() {
            readers.push(reader(stream, err.clone()));
        }
        Ok(Running {
            argv,
            child,
            pid_file,
            enter,
            out,
            err,
            readers,
            log,
            start: Instant::now(),
            done: None,
        })
    }

    /// The process's id within the host.
    pub fn pid(&self) -> Result<u32> {
        for _ in 0..500 {
            if let Ok(text) = std::fs::read_to_string(&self.pid_file)
                && let Ok(pid) = text.trim().parse()
            {
                return Ok(pid);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("`{}` did not start", self.argv)
    }

    /// Sends a signal, by name, to the process alone.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.inside(&["kill", "-s", signal, &self.pid()?.to_string()])
    }

    /// Sends a signal to the process and to all in its group.
    pub fn signal_group(&self, signal: &str) -> Result<()> {
        // The shell's own: procps 4.0.2 sends nothing to a group, and says nothing.
        self.inside(&["sh", "-c", &format!("kill -s {signal} -- -{}", self.pid()?)])
    }

    fn inside(&self, argv: &[&str]) -> Result<()> {
        let mut all: Vec<&str> = self.enter.iter().map(String::as_str).collect();
        all.extend(argv);
        self.log.line(&format!("    {}", argv.join(" ")));
        crate::sh::run(&all).map(drop)
    }

    /// Types at the terminal, or writes to standard input.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("it has no standard input")?;
        stdin.write_all(bytes).and_then(|()| stdin.flush()).context("typing")
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        format!("{}{}", text(&self.out), text(&self.err))
    }

    /// Waits until it has said something.
    pub fn wait_for(&mut self, what: &str, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            if self.said().contains(what) {
                return Ok(());
            }
            let ended = self.child.try_wait().context("looking after a command")?.is_some();
            if Instant::now() > end || ended {
                // What it said last may just have arrived.
                std::thread::sleep(Duration::from_millis(50));
                if self.said().contains(what) {
                    return Ok(());
                }
                bail!("`{}` never said `{what}`, but:\n{}", self.argv, self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the terminal under it, as a lost connection does.
    pub fn hang_up(&mut self) -> Result<()> {
        self.inside(&["kill", "-s", "KILL", &self.pid()?.to_string()])
    }

    /// Waits for its end; past the time it is killed, with all in its group, and that is an error.
    pub fn wait(mut self, timeout: Duration) -> Result<Output> {
        let end = Instant::now() + timeout;
        let status = loop {
            match self.child.try_wait().context("waiting for a command")? {
                Some(status) => break status,
                None if Instant::now() > end => {
                    self.end();
                    bail!("`{}` did not end within {timeout:?}; it said:\n{}", self.argv, self.said());
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        let wall = self.start.elapsed();
        self.done = Some(code);
        // A daemon that the command left may hold the pipes: what has been said by then is what is given back.
        let patience = Instant::now() + Duration::from_millis(500);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        let output =
            Output { argv: self.argv.clone(), code, stdout: text(&self.out), stderr: text(&self.err), wall };
        self.log.line(&format!(
            "$ {}\n{}{}= {code} ({:.2} s)",
            output.argv,
            output.stdout,
            output.stderr,
            wall.as_secs_f32()
        ));
        Ok(output)
    }

    fn end(&mut self) {
        if self.done.is_none() && self.running() {
            let _ = self.signal_group("KILL");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.done = Some(137);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn reader(mut stream: impl Read + Send + 'static, into: Bytes) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 {
                break;
            }
            if let Ok(mut into) = into.lock() {
                into.extend_from_slice(&buffer[..n]);
            }
        }
    })
}

fn text(bytes: &Bytes) -> String {
    bytes.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
