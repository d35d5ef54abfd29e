//! What the pretended platforms have received and what they have refused, for their owner to see.
//!
//! Everything is bounded: the newest uplinks of each device by count and bytes, and the newest refusals.

mod record;
mod uplinks;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

pub use record::{Payload, RefusedAttempt, Uplink};
use uplinks::Uplinks;

use super::broker::Attempt;
use crate::device::DeviceId;

/// How many refusals are kept.
pub const MAX_REFUSED: usize = 1_000;

/// What was received and refused. Clones are the same records.
#[derive(Clone)]
pub struct Records(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// Counts changes, so that tests can wait for one.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    uplinks: Uplinks,
    refused: VecDeque<RefusedAttempt>,
}

/// An uplink that a platform takes.
#[derive(Debug, Clone)]
pub struct NewUplink {
    /// The device.
    pub device: DeviceId,
    /// The platform's topic.
    pub topic: String,
    /// What the platform takes the payload for.
    pub content_type: String,
    /// The payload.
    pub payload: Payload,
    /// Whether the client marked it as sent before.
    pub dup: bool,
}

impl Default for Records {
    fn default() -> Self {
        Self(Arc::new(Shared {
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }
}

impl Records {
    /// Writes an uplink down.
    pub fn accept(&self, uplink: NewUplink) {
        self.lock().uplinks.push(uplink, SystemTime::now());
        self.0.changed.send_modify(|count| *count += 1);
    }

    /// Writes a refusal down.
    pub fn refuse(&self, attempt: Attempt) {
        {
            let mut inner = self.lock();
            if inner.refused.len() == MAX_REFUSED {
                inner.refused.pop_front();
            }
            inner
                .refused
                .push_back(RefusedAttempt::new(attempt, SystemTime::now()));
        }
        self.0.changed.send_modify(|count| *count += 1);
    }

    /// The oldest `limit` uplinks that came after number `after`: of one device, or of all.
    pub fn uplinks(&self, device: Option<&str>, after: u64, limit: usize) -> Vec<Arc<Uplink>> {
        self.lock().uplinks.list(device, after, limit)
    }

    /// What was refused, oldest first.
    pub fn refused(&self) -> Vec<RefusedAttempt> {
        self.lock().refused.iter().cloned().collect()
    }

    /// Waits until the records are as wished.
    pub async fn wait_until(&self, wished: impl Fn(&Self) -> bool) {
        let mut changed = self.0.changed.subscribe();
        while !wished(self) {
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
