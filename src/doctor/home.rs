//! Files in a home: the user's own are read as any, those of somebody else only as plain files, and are not quoted.

use super::subject::Subject;
use crate::error::Result;
use crate::host::Look;
use std::path::Path;

/// As much as is read of a file in a home that is not the caller's.
const LIMIT: u64 = 1024 * 1024;

/// The text of a file in the subject's home, or of the system's.
pub fn read(path: &Path, subject: &Subject, host: &dyn Look) -> Result<Option<String>> {
    let bytes = match subject.as_root && path.starts_with(&subject.home) {
        true => host.read_plain(path, LIMIT)?,
        false => host.read(path)?,
    };
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// `NAME=value` or `export NAME=value` in a file that a shell or PAM reads: the line's number and the value.
pub fn assigned(text: &str, name: &str) -> Option<(usize, String)> {
    let mut found = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            let value = value.split(['#', ';']).next().unwrap_or_default().trim();
            found = Some((number + 1, value.trim_matches(['"', '\'']).to_owned()));
        }
        if line == format!("unset {name}") {
            found = None;
        }
    }
    found
}
