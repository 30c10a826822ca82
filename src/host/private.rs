//! Temporary directories that say whose they are, so that what a killed run has left is known and goes.

use crate::error::{OrFail, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where what is large may lie: /tmp may be memory.
const LARGE: &str = "/var/tmp";

/// A directory that nobody else can look into; gone with the value.
pub fn private_directory(what: &str) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(&prefix(what)).tempdir()
}

/// The same, for what is large.
pub fn large_private_directory(what: &str) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(&prefix(what)).tempdir_in(LARGE)
}

fn prefix(what: &str) -> String {
    format!("rprov-{}-{what}-", std::process::id())
}

/// Removes what killed runs of this user have left.
pub fn sweep() -> Result<()> {
    sweep_in(&std::env::temp_dir())?;
    sweep_in(Path::new(LARGE))
}

fn sweep_in(temporary: &Path) -> Result<()> {
    let cannot = || format!("cannot tidy `{}`", temporary.display());
    // An image may have left it out.
    if !temporary.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(temporary).or_fail(cannot)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process =
            name.strip_prefix("rprov-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(process) = process else { continue };
        let ours = entry
            .metadata()
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::getuid().as_raw());
        if ours && !is_at_work(process) {
            fs::remove_dir_all(entry.path()).or_fail(cannot)?;
        }
    }
    Ok(())
}

/// The run itself, or a package manager that went on without it and reads what lies there.
fn is_at_work(process: u32) -> bool {
    let word = format!("/rprov-{process}-");
    let mentions = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&word)
    };
    Path::new(&format!("/proc/{process}")).exists()
        || fs::read_dir("/proc").is_ok_and(|entries| entries.flatten().any(mentions))
}
