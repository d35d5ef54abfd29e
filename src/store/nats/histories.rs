//! What can be replayed: the cursors of every device, within the limits. In memory; the downlinks are in the stream.
//!
//! A cursor is the stream's origin and a place in it. The server keeps at least as much as this index says, by the same
//! limits; what falls off here is no longer shown, whether or not it is still there.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use crate::device::DeviceId;
use crate::store::health::Amount;
use crate::store::limits::HistoryLimits;
use crate::store::records::{ReadLimit, Window};

/// The histories of all devices.
#[derive(Debug)]
pub(super) struct Histories {
    limits: HistoryLimits,
    /// Everything up to here may be missing, of every device.
    base: u64,
    newest: u64,
    /// Of all devices, by cursor. What has fallen off its device stays until it comes to the front, or there is too much of
    /// it.
    order: VecDeque<Entry>,
    numbers: HashMap<DeviceId, u32>,
    histories: Vec<History>,
    total: Amount,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    cursor: u64,
    /// In microseconds since the epoch.
    received_at: u64,
    device: u32,
}

#[derive(Debug)]
struct History {
    device: DeviceId,
    /// Cursors, and sizes as stored.
    kept: VecDeque<(u64, u32)>,
    bytes: u64,
    fallen: u64,
}

/// What a page consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) events: Vec<(u64, DeviceId)>,
    pub(super) until: u64,
    pub(super) fallen: Option<u64>,
}

impl Histories {
    /// Nothing is known of what came up to `base`.
    pub(super) fn new(limits: HistoryLimits, base: u64) -> Self {
        Self {
            limits,
            base,
            newest: base,
            order: VecDeque::new(),
            numbers: HashMap::new(),
            histories: Vec::new(),
            total: Amount::default(),
        }
    }

    /// Takes a downlink that is in the stream. Cursors only grow: one that does not is of a server that has lost the end of
    /// its stream, and is left out.
    pub(super) fn push(&mut self, device: &DeviceId, cursor: u64, size: usize, received_at: u64) {
        if cursor <= self.newest {
            return;
        }
        let number = self.number(device);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.newest = self.newest.max(cursor);
        self.order.push_back(Entry {
            cursor,
            received_at,
            device: number,
        });
        let history = &mut self.histories[number as usize];
        history.kept.push_back((cursor, size));
        history.bytes += u64::from(size);
        self.total.count += 1;
        self.total.bytes += u64::from(size);
        let limits = self.limits;
        loop {
            let history = &self.histories[number as usize];
            let count = history.kept.len() as u64;
            let over = count > limits.device_count || history.bytes > limits.device_bytes;
            if !over || count <= 1 {
                break;
            }
            self.fall(number);
        }
    }

    /// Whatever came up to this cursor may be missing, of every device.
    pub(super) fn gap(&mut self, cursor: u64) {
        self.base = self.base.max(cursor);
    }

    /// Everything of a device up to this cursor is gone.
    pub(super) fn mark(&mut self, device: &DeviceId, cursor: u64) {
        let number = self.number(device);
        self.newest = self.newest.max(cursor);
        while let Some((first, _)) = self.histories[number as usize].kept.front()
            && *first <= cursor
        {
            self.fall(number);
        }
        let history = &mut self.histories[number as usize];
        history.fallen = history.fallen.max(cursor);
    }

