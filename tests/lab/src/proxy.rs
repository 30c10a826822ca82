//! An HTTP proxy that wants a name and a password, and is the only one that knows where the names lead.

use crate::lab::Lab;
use crate::{net, server, sh};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The next one's: two may run at once.
static PORT: AtomicU16 = AtomicU16::new(3128);

/// A proxy that runs until the lab ends.
pub struct Proxy {
    log: PathBuf,
    /// As hosts reach it.
    pub address: String,
}

impl Proxy {
    /// Starts one in the lab's network. `names` are `NAME=ADDRESS`.
    pub fn start(lab: &Lab, login: &str, names: &[String]) -> Result<Proxy> {
        let port = PORT.fetch_add(1, Ordering::SeqCst);
        let address = format!("{}:{port}", net::GATEWAY);
        let log = lab.dir().join(format!("proxy-{port}.log"));
        let me = std::env::current_exe().context("finding this program")?;
        let (me, file) = (me.to_string_lossy().into_owned(), log.to_string_lossy().into_owned());
        let mut argv = vec![me.as_str(), "proxy", &file, &address, login];
        argv.extend(names.iter().map(String::as_str));
        let pid = server::detached(&lab.shared.net, &argv)?;
        lab.shared.run.record(pid)?;
        for _ in 0..250 {
            if lab.in_network(&["sh", "-c", &format!("ss -Hltn sport = :{port} | grep -q .")]).is_ok() {
                return Ok(Proxy { log, address });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the proxy does not listen")
    }

    /// What was asked of it: `STATUS REQUEST-LINE`, a line a connection.
    pub fn asked(&self) -> String {
        sh::read(&self.log).unwrap_or_default()
    }
}

/// Serves for ever. Runs in a process of its own.
pub fn serve(log: &Path, address: &str, login: &str, names: &[String]) -> Result<()> {
    let listener = TcpListener::bind(address).context("listening")?;
    let names: BTreeMap<String, String> =
        names.iter().filter_map(|n| n.split_once('=')).map(|(n, a)| (n.into(), a.into())).collect();
    let wanted = format!("basic {}", base64(login.as_bytes()));
    for stream in listener.incoming().flatten() {
        let (names, wanted, log) = (names.clone(), wanted.clone(), log.to_owned());
        std::thread::spawn(move || pass_on(stream, &names, &wanted, &log));
    }
    Ok(())
}

/// The first request says where to; the rest of the connection goes there as it comes.
fn pass_on(mut from: TcpStream, names: &BTreeMap<String, String>, wanted: &str, log: &Path) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next()?.to_owned();
    let mut words = line.split(' ');
    let (verb, target) = (words.next()?, words.next()?);
    let known = text.lines().filter_map(|l| l.split_once(": ")).any(|(name, value)| {
        name.eq_ignore_ascii_case("proxy-authorization") && {
            let (kind, login) = value.split_once(' ').unwrap_or_default();
            format!("{} {login}", kind.to_lowercase()) == *wanted
        }
    });
    let place = target.trim_start_matches("http://").split('/').next()?;
    let (name, port) = place.split_once(':').unwrap_or((place, "80"));
    let to = names.get(name).map(|address| format!("{address}:{port}"));
    let status = if !known {
        407
    } else if to.is_none() {
        502
    } else {
        200
    };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(log).ok()?;
    writeln!(file, "{status} {line}").ok()?;
    if status != 200 {
        let more = if known { "" } else { "Proxy-Authenticate: Basic realm=\"lab\"\r\n" };
        let answer = format!("HTTP/1.1 {status} No\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n");
        return from.write_all(answer.as_bytes()).ok();
    }
    let mut to = TcpStream::connect(to?).ok()?;
    match verb {
        "CONNECT" => from.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?,
        _ => to.write_all(&head).ok()?,
    }
    let (mut back, mut there) = (to.try_clone().ok()?, from.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut there);
        let _ = there.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut from, &mut to);
    to.shutdown(std::net::Shutdown::Write).ok()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().chain([&0, &0]).take(3).fold(0u32, |all, b| all << 8 | u32::from(*b));
        for place in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * place) & 63) as usize];
            text.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_login_is_written_as_a_header_has_it() {
        assert_eq!(super::base64(b"alice:s:cret"), "YWxpY2U6czpjcmV0");
        assert_eq!(super::base64(b"a:bc"), "YTpiYw==");
        assert_eq!(super::base64(b"a:bcd"), "YTpiY2Q=");
    }
}
