//! This machine, or a directory that stands for it in tests: files below a root, and programs in root's environment.

mod apt_state;
mod ask;
mod dnf_state;
mod lists;
mod log;
mod progress;
mod run;

use self::log::Log;
use self::progress::Progress;
pub use self::progress::Rate;
pub use self::run::{PATH, ask_program};
use self::run::{captured, expression, finish};
use super::fetch::{self, Fetcher, Proxies};
use super::{
    AptState, Command, Kind, Look, Offline, Output, Owner, Private, Question, Room, Stat, Stream, Touch,
    plain,
};
use crate::error::{Error, Exit, OrFail, Result};
use crate::event::Event;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Draws events: a terminal, a stream of JSON, the journal.
pub type Sink = Box<dyn Fn(&Event)>;

/// A signal is the whole process's, however many hosts it has made.
static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static HEARS: AtomicBool = AtomicBool::new(false);

pub struct LocalHost {
    root: PathBuf,
    fetcher: Fetcher,
    offline: Option<Offline>,
    answers: RefCell<HashMap<Question, Output>>,
    /// All of apt's lists, fetched anew for a question; gone with this run.
    refreshed: RefCell<Option<tempfile::TempDir>>,
    /// What dnf fetched of the repositories for questions; gone with this run.
    dnf_cache: RefCell<Option<tempfile::TempDir>>,
    sink: Sink,
    deadline: Instant,
    stop: Arc<AtomicBool>,
    log: RefCell<Log>,
}

impl LocalHost {
    /// `log` is where the output of every command goes, made when the first command runs.
    pub fn new(root: &Path, sink: Sink, wait: Duration, log: PathBuf) -> LocalHost {
        LocalHost {
            root: root.to_owned(),
            fetcher: Fetcher::new(),
            offline: None,
            answers: RefCell::default(),
            refreshed: RefCell::default(),
            dnf_cache: RefCell::default(),
            sink,
            deadline: Instant::now() + wait,
            stop: STOP.clone(),
            log: RefCell::new(Log::at(log)),
        }
    }

    /// The same host without a network: this directory stands for it.
    pub fn without_network(self, offline: Offline) -> LocalHost {
        LocalHost { offline: Some(offline), ..self }
    }

    /// Whether it is this package manager on the host itself, with its packages from a bundle. All else than where they
    /// come from is the host's own: its database, its locks, its log.
    fn takes_offline(&self, program: &str, command: &Command) -> bool {
        self.offline.is_some() && command.argv.first().is_some_and(|word| word == program)
    }

    /// SIGINT, SIGTERM and SIGHUP end the run after the change in hand; a second one at once. Children live in a
    /// process group of their own and do not hear them.
    pub fn hear_signals(&self) -> Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        // Registered twice, the first signal would count as a second.
        if HEARS.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let cannot = || "cannot listen for signals".to_owned();
            signal_hook::flag::register_conditional_shutdown(
                signal,
                Exit::Interrupted as i32,
                self.stop.clone(),
            )
            .or_fail(cannot)?;
            signal_hook::flag::register(signal, self.stop.clone()).or_fail(cannot)?;
        }
        Ok(())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log of this run, if any command was run.
    pub fn log_path(&self) -> Option<PathBuf> {
        self.log.borrow().path().map(Path::to_owned)
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The proxy for what is fetched from anywhere, if there is one.
    pub fn proxy(&self) -> Option<String> {
        self.fetcher().proxy("https")
    }

    /// By the proxies of the host's package manager; a question that has no answer is a host without.
    fn fetcher(&self) -> &Fetcher {
        self.fetcher.through(|| {
            let apt = self.query(&Question::AptConfig).map(|told| Proxies::of_apt(&told.stdout));
            let dnf = || self.read_text(Path::new("/etc/dnf/dnf.conf")).ok().flatten();
            match apt {
                Ok(proxies) if !proxies.is_empty() => proxies,
                _ => dnf().map(|text| Proxies::of_dnf(&text)).unwrap_or_default(),
            }
        })
    }

    /// What a question was answered may be another thing after a change.
    pub fn forget_answers(&self) {
        self.answers.borrow_mut().clear();
    }

    /// Runs a command whose output goes to the log, and looks now and then how far it is.
    fn run_logged(&self, command: &Command) -> Result<Output> {
        let mut file = self.log.borrow_mut().open()?;
        let cannot = || format!("cannot write the log `{}`", self.log_path().unwrap_or_default().display());
        writeln!(file, "$ {}", fetch::mask(&command.argv.join(" "))).or_fail(cannot)?;
        let from = file.seek(SeekFrom::End(0)).or_fail(cannot)?;
        let (out, err) = (file.try_clone().or_fail(cannot)?, file.try_clone().or_fail(cannot)?);
        let mut progress = Progress::of(command)?;
        let argv = progress.argv(command);
        let running = expression(&argv, &command.env)?.stdout_file(out).stderr_file(err).start();
        let running = running.or_fail(|| format!("cannot run `{}`", command.argv.join(" ")))?;
        let output = finish(&running, command, || {
            if let Some(event) = progress.news() {
                self.tell(event);
            }
            // What changes nothing of the host's need not be waited for.
            if command.harmless && self.interrupted() { Err(Error::interrupted()) } else { Ok(()) }
        })?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from)).or_fail(cannot)?;
        file.read_to_end(&mut bytes).or_fail(cannot)?;
        let stdout = String::from_utf8_lossy(&bytes).into_owned();
        // A program may have named an address with its password, which is nothing for a log.
        let shown = fetch::mask(&stdout);
        if shown != stdout {
            file.set_len(from).and_then(|()| file.write_all(shown.as_bytes())).or_fail(cannot)?;
        }
        Ok(Output { code: output.status.code().unwrap_or(-1), stdout, stderr: String::new() })
    }

    /// The place that a write goes to: behind a link, if all its parts are root's.
    fn behind_links(&self, path: &Path) -> Result<PathBuf> {
        let mut place = path.to_owned();
        for _ in 0..16 {
            let Some(target) = self.link(&place)? else { return Ok(place) };
            let parent = place.parent().unwrap_or(Path::new("/"));
            place = normal(&parent.join(target));
            self.parts_are_roots(&place)?;
        }
        Err(Error::refused(format!("cannot write `{}`", path.display())).because("too many links"))
    }

    fn parts_are_roots(&self, path: &Path) -> Result<()> {
        for part in path.ancestors().skip(1) {
            let Some(stat) = self.stat(part)? else { continue };
            if self.root == Path::new("/")
                && (stat.uid != 0 || stat.mode & 0o022 != 0 && stat.mode & 0o1000 == 0)
            {
                return Err(Error::refused(format!("cannot write `{}`", path.display())).because(format!(
                    "it is reached by a link through `{}`, which is not root's alone",
                    part.display()
                )));
            }
        }
        Ok(())
    }
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

