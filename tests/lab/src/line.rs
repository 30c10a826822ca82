//! A line to a mirror that is slow, or breaks off after so many bytes.

use crate::lab::Lab;
use crate::mirror::Variant;
use crate::{net, server, sh};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

/// The next one's: two may run at once.
static PORT: AtomicU16 = AtomicU16::new(8100);

/// What came back over all connections.
static PASSED: AtomicU64 = AtomicU64::new(0);

/// A line to the good mirror, without TLS, until the lab ends.
pub struct Line {
    log: PathBuf,
    limits: PathBuf,
    /// As hosts reach it: it stands for `https://download.docker.com`.
    pub url: String,
}

impl Line {
    pub fn start(lab: &Lab) -> Result<Line> {
        let port = PORT.fetch_add(1, Ordering::SeqCst);
        let address = format!("{}:{port}", net::GATEWAY);
        let at = |what: &str| lab.dir().join(format!("line-{port}.{what}"));
        let line = Line { log: at("log"), limits: at("limits"), url: format!("http://{address}") };
        line.mend()?;
        let me = std::env::current_exe().context("finding this program")?;
        let to = format!("{}:80", net::address(Variant::Good));
        let (log, limits) = (line.log.to_string_lossy(), line.limits.to_string_lossy());
        let pid = server::detached(
            &lab.shared.net,
            &[&me.to_string_lossy(), "line", &log, &limits, &address, &to],
        )?;
        lab.shared.run.record(pid)?;
        for _ in 0..250 {
            if lab.in_network(&["sh", "-c", &format!("ss -Hltn sport = :{port} | grep -q .")]).is_ok() {
                return Ok(line);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the line does not listen")
    }

    fn limit(&self, bytes: u64, rate: u64) -> Result<()> {
        sh::write(&self.limits.with_extension("new"), format!("{bytes} {rate}"))?;
        std::fs::rename(self.limits.with_extension("new"), &self.limits).context("limiting the line")
    }

    /// From now on it passes all.
    pub fn mend(&self) -> Result<()> {
        self.limit(u64::MAX, u64::MAX)
    }

    /// It breaks when so many bytes have come back since it was started, and stays broken.
    pub fn break_after(&self, bytes: u64) -> Result<()> {
        self.limit(bytes, u64::MAX)
    }

    /// A connection passes so many bytes a second.
    pub fn slow_down(&self, rate: u64) -> Result<()> {
        self.limit(u64::MAX, rate)
    }

    /// The requests that were made over it, with their headers; what was asked before is forgotten.
    pub fn asked(&self) -> Result<Vec<String>> {
        let text = sh::read(&self.log).unwrap_or_default();
        sh::write(&self.log, "")?;
        let requests = text.split("\r\n\r\n").filter(|request| !request.is_empty());
        Ok(requests.map(str::to_owned).collect())
    }
}

/// Serves for ever. Runs in a process of its own.
pub fn serve(log: &Path, limits: &Path, address: &str, to: &str) -> Result<()> {
    let listener = TcpListener::bind(address).context("listening")?;
    for stream in listener.incoming().flatten() {
        let (log, limits, to) = (log.to_owned(), limits.to_owned(), to.to_owned());
        std::thread::spawn(move || pass_on(&stream, &log, &limits, &to));
    }
    Ok(())
}

fn limits(file: &Path) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(file).ok()?;
    let (bytes, rate) = text.split_once(' ')?;
    Some((bytes.parse().ok()?, rate.parse().ok()?))
}

fn pass_on(from: &TcpStream, log: &Path, file: &Path, to: &str) -> Option<()> {
    if PASSED.load(Ordering::SeqCst) >= limits(file)?.0 {
        return from.shutdown(Shutdown::Both).ok();
    }
    let there = TcpStream::connect(to).ok()?;
    let (mut asking, mut answering) = (from.try_clone().ok()?, there.try_clone().ok()?);
    let log = log.to_owned();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = asking.read(&mut buffer) {
            // One write: two connections at once do not tear each other's requests.
            let _ = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&log)
                .and_then(|mut file| file.write_all(&buffer[..length]));
            if answering.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = answering.shutdown(Shutdown::Write);
    });
    let (mut source, mut sink) = (&there, from);
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        let (bytes, rate) = limits(file)?;
        let before = PASSED.fetch_add(length as u64, Ordering::SeqCst);
        let passes = bytes.saturating_sub(before).min(length as u64) as usize;
        if sink.write_all(&buffer[..passes]).is_err() || passes < length {
            break;
        }
        std::thread::sleep(Duration::from_secs_f64(length as f64 / rate as f64));
    }
    let _ = there.shutdown(Shutdown::Both);
    from.shutdown(Shutdown::Both).ok()
}
