//! What waits, of the devices that are held here: where each uplink lies in the stream, and the limits. In memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::slot::Slot;
use super::unwanted::Unwanted;
use crate::device::DeviceId;
use crate::fields::from_micros;
use crate::message::UplinkId;
use crate::store::health::Amount;
use crate::store::limits::QueueLimits;
use crate::store::records::{Backlog, ReadLimit};

/// The queues of all devices.
#[derive(Debug, Default)]
pub(super) struct Queues {
    limits: QueueLimits,
    devices: HashMap<DeviceId, Queue>,
    ids: HashMap<UplinkId, (DeviceId, u64)>,
    total: Amount,
    /// Ids that are being published here: whoever does so puts them into the index.
    publishing: HashSet<UplinkId>,
    pub(super) unwanted: Unwanted,
}

/// What was found in the stream.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Uplinks with their devices and numbers.
    pub(super) uplinks: Vec<(DeviceId, u64, Slot)>,
    /// Devices that were somebody else's at the time: nothing is known of what waits for them.
    pub(super) passed_by: HashSet<DeviceId>,
}

/// What follows from what was found.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// Places of messages that are to be deleted.
    pub(super) remove: Vec<u64>,
    /// Uplinks that came into the index.
    pub(super) arrived: Vec<(DeviceId, u64, Slot)>,
    /// How many are no longer in the stream that nobody here has settled.
    pub(super) gone: usize,
}

#[derive(Debug, Default)]
struct Queue {
    slots: BTreeMap<u64, Slot>,
    settling: BTreeSet<u64>,
    /// Of the slots.
    bytes: u64,
    /// Of the slots, and of what is being published.
    amount: Amount,
}