fn absent_is_none<T>(result: std::io::Result<T>, what: impl FnOnce() -> String) -> Result<Option<T>> {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) if error.kind() == PermissionDenied => {
            Err(Error::refused(what()).because(error).hint("run it again with sudo"))
        }
        Err(error) => Err(error).or_fail(what),
    }
}

impl Look for LocalHost {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        absent_is_none(fs::read(self.at(path)), || format!("cannot read `{}`", path.display()))
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn Stream>>> {
        let opened = fs::File::open(self.at(path));
        let opened = absent_is_none(opened, || format!("cannot read `{}`", path.display()))?;
        Ok(opened.map(|file| Box::new(Stoppable { file, stop: self.stop.clone() }) as Box<dyn Stream>))
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        let found = fs::symlink_metadata(self.at(path));
        let found = absent_is_none(found, || format!("cannot look at `{}`", path.display()))?;
        Ok(found.map(|meta| Stat {
            kind: match meta.file_type() {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Directory,
                kind if kind.is_symlink() => Kind::Link,
                kind if std::os::unix::fs::FileTypeExt::is_socket(&kind) => Kind::Socket,
                _ => Kind::Other,
            },
            mode: meta.permissions().mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            size: meta.size(),
            modified: meta.mtime(),
        }))
    }

    fn link(&self, path: &Path) -> Result<Option<PathBuf>> {
        match fs::read_link(self.at(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(None),
            result => absent_is_none(result, || format!("cannot read the link `{}`", path.display())),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let cannot = || format!("cannot list `{}`", path.display());
        let Some(entries) = absent_is_none(fs::read_dir(self.at(path)), cannot)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.or_fail(cannot)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn read_plain(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        plain::read(&self.root, path, limit, self)
    }

    fn room(&self, path: &Path) -> Result<Option<Room>> {
        plain::room(&self.at(path))
            .or_fail(|| format!("cannot look at the file system of `{}`", path.display()))
    }

    fn attribute(&self, path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(xattr::get(self.at(path), name).unwrap_or_default())
    }

    fn refuses(&self, socket: &Path) -> bool {
        let error = std::os::unix::net::UnixStream::connect(self.at(socket)).err();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    }

    fn query(&self, question: &Question) -> Result<Output> {
        if let Some(answer) = self.answers.borrow().get(question) {
            return Ok(answer.clone());
        }
        let began = Instant::now();
        let answer = ask::ask(question, self)?;
        tracing::debug!(code = answer.code, took = ?began.elapsed(), "asked {question}");
        self.answers.borrow_mut().insert(question.clone(), answer.clone());
        Ok(answer)
    }

    fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        let began = Instant::now();
        let fetched = match &self.offline {
            Some(offline) => offline.fetch(url, limit),
            None => self.fetcher().fetch(url, limit),
        };
        tracing::debug!(bytes = fetched.as_ref().map_or(0, Vec::len), took = ?began.elapsed(), "fetched {}", fetch::mask(url));
        fetched
    }

    fn fetch_again(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        match &self.offline {
            Some(offline) => offline.fetch(url, limit),
            None => self.fetcher().fetch_again(url, limit),
        }
    }

    fn offline(&self) -> Option<&Offline> {
        self.offline.as_ref()
    }

    fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second()
    }
}

/// A file that can be read until a signal asks to end: gigabytes take their time.
struct Stoppable {
    file: fs::File,
    stop: Arc<AtomicBool>,
}

impl Read for Stoppable {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(std::io::Error::other("interrupted by a signal")),
            false => self.file.read(into),
        }
    }
}

