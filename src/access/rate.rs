//! How many requests a grant may make: a bucket that fills again with time.
//!
//! The bucket is one number, the moment at which it will be full again (the generic cell rate algorithm), so that taking
//! from it needs no lock.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many requests a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: u32,
}

impl Rate {
    /// The highest rate and the largest burst.
    pub const MAX: u32 = 1_000_000;

    /// From 1 to [`Self::MAX`] a second; a burst is at least one second's worth.
    pub fn new(per_second: u32, burst: u32) -> Option<Self> {
        let fits = per_second <= Self::MAX && (per_second..=Self::MAX).contains(&burst);
        let per_second = NonZeroU32::new(per_second).filter(|_| fits)?;
        Some(Self { per_second, burst })
    }

    /// Requests a second.
    pub fn per_second(self) -> u32 {
        self.per_second.get()
    }

    /// Requests at once, after a time without any.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// After how many seconds an empty bucket is full again, rounded up.
    pub fn window(self) -> u32 {
        self.burst.div_ceil(self.per_second())
    }
}

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The limit.
    pub rate: Rate,
    /// Requests that may follow at once.
    pub left: u32,
    /// How long until the bucket is full again; of a request that was refused: until one is let through.
    pub after: Duration,
}

/// What one grant has used up.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// Nanoseconds in which one request's worth comes back.
    interval: u64,
    start: Instant,
    /// When the bucket is full again, in nanoseconds from the start.
    full_at: AtomicU64,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            interval: 1_000_000_000 / u64::from(rate.per_second()),
            start: now,
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes one request's worth; `Err` when there is none.
    pub(super) fn take(&self, now: Instant) -> Result<Quota, Quota> {
        // In 584 years.
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos());
        let now = now.unwrap_or(u64::MAX);
        let most = self.interval * u64::from(self.rate.burst);
        let next = |full_at: u64| full_at.max(now) + self.interval;
        let taken = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                Some(next(full_at)).filter(|next| next - now <= most)
            });
        let quota = |left: u64, after: u64| Quota {
            rate: self.rate,
            left: u32::try_from(left).unwrap_or(u32::MAX),
            after: Duration::from_nanos(after),
        };
        match taken {
            Ok(before) => {
                let missing = next(before) - now;
                Ok(quota((most - missing) / self.interval, missing))
            }
            Err(full_at) => Err(quota(0, next(full_at) - now - most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let start = Instant::now();
        let rate = Rate::new(10, 20).unwrap();
        assert_eq!(rate.window(), 2);
        let bucket = Bucket::new(rate, start);
        for left in (0..20).rev() {
            let quota = bucket.take(start).unwrap();
            assert_eq!(quota.left, left);
            assert_eq!(quota.after, 100 * MS * (20 - left));
        }
        let refused = bucket.take(start).unwrap_err();
        assert_eq!((refused.left, refused.after), (0, 100 * MS));
        // What was refused has cost nothing.
        assert_eq!(bucket.take(start + 99 * MS).unwrap_err().after, MS);
        assert_eq!(bucket.take(start + 100 * MS).unwrap().left, 0);
        assert!(bucket.take(start + 100 * MS).is_err());
        // It never holds more than a burst.
        let later = start + Duration::from_secs(3600);
        let let_through = (0..100).filter(|_| bucket.take(later).is_ok()).count();
        assert_eq!(let_through, 20);
        // A clock reading from before, of another thread.
        assert!(bucket.take(start).is_err());
    }

    #[test]
    fn limits_of_limits() {
        let cases = [
            (0, 0, false),
            (1, 0, false),
            (1, 1, true),
            (10, 9, false),
            (Rate::MAX, Rate::MAX, true),
            (1, Rate::MAX + 1, false),
        ];
        for (rate, burst, fits) in cases {
            assert_eq!(Rate::new(rate, burst).is_some(), fits, "{rate} {burst}");
        }
        let start = Instant::now();
        let fastest = Bucket::new(Rate::new(Rate::MAX, Rate::MAX).unwrap(), start);
        assert_eq!(fastest.take(start).unwrap().left, Rate::MAX - 1);
    }
}
