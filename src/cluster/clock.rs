//! The time by which leases run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

/// A moment by a clock that never goes back and, unlike [`std::time::Instant`] on Linux, goes on while the machine sleeps:
/// others count that time too. In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    pub(super) fn now() -> Self {
        let time = rustix::time::clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let millis = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
        Self(seconds * 1000 + millis)
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// From now until then; nothing if that has passed.
    pub(super) fn from(self, now: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0))
    }
}

/// Until when this process may use what it holds. Read wherever that matters: a process that was stopped for a while finds
/// its lease over before anybody could have told it.
#[derive(Debug, Default)]
pub(super) struct Lease(AtomicU64);

impl Lease {
    pub(super) fn until(&self) -> Moment {
        Moment(self.0.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, until: Moment) {
        self.0.store(until.0, Ordering::Release);
    }

    /// Nothing is held any more.
    pub(super) fn end(&self) {
        self.set(Moment(0));
    }

    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.until() <= now
    }
}
