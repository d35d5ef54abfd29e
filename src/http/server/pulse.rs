//! What a connection is doing, told without a lock to the listener that watches its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Written by a connection, read by its listener.
pub(super) struct Pulse {
    start: Instant,
    /// Requests under way, and writes that wait for the client to read.
    active: AtomicU32,
    /// Where it stands while nothing is under way: milliseconds since `start`, then two bits of [`Stage`].
    stage: AtomicU64,
    /// Unix time, in seconds, after which the client's certificate is not valid any more.
    certified_until: AtomicU64,
    asked: AtomicU8,
    asking: Notify,
}

/// Where a connection stands while no request is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing has come, or the TLS handshake is going on, or nothing after it.
    Opening = 0,
    /// A part of a request's head has come.
    Head = 1,
    /// A request has been answered.
    Idle = 2,
}

/// What a listener asks of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// To end when the requests under way are answered.
    Finish = 1,
    /// To tell its client that its request's head took too long, and to end.
    TooSlow = 2,
}

/// A pulse at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat {
    /// Whether a request is under way.
    pub(super) active: bool,
    pub(super) stage: Stage,
    pub(super) since: Instant,
    /// Whether the certificate that its client showed has run out.
    pub(super) expired: bool,
}

const UNCERTIFIED: u64 = u64::MAX;

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            active: AtomicU32::new(0),
            stage: AtomicU64::new(Stage::Opening as u64),
            certified_until: AtomicU64::new(UNCERTIFIED),
            asked: AtomicU8::new(0),
            asking: Notify::new(),
        }
    }

    /// Bytes have come. Between requests they begin a head; the first one's time has begun with the connection.
    pub(super) fn received(&self) {
        if self.active.load(Ordering::Relaxed) > 0 {
            return;
        }
        let stage = self.stage.load(Ordering::Relaxed);
        if stage & 3 == Stage::Opening as u64 {
            self.stage
                .store(stage | Stage::Head as u64, Ordering::Relaxed);
        } else if stage & 3 == Stage::Idle as u64 {
            self.enter(Stage::Head);
        }
    }

    /// The client has shown a certificate that is valid until then.
    pub(super) fn certified(&self, until: SystemTime) {
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.certified_until
            .store(until.as_secs(), Ordering::Relaxed);
    }

    pub(super) fn is_certified(&self) -> bool {
        self.certified_until.load(Ordering::Relaxed) != UNCERTIFIED
    }

    pub(super) fn beat(&self, now: SystemTime) -> Beat {
        // Before the stage, which is written before the last request is over.
        let active = self.active.load(Ordering::Acquire) > 0;
        let stage = self.stage.load(Ordering::Relaxed);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Beat {
            active,
            stage: match stage & 3 {
                0 => Stage::Opening,
                1 => Stage::Head,
                _ => Stage::Idle,
            },
            since: self.start + Duration::from_millis(stage >> 2),
            expired: self.certified_until.load(Ordering::Relaxed) < now.as_secs(),
        }
    }

    pub(super) fn ask(&self, ask: Ask) {
        self.asked.store(ask as u8, Ordering::Release);
        self.asking.notify_one();
    }

    /// Waits for the next thing that is asked.
    pub(super) async fn asked(&self) -> Ask {
        self.asking.notified().await;
        if self.is_too_slow() {
            Ask::TooSlow
        } else {
            Ask::Finish
        }
    }

    pub(super) fn is_too_slow(&self) -> bool {
        self.asked.load(Ordering::Acquire) == Ask::TooSlow as u8
    }

    fn enter(&self, stage: Stage) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        self.stage
            .store(millis << 2 | stage as u64, Ordering::Relaxed);
    }
}

/// Something is under way on a connection for as long as this lives.
pub(super) struct Active(Arc<Pulse>);

impl Active {
    pub(super) fn begin(pulse: &Arc<Pulse>) -> Self {
        pulse.active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pulse))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.enter(Stage::Idle);
        self.0.active.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pulse_tells_where_a_connection_stands_and_since_when() {
        let pulse = Arc::new(Pulse::new());
        let beat = || {
            let beat = pulse.beat(SystemTime::now());
            (
                beat.active,
                beat.stage,
                (beat.since - pulse.start).as_secs(),
            )
        };
        assert_eq!(beat(), (false, Stage::Opening, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        pulse.received();
        assert_eq!(beat(), (false, Stage::Head, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        let (first, second) = (Active::begin(&pulse), Active::begin(&pulse));
        pulse.received();
        assert!(beat().0);
        drop(first);
        assert!(beat().0);
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(second);
        assert_eq!(beat(), (false, Stage::Idle, 3));
        tokio::time::advance(Duration::from_secs(1)).await;
        pulse.received();
        tokio::time::advance(Duration::from_secs(1)).await;
        // One byte after another does not begin anew.
        pulse.received();
        assert_eq!(beat(), (false, Stage::Head, 4));
    }

    #[test]
    fn a_certificate_runs_out() {
        let (pulse, now) = (Pulse::new(), SystemTime::now());
        let second = Duration::from_secs(1);
        assert!(!pulse.is_certified() && !pulse.beat(now).expired);
        pulse.certified(now);
        assert!(pulse.is_certified() && !pulse.beat(now).expired);
        assert!(pulse.beat(now + second).expired);
    }
}
