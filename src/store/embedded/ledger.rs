//! What is known without looking into the file: counters of the queues, and what has been settled but not yet removed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::batch::Effects;
use super::queue::DeviceQueue;
use super::totals::Totals;
use crate::device::DeviceId;
use crate::fields::from_micros;
use crate::store::health::Amount;
use crate::store::records::Backlog;

/// Counters as of the last commit.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    holdings: Holdings,
    cursor: u64,
    queues: HashMap<DeviceId, Queue>,
}

/// What the file holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Holdings {
    pub(super) uplinks: Amount,
    pub(super) downlinks: Amount,
    pub(super) receipts: u64,
    pub(super) keys: u64,
}

#[derive(Debug, Default)]
struct Queue {
    stored: DeviceQueue,
    /// Settled by their caller and not yet removed from the file.
    settling: BTreeSet<u64>,
}

impl Queue {
    fn backlog(&self) -> Option<Backlog> {
        let count = self.stored.count.saturating_sub(self.settling.len() as u64);
        (count > 0).then(|| Backlog {
            count,
            bytes: self.stored.bytes,
            oldest: from_micros(self.stored.oldest),
        })
    }
}

impl Ledger {
    pub(super) fn backlog(&self, device: &DeviceId) -> Option<Backlog> {
        self.lock().queues.get(device)?.backlog()
    }

    pub(super) fn backlogs(&self) -> Vec<(DeviceId, Backlog)> {
        let state = self.lock();
        let queues = state.queues.iter();
        queues
            .filter_map(|(device, queue)| Some((device.clone(), queue.backlog()?)))
            .collect()
    }

    pub(super) fn cursor(&self) -> u64 {
        self.lock().cursor
    }

    pub(super) fn holdings(&self) -> Holdings {
        self.lock().holdings
    }

    /// From now on this uplink is gone for all who look.
    pub(super) fn settling(&self, device: &DeviceId, seq: u64) {
        let mut state = self.lock();
        let queue = state.queues.entry(device.clone()).or_default();
        queue.settling.insert(seq);
    }

    /// Those of a device's uplinks that are settled and may still be in the file.
    pub(super) fn settling_of(&self, device: &DeviceId) -> BTreeSet<u64> {
        let state = self.lock();
        let queue = state.queues.get(device);
        queue
            .map(|queue| queue.settling.clone())
            .unwrap_or_default()
    }

    /// A settlement was written, or given up: then the uplink is there again.
    pub(super) fn settled(&self, device: &DeviceId, seq: u64) {
        self.lock().settled(device, seq);
    }

    /// Takes over the counters of a commit, together with the settlements that were in it.
    pub(super) fn publish<'a>(
        &self,
        effects: &Effects,
        settled: impl Iterator<Item = (&'a DeviceId, u64)>,
    ) {
        let mut state = self.lock();
        state.take_totals(&effects.totals);
        state.holdings.downlinks.count = effects.history_count;
        state.holdings.receipts = effects.receipts;
        state.holdings.keys = effects.keys;
        for (device, stored) in &effects.queues {
            state.queues.entry(device.clone()).or_default().stored = *stored;
        }
        for (device, seq) in settled {
            state.settled(device, seq);
        }
        for device in effects.queues.keys() {
            state.forget_if_idle(device);
        }
    }

    /// Takes over what a file holds that has just been opened.
    pub(super) fn load(
        &self,
        totals: &Totals,
        holdings: Holdings,
        queues: HashMap<DeviceId, DeviceQueue>,
    ) {
        let mut state = self.lock();
        state.holdings = holdings;
        state.take_totals(totals);
        for queue in state.queues.values_mut() {
            queue.stored = DeviceQueue::default();
        }
        for (device, stored) in queues {
            state.queues.entry(device).or_default().stored = stored;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_totals(&mut self, totals: &Totals) {
        self.cursor = totals.cursor;
        self.holdings.uplinks = Amount {
            count: totals.queue_count,
            bytes: totals.queue_bytes,
        };
        self.holdings.downlinks.bytes = totals.history_bytes;
    }

    fn settled(&mut self, device: &DeviceId, seq: u64) {
        if let Some(queue) = self.queues.get_mut(device) {
            queue.settling.remove(&seq);
        }
        self.forget_if_idle(device);
    }

    fn forget_if_idle(&mut self, device: &DeviceId) {
        let idle = |queue: &Queue| queue.stored.count == 0 && queue.settling.is_empty();
        if self.queues.get(device).is_some_and(idle) {
            self.queues.remove(device);
        }
    }
}
