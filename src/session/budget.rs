//! One limit for the bytes that all sessions together hold for the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may still be queued.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    free: AtomicUsize,
}

/// Bytes taken from a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: bytes,
            free: AtomicUsize::new(bytes),
        })
    }

    /// How many bytes there are in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many of them are taken.
    pub fn used(&self) -> usize {
        self.limit.saturating_sub(self.free.load(Ordering::Relaxed))
    }

    /// Takes bytes, or nothing when there are not enough.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(bytes)
            })
            .ok()
            .map(|_| Share {
                budget: Arc::clone(self),
                bytes,
            })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken_whole_or_not_at_all_and_comes_back() {
        let budget = Budget::new(10);
        let first = budget.take(6).unwrap();
        assert!(budget.take(5).is_none());
        assert!(budget.take(4).is_some());
        assert_eq!((budget.used(), budget.limit()), (6, 10));
        drop(first);
        assert!(budget.take(10).is_some());
    }
}
