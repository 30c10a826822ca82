//! How far a bundle is, told as its bytes go by: images may be large.

use crate::event::Event;
use crate::host::Touch;
use std::cell::Cell;
use std::io::Read;
use std::time::{Duration, Instant};

/// How often somebody is told.
const GLANCE: Duration = Duration::from_millis(200);

/// All files together.
pub struct Far<'h> {
    doing: &'static str,
    done: Cell<u64>,
    of: u64,
    began: Instant,
    told: Cell<Option<Instant>>,
    host: &'h dyn Touch,
}

impl Far<'_> {
    /// `doing`: what is done with the bytes, as in `writing`; `of`: how many there are.
    pub fn new<'h>(doing: &'static str, of: u64, host: &'h dyn Touch) -> Far<'h> {
        Far { doing, done: Cell::default(), of, began: Instant::now(), told: Cell::default(), host }
    }

    /// Counts what is read of one of them.
    pub fn counts<R: Read>(&self, inner: R) -> Counted<'_, R> {
        Counted { inner, far: self }
    }

    fn came(&self, bytes: usize) {
        self.done.set(self.done.get() + bytes as u64);
        if self.told.get().is_none_or(|told| told.elapsed() >= GLANCE) {
            self.told.set(Some(Instant::now()));
            self.host.tell(self.event());
        }
    }

    /// All of it is done.
    pub fn over(&self) {
        self.done.set(self.of);
        self.host.tell(self.event());
    }

    fn event(&self) -> Event {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let done = self.done.get();
        let rate = megabytes(done) / self.began.elapsed().as_secs_f64().max(0.001);
        let (what, of) = (self.doing, megabytes(self.of));
        Event::Progress {
            percent: 100.0 * done as f64 / self.of.max(1) as f64,
            text: format!("{what}, {:.1} of {of:.1} MB at {rate:.1} MB/s", megabytes(done)),
        }
    }
}

pub struct Counted<'f, R> {
    inner: R,
    far: &'f Far<'f>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(into)?;
        self.far.came(length);
        Ok(length)
    }
}
