//! Uplinks that wait, in the order of their numbers for each device.

use std::time::SystemTime;

use redb::{ReadTransaction, ReadableTable};

use super::batch::Batch;
use super::change::{Applied, DISCARD_STEP, Reply, Undo};
use super::tables::QUEUE;
use crate::device::DeviceId;
use crate::fields::{from_micros, micros};
use crate::message::Qos;
use crate::store::engine::StoreError;
use crate::store::format::{decode_uplink, encode_uplink, uplink_accepted_at, uplink_id};
use crate::store::records::{KeyedAnswer, QueuedUplink, ReadLimit, ReceiptRecord, ReceiptStatus};

/// What is stored for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DeviceQueue {
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// When the first in the queue was accepted, in microseconds since the epoch.
    pub(super) oldest: u64,
}

impl Batch<'_> {
    pub(super) fn enqueue(
        &mut self,
        uplink: &QueuedUplink,
        answer: Option<&KeyedAnswer>,
    ) -> Result<Applied, redb::Error> {
        let bytes = encode_uplink(uplink);
        let device = &uplink.device;
        if let Some(limit) = self.exceeded(device, bytes.len() as u64)? {
            return Ok(Err(StoreError::Full { limit }));
        }
        self.remove_uplink(device, uplink.seq)?;
        let key = (device.as_str(), uplink.seq);
        self.tables.queue.insert(key, bytes.as_slice())?;
        let queue = self.queue_of(device)?;
        queue.count += 1;
        queue.bytes += bytes.len() as u64;
        self.totals.queue_count += 1;
        self.totals.queue_bytes += bytes.len() as u64;
        self.totals.seq = self.totals.seq.max(uplink.seq);
        self.insert_receipt(&ReceiptRecord::queued(uplink))?;
        if let Some(answer) = answer {
            self.put_answer(device, answer)?;
        }
        self.undo.push(Undo::Uplink {
            device: device.clone(),
            seq: uplink.seq,
            id: uplink.id,
            key: answer.map(|answer| answer.key.clone()),
        });
        Ok(Ok(Reply::Done))
    }

    pub(super) fn settle(
        &mut self,
        device: &DeviceId,
        seq: u64,
        receipt: &ReceiptRecord,
    ) -> Result<(), redb::Error> {
        self.remove_uplink(device, seq)?;
        self.put_receipt(receipt)
    }

    pub(super) fn discard(
        &mut self,
        device: &DeviceId,
        status: ReceiptStatus,
        reason: &str,
    ) -> Result<u64, redb::Error> {
        for count in 0..DISCARD_STEP {
            let first = match first_of(&self.tables.queue, device)? {
                Some(first) => first,
                None => return Ok(count),
            };
            if let Some(id) = first.id {
                let mut receipt = ReceiptRecord {
                    id,
                    device: device.clone(),
                    status,
                    reason_code: None,
                    reason: Some(reason.into()),
                    qos: Qos::AtLeastOnce,
                    attempts: 0,
                    accepted_at: from_micros(first.accepted_at),
                    completed_at: Some(self.now),
                    platform: None,
                };
                if let Some(queued) = self.stored_receipt(id)? {
                    receipt.qos = queued.qos;
                }
                self.put_receipt(&receipt)?;
            }
            self.remove_uplink(device, first.seq)?;
        }
        Ok(DISCARD_STEP)
    }

    pub(super) fn remove_uplink(&mut self, device: &DeviceId, seq: u64) -> Result<(), redb::Error> {
        let removed = self.tables.queue.remove((device.as_str(), seq))?;
        let Some(bytes) = removed.map(|value| value.value().len() as u64) else {
            return Ok(());
        };
        let queue = self.queue_of(device)?;
        queue.count = queue.count.saturating_sub(1);
        queue.bytes = queue.bytes.saturating_sub(bytes);
        let totals = &mut self.totals;
        totals.queue_count = totals.queue_count.saturating_sub(1);
        totals.queue_bytes = totals.queue_bytes.saturating_sub(bytes);
        Ok(())
    }

    pub(super) fn write_queues(&mut self) -> Result<(), redb::Error> {
        for (device, queue) in &mut self.queues {
            match first_of(&self.tables.queue, device)? {
                Some(first) => {
                    queue.oldest = first.accepted_at;
                    let counters = (queue.count, queue.bytes, queue.oldest);
                    self.tables
                        .queue_devices
                        .insert(device.as_str(), counters)?;
                }
                None => {
                    self.tables.queue_devices.remove(device.as_str())?;
                }
            }
        }
        Ok(())
    }

    fn queue_of(&mut self, device: &DeviceId) -> Result<&mut DeviceQueue, redb::Error> {
        // Not `entry`: it would clone the id each time.
        if !self.queues.contains_key(device) {
            let stored = self.tables.queue_devices.get(device.as_str())?;
            let queue = stored.map(|counters| device_queue(counters.value()));
            self.queues
                .insert(device.clone(), queue.unwrap_or_default());
        }
        Ok(self.queues.entry(device.clone()).or_default())
    }

    fn exceeded(
        &mut self,
        device: &DeviceId,
        bytes: u64,
    ) -> Result<Option<&'static str>, redb::Error> {
        let limits = self.limits.uplinks;
        let of_all = self.totals;
        let of_device = *self.queue_of(device)?;
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
                of_all.queue_count + 1 > limits.total_count,
                "too many uplinks wait",
            ),
            (
                of_all.queue_bytes + bytes > limits.total_bytes,
                "the waiting uplinks take too many bytes",
            ),
        ];
        Ok(checks
            .into_iter()
            .find_map(|(exceeded, limit)| exceeded.then_some(limit)))
    }
}

