//! The order of one device's uplinks between memory and the store.
//!
//! ```text
//! session's queue (memory) ── then ──► store, in the order of `seq` ── then ──► what comes next
//! ```
//!
//! While a lane is *direct*, an uplink goes to its session's queue at once. One that is not confirmed within its wait is
//! stored as well, and keeps its place in that queue: its copy in the store (a *shadow*) is only read after a restart.
//! When the queue is full, or an uplink has to be durable before anything else, the lane becomes *stored*: everything
//! behind goes to the store only, and a drain feeds it to the session, behind what was in the queue already. Once the
//! store holds nothing that is not on its way, the lane is direct again. So accepted order is broker order throughout.
//!
//! A lane outlives the session that it leads to. While a device goes on to another session, or to other topics, its lane
//! is held: nothing enters until everything has left the old session, for the broker or back into the store.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, oneshot};

use super::receipt::Receipt;

/// One device's lane.
#[derive(Debug, Default)]
pub struct Lane {
    /// Whether uplinks go to the store first. Read without the lock on the per-message path: an uplink that comes in the
    /// same moment as the change has no order relative to it.
    stored: AtomicBool,
    /// When the last uplink was delivered, in microseconds since the epoch; 0 before the first.
    delivered_at: AtomicU64,
    /// A [`Door`].
    door: AtomicU8,
    /// The door was opened or closed.
    moved: Notify,
    inner: Mutex<Inner>,
    /// Something changed that the drain may wait for.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// A drain runs.
    draining: bool,
    /// Places in the store that are being written: nothing behind them may be sent before they are there.
    writing: BTreeSet<u64>,
    /// Counts writes that ended, so that a drain that has read nothing knows whether that is still true.
    written: u64,
    /// Something came to the store by another way, perhaps before what the drain has read.
    arrived: bool,
    /// Places in the store whose uplink is in the session's queue as well.
    shadows: HashSet<u64>,
    /// Requests that wait for what becomes of a stored uplink.
    waiting: HashMap<u64, oneshot::Sender<Receipt>>,
}

/// Whether uplinks enter a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// They do.
    Open,
    /// They wait.
    Held,
    /// They are refused: the device is being deleted, and what is in the lane is what is left.
    Closed,
}

/// What a drain may take from the store.
pub(super) struct Horizon {
    /// Only what is before this place.
    pub(super) before: u64,
    /// The number of writes that had ended.
    pub(super) written: u64,
}

impl Lane {
    /// Whether uplinks go to the store first.
    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    /// When the device's last uplink since the start was delivered, or sent with QoS 0.
    pub fn delivered_at(&self) -> Option<SystemTime> {
        let micros = self.delivered_at.load(Ordering::Relaxed);
        (micros > 0).then(|| UNIX_EPOCH + Duration::from_micros(micros))
    }

    pub(super) fn set_delivered_at(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(0);
        self.delivered_at.store(micros, Ordering::Relaxed);
    }

    /// Whether uplinks enter.
    pub(super) fn door(&self) -> Door {
        match self.door.load(Ordering::Acquire) {
            0 => Door::Open,
            1 => Door::Held,
            _ => Door::Closed,
        }
    }

    /// Waits until uplinks are no longer held.
    pub(super) async fn moved(&self) {
        let moved = self.moved.notified();
        tokio::pin!(moved);
        // Before the look: a move between the two is not missed.
        moved.as_mut().enable();
        if self.door() == Door::Held {
            moved.await;
        }
    }

    /// Uplinks wait from now on.
    pub(crate) fn hold(&self) {
        self.move_door(Door::Held);
    }

    /// Uplinks enter.
    pub(crate) fn open(&self) {
        self.move_door(Door::Open);
    }

    /// Uplinks are refused from now on.
    pub(crate) fn close(&self) {
        self.move_door(Door::Closed);
    }

    /// Whether uplinks are refused.
    pub fn is_closed(&self) -> bool {
        self.door() == Door::Closed
    }

