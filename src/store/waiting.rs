//! Receipts that wait to be written. Handing one over never waits for the disk.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::message::UplinkId;
use crate::store::records::ReceiptRecord;

/// A bounded hand-over of receipts, readable while they wait.
#[derive(Debug)]
pub(super) struct WaitingReceipts {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<UplinkId>,
    waiting: HashMap<UplinkId, ReceiptRecord>,
    /// Taken by the writer, and not yet durable.
    writing: HashMap<UplinkId, ReceiptRecord>,
    dropped: u64,
}

/// What the writer should be told after a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It knows already.
    None,
    /// There is something.
    First,
    /// There is much.
    Many,
}

impl WaitingReceipts {
    /// So many are worth a transaction of their own, and so many are written in one.
    pub(super) const MANY: usize = 1000;

    pub(super) fn new(limit: usize) -> Self {
        let state = Mutex::default();
        Self {
            limit: limit.max(1),
            state,
        }
    }

    pub(super) fn put(&self, receipts: Vec<ReceiptRecord>) -> Urgency {
        let mut state = self.lock();
        let before = state.order.len();
        for receipt in receipts {
            let id = receipt.id;
            if state.waiting.insert(id, receipt).is_none() {
                state.order.push_back(id);
            }
        }
        state.shrink(self.limit);
        let after = state.order.len();
        let many = Self::MANY.min(self.limit);
        match (before, after) {
            (before, after) if before < many && after >= many => Urgency::Many,
            (0, 1..) => Urgency::First,
            _ => Urgency::None,
        }
    }

    pub(super) fn get(&self, id: UplinkId) -> Option<ReceiptRecord> {
        let state = self.lock();
        let found = state.waiting.get(&id).or_else(|| state.writing.get(&id));
        found.cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().order.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The oldest that wait, for a transaction. What was taken before must have been written or put back.
    pub(super) fn take(&self) -> Vec<ReceiptRecord> {
        let mut state = self.lock();
        let count = state.order.len().min(Self::MANY);
        let ids: Vec<_> = state.order.drain(..count).collect();
        let mut taken = Vec::with_capacity(count);
        for id in ids {
            if let Some(receipt) = state.waiting.remove(&id) {
                state.writing.insert(id, receipt.clone());
                taken.push(receipt);
            }
        }
        taken
    }

    /// What was taken is durable.
    pub(super) fn written(&self) {
        self.lock().writing.clear();
    }

    /// What was taken could not be written: it waits again, as the oldest.
    pub(super) fn put_back(&self, taken: Vec<ReceiptRecord>) {
        let mut state = self.lock();
        state.writing.clear();
        for receipt in taken.into_iter().rev() {
            let id = receipt.id;
            if let Entry::Vacant(free) = state.waiting.entry(id) {
                free.insert(receipt);
                state.order.push_front(id);
            }
        }
        state.shrink(self.limit);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shrink(&mut self, limit: usize) {
        while self.order.len() > limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{delivered, device, uplink};

    fn receipt() -> ReceiptRecord {
        delivered(&uplink(&device(1), 0, b""))
    }

    #[test]
    fn when_too_many_wait_the_oldest_are_dropped_and_counted() {
        let waiting = WaitingReceipts::new(3);
        let receipts: Vec<_> = (0..6).map(|_| receipt()).collect();
        assert_eq!(waiting.put(receipts[..1].to_vec()), Urgency::First);
        assert_eq!(waiting.put(receipts[1..4].to_vec()), Urgency::Many);
        assert_eq!((waiting.len(), waiting.dropped()), (3, 1));
        assert_eq!(waiting.get(receipts[0].id), None);
        let taken = waiting.take();
        assert_eq!(taken, receipts[1..4]);
        assert_eq!(waiting.get(receipts[1].id).as_ref(), Some(&receipts[1]));
        assert_eq!(waiting.put(receipts[4..].to_vec()), Urgency::First);
        waiting.put_back(taken);
        assert_eq!((waiting.len(), waiting.dropped()), (3, 3));
        assert_eq!(waiting.take(), receipts[3..]);
        waiting.written();
        assert_eq!(waiting.get(receipts[5].id), None);
    }
}
