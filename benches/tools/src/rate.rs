//! A fixed rate: latency counts from when a request was due, not from when its turn came (no coordinated omission).

use std::time::Duration;

use tokio::time::Instant;

/// The moments at which requests are due.
pub struct Schedule {
    next: Instant,
    every: Duration,
    left: u64,
}

impl Schedule {
    pub fn new(per_second: u64, seconds: u64, delay: Duration) -> Self {
        Self {
            next: Instant::now() + delay,
            every: Duration::from_secs(1) / u32::try_from(per_second).expect("a rate"),
            left: per_second * seconds,
        }
    }

    /// Waits for the next moment and gives it; `None` at the end.
    pub async fn due(&mut self) -> Option<Instant> {
        self.left = self.left.checked_sub(1)?;
        let due = self.next;
        self.next += self.every;
        // Tokio's timer is too coarse for tenths of a millisecond: the rest is waited out.
        tokio::time::sleep_until(due - Duration::from_millis(2)).await;
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        Some(due)
    }
}
