//! Downlinks of each device in the order of their cursors, and the order of all, in which they go.

use std::collections::HashSet;
use std::iter::Peekable;

use redb::{Range, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::batch::{Batch, corrupt};
use super::change::{FORGET_STEP, Undo};
use super::tables::{DOWNLINK_DEVICES, DOWNLINK_ORDER, DOWNLINKS, TOTALS, meta};
use super::totals::{Totals, decode_totals};
use crate::device::DeviceId;
use crate::fields::micros;
use crate::message::Downlink;
use crate::store::format::{self, decode_downlink, encode_downlink};
use crate::store::records::{HistoryPage, ReadLimit, Window};

/// What is stored for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DeviceHistory {
    count: u64,
    bytes: u64,
    /// The last one that has gone.
    fallen: u64,
}

impl Batch<'_> {
    pub(super) fn append(&mut self, downlinks: &[Downlink]) -> Result<Vec<u64>, redb::Error> {
        let mut cursors = Vec::with_capacity(downlinks.len());
        for downlink in downlinks {
            let bytes = encode_downlink(downlink);
            let (device, size) = (downlink.device.as_str(), bytes.len() as u64);
            self.totals.cursor += 1;
            let cursor = self.totals.cursor;
            self.tables
                .downlinks
                .insert((device, cursor), bytes.as_slice())?;
            let entry = (device, size, micros(downlink.received_at));
            self.tables.downlink_order.insert(cursor, entry)?;
            let history = self.history_of(device)?;
            history.count += 1;
            history.bytes += size;
            self.totals.history_bytes += size;
            self.undo.push(Undo::Downlink {
                device: downlink.device.clone(),
                cursor,
            });
            cursors.push(cursor);
            self.prune_device(device)?;
        }
        Ok(cursors)
    }

    pub(super) fn remove_downlink(&mut self, device: &str, cursor: u64) -> Result<(), redb::Error> {
        self.tables.downlink_order.remove(cursor)?;
        let removed = self.tables.downlinks.remove((device, cursor))?;
        let Some(size) = removed.map(|value| value.value().len() as u64) else {
            return Ok(());
        };
        let history = self.history_of(device)?;
        history.count = history.count.saturating_sub(1);
        history.bytes = history.bytes.saturating_sub(size);
        self.totals.history_bytes = self.totals.history_bytes.saturating_sub(size);
        Ok(())
    }

    /// Forgets some downlinks of a device, the oldest first, and says how many. With the last one, it is as if all that
    /// there ever were had fallen out.
    pub(super) fn forget_history(&mut self, device: &str) -> Result<u64, redb::Error> {
        let mut cursors = Vec::new();
        let range = (device, 0)..=(device, u64::MAX);
        for entry in self.tables.downlinks.range(range)? {
            cursors.push(entry?.0.value().1);
            if cursors.len() as u64 == FORGET_STEP {
                break;
            }
        }
        for cursor in &cursors {
            self.remove_downlink(device, *cursor)?;
        }
        let known = self.tables.downlink_devices.get(device)?.is_some();
        if known || !cursors.is_empty() {
            let until = self.totals.cursor;
            self.history_of(device)?.fallen = until;
        }
        Ok(cursors.len() as u64)
    }

    pub(super) fn prune_history(&mut self, budget: usize) -> Result<(), redb::Error> {
        let limits = self.limits.downlinks;
        let oldest = micros(
            self.now
                .checked_sub(limits.age)
                .unwrap_or(std::time::UNIX_EPOCH),
        );
        for _ in 0..budget {
            let count = self.tables.downlink_order.len()?;
            let over = count > limits.total_count || self.totals.history_bytes > limits.total_bytes;
            let Some((cursor, device, received_at)) = self.first_downlink()? else {
                break;
            };
            if !(over && count > 1 || received_at < oldest) {
                break;
            }
            self.fall(&device, cursor)?;
        }
        Ok(())
    }

    pub(super) fn write_histories(&mut self) -> Result<(), redb::Error> {
        for (device, history) in &self.histories {
            let counters = (history.count, history.bytes, history.fallen);
            self.tables.downlink_devices.insert(&**device, counters)?;
        }
        Ok(())
    }

    /// Keeps a device within its limits. After they were lowered, that takes several appends.
    fn prune_device(&mut self, device: &str) -> Result<(), redb::Error> {
        const BUDGET: usize = 16;
        let limits = self.limits.downlinks;
        for _ in 0..BUDGET {
            let history = *self.history_of(device)?;
            let over = history.count > limits.device_count || history.bytes > limits.device_bytes;
            if !over || history.count <= 1 {
                break;
            }
            let mut range = self
                .tables
                .downlinks
                .range((device, 0)..=(device, u64::MAX))?;
            let Some(first) = range.next() else { break };
            let cursor = first?.0.value().1;
            drop(range);
            self.fall(device, cursor)?;
        }
        Ok(())
    }

    fn first_downlink(&self) -> Result<Option<(u64, Box<str>, u64)>, redb::Error> {
        let first = self.tables.downlink_order.first()?;
        Ok(first.map(|(cursor, entry)| {
            let (device, _, received_at) = entry.value();
            (cursor.value(), device.into(), received_at)
        }))
    }

    fn fall(&mut self, device: &str, cursor: u64) -> Result<(), redb::Error> {
        self.remove_downlink(device, cursor)?;
        let history = self.history_of(device)?;
        history.fallen = history.fallen.max(cursor);
        self.pruned += 1;
        Ok(())
    }

    fn history_of(&mut self, device: &str) -> Result<&mut DeviceHistory, redb::Error> {
        if !self.histories.contains_key(device) {
            let stored = self.tables.downlink_devices.get(device)?;
            let history = stored.map(|counters| device_history(counters.value()));
            self.histories
                .insert(device.into(), history.unwrap_or_default());
        }
        Ok(self.histories.entry(device.into()).or_default())
    }
}

