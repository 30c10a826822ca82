//! How far the package manager is: it writes to a file of ours, which outlives us, and we glance at it.

use crate::error::{OrFail, Result};
use crate::event::Event;
use crate::host::{Command, STATUS_FD};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The file behind apt's `APT::Status-Fd`, where a command wants one.
pub struct Progress {
    file: Option<File>,
    /// How far the file is read; without one, the hundredths that were told.
    read: u64,
    rate: Option<Rate>,
    brings: Option<u64>,
}

impl Progress {
    /// A file without a name, which the child inherits. Not a pipe: apt would die of it if we did.
    pub fn of(command: &Command) -> Result<Progress> {
        let wanted = command.argv.iter().any(|word| word.contains(STATUS_FD));
        let open = || -> std::io::Result<File> {
            let file = tempfile::tempfile()?;
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
            Ok(file)
        };
        let file =
            if wanted { Some(open().or_fail(|| "cannot follow the package manager".into())?) } else { None };
        let rate = command.fills.as_deref().map(Rate::of);
        Ok(Progress { file, read: 0, rate, brings: command.brings })
    }

    /// The command with the number of the file in it.
    pub fn argv(&self, command: &Command) -> Vec<String> {
        let number = self.file.as_ref().map(|file| file.as_raw_fd().to_string()).unwrap_or_default();
        command.argv.iter().map(|word| word.replace(STATUS_FD, &number)).collect()
    }

    /// What was written since the last glance comes to.
    pub fn news(&mut self) -> Option<Event> {
        if let (Some(rate), Some(brings)) = (&self.rate, self.brings) {
            // A hundredth is worth a word.
            let hundredths = (rate.bytes() * 100 / brings.max(1)).min(100);
            let before = std::mem::replace(&mut self.read, hundredths);
            let text = || format!("fetching, {}", rate.words());
            return (hundredths > before)
                .then(|| Event::Progress { percent: hundredths as f64, text: text() });
        }
        let file = self.file.as_ref()?;
        let mut bytes = vec![0; 64 * 1024];
        let length = file.read_at(&mut bytes, self.read).ok()?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let whole = &text[..text.rfind('\n')? + 1];
        self.read += whole.len() as u64;
        let event = whole.lines().rev().find_map(parse)?;
        Some(match (&self.rate, event) {
            (Some(rate), Event::Progress { percent, text }) => {
                Event::Progress { percent, text: format!("{text}, {}", rate.words()) }
            }
            (_, event) => event,
        })
    }
}

/// How fast a directory fills, since somebody began to look.
pub struct Rate {
    directory: PathBuf,
    before: u64,
    since: Instant,
}

impl Rate {
    pub fn of(directory: &Path) -> Rate {
        Rate { directory: directory.to_owned(), before: bytes_in(directory), since: Instant::now() }
    }

    fn bytes(&self) -> u64 {
        bytes_in(&self.directory).saturating_sub(self.before)
    }

    /// `131.2 MB at 10.9 MB/s`
    pub fn words(&self) -> String {
        let bytes = self.bytes() as f64;
        let seconds = self.since.elapsed().as_secs_f64().max(0.001);
        format!("{:.1} MB at {:.1} MB/s", bytes / 1e6, bytes / 1e6 / seconds)
    }
}

/// Of the files in it and deeper, where those that are still on their way lie.
fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
        Ok(meta) if meta.is_file() => meta.len(),
        _ => 0,
    };
    entries.map(size).sum()
}

/// `pmstatus:docker-ce:60.0:Unpacking docker-ce (amd64)`, `dlstatus:1:20.2:Retrieving file 1 of 5` (apt's
/// README.progress-reporting).
fn parse(line: &str) -> Option<Event> {
    let mut fields = line.splitn(4, ':');
    let kind = fields.next()?;
    if kind != "pmstatus" && kind != "dlstatus" {
        return None;
    }
    let percent = fields.nth(1)?.parse().ok()?;
    Some(Event::Progress { percent, text: fields.next()?.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_progress_is_read() {
        let event = parse("pmstatus:docker-ce:60.0:Unpacking docker-ce (amd64)");
        assert_eq!(
            event,
            Some(Event::Progress { percent: 60.0, text: "Unpacking docker-ce (amd64)".into() })
        );
        assert_eq!(parse("pmconffile:/etc/x : 1:2:'a' 'b'"), None);
    }

    #[test]
    fn what_fills_a_directory_is_counted_with_what_is_on_its_way() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("before"), [0; 1000]).unwrap();
        let rate = Rate::of(directory.path());
        std::fs::create_dir(directory.path().join("partial")).unwrap();
        std::fs::write(directory.path().join("partial/a"), vec![0; 3_000_000]).unwrap();
        assert!(rate.words().starts_with("3.0 MB at "), "{}", rate.words());
    }
}
