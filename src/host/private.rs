//! Temporary directories that say whose they are, so that what a killed run has left is known and goes.

use crate::error::{OrFail, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A directory that nobody else can look into; gone with the value.
pub fn private_directory(what: &str) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(&format!("rprov-{}-{what}-", std::process::id())).tempdir()
}

/// Removes what killed runs of this user have left.
pub fn sweep() -> Result<()> {
    let temporary = std::env::temp_dir();
    let cannot = || format!("cannot tidy `{}`", temporary.display());
    for entry in fs::read_dir(&temporary).or_fail(cannot)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process =
            name.strip_prefix("rprov-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(process) = process else { continue };
        let ours = entry
            .metadata()
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::getuid().as_raw());
        if ours && !Path::new(&format!("/proc/{process}")).exists() {
            fs::remove_dir_all(entry.path()).or_fail(cannot)?;
        }
    }
    Ok(())
}
