//! How fast a connector's backlog is sent: a limit on stored uplinks a second, all its sessions together, so that a platform
//! is not flooded after an outage.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So much of the past may be made up for: a timer that fires late must not make the pace slower.
const CATCH_UP: Duration = Duration::from_millis(100);

/// The pace of one connector.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many a second, at least 1.
    pub fn new(per_second: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Takes the next turn and says when it is; it may be over already.
    pub(super) fn turn(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
        *next = at + self.interval;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_only_a_little_is_made_up_for() {
        let pace = Pace::new(20);
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        let over = (0..100).filter(|_| pace.turn(later) <= later).count();
        assert_eq!(over, 3, "100 ms of the past, and now");
        let last = pace.turn(later);
        assert_eq!(last, later - CATCH_UP + Duration::from_millis(50) * 100);
    }
}
