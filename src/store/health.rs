//! How a store is doing.

use std::time::{Duration, SystemTime};

/// Whether a store takes what must be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Writable,
    /// It answers `Unavailable` until it has recovered by itself; reading goes on as far as the cause allows.
    ReadOnly {
        /// Since when.
        since: SystemTime,
        /// What is wrong, in words.
        cause: Box<str>,
    },
}

/// Upper bounds of [`Timings`], in microseconds; the last bucket has none.
pub const TIMING_BOUNDS: [u64; 11] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
];

/// How long something took, as a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// How many fell under each of [`TIMING_BOUNDS`] and not under the one before; the last is over all of them.
    pub buckets: [u64; TIMING_BOUNDS.len() + 1],
    /// The sum of all.
    pub sum: Duration,
}

impl Timings {
    /// Takes one measurement.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = TIMING_BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket] += 1;
        self.sum += took;
    }
}

/// Entries and their bytes as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Entries.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a store has done since it was opened, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Commits that succeeded.
    pub commits: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Changes in the commits that succeeded.
    pub changes: u64,
    /// From the beginning of a commit's transaction until it was durable.
    pub commit_time: Timings,
    /// Uplinks that wait for a broker.
    pub uplinks: Amount,
    /// Downlinks that can be replayed.
    pub downlinks: Amount,
    /// Receipts of settled uplinks.
    pub receipts: u64,
    /// Answers to requests with an `Idempotency-Key`.
    pub keys: u64,
    /// Receipts that were dropped before they were written, because too many waited.
    pub receipts_dropped: u64,
    /// Settlements that were given up while nothing could be written; their uplinks will be sent once more.
    pub settlements_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timing_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let mut timings = Timings::default();
        for micros in [0, 500, 501, 5_000_000, 5_000_001] {
            timings.record(Duration::from_micros(micros));
        }
        assert_eq!(timings.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(timings.sum, Duration::from_micros(10_001_002));
    }
}
