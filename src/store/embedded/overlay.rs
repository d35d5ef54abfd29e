//! A file that cannot be written, seen by redb as one that can: what it writes stays in memory.
//!
//! redb cannot open a file without writing to it after anything but a clean end (its read-only mode refuses such a file),
//! and just then the disk may be full or read-only. It writes a few hundred bytes of its head, and nothing that is read
//! through it depends on them.

use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// A backend whose writes do not reach the one below.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    below: B,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    length: u64,
    /// In the order in which they were written.
    writes: Vec<(u64, Vec<u8>)>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(super) fn new(below: B) -> io::Result<Self> {
        let state = Mutex::new(State {
            length: below.len()?,
            writes: Vec::new(),
        });
        Ok(Self { below, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let end = offset + out.len() as u64;
        if end > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let below = self.below.len()?.clamp(offset, end) - offset;
        let (there, beyond) = out.split_at_mut(below as usize);
        if !there.is_empty() {
            self.below.read(offset, there)?;
        }
        beyond.fill(0);
        for (start, data) in &state.writes {
            let from = offset.max(*start);
            let to = end.min(start + data.len() as u64);
            if from < to {
                let source = (from - start) as usize..(to - start) as usize;
                let target = (from - offset) as usize..(to - offset) as usize;
                out[target].copy_from_slice(&data[source]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.state().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state().writes.push((offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        // An exclusive lock needs a file that is open for writing. One on a read-only file system is not, and nobody else
        // writes there either.
        let taken = self.below.try_lock_range(start, end);
        taken.map_err(|_| BackendError::Unsupported)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn reads_see_writes_that_the_one_below_does_not() {
        let below = InMemoryBackend::new();
        below.set_len(8).unwrap();
        below.write(0, b"abcdefgh").unwrap();
        let overlay = Overlay::new(below).unwrap();
        overlay.write(2, b"XYZ").unwrap();
        overlay.write(4, b"12345678").unwrap();
        overlay.set_len(14).unwrap();
        let read = |from: usize, to: usize| {
            let mut out = vec![0xff; to - from];
            let read = overlay.read(from as u64, &mut out);
            read.map(|()| out).map_err(|error| error.kind())
        };
        assert_eq!(read(0, 14).unwrap(), b"abXY12345678\0\0");
        assert_eq!(read(1, 3).unwrap(), b"bX");
        assert_eq!(read(11, 14).unwrap(), b"8\0\0");
        assert_eq!(read(10, 15), Err(io::ErrorKind::UnexpectedEof));
        let mut untouched = [0; 8];
        overlay.below.read(0, &mut untouched).unwrap();
        assert_eq!(&untouched, b"abcdefgh");
    }
}