impl Seek for Stoppable {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

impl Touch for LocalHost {
    fn write(&self, path: &Path, bytes: &[u8], owner: Owner) -> Result<()> {
        self.forget_answers();
        let path = self.behind_links(path)?;
        let place = self.at(&path);
        let cannot = || format!("cannot write `{}`", path.display());
        let directory = place.parent().unwrap_or(Path::new("/"));
        let prefix = super::temporary(&place).unwrap_or_default();
        let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(directory).or_fail(cannot)?;
        file.write_all(bytes).or_fail(cannot)?;
        std::os::unix::fs::fchown(file.as_file(), Some(owner.uid), Some(owner.gid)).or_fail(cannot)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(owner.mode)).or_fail(cannot)?;
        // The SELinux label, and what else stood on the file, travels along.
        for name in xattr::list(&place).into_iter().flatten() {
            if let Ok(Some(value)) = xattr::get(&place, &name) {
                xattr::set(file.path(), &name, &value).or_fail(cannot)?;
            }
        }
        file.as_file().sync_all().or_fail(cannot)?;
        file.persist(&place).or_fail(cannot)?;
        sync_directory(directory)
    }

    fn give(&self, path: &Path, owner: Owner) -> Result<()> {
        self.forget_answers();
        plain::give(&self.root, path, owner, self)
    }

    fn make_directory(&self, path: &Path, owner: Owner) -> Result<()> {
        self.forget_answers();
        let place = self.at(path);
        let cannot = || format!("cannot make the directory `{}`", path.display());
        fs::create_dir(&place).or_fail(cannot)?;
        std::os::unix::fs::chown(&place, Some(owner.uid), Some(owner.gid)).or_fail(cannot)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(owner.mode)).or_fail(cannot)?;
        sync_directory(place.parent().unwrap_or(Path::new("/")))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.forget_answers();
        let place = self.at(path);
        let cannot = || format!("cannot remove `{}`", path.display());
        let Some(stat) = self.stat(path)? else { return Ok(()) };
        let removed = match stat.kind {
            Kind::Directory => fs::remove_dir(&place),
            _ => fs::remove_file(&place),
        };
        removed.or_fail(cannot)?;
        sync_directory(place.parent().unwrap_or(Path::new("/")))
    }

    fn remove_all(&self, path: &Path) -> Result<()> {
        self.forget_answers();
        match self.stat(path)?.map(|stat| stat.kind) {
            Some(Kind::Directory) => {
                fs::remove_dir_all(self.at(path)).or_fail(|| format!("cannot remove `{}`", path.display()))
            }
            Some(_) => self.remove(path),
            None => Ok(()),
        }
    }

    fn run(&self, command: &Command) -> Result<Output> {
        self.forget_answers();
        let argv = command.argv.iter().map(|word| fetch::mask(word)).collect();
        self.tell(Event::Command { argv });
        let output = match &command.state {
            Some(Private::Apt(state)) => match apt_state::make(state, self)? {
                Ok(private) => self.run_logged(&with_options(command, &private.options))?,
                Err(refused) => refused,
            },
            Some(Private::Dnf(state)) => {
                let private = dnf_state::make(state, self)?;
                self.run_logged(&with_options(command, &private.options))?
            }
            None if self.takes_offline("apt-get", command) => {
                match apt_state::make(&AptState::default(), self)? {
                    Ok(private) => self.run_logged(&with_options(command, &private.of_the_host()))?,
                    Err(refused) => refused,
                }
            }
            None if self.takes_offline("dnf", command) => {
                self.run_logged(&with_options(command, &dnf_state::offline(self)))?
            }
            None if command.capture => captured(command)?,
            None => self.run_logged(command)?,
        };
        self.forget_answers();
        Ok(output)
    }

    fn adopt_lists(&self) -> Result<bool> {
        self.forget_answers();
        lists::adopt(self)
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn pause(&self, waiting_for: &str) -> Result<()> {
        if self.interrupted() {
            return Err(Error::interrupted());
        }
        self.tell(Event::Waiting { waiting_for: waiting_for.to_owned(), left_s: self.left().as_secs() });
        std::thread::sleep(Duration::from_secs(1).min(self.left()));
        Ok(())
    }

    fn tell(&self, event: Event) {
        (self.sink)(&event);
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn sync_directory(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|d| d.sync_all()).or_fail(|| format!("cannot sync `{}`", path.display()))
}

fn with_options(command: &Command, options: &[String]) -> Command {
    let mut command = command.clone();
    command.argv.splice(1..1, options.iter().cloned());
    command
}
