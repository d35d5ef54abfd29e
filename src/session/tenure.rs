//! For how long a device has its session.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

/// The time for which a device has one session and the same topics there. Whatever changes beside these, the devices that
/// take each other's places share it. It counts those who have something of theirs on the way to the session.
///
/// Once it is over, nothing is written to a connection any more that belongs to it, not even again: what leaves the queue
/// then may do so in any order, and none of it is overtaken by what is still in there.
#[derive(Debug, Default)]
pub struct Tenure {
    users: AtomicUsize,
    over: AtomicBool,
    ended: CancellationToken,
}

impl Tenure {
    /// Enters; `false` when it is over. Whoever has entered must [leave](Self::leave).
    pub(crate) fn enter(&self) -> bool {
        // In this order, and the other way round at the end: one of the two sees the other.
        self.users.fetch_add(1, Ordering::SeqCst);
        let open = !self.over.load(Ordering::SeqCst);
        if !open {
            self.leave();
        }
        open
    }

    /// Enters once more, for somebody who has entered and not left.
    pub(crate) fn enter_again(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        self.users.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether everybody has left.
    pub(crate) fn is_deserted(&self) -> bool {
        self.users.load(Ordering::SeqCst) == 0
    }

    /// Whether it is over, and everybody who has entered should leave.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits until it is over.
    pub async fn over(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.ended.cancel();
    }
}
