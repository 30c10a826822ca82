//! The log of a run: what every command wrote, kept for a while.

use crate::error::{OrFail, Result};
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where the output of every command goes: a file, so that a package manager outlives us without a broken pipe.
pub struct Log {
    path: PathBuf,
    file: Option<fs::File>,
}

/// How many logs are kept.
const LOGS: usize = 20;

impl Log {
    /// Nothing is made before something is to be written.
    pub fn at(path: PathBuf) -> Log {
        Log { path, file: None }
    }

    /// Its place, once it has begun.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| self.path.as_path())
    }

    /// The file to append to and to read, for this run's users alone.
    ///
    /// # Errors
    /// It or its directory cannot be made.
    pub fn open(&mut self) -> Result<fs::File> {
        let cannot = || format!("cannot write the log `{}`", self.path.display());
        let file = match self.file.take() {
            Some(file) => file,
            None => begin(&self.path)?,
        };
        self.file.insert(file).try_clone().or_fail(cannot)
    }
}

fn begin(path: &Path) -> Result<fs::File> {
    let cannot = || format!("cannot begin the log `{}`", path.display());
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).or_fail(cannot)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o750)).or_fail(cannot)?;
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).append(true).create_new(true).mode(0o600).open(path).or_fail(cannot)?;
    keep_the_last(directory)?;
    Ok(file)
}

fn keep_the_last(directory: &Path) -> Result<()> {
    let cannot = || format!("cannot tidy `{}`", directory.display());
    let mut logs = Vec::new();
    for entry in fs::read_dir(directory).or_fail(cannot)? {
        let path = entry.or_fail(cannot)?.path();
        if path.extension().is_some_and(|e| e == "log") {
            logs.push(path);
        }
    }
    logs.sort();
    for old in logs.iter().rev().skip(LOGS) {
        fs::remove_file(old).or_fail(cannot)?;
    }
    Ok(())
}
