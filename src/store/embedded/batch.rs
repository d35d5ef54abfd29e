//! One transaction: changes applied to the tables, with the counters that go with them.

use std::collections::HashMap;
use std::time::SystemTime;

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::change::{Applied, Change, Reply, Undo};
use super::history::DeviceHistory;
use super::queue::DeviceQueue;
use super::tables::{TOTALS, Tables};
use super::totals::{Totals, decode_totals, encode_totals};
use crate::device::DeviceId;
use crate::store::limits::Limits;
use crate::store::records::ReceiptRecord;

/// A transaction that is being filled.
pub(super) struct Batch<'tx> {
    pub(super) tables: Tables<'tx>,
    pub(super) limits: Limits,
    pub(super) now: SystemTime,
    pub(super) totals: Totals,
    /// Counters of the devices concerned, written back by [`finish`](Self::finish).
    pub(super) queues: HashMap<DeviceId, DeviceQueue>,
    pub(super) histories: HashMap<Box<str>, DeviceHistory>,
    pub(super) undo: Vec<Undo>,
    /// Entries that were removed because of their age or because there were too many.
    pub(super) pruned: usize,
}

/// What a transaction has changed in the counters, to be published when it is durable.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) totals: Totals,
    pub(super) queues: HashMap<DeviceId, DeviceQueue>,
    pub(super) history_count: u64,
    pub(super) receipts: u64,
    pub(super) keys: u64,
    pub(super) undo: Vec<Undo>,
    pub(super) pruned: usize,
}

impl<'tx> Batch<'tx> {
    pub(super) fn begin(
        tx: &'tx WriteTransaction,
        limits: Limits,
        now: SystemTime,
    ) -> Result<Self, redb::Error> {
        let tables = Tables::open(tx)?;
        let totals = match tables.meta.get(TOTALS)? {
            Some(bytes) => decode_totals(bytes.value()).map_err(corrupt)?,
            None => return Err(corrupt("the totals are missing")),
        };
        Ok(Self {
            tables,
            limits,
            now,
            totals,
            queues: HashMap::new(),
            histories: HashMap::new(),
            undo: Vec::new(),
            pruned: 0,
        })
    }

    /// Applies one change. An error ends the transaction; a refusal is a reply.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Applied, redb::Error> {
        match change {
            Change::Enqueue { uplink, answer } => {
                return self.enqueue(uplink, answer.as_ref());
            }
            Change::Settle {
                device,
                seq,
                receipt,
            } => self.settle(device, *seq, receipt)?,
            Change::Discard {
                device,
                status,
                reason,
            } => {
                let count = self.discard(device, *status, reason)?;
                return Ok(Ok(Reply::Count(count)));
            }
            Change::Forget { device } => {
                let downlinks = self.forget_history(device.as_str())?;
                let keys = self.forget_keys(device.as_str())?;
                return Ok(Ok(Reply::Count(downlinks.max(keys))));
            }
            Change::Finish { device, answer } => self.put_answer(device, answer)?,
            Change::Append(downlinks) => {
                return Ok(Ok(Reply::Cursors(self.append(downlinks)?)));
            }
            Change::PutRecord { kind, key, value } => {
                let key = (*kind as u8, &**key);
                self.tables.records.insert(key, value.as_slice())?;
            }
            Change::DeleteRecord { kind, key } => {
                let removed = self.tables.records.remove((*kind as u8, &**key))?;
                return Ok(Ok(Reply::Existed(removed.is_some())));
            }
        }
        Ok(Ok(Reply::Done))
    }

    /// Writes the receipt of an uplink that was never queued.
    pub(super) fn put_receipt(&mut self, receipt: &ReceiptRecord) -> Result<(), redb::Error> {
        self.insert_receipt(receipt)?;
        self.order_receipt(receipt)
    }

    /// Takes back what a failed commit has left behind.
    pub(super) fn take_back(&mut self, undo: &Undo) -> Result<(), redb::Error> {
        match undo {
            Undo::Uplink {
                device,
                seq,
                id,
                key,
            } => {
                self.remove_uplink(device, *seq)?;
                self.tables.receipts.remove(id.to_u128())?;
                if let Some(key) = key {
                    self.tables.keys.remove((device.as_str(), &**key))?;
                }
            }
            Undo::Downlink { device, cursor } => self.remove_downlink(device.as_str(), *cursor)?,
        }
        Ok(())
    }

    /// Removes what is too old or too much, at the most this many entries of each kind.
    pub(super) fn prune(&mut self, budget: usize) -> Result<(), redb::Error> {
        self.prune_receipts(budget)?;
        self.prune_keys(budget)?;
        self.prune_history(budget)
    }

    /// Writes the counters back. The transaction can be committed.
    pub(super) fn finish(mut self) -> Result<Effects, redb::Error> {
        self.totals.commit += 1;
        self.write_queues()?;
        self.write_histories()?;
        let totals = encode_totals(&self.totals);
        self.tables.meta.insert(TOTALS, totals.as_slice())?;
        Ok(Effects {
            totals: self.totals,
            history_count: self.tables.downlink_order.len()?,
            receipts: self.tables.receipt_order.len()?,
            keys: self.tables.keys.len()?,
            queues: self.queues,
            undo: self.undo,
            pruned: self.pruned,
        })
    }
}

/// What redb has read without complaint and is yet not what this program writes.
pub(super) fn corrupt(what: impl ToString) -> redb::Error {
    redb::Error::Corrupted(what.to_string())
}
