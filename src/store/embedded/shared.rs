//! What the writer and those who read have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use redb::{Database, ReadTransaction};

use super::access::Access;
use super::file::{Check, Opened, is_corruption};
use super::ledger::Ledger;
use crate::store::engine::StoreError;
use crate::store::health::{Counters, Health, Timings};
use crate::store::limits::Limits;
use crate::store::marks::Marks;
use crate::store::waiting::WaitingReceipts;

/// The open file and everything that is known about it in memory.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) ledger: Ledger,
    pub(super) waiting: WaitingReceipts,
    pub(super) marks: Marks,
    handle: RwLock<Handle>,
    next_seq: AtomicU64,
    health: Mutex<Health>,
    work: Mutex<Work>,
}

struct Handle {
    /// Absent while the file cannot be opened, and after the end.
    access: Option<Access>,
    /// Grows with every opening: who has seen a fault says of which opening.
    generation: u64,
}

/// What the writer has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) commits: u64,
    pub(super) failed_commits: u64,
    pub(super) changes: u64,
    pub(super) commit_time: Timings,
    pub(super) settlements_dropped: u64,
}

/// A read that did not succeed.
pub(super) struct ReadFault {
    pub(super) error: StoreError,
    /// The opening of the file that should be replaced, and how closely to look at it then.
    pub(super) reopen: Option<(u64, Check)>,
}

impl Shared {
    pub(super) fn new(limits: Limits, opened: Opened) -> Self {
        let shared = Self {
            limits,
            ledger: Ledger::default(),
            waiting: WaitingReceipts::new(limits.memory.waiting_receipts),
            marks: Marks::default(),
            handle: RwLock::new(Handle {
                access: None,
                generation: 0,
            }),
            next_seq: AtomicU64::new(1),
            health: Mutex::new(Health::Writable),
            work: Mutex::default(),
        };
        shared
            .replace(|| Ok::<_, std::convert::Infallible>(opened))
            .ok();
        shared
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes the file and opens it again; those who read wait meanwhile. Returns the number of the last commit in it.
    pub(super) fn replace<E>(&self, open: impl FnOnce() -> Result<Opened, E>) -> Result<u64, E> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        handle.generation += 1;
        handle.access = None;
        let opened = open()?;
        handle.access = Some(opened.access);
        let totals = opened.totals;
        self.next_seq
            .fetch_max(totals.seq.saturating_add(1), Ordering::Relaxed);
        self.ledger.load(&totals, opened.holdings, opened.queues);
        Ok(totals.commit)
    }

    /// Takes the file away from everybody.
    pub(super) fn take(&self) -> Option<Access> {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        handle.generation += 1;
        handle.access.take()
    }

    /// Uses the open file to write, if that is possible. Only the writer does.
    pub(super) fn with_database<T>(&self, use_it: impl FnOnce(Option<&Database>) -> T) -> T {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        use_it(handle.access.as_ref().and_then(Access::to_write))
    }

    pub(super) fn generation(&self) -> u64 {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        handle.generation
    }

    /// Reads from one state of the file. Blocks.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, ReadFault> {
        /// While the writer replaces the file, what was begun on the old one ends with an error.
        const ATTEMPTS: u32 = 3;
        let mut fault = None;
        for attempt in 0..ATTEMPTS {
            let begun = {
                let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
                let generation = handle.generation;
                let access = handle.access.as_ref().ok_or_else(|| self.closed())?;
                (generation, access.begin_read())
            };
            let (generation, tx) = begun;
            match tx.map_err(redb::Error::from).and_then(|tx| read(&tx)) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    let passing =
                        matches!(error, redb::Error::DatabaseClosed | redb::Error::PreviousIo);
                    let check = if is_corruption(&error) {
                        Check::Whole
                    } else {
                        Check::Trust
                    };
                    fault = Some(ReadFault {
                        error: unavailable(&error),
                        reopen: Some((generation, check)),
                    });
                    if !passing {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5 << attempt));
                }
            }
        }
        Err(fault.unwrap_or_else(|| self.closed()))
    }

    pub(super) fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Says whether this is news.
    pub(super) fn set_read_only(&self, cause: &str) -> bool {
        let mut health = lock(&self.health);
        let (since, news) = match &*health {
            Health::ReadOnly { since, .. } => (*since, false),
            Health::Writable => (SystemTime::now(), true),
        };
        let cause = cause.into();
        *health = Health::ReadOnly { since, cause };
        news
    }

    pub(super) fn set_writable(&self) {
        *lock(&self.health) = Health::Writable;
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Work)) {
        count(&mut lock(&self.work));
    }

    pub(super) fn counters(&self) -> Counters {
        let work = *lock(&self.work);
        let holdings = self.ledger.holdings();
        Counters {
            commits: work.commits,
            failed_commits: work.failed_commits,
            changes: work.changes,
            commit_time: work.commit_time,
            uplinks: holdings.uplinks,
            downlinks: holdings.downlinks,
            receipts: holdings.receipts,
            keys: holdings.keys,
            receipts_dropped: self.waiting.dropped(),
            settlements_dropped: work.settlements_dropped,
        }
    }

    /// The answer to everything while the store cannot be used.
    pub(super) fn unavailable(&self) -> StoreError {
        let cause = match self.health() {
            Health::ReadOnly { cause, .. } => cause,
            Health::Writable => "it is closed".into(),
        };
        StoreError::Unavailable { cause }
    }

    fn closed(&self) -> ReadFault {
        ReadFault {
            error: self.unavailable(),
            reopen: None,
        }
    }
}

pub(super) fn unavailable(cause: impl ToString) -> StoreError {
    StoreError::Unavailable {
        cause: cause.to_string().into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
