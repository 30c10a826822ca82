//! One run of a command: its host, its lock, its events from the first to the last, and its exit code.

use super::arguments::Changing;
use super::result;
use crate::clock::now_us;
use crate::error::{Error, Exit, OrFail, Result};
use crate::event::Event;
use crate::host::fetch::mask;
use crate::host::local::LocalHost;
use crate::host::{Offline, Touch};
use crate::receipt::{Entry, Receipt};
use crate::steps::Step;
use crate::ui::{self, Manner};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long to wait where neither flag nor configuration says it.
pub const WAIT: Duration = Duration::from_secs(600);

pub struct Run {
    pub verb: &'static str,
    pub manner: Manner,
    pub changes: usize,
    pub receipt: Option<PathBuf>,
    /// What stands for the network, and the images that came along.
    pub offline: Option<Offline>,
    pub images: Option<Step>,
    began: Instant,
    sink: Rc<dyn Fn(&Event)>,
    log: PathBuf,
}

impl Run {
    pub fn new(verb: &'static str, manner: Manner) -> Run {
        // As a receipt: two runs of one second have two logs.
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
        Run {
            verb,
            manner,
            changes: 0,
            receipt: None,
            offline: None,
            images: None,
            began: Instant::now(),
            sink: if verb == "doctor" { manner.telling().into() } else { manner.sink().into() },
            log: PathBuf::from(format!("/var/log/rprov/{stamp}-{verb}.log")),
        }
    }

    /// Runs the command; an error is told, and its code is the run's.
    pub fn carry_out(mut self, command: impl FnOnce(&mut Run) -> Result<Exit>) -> Exit {
        let (exit, error) = match command(&mut self) {
            Ok(exit) => (exit, None),
            Err(error) => (error.exit, Some(self.error_event(&error))),
        };
        if let Some(error) = &error {
            self.tell(error);
        }
        tracing::debug!("peak memory {}", peak_memory());
        let finished = Event::Finished {
            exit: exit as i32,
            changes: self.changes,
            seconds: self.began.elapsed().as_secs_f64(),
            log: self.log_made(),
            receipt: self.receipt.as_ref().map(|path| path.display().to_string()),
        };
        if self.may_change_the_host()
            && let Err(error) = result::write(self.verb, &finished, error.as_ref())
        {
            tracing::debug!("{error}");
        }
        if !self.manner.json || self.speaks_events() {
            self.tell(&finished);
        }
        exit
    }

    /// Without systemd `/run` may lie on the disk of an image, and every change is refused.
    fn may_change_the_host(&self) -> bool {
        matches!(self.verb, "install" | "uninstall")
            && rustix::process::geteuid().is_root()
            && Path::new("/run/systemd/system").exists()
    }

    /// `facts`, `profile` and `lock` answer with one document; the others with a stream.
    fn speaks_events(&self) -> bool {
        matches!(self.verb, "install" | "plan" | "uninstall" | "smoke" | "status" | "bundle")
    }

    /// Masked as a whole: whatever it quotes may hold an address with its password.
    fn error_event(&self, error: &Error) -> Event {
        let masked = |lines: &[String]| lines.iter().map(|line| mask(line)).collect();
        Event::Error {
            what: mask(error.what()),
            because: masked(error.reasons()),
            output: masked(error.output()),
            hint: error.next().map(mask),
            log: self.log_made(),
        }
    }

    fn log_made(&self) -> Option<String> {
        self.log.exists().then(|| self.log.display().to_string())
    }

    pub fn tell(&self, event: &Event) {
        (self.sink)(event);
    }

    /// This machine, with the time that may be waited.
    pub fn host(&self, wait: Option<Duration>) -> LocalHost {
        let sink = self.sink.clone();
        let host = LocalHost::new(
            Path::new("/"),
            Box::new(move |event| sink(event)),
            wait.unwrap_or(WAIT),
            self.log.clone(),
        );
        match &self.offline {
            Some(offline) => host.without_network(offline.clone()),
            None => host,
        }
    }

    /// Whoever is not root cannot write where the logs are.
    pub fn log_to(&mut self, path: PathBuf) {
        self.log = path;
    }

    /// Asks before something is changed; `--yes` answers.
    ///
    /// # Errors
    /// Without a terminal a question cannot be asked: exit 2. A signal until then ends the run: exit 130.
    pub fn may(&self, question: &str, changing: &Changing, host: &dyn Touch) -> Result<bool> {
        let asked = match changing.yes {
            true => Some(true),
            false if self.manner.json => None,
            false => ui::ask(question, &|| host.interrupted()),
        };
        if host.interrupted() {
            return Err(Error::new(Exit::Interrupted, "interrupted before anything was changed"));
        }
        asked.ok_or_else(|| {
            Error::usage(format!("cannot ask: {}", question.to_lowercase().trim_end_matches('?')))
                .because("there is no terminal")
                .hint(format!("rprov {} --yes", self.verb))
        })
    }

    pub fn begin_receipt(&mut self, profile: Option<&str>) -> Result<Receipt> {
        self.begin_receipt_of(self.verb, profile)
    }

    /// The receipt of a way back that is no verb of its own.
    pub fn begin_receipt_as(&mut self, verb: &str) -> Result<Receipt> {
        self.begin_receipt_of(verb, None)
    }

    fn begin_receipt_of(&mut self, verb: &str, profile: Option<&str>) -> Result<Receipt> {
        let header = Entry::Header {
            format: 1,
            rprov: env!("CARGO_PKG_VERSION").into(),
            verb: verb.into(),
            at_us: now_us(),
            profile: profile.map(str::to_owned),
            arguments: super::typed(),
        };
        let receipt = Receipt::begin(Path::new("/"), verb, header)?;
        self.receipt = Some(receipt.path.clone());
        Ok(receipt)
    }
}

/// `VmHWM` of proc_pid_status(5): the most that this process ever held.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or_default().trim().to_owned()
}

/// Held while a run may change the host. Not below /run/lock: anyone may write there.
pub struct Lock {
    _file: std::fs::File,
}

/// Takes the lock, and waits for who holds it.
///
/// # Errors
/// The wait is over: exit 5, with the holder.
pub fn lock(host: &dyn Touch) -> Result<Lock> {
    let cannot = || "cannot take the lock `/run/rprov/lock`".to_owned();
    result::make_directory().or_fail(cannot)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(format!("{}/lock", result::DIRECTORY), flags, Mode::RUSR | Mode::WUSR)
        .or_fail(cannot)?;
    let mut file = std::fs::File::from(file);
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(error).or_fail(cannot);
        }
        let holder = holder(&mut file);
        if host.left().is_zero() {
            return Err(Error::try_again(cannot())
                .because(format!("{holder} holds it"))
                .hint("wait for it, or give a longer --wait"));
        }
        host.pause(&holder)?;
    }
    let told = format!("rprov (process {})\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(told.as_bytes()))
        .or_fail(cannot)?;
    crate::host::sweep()?;
    Ok(Lock { _file: file })
}

fn holder(file: &mut std::fs::File) -> String {
    let mut text = String::new();
    match file.rewind().and_then(|()| file.read_to_string(&mut text)) {
        Ok(_) if !text.trim().is_empty() => format!("another {}", text.trim()),
        _ => "another rprov".into(),
    }
}
