//! Receipts by id, and the order in which they were completed, in which they go.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::batch::{Batch, corrupt};
use super::tables::RECEIPTS;
use crate::fields::micros;
use crate::message::UplinkId;
use crate::store::format::{decode_receipt, encode_receipt};
use crate::store::records::ReceiptRecord;

impl Batch<'_> {
    /// Writes a receipt that stays as long as its uplink waits.
    pub(super) fn insert_receipt(&mut self, receipt: &ReceiptRecord) -> Result<(), redb::Error> {
        let bytes = encode_receipt(receipt);
        let id = receipt.id.to_u128();
        self.tables.receipts.insert(id, bytes.as_slice())?;
        Ok(())
    }

    /// Puts a receipt behind all others that will go.
    pub(super) fn order_receipt(&mut self, receipt: &ReceiptRecord) -> Result<(), redb::Error> {
        let last = self.tables.receipt_order.last()?;
        let next = last.map_or(0, |(number, _)| number.value() + 1);
        let entry = (receipt.id.to_u128(), completed(receipt));
        self.tables.receipt_order.insert(next, entry)?;
        Ok(())
    }

    pub(super) fn stored_receipt(
        &self,
        id: UplinkId,
    ) -> Result<Option<ReceiptRecord>, redb::Error> {
        let stored = self.tables.receipts.get(id.to_u128())?;
        Ok(stored.and_then(|bytes| decode_receipt(id, bytes.value()).ok()))
    }

    pub(super) fn prune_receipts(&mut self, budget: usize) -> Result<(), redb::Error> {
        let limits = self.limits.receipts;
        let oldest = micros(
            self.now
                .checked_sub(limits.age)
                .unwrap_or(std::time::UNIX_EPOCH),
        );
        for _ in 0..budget {
            let over = self.tables.receipt_order.len()? > limits.count;
            let Some((number, (id, completed_at))) = ({
                let first = self.tables.receipt_order.first()?;
                first.map(|(number, entry)| (number.value(), entry.value()))
            }) else {
                break;
            };
            if !over && completed_at >= oldest {
                break;
            }
            self.tables.receipt_order.remove(number)?;
            // A receipt that was completed anew is a later entry's.
            let stored = self.stored_receipt(UplinkId::from_u128(id))?;
            if stored.is_none_or(|stored| completed(&stored) == completed_at) {
                self.tables.receipts.remove(id)?;
            }
            self.pruned += 1;
        }
        Ok(())
    }
}

pub(super) fn read(
    tx: &ReadTransaction,
    id: UplinkId,
) -> Result<Option<ReceiptRecord>, redb::Error> {
    let table = tx.open_table(RECEIPTS)?;
    let stored = table.get(id.to_u128())?;
    stored
        .map(|bytes| decode_receipt(id, bytes.value()).map_err(corrupt))
        .transpose()
}

fn completed(receipt: &ReceiptRecord) -> u64 {
    micros(receipt.completed_at.unwrap_or(receipt.accepted_at))
}
