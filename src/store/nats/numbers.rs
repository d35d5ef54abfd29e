//! Numbers of uplinks: unique over all processes that ever had the store open, and in the order of time.
//!
//! A number is a clock and, in its lowest bits, a tag of the process. The clock counts sixteenths of a millisecond since the
//! epoch, never stands still, and never stays behind a number that was found in the store (a hybrid logical clock). So
//! what a process stores of a device comes behind everything that lies there already, whoever stored it and whatever
//! that one's clock said; and what is stored by somebody in between stands where its time puts it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bits of the tag: so many processes can have the store open at a time.
const TAG: u32 = 16;

/// The numbers that one process gives.
#[derive(Debug)]
pub(super) struct Numbers {
    tag: u64,
    /// The clock's last value.
    last: AtomicU64,
}

impl Numbers {
    /// `term`: how often the store was opened.
    pub(super) fn new(term: u64) -> Self {
        Self {
            tag: term & ((1 << TAG) - 1),
            last: AtomicU64::new(0),
        }
    }

    /// Larger than all before.
    pub(super) fn next(&self) -> u64 {
        self.next_at(now())
    }

    fn next_at(&self, now: u64) -> u64 {
        let tick = |last: u64| Some((last + 1).max(now));
        // It always succeeds; the value is the one before.
        let (Ok(last) | Err(last)) =
            (self.last).fetch_update(Ordering::Relaxed, Ordering::Relaxed, tick);
        ((last + 1).max(now)) << TAG | self.tag
    }

    /// From now on, numbers are larger than this one.
    pub(super) fn beyond(&self, number: u64) {
        self.last.fetch_max(number >> TAG, Ordering::Relaxed);
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    u64::try_from(micros).unwrap_or(0) >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_although_the_clock_does_not() {
        let numbers = Numbers::new(7);
        let given = [100, 100, 50, 101, 200].map(|now| numbers.next_at(now));
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
        assert_eq!(given[4] >> TAG, 200);
    }

    #[test]
    fn two_processes_never_give_the_same_number() {
        let (one, other) = (Numbers::new(65_537), Numbers::new(2));
        assert_ne!(one.next_at(100), other.next_at(100));
    }

    #[test]
    fn whoever_has_found_a_number_gives_larger_ones() {
        let (fast, slow) = (Numbers::new(9), Numbers::new(1));
        let found = fast.next_at(1_000_000);
        slow.beyond(found);
        assert!(slow.next_at(5) > found);
    }
}
