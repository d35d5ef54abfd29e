//! What waits, of the devices that are held here: where each uplink lies in the stream, and the limits. In memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::device::DeviceId;
use crate::fields::{from_micros, micros};
use crate::message::{Qos, UplinkId};
use crate::store::health::Amount;
use crate::store::limits::QueueLimits;
use crate::store::records::{Backlog, QueuedUplink, ReadLimit};

/// One uplink in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its place in the stream.
    pub(super) place: u64,
    /// The number of the connection on which the place was learned.
    pub(super) conn: u64,
    pub(super) id: UplinkId,
    /// Its size as stored.
    pub(super) bytes: u64,
    /// In microseconds since the epoch.
    pub(super) accepted_at: u64,
    pub(super) qos: Qos,
    /// Whether the answer to a request with an idempotency key is stored with it.
    pub(super) keyed: bool,
}

impl Slot {
    /// Of an uplink that is about to be published.
    pub(super) fn new(uplink: &QueuedUplink, bytes: u64, keyed: bool) -> Self {
        Self {
            place: 0,
            conn: 0,
            id: uplink.id,
            bytes,
            accepted_at: micros(uplink.accepted_at),
            qos: uplink.qos,
            keyed,
        }
    }

    /// What stands in the message's header.
    pub(super) fn header(&self, seq: u64) -> String {
        let (id, at, keyed) = (self.id, self.accepted_at, u8::from(self.keyed));
        format!(
            "{seq} {id} {at} {} {} {keyed}",
            self.bytes,
            self.qos.level()
        )
    }

    /// The other way round: the uplink's number, and where it is.
    pub(super) fn read(conn: u64, place: u64, header: &str) -> Option<(u64, Self)> {
        let mut fields = header.split(' ');
        let seq = fields.next()?.parse().ok()?;
        let id = UplinkId::parse(fields.next()?)?;
        let mut number = || fields.next()?.parse::<u64>().ok();
        let slot = Self {
            place,
            conn,
            id,
            accepted_at: number()?,
            bytes: number()?,
            qos: Qos::from_level(u8::try_from(number()?).ok()?)?,
            keyed: number()? != 0,
        };
        Some((seq, slot))
    }
}

/// The queues of all devices.
#[derive(Debug, Default)]
pub(super) struct Queues {
    limits: QueueLimits,
    devices: HashMap<DeviceId, Queue>,
    ids: HashMap<UplinkId, (DeviceId, u64)>,
    total: Amount,
    /// Ids that are being published here: whoever does so puts them into the index.
    publishing: HashSet<UplinkId>,
    doubts: Doubts,
    finished: Finished,
}

/// Ids that may have been published although their caller was told that they were not taken: wherever one is found, it is
/// removed.
#[derive(Debug, Default)]
struct Doubts {
    ids: HashMap<UplinkId, Instant>,
    /// How often one came, and up to which of them the stream was searched.
    came: u64,
    searched: u64,
}

/// How long a doubt stays: a message can be stuck in a network for a while.
const DOUBT: Duration = Duration::from_secs(10 * 60);

/// The last ids that were settled here: a server that comes back from a crash may have forgotten that it deleted them.
#[derive(Debug, Default)]
struct Finished {
    order: VecDeque<UplinkId>,
    ids: HashSet<UplinkId>,
}

/// Ids that are remembered.
const FINISHED: usize = 10_000;

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

    /// Takes one in that somebody else has stored, unless it is known.
    pub(super) fn learn(&mut self, device: &DeviceId, seq: u64, slot: Slot) -> bool {
        let is_new = !self.ids.contains_key(&slot.id)
            && !self.publishing.contains(&slot.id)
            && !self.is_refuse(slot.id);
        if is_new {
            self.load(device, seq, slot);
        }
        is_new
    }

    /// Whether this id is to be removed wherever it is found.
    pub(super) fn is_refuse(&self, id: UplinkId) -> bool {
        self.doubts.ids.contains_key(&id) || self.finished.ids.contains(&id)
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
            if self.is_refuse(id) {
                result.remove.push(slot.place);
            } else if self.publishing.contains(&id) || !holds(&device) {
            } else if self.ids.contains_key(&id) {
                present.insert(id);
                self.load(&device, seq, slot);
            } else {
                present.insert(id);
                self.load(&device, seq, slot);
                result.arrived.push((device, seq, slot));
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
        self.finished.remember(id);
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

    /// It may have been published, and its caller is told that it was not taken.
    pub(super) fn doubt(&mut self, id: UplinkId) {
        self.doubts.ids.insert(id, Instant::now());
        self.doubts.came += 1;
    }

    /// Whether some were not yet looked for.
    pub(super) fn has_doubts(&self) -> bool {
        self.doubts.came != self.doubts.searched
    }

    /// How many came: to be said again after the whole stream was searched.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.came
    }

    pub(super) fn searched(&mut self, doubts: u64) {
        self.doubts.searched = self.doubts.searched.max(doubts);
    }

    /// Lets old doubts go.
    pub(super) fn prune(&mut self) {
        self.doubts.ids.retain(|_, since| since.elapsed() < DOUBT);
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

impl Finished {
    fn remember(&mut self, id: UplinkId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > FINISHED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let slot = Slot {
            place: 9,
            conn: 3,
            id: UplinkId::new(),
            bytes: 123,
            accepted_at: 1_700_000_000_000_001,
            qos: Qos::AtLeastOnce,
            keyed: true,
        };
        assert_eq!(Slot::read(3, 9, &slot.header(7)), Some((7, slot)));
        for bad in ["", "1", "1 2 3 4 5 6", "x y z"] {
            assert_eq!(Slot::read(3, 9, bad), None, "{bad:?}");
        }
    }
}
