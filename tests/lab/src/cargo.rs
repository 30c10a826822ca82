//! Builds rprov for the hosts, and runs the workspace's own tests.

use crate::cache;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// rprov as it is released.
pub fn rprov() -> Result<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    build("rprov", &[], &BUILT)
}

/// rprov that can be told to stop at an entry of its receipt.
pub fn rprov_stop_at() -> Result<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    build("rprov-stop-at", &["--features", "stop-at"], &BUILT)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(cache::workspace());
    command
}

fn build(name: &str, more: &[&str], built: &OnceLock<PathBuf>) -> Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().map_err(|_| anyhow::anyhow!("building rprov failed before"))?;
    if let Some(path) = built.get() {
        return Ok(path.clone());
    }
    // `dev` builds in a tenth of the time: for who changes a line and looks again.
    let profile = std::env::var("RPROV_LAB_PROFILE").unwrap_or_else(|_| "release".into());
    let mut command = cargo();
    command.args([
        "build",
        "--quiet",
        "--profile",
        &profile,
        "--package",
        "rprov",
        "--message-format=json-render-diagnostics",
    ]);
    let out = command.args(more).stderr(Stdio::inherit()).output().context("starting cargo")?;
    if !out.status.success() {
        bail!("rprov does not build");
    }
    // Of cargo's messages, the one about the binary names it as `"executable":"PATH"`.
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let named = text
        .lines()
        .filter_map(|line| line.split_once("\"executable\":\""))
        .filter_map(|(_, rest)| rest.split_once('"'));
    let binary = named.map(|(path, _)| PathBuf::from(path)).find(|path| path.ends_with("rprov"));
    let binary = binary.context("cargo names no binary of rprov")?;
    let kept = cache::dir().join("bin").join(name);
    fs::create_dir_all(cache::dir().join("bin")).context("making the directory of binaries")?;
    let new = kept.with_extension(std::process::id().to_string());
    fs::copy(&binary, &new).with_context(|| format!("copying {}", binary.display()))?;
    fs::rename(&new, &kept).with_context(|| format!("naming {}", kept.display()))?;
    let _ = built.set(kept.clone());
    Ok(kept)
}

/// Runs `cargo test` for the whole workspace: how many passed and failed.
pub fn test() -> Result<(usize, usize)> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting cargo")?;
    let (mut passed, mut failed) = (0, 0);
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("reading what cargo says")?;
            println!("{line}");
            if let Some((p, f)) = counts(&line) {
                passed += p;
                failed += f;
            }
        }
    }
    let good = child.wait().context("waiting for cargo")?.success();
    if !good && failed == 0 {
        failed = 1;
    }
    Ok((passed, failed))
}

/// The numbers in `test result: ok. 3 passed; 0 failed; ...`.
fn counts(line: &str) -> Option<(usize, usize)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut parts = rest.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_counts_of_a_test_run_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(super::counts(line), Some((12, 3)));
        assert_eq!(super::counts("running 3 tests"), None);
    }
}
