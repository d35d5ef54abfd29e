//! How fast all sessions together may connect: so many a second, so many at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The limit on connects that all sessions share.
#[derive(Debug)]
pub struct ConnectGate {
    interval: Duration,
    next: Mutex<Instant>,
    at_once: Arc<Semaphore>,
}

impl ConnectGate {
    /// At the most `per_second` connects begun in a second, and `at_once` under way. Both at least 1.
    pub fn new(per_second: u32, at_once: usize) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(Instant::now()),
            at_once: Arc::new(Semaphore::new(at_once.max(1))),
        }
    }

    /// Waits for a turn; it lasts until the permit is dropped.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.ok();
        tokio::time::sleep_until(self.reserve()).await;
        permit
    }

    fn reserve(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(Instant::now());
        *next = at + self.interval;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connects_are_spread() {
        let gate = ConnectGate::new(10, 100);
        let start = Instant::now();
        for _ in 0..11 {
            drop(gate.turn().await);
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_connect_at_once() {
        let gate = ConnectGate::new(1000, 2);
        let (first, second) = (gate.turn().await, gate.turn().await);
        assert!(
            tokio::time::timeout(Duration::from_secs(60), gate.turn())
                .await
                .is_err()
        );
        drop((first, second));
        assert!(gate.turn().await.is_some());
    }
}
