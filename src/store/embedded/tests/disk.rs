//! A disk in memory that fails when it is told to, and forgets what was not synced when its power is cut.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::super::access::Connect;
use super::super::file::StoreFile;
use super::super::overlay::Overlay;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<State>>);

const CACHE: usize = 1024 * 1024;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Every write, as on a full disk.
    Writes,
    /// Every sync; what was written can be read.
    Syncs,
}

struct State {
    image: Vec<u8>,
    durable: Vec<u8>,
    /// Written since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// So far.
    writes: u64,
    syncs: u64,
    fault: Option<(Fault, u64)>,
    /// At this operation the power goes.
    cut: Option<u64>,
    /// Opens are numbered by the cuts before them; older ones are dead.
    power: u64,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            image: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            writes: 0,
            syncs: 0,
            fault: None,
            cut: None,
            power: 0,
        })))
    }

    /// A store on this disk. A handle that was opened before a cut stays dead.
    pub(super) fn file(&self) -> StoreFile {
        let backend = Backend {
            disk: self.clone(),
            power: self.lock().power,
        };
        StoreFile {
            path: PathBuf::from("a disk in memory"),
            connect: Arc::new(backend),
        }
    }

    /// After so many more writes or syncs, they fail.
    pub(super) fn fail_after(&self, operations: u64, fault: Fault) {
        let mut state = self.lock();
        let so_far = *state.count(fault);
        state.fault = Some((fault, so_far + operations));
    }

    pub(super) fn heal(&self) {
        self.lock().fault = None;
    }

    pub(super) fn cut_after(&self, operations: u64) {
        let mut state = self.lock();
        state.cut = Some(state.operations() + operations);
    }

    pub(super) fn is_cut(&self) -> bool {
        let state = self.lock();
        state.cut.is_some_and(|at| state.operations() >= at)
    }

    /// Power is back: of what was not synced, some sectors made it and some did not.
    pub(super) fn power_up(&self, seed: u64) {
        const SECTOR: usize = 512;
        let mut state = self.lock();
        let mut random = StdRng::seed_from_u64(seed);
        let mut image = std::mem::take(&mut state.durable);
        for (offset, data) in std::mem::take(&mut state.unsynced) {
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                if random.random_bool(0.5) {
                    put(&mut image, offset + index * SECTOR, sector);
                }
            }
        }
        state.durable = image.clone();
        state.image = image;
        state.cut = None;
        state.power += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn count(&mut self, kind: Fault) -> &mut u64 {
        match kind {
            Fault::Writes => &mut self.writes,
            Fault::Syncs => &mut self.syncs,
        }
    }

    fn operations(&self) -> u64 {
        self.writes + self.syncs
    }
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

#[derive(Clone)]
struct Backend {
    disk: Disk,
    power: u64,
}

impl Backend {
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        let cut = state.cut.is_some_and(|at| state.operations() >= at);
        if cut || state.power != self.power {
            return Err(io::Error::other("there is no power"));
        }
        Ok(state)
    }

    /// One more operation, which may be the one that fails.
    fn operation(&self, kind: Fault) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        *state.count(kind) += 1;
        let so_far = *state.count(kind);
        match state.fault {
            Some((fault, at)) if fault == kind && so_far > at => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(state),
        }
    }
}

impl Connect for Backend {
    fn to_write(&self, _: &Path, check: bool) -> Result<Database, DatabaseError> {
        Builder::new()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(check)
            .create_with_backend(self.clone())
    }

    fn to_read(&self, _: &Path) -> Result<Database, DatabaseError> {
        Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(Overlay::new(self.clone())?)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.alive()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let part = state.image.get(start..start + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operation(Fault::Writes)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.image.resize(len, 0);
        // A journaling file system keeps the length in order with everything else.
        state.durable.resize(len, 0);
        state
            .unsynced
            .retain(|(offset, data)| offset + data.len() <= len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.operation(Fault::Syncs)?;
        let State { image, durable, .. } = &mut *state;
        durable.clone_from(image);
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operation(Fault::Writes)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        put(&mut state.image, start, data);
        state.unsynced.push((start, data.to_vec()));
        Ok(())
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}
