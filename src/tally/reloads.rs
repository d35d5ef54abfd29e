//! Configurations that were taken over while the bridge runs, and those that were not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What became of reloads since the start.
#[derive(Debug)]
pub struct Reloads {
    applied: AtomicU64,
    /// In seconds since the epoch.
    applied_at: AtomicU64,
    refused: AtomicU64,
    refusal: Mutex<Option<Refusal>>,
}

/// Why the last configuration was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it: file, line and key; no secret.
    pub why: String,
    /// When it was looked at.
    pub at: SystemTime,
}

impl Default for Reloads {
    /// None yet: the configuration is that of the start, which is now.
    fn default() -> Self {
        Self {
            applied: AtomicU64::default(),
            applied_at: AtomicU64::new(now()),
            refused: AtomicU64::default(),
            refusal: Mutex::default(),
        }
    }
}

impl Reloads {
    /// One was taken over.
    pub fn note_applied(&self) {
        self.applied.fetch_add(1, Ordering::Relaxed);
        self.applied_at.store(now(), Ordering::Relaxed);
        *self.lock() = None;
    }

    /// One was refused as a whole: what was there before goes on.
    pub fn note_refused(&self, why: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let at = SystemTime::now();
        *self.lock() = Some(Refusal { why, at });
    }

    /// How many were taken over.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// When the configuration that runs was taken over, at the start or later, in seconds since the epoch.
    pub fn applied_at(&self) -> u64 {
        self.applied_at.load(Ordering::Relaxed)
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Why the last one was refused, if it was.
    pub fn refusal(&self) -> Option<Refusal> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
