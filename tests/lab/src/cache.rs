//! Keeps what is expensive to make, under a name that holds a hash of what it is made from.

use crate::sh;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The lab's directory: `RPROV_LAB_DIR`, or `lab` in cargo's target directory.
pub fn dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("RPROV_LAB_DIR") {
        return PathBuf::from(dir);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace().join("target")).join("lab")
}

/// The workspace that this lab was built from.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here).to_path_buf()
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// One builder at a time, whichever process it is in.
pub fn lock() -> Result<File> {
    fs::create_dir_all(dir()).context("making the lab's directory")?;
    let path = dir().join("build.lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    file.lock().context("waiting for the lab's other builder")?;
    Ok(file)
}

/// The directory of something made from `parts`; `build` makes it where it is not there yet.
/// A half-built one is never used, and one made from something else goes.
pub fn ensure(name: &str, parts: &[&str], build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    // What it is made from does not depend on where the lab's directory lies.
    let key = sha256(parts.join("\0").replace(&*dir().to_string_lossy(), "").as_bytes());
    let cache = dir().join("cache");
    let done = cache.join(format!("{name}-{}", &key[..12]));
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&cache).context("making the lab's cache")?;
    for old in fs::read_dir(&cache).context("listing the lab's cache")? {
        let old = old?.path();
        let file_name = old.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let theirs = file_name.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        if theirs.is_some_and(|rest| rest.get(..12).is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())))
        {
            sh::remove_tree(&old)?;
        }
    }
    let new = cache.join(format!("{name}-{}.new", &key[..12]));
    fs::create_dir(&new).with_context(|| format!("making {}", new.display()))?;
    let start = Instant::now();
    build(&new).with_context(|| format!("building {name}"))?;
    fs::rename(&new, &done).with_context(|| format!("naming {}", done.display()))?;
    println!("lab: built {name} in {:.0} s", start.elapsed().as_secs_f32());
    Ok(done)
}
