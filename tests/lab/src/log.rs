//! The log of a scenario: every command on its hosts, with what it said.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Where a host writes what is done to it.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Mutex<File>>>);

thread_local! {
    static CURRENT: RefCell<Log> = RefCell::new(Log::default());
}

impl Log {
    pub fn create(path: &Path) -> anyhow::Result<Log> {
        crate::sh::write(path, "")?;
        Ok(Log(Some(Arc::new(Mutex::new(File::create(path)?)))))
    }

    /// The log of the scenario that runs in this thread.
    pub fn current() -> Log {
        CURRENT.with(|log| log.borrow().clone())
    }

    /// Makes it the log of what runs in this thread from now on.
    pub fn enter(&self) {
        CURRENT.with(|log| *log.borrow_mut() = self.clone());
    }

    pub fn line(&self, text: &str) {
        if let Some(file) = &self.0
            && let Ok(mut file) = file.lock()
        {
            let _ = writeln!(file, "{text}");
        }
    }
}

/// A line of a scenario's own.
pub fn line(text: &str) {
    Log::current().line(text);
}
