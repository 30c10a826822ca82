//! A reader with a limit that is set anew for each part: for parsers that keep in memory what they are in the middle of.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};

/// `left`: how many bytes may come until somebody sets it anew; one more is an error.
pub struct Portioned<'l, R> {
    pub inner: R,
    pub left: &'l Cell<u64>,
}

impl<R: Read> Read for Portioned<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        let left = self.left.get().checked_sub(length as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("a part of it is larger than it may be"))?);
        Ok(length)
    }
}

impl<R: Seek> Seek for Portioned<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