    /// Lets go what is too old or too much, at `now`, in microseconds since the epoch.
    pub(super) fn prune(&mut self, now: u64) {
        let age = u64::try_from(self.limits.age.as_micros()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(age);
        while let Some(entry) = self.order.front().copied() {
            let history = &self.histories[entry.device as usize];
            let is_kept = history
                .kept
                .front()
                .is_some_and(|(c, _)| *c == entry.cursor);
            if is_kept {
                let limits = &self.limits;
                let over =
                    self.total.count > limits.total_count || self.total.bytes > limits.total_bytes;
                if !(over && self.total.count > 1 || entry.received_at < oldest) {
                    break;
                }
                self.fall(entry.device);
            }
            self.order.pop_front();
        }
        if self.order.len() as u64 > 2 * self.total.count + 1024 {
            let histories = &self.histories;
            self.order.retain(|entry| {
                let kept = &histories[entry.device as usize].kept;
                kept.front()
                    .is_some_and(|(first, _)| *first <= entry.cursor)
            });
        }
    }

    /// When something is full, the oldest of its device: those that are left are told to the server.
    pub(super) fn full_devices(&self) -> impl Iterator<Item = (&DeviceId, u64)> {
        let count = self.limits.device_count.max(1);
        let full = move |history: &&History| history.kept.len() as u64 >= count;
        let first = |history: &History| history.kept.front().map_or(0, |(cursor, _)| *cursor);
        self.histories
            .iter()
            .filter(full)
            .map(move |history| (&history.device, first(history)))
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn total(&self) -> Amount {
        self.total
    }

    pub(super) fn window(&self, device: &DeviceId) -> Window {
        let Some(history) = self.of(device) else {
            return Window {
                fallen: self.base,
                ..Window::default()
            };
        };
        Window {
            oldest: history.kept.front().map(|(cursor, _)| *cursor),
            newest: history.kept.back().map(|(cursor, _)| *cursor),
            fallen: history.fallen.max(self.base),
        }
    }

    /// What is behind a cursor, of some devices.
    pub(super) fn page(&self, devices: &Arc<[DeviceId]>, after: u64, limit: ReadLimit) -> Page {
        let mut numbers: Vec<u32> = devices
            .iter()
            .filter_map(|device| self.numbers.get(device).copied())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let histories = || {
            numbers
                .iter()
                .map(|number| &self.histories[*number as usize])
        };
        let lost = histories().map(|history| history.fallen).max();
        let lost = lost.unwrap_or(0).max(self.base);
        let mut next: BinaryHeap<_> = histories()
            .enumerate()
            .filter_map(|(index, history)| {
                let at = history.kept.partition_point(|(cursor, _)| *cursor <= after);
                let (cursor, _) = history.kept.get(at)?;
                Some(Reverse((*cursor, index, at)))
            })
            .collect();
        let (mut events, mut bytes) = (Vec::<(u64, DeviceId)>::new(), 0);
        let mut until = self.newest;
        while let Some(Reverse((cursor, index, at))) = next.pop() {
            let history = &self.histories[numbers[index] as usize];
            bytes += history.kept[at].1 as usize;
            let full = events.len() >= limit.count || bytes > limit.bytes;
            if full && let Some((last, _)) = events.last() {
                until = *last;
                break;
            }
            events.push((cursor, history.device.clone()));
            if let Some((cursor, _)) = history.kept.get(at + 1) {
                next.push(Reverse((*cursor, index, at + 1)));
            }
        }
        Page {
            events,
            until,
            fallen: (lost > after).then_some(lost),
        }
    }

    fn of(&self, device: &DeviceId) -> Option<&History> {
        let number = self.numbers.get(device)?;
        self.histories.get(*number as usize)
    }

    fn number(&mut self, device: &DeviceId) -> u32 {
        if let Some(number) = self.numbers.get(device) {
            return *number;
        }
        let number = u32::try_from(self.histories.len()).unwrap_or(u32::MAX);
        self.numbers.insert(device.clone(), number);
        self.histories.push(History {
            device: device.clone(),
            kept: VecDeque::new(),
            bytes: 0,
            fallen: 0,
        });
        number
    }

    fn fall(&mut self, number: u32) {
        let history = &mut self.histories[number as usize];
        if let Some((cursor, size)) = history.kept.pop_front() {
            history.bytes -= u64::from(size);
            history.fallen = history.fallen.max(cursor);
            self.total.count -= 1;
            self.total.bytes -= u64::from(size);
        }
    }
}
