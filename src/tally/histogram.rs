//! How long things took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of a [`Histogram`]'s buckets, in microseconds; the last bucket has none. From a broker in the same
/// machine, which confirms within a millisecond, to the longest wait that a request may ask for by default.
pub const BOUNDS: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Measurements, counted by how long they are.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Microseconds.
    sum: AtomicU64,
}

/// What a [`Histogram`] held at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// How many fell under each of [`BOUNDS`] and not under the one before; the last is over all of them.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all.
    pub sum: Duration,
}

impl Histogram {
    /// Takes one measurement.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// What it holds. Measurements that are taken meanwhile may be counted and not yet be in the sum.
    pub fn read(&self) -> Timings {
        Timings {
            buckets: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl Timings {
    /// How many measurements there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 250, 251, 60_000_000, 60_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let read = histogram.read();
        let filled = (read.buckets.iter().enumerate()).filter(|(_, count)| **count > 0);
        let filled: Vec<_> = filled.map(|(at, count)| (at, *count)).collect();
        assert_eq!(filled, [(0, 2), (1, 1), (15, 1), (16, 1)]);
        assert_eq!(read.count(), 5);
        assert_eq!(read.sum, Duration::from_micros(120_000_502));
    }
}