impl Queues {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Makes room for an uplink, or says which limit is reached.
    pub(super) fn reserve(&mut self, device: &DeviceId, bytes: u64) -> Result<(), &'static str> {
        let of_device = self.devices.get(device).map(|queue| queue.amount);
        let of_device = of_device.unwrap_or_default();
        let limits = &self.limits;
        let checks = [
            (
                of_device.count + 1 > limits.device_count,
                "too many uplinks of this device wait",
            ),
            (
                of_device.bytes + bytes > limits.device_bytes,
                "the waiting uplinks of this device take too many bytes",
            ),
            (
                self.total.count + 1 > limits.total_count,
                "too many uplinks wait",
            ),
            (
                self.total.bytes + bytes > limits.total_bytes,
                "the waiting uplinks take too many bytes",
            ),
        ];
        if let Some((_, limit)) = checks.into_iter().find(|(exceeded, _)| *exceeded) {
            return Err(limit);
        }
        self.grow(device, bytes);
        Ok(())
    }

    /// Gives room back that was reserved for nothing.
    pub(super) fn release(&mut self, device: &DeviceId, bytes: u64) {
        self.shrink(device, bytes);
        self.forget_if_idle(device);
    }

    /// An uplink is about to be published.
    pub(super) fn publishing(&mut self, id: UplinkId) {
        self.publishing.insert(id);
    }

    /// It was, or was not.
    pub(super) fn published(&mut self, id: UplinkId) {
        self.publishing.remove(&id);
    }

    /// An uplink for which there is room is in the stream.
    pub(super) fn insert(&mut self, device: &DeviceId, seq: u64, slot: Slot) {
        if let Some((device, seq)) = self.ids.get(&slot.id).cloned() {
            // Somebody was faster. One place of the two is of an earlier connection, or they are the same.
            self.shrink(&device, slot.bytes);
            if let Some(known) = self.slot_mut(&device, seq)
                && known.conn <= slot.conn
            {
                (known.place, known.conn) = (slot.place, slot.conn);
            }
            return;
        }
        let queue = self.devices.entry(device.clone()).or_default();
        let mut seq = seq;
        // Numbers are given once; but if not, neither of the two is lost.
        while queue.slots.contains_key(&seq) {
            seq += 1;
        }
        queue.bytes += slot.bytes;
        queue.slots.insert(seq, slot);
        self.ids.insert(slot.id, (device.clone(), seq));
    }

    /// Found in the stream.
    fn load(&mut self, device: &DeviceId, seq: u64, slot: Slot) {
        self.grow(device, slot.bytes);
        self.insert(device, seq, slot);
    }

    /// Whether nothing of an uplink is news: it waits here, is being published here, or is not wanted.
    pub(super) fn knows(&self, id: UplinkId) -> bool {
        self.ids.contains_key(&id) || self.publishing.contains(&id) || self.unwanted.has(id)
    }

    /// Takes one in that somebody else has stored, unless it is known.
    pub(super) fn learn(&mut self, device: &DeviceId, seq: u64, slot: Slot) -> bool {
        let is_new = !self.knows(slot.id);
        if is_new {
            self.load(device, seq, slot);
        }
        is_new
    }

    /// Makes the index true: `found` is what the stream holds up to the place `end`, of all devices; all of it, or, without
    /// `is_all`, what has come lately.
    pub(super) fn reconcile(
        &mut self,
        found: Found,
        is_all: bool,
        (conn, end): (u64, u64),
        holds: impl Fn(&DeviceId) -> bool,
    ) -> Reconciled {
        let mut result = Reconciled::default();
        let mut present = HashSet::with_capacity(found.uplinks.len());
        for (device, seq, slot) in found.uplinks {
            let id = slot.id;
            if self.unwanted.has(id) {
                result.remove.push(slot.place);
            } else if self.publishing.contains(&id) || !holds(&device) {
            } else {
                let is_new = !self.ids.contains_key(&id);
                present.insert(id);
                self.load(&device, seq, slot);
                if is_new {
                    result.arrived.push((device, seq, slot));
                }
            }
        }
        if !is_all {
            return result;
        }
        // What was stored meanwhile lies behind the end.
        let is_true =
            |slot: &Slot| present.contains(&slot.id) || (slot.conn == conn && slot.place > end);
        let devices: Vec<DeviceId> = self.devices.keys().cloned().collect();
        for device in devices {
            let holds = holds(&device);
            if holds && found.passed_by.contains(&device) {
                // It came in this moment, and the next look is for it.
                continue;
            }
            let queue = self.devices.entry(device.clone()).or_default();
            let wrong = queue
                .slots
                .iter()
                .filter(|(_, slot)| !holds || !is_true(slot));
            let wrong: Vec<u64> = wrong.map(|(seq, _)| *seq).collect();
            for seq in wrong {
                let is_settling = self.is_settling(&device, seq);
                result.gone += usize::from(holds && !is_settling);
                self.drop_slot(&device, seq);
            }
            self.forget_if_idle(&device);
        }
        result
    }

    /// From now on this uplink is gone for all who look.
    pub(super) fn settling(&mut self, device: &DeviceId, seq: u64) {
        let queue = self.devices.entry(device.clone()).or_default();
        queue.settling.insert(seq);
    }

    /// It is there again.
    pub(super) fn not_settled(&mut self, device: &DeviceId, seq: u64) {
        if let Some(queue) = self.devices.get_mut(device) {
            queue.settling.remove(&seq);
        }
        self.forget_if_idle(device);
    }

    /// It is no longer in the stream.
    pub(super) fn settled(&mut self, device: &DeviceId, seq: u64, id: UplinkId) {
        self.unwanted.settled(id);
        if self.slot(device, seq).is_some_and(|slot| slot.id == id) {
            self.drop_slot(device, seq);
        }
        if let Some(queue) = self.devices.get_mut(device) {
            queue.settling.remove(&seq);
        }
        self.forget_if_idle(device);
    }

    fn drop_slot(&mut self, device: &DeviceId, seq: u64) {
        if let Some(queue) = self.devices.get_mut(device)
            && let Some(slot) = queue.slots.remove(&seq)
        {
            queue.bytes -= slot.bytes;
            self.ids.remove(&slot.id);
            self.shrink(device, slot.bytes);
        }
    }

    pub(super) fn is_settling(&self, device: &DeviceId, seq: u64) -> bool {
        let queue = self.devices.get(device);
        queue.is_some_and(|queue| queue.settling.contains(&seq))
    }

    fn slot_mut(&mut self, device: &DeviceId, seq: u64) -> Option<&mut Slot> {
        self.devices.get_mut(device)?.slots.get_mut(&seq)
    }

    pub(super) fn slot(&self, device: &DeviceId, seq: u64) -> Option<Slot> {
        self.devices.get(device)?.slots.get(&seq).copied()
    }

    /// Where an uplink waits.
    pub(super) fn find(&self, id: UplinkId) -> Option<(DeviceId, u64, Slot)> {
        let (device, seq) = self.ids.get(&id)?;
        Some((device.clone(), *seq, self.slot(device, *seq)?))
    }

    /// What a reader is to get: at least one, where there is any.
    pub(super) fn page(
        &self,
        device: &DeviceId,
        after: Option<u64>,
        limit: ReadLimit,
    ) -> Vec<(u64, Slot)> {
        let from = after.map_or(Some(0), |after| after.checked_add(1));
        let (Some(from), Some(queue)) = (from, self.devices.get(device)) else {
            return Vec::new();
        };
        let (mut page, mut bytes) = (Vec::new(), 0);
        for (seq, slot) in queue.slots.range(from..) {
            if queue.settling.contains(seq) {
                continue;
            }
            bytes += usize::try_from(slot.bytes).unwrap_or(usize::MAX);
            if (page.len() >= limit.count || bytes > limit.bytes) && !page.is_empty() {
                break;
            }
            page.push((*seq, *slot));
        }
        page
    }

    pub(super) fn backlog(&self, device: &DeviceId) -> Option<Backlog> {
        self.devices.get(device)?.backlog()
    }

    pub(super) fn backlogs(&self) -> Vec<(DeviceId, Backlog)> {
        let queues = self.devices.iter();
        queues
            .filter_map(|(device, queue)| Some((device.clone(), queue.backlog()?)))
            .collect()
    }

    pub(super) fn total(&self) -> Amount {
        self.total
    }

    fn grow(&mut self, device: &DeviceId, bytes: u64) {
        let queue = self.devices.entry(device.clone()).or_default();
        for amount in [&mut queue.amount, &mut self.total] {
            amount.count += 1;
            amount.bytes += bytes;
        }
    }

    fn shrink(&mut self, device: &DeviceId, bytes: u64) {
        let queue = self.devices.entry(device.clone()).or_default();
        for amount in [&mut queue.amount, &mut self.total] {
            amount.count = amount.count.saturating_sub(1);
            amount.bytes = amount.bytes.saturating_sub(bytes);
        }
    }

    fn forget_if_idle(&mut self, device: &DeviceId) {
        let idle = |queue: &Queue| {
            queue.amount.count == 0 && queue.slots.is_empty() && queue.settling.is_empty()
        };
        if self.devices.get(device).is_some_and(idle) {
            self.devices.remove(device);
        }
    }
}

impl Queue {
    fn backlog(&self) -> Option<Backlog> {
        let hidden = self
            .settling
            .iter()
            .filter(|seq| self.slots.contains_key(seq));
        let count = self.slots.len() - hidden.count();
        let (_, first) = self.slots.first_key_value()?;
        (count > 0).then(|| Backlog {
            count: count as u64,
            bytes: self.bytes,
            oldest: from_micros(first.accepted_at),
        })
    }
}

#[cfg(test)]
impl Queues {
    /// Lets an uplink seem to be somewhere else.
    pub(super) fn misplace(&mut self, device: &DeviceId, seq: u64, slot: Slot) {
        if let Some(known) = self.slot_mut(device, seq) {
            *known = slot;
        }
    }
}