/// What is kept of a device.
pub(super) fn window(tx: &ReadTransaction, device: &DeviceId) -> Result<Window, redb::Error> {
    let table = tx.open_table(DOWNLINKS)?;
    let device = device.as_str();
    let mut range = table.range((device, 0)..=(device, u64::MAX))?;
    let cursor = |entry: Option<Result<Entry, redb::StorageError>>| match entry {
        Some(entry) => entry.map(|(key, _)| Some(key.value().1)),
        None => Ok(None),
    };
    let oldest = cursor(range.next())?;
    let newest = cursor(range.next_back())?.or(oldest);
    Ok(Window {
        oldest,
        newest,
        fallen: fallen(tx, device)?.max(totals(tx)?.origin),
    })
}

/// A part of the history of some devices.
pub(super) fn page(
    tx: &ReadTransaction,
    devices: &[DeviceId],
    after: u64,
    limit: ReadLimit,
) -> Result<HistoryPage, redb::Error> {
    /// Up to here, one range for each device is cheaper than a look at the history of all.
    const RANGES: usize = 64;
    let mut devices: Vec<&DeviceId> = devices.iter().collect();
    devices.sort_unstable();
    devices.dedup();
    let totals = totals(tx)?;
    let mut lost = totals.origin;
    for device in &devices {
        lost = lost.max(fallen(tx, device.as_str())?);
    }
    let mut page = HistoryPage {
        events: Vec::new(),
        until: totals.cursor,
        fallen: (lost > after).then_some(lost),
    };
    let Some(from) = after.checked_add(1) else {
        return Ok(page);
    };
    let mut room = Room { limit, bytes: 0 };
    if devices.len() <= RANGES {
        merge(tx, &devices, from, &mut page, &mut room)?;
    } else {
        scan(tx, &devices, from, &mut page, &mut room)?;
    }
    Ok(page)
}