    fn move_door(&self, door: Door) {
        let number = match door {
            Door::Open => 0,
            Door::Held => 1,
            Door::Closed => 2,
        };
        self.door.store(number, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Sends everything that comes from now on to the store first; `true` when a drain has to be started.
    pub(super) fn become_stored(&self) -> bool {
        let mut inner = self.lock();
        self.stored.store(true, Ordering::Release);
        !std::mem::replace(&mut inner.draining, true)
    }

    /// Takes a place in the store, in the order of the calls; `true` beside it when a drain has to be started.
    pub(super) fn begin_write(
        &self,
        next_seq: impl FnOnce() -> u64,
    ) -> (u64, oneshot::Receiver<Receipt>, bool) {
        let mut inner = self.lock();
        self.stored.store(true, Ordering::Release);
        let seq = next_seq();
        let (sender, receiver) = oneshot::channel();
        inner.writing.insert(seq);
        inner.waiting.insert(seq, sender);
        (seq, receiver, !std::mem::replace(&mut inner.draining, true))
    }

    /// The write of a place ended, well or not.
    pub(super) fn end_write(&self, seq: u64, stored: bool) {
        let mut inner = self.lock();
        inner.writing.remove(&seq);
        inner.written += 1;
        if !stored {
            inner.waiting.remove(&seq);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Something has come to the store by another way; `true` when a drain has to be started.
    pub(super) fn arrive(&self) -> bool {
        let mut inner = self.lock();
        self.stored.store(true, Ordering::Release);
        inner.written += 1;
        inner.arrived = true;
        let start = !std::mem::replace(&mut inner.draining, true);
        drop(inner);
        self.changed.notify_one();
        start
    }

    /// Whether something has come by another way since the last look.
    pub(super) fn take_arrived(&self) -> bool {
        std::mem::take(&mut self.lock().arrived)
    }

    /// A place in the store whose uplink is in the session's queue as well, before it is written.
    pub(super) fn begin_shadow(&self, seq: u64) {
        self.lock().shadows.insert(seq);
    }

    /// The uplink of that place is settled, or was not stored after all.
    pub(super) fn end_shadow(&self, seq: u64) {
        self.lock().shadows.remove(&seq);
    }

    /// What a drain may take now.
    pub(super) fn horizon(&self) -> Horizon {
        let inner = self.lock();
        Horizon {
            before: inner.writing.first().copied().unwrap_or(u64::MAX),
            written: inner.written,
        }
    }

    /// Whether the uplink of this place is in the session's queue as well.
    pub(super) fn is_shadow(&self, seq: u64) -> bool {
        self.lock().shadows.contains(&seq)
    }

    /// Becomes direct again, if nothing was written since `horizon` and nothing is being written.
    pub(super) fn become_direct(&self, horizon: &Horizon) -> bool {
        let inner = self.lock();
        let quiet = inner.writing.is_empty() && inner.written == horizon.written;
        if quiet {
            self.stored.store(false, Ordering::Release);
        }
        quiet
    }

    /// The drain ends, unless the lane is stored again.
    pub(super) fn end_drain(&self) -> bool {
        let mut inner = self.lock();
        if self.is_stored() {
            return false;
        }
        inner.draining = false;
        true
    }

    /// The drain ends whatever is left: the program does, or the device has left its session.
    pub(super) fn abandon_drain(&self) {
        self.lock().draining = false;
    }

    /// Tells the request that waits for this place, if there is one.
    pub(super) fn tell(&self, seq: u64, receipt: &Receipt) {
        let waiting = self.lock().waiting.remove(&seq);
        if let Some(waiting) = waiting {
            // A request that has gone needs no answer.
            let _ = waiting.send(receipt.clone());
        }
    }

    /// The request no longer waits.
    pub(super) fn forget(&self, seq: u64) {
        self.lock().waiting.remove(&seq);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_from_behind_a_place_that_is_being_written() {
        let lane = Lane::default();
        let (first, _, start) = lane.begin_write(|| 10);
        let (second, _, again) = lane.begin_write(|| 11);
        assert!(start && !again && lane.is_stored());
        lane.end_write(second, true);
        assert_eq!(lane.horizon().before, first);
        lane.end_write(first, true);
        assert_eq!(lane.horizon().before, u64::MAX);
    }

    #[tokio::test]
    async fn who_comes_to_a_held_lane_waits_until_it_moves() {
        let lane = Lane::default();
        lane.moved().await;
        lane.hold();
        let (waited, ()) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_secs(20), lane.moved()),
            async {
                tokio::task::yield_now().await;
                lane.close();
            }
        );
        assert!(waited.is_ok() && lane.is_closed());
    }

    #[test]
    fn a_lane_becomes_direct_only_when_nothing_came_meanwhile() {
        let lane = Lane::default();
        let (seq, _, _) = lane.begin_write(|| 1);
        let horizon = lane.horizon();
        assert!(!lane.become_direct(&horizon), "something is being written");
        lane.end_write(seq, true);
        assert!(!lane.become_direct(&horizon), "something was written since");
        assert!(!lane.end_drain(), "a stored lane keeps its drain");
        assert!(lane.become_direct(&lane.horizon()) && !lane.is_stored() && lane.end_drain());
        assert!(lane.become_stored(), "a new drain is needed");
    }
}