/// A device's uplinks behind `after`, without the `skipped` ones.
pub(super) fn read(
    tx: &ReadTransaction,
    device: &DeviceId,
    after: Option<u64>,
    limit: ReadLimit,
    skipped: impl Fn(u64) -> bool,
) -> Result<Vec<QueuedUplink>, redb::Error> {
    let Some(from) = after.map_or(Some(0), |after| after.checked_add(1)) else {
        return Ok(Vec::new());
    };
    let table = tx.open_table(QUEUE)?;
    let (mut uplinks, mut bytes) = (Vec::new(), 0);
    for entry in table.range((device.as_str(), from)..=(device.as_str(), u64::MAX))? {
        let (key, value) = entry?;
        let (seq, value) = (key.value().1, value.value());
        if skipped(seq) {
            continue;
        }
        bytes += value.len();
        let full = uplinks.len() >= limit.count || bytes > limit.bytes;
        if full && !uplinks.is_empty() {
            break;
        }
        match decode_uplink(device.clone(), seq, value) {
            Ok(uplink) => uplinks.push(uplink),
            // It stays where it is: one that cannot be read must neither be lost nor hold up those behind it.
            Err(error) => tracing::error!(%device, seq, %error, "a queued uplink cannot be read"),
        }
    }
    Ok(uplinks)
}

pub(super) fn device_queue((count, bytes, oldest): (u64, u64, u64)) -> DeviceQueue {
    DeviceQueue {
        count,
        bytes,
        oldest,
    }
}

struct First {
    seq: u64,
    accepted_at: u64,
    id: Option<crate::message::UplinkId>,
}

fn first_of(
    queue: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    device: &DeviceId,
) -> Result<Option<First>, redb::Error> {
    let mut range = queue.range((device.as_str(), 0)..=(device.as_str(), u64::MAX))?;
    let Some(entry) = range.next() else {
        return Ok(None);
    };
    let (key, value) = entry?;
    let accepted_at = uplink_accepted_at(value.value()).unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Some(First {
        seq: key.value().1,
        accepted_at: micros(accepted_at),
        id: uplink_id(value.value()).ok(),
    }))
}