type Entry = (
    redb::AccessGuard<'static, (&'static str, u64)>,
    redb::AccessGuard<'static, &'static [u8]>,
);
type DeviceRange<'a> = Peekable<Range<'a, (&'static str, u64), &'static [u8]>>;

/// One range for each device, the smallest cursor first.
fn merge(
    tx: &ReadTransaction,
    devices: &[&DeviceId],
    from: u64,
    page: &mut HistoryPage,
    room: &mut Room,
) -> Result<(), redb::Error> {
    let table = tx.open_table(DOWNLINKS)?;
    let mut ranges: Vec<(&DeviceId, DeviceRange<'_>)> = Vec::with_capacity(devices.len());
    for device in devices {
        let id = device.as_str();
        let range = table.range((id, from)..=(id, u64::MAX))?;
        ranges.push((device, range.peekable()));
    }
    loop {
        let mut next: Option<(u64, usize)> = None;
        for (index, (_, range)) in ranges.iter_mut().enumerate() {
            let cursor = match range.peek() {
                Some(Ok((key, _))) => key.value().1,
                // An error is taken out like an entry, first of all.
                Some(Err(_)) => 0,
                None => continue,
            };
            if next.is_none_or(|(least, _)| cursor < least) {
                next = Some((cursor, index));
            }
        }
        let Some((cursor, index)) = next else {
            return Ok(());
        };
        let (device, range) = &mut ranges[index];
        let Some(entry) = range.next() else {
            return Ok(());
        };
        let (_, value) = entry?;
        if !page.take(room, device, cursor, value.value()) {
            return Ok(());
        }
    }
}

/// The history of all devices, a bounded part of it.
fn scan(
    tx: &ReadTransaction,
    devices: &[&DeviceId],
    from: u64,
    page: &mut HistoryPage,
    room: &mut Room,
) -> Result<(), redb::Error> {
    const LOOKS: usize = 10_000;
    let wanted: HashSet<&str> = devices.iter().map(|id| id.as_str()).collect();
    let order = tx.open_table(DOWNLINK_ORDER)?;
    let table: ReadOnlyTable<(&str, u64), &[u8]> = tx.open_table(DOWNLINKS)?;
    for (looks, entry) in order.range(from..)?.enumerate() {
        let (cursor, entry) = entry?;
        let (cursor, (device, _, _)) = (cursor.value(), entry.value());
        if looks == LOOKS {
            page.until = cursor - 1;
            break;
        }
        if !wanted.contains(device) {
            continue;
        }
        let value = table
            .get((device, cursor))?
            .ok_or_else(|| corrupt("a downlink is in the order and not in the history"))?;
        let device = format::device(device).map_err(corrupt)?;
        if !page.take(room, &device, cursor, value.value()) {
            break;
        }
    }
    Ok(())
}

struct Room {
    limit: ReadLimit,
    bytes: usize,
}

impl HistoryPage {
    /// Takes an event if there is room for it; otherwise the page ends before it.
    fn take(&mut self, room: &mut Room, device: &DeviceId, cursor: u64, value: &[u8]) -> bool {
        room.bytes += value.len();
        let full = self.events.len() >= room.limit.count || room.bytes > room.limit.bytes;
        if full && let Some(last) = self.events.last() {
            self.until = last.cursor;
            return false;
        }
        match decode_downlink(device.clone(), cursor, value) {
            Ok(event) => self.events.push(event),
            Err(error) => tracing::error!(%device, cursor, %error, "a downlink cannot be read"),
        }
        true
    }
}

fn totals(tx: &ReadTransaction) -> Result<Totals, redb::Error> {
    let bytes = meta(tx, TOTALS)?.ok_or_else(|| corrupt("the totals are missing"))?;
    decode_totals(&bytes).map_err(corrupt)
}

/// The last downlink of a device that has gone.
fn fallen(tx: &ReadTransaction, device: &str) -> Result<u64, redb::Error> {
    let table = tx.open_table(DOWNLINK_DEVICES)?;
    let stored = table.get(device)?;
    Ok(stored.map_or(0, |counters| device_history(counters.value()).fallen))
}

fn device_history((count, bytes, fallen): (u64, u64, u64)) -> DeviceHistory {
    DeviceHistory {
        count,
        bytes,
        fallen,
    }
}
