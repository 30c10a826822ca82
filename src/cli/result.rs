//! `/run/rprov/result.json`: how the last run that may change the host ended, for whoever comes by later.

use crate::error::{OrFail, Result};
use crate::event::Event;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::fs;
use std::io::Write;

/// Only root may write below `/run`, and only root reads this.
pub const DIRECTORY: &str = "/run/rprov";

/// Described in `docs/json.md`; fields are only ever added.
#[derive(Serialize)]
struct Ended<'a> {
    schema: &'static str,
    verb: &'a str,
    /// UTC, as RFC 3339 has it.
    at: String,
    finished: &'a Event,
    error: Option<&'a Event>,
}

pub fn write(verb: &str, finished: &Event, error: Option<&Event>) -> Result<()> {
    let cannot = || format!("cannot write `{DIRECTORY}/result.json`");
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ended = Ended { schema: "rprov.result/1", verb, at, finished, error };
    let mut line = serde_json::to_string(&ended).or_fail(cannot)?;
    line.push('\n');
    make_directory().or_fail(cannot)?;
    let (new, place) = (format!("{DIRECTORY}/result.json.new"), format!("{DIRECTORY}/result.json"));
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&new, flags, Mode::RUSR | Mode::WUSR).or_fail(cannot)?;
    fs::File::from(file).write_all(line.as_bytes()).or_fail(cannot)?;
    fs::rename(new, place).or_fail(cannot)
}

/// 0700, and there is no harm in its being there.
pub fn make_directory() -> rustix::io::Result<()> {
    match rustix::fs::mkdir(DIRECTORY, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}
