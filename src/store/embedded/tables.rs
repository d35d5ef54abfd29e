//! The tables of the file. See the [module's page](super) for what they hold.

use std::ops::Bound;

use redb::{ReadTransaction, Table, TableDefinition, TableError, WriteTransaction};

use crate::store::records::{Record, RecordKind};

/// The version of the tables as a whole, under the key [`FORMAT`].
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(super) const QUEUE: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("queue");
pub(super) const QUEUE_DEVICES: TableDefinition<&str, (u64, u64, u64)> =
    TableDefinition::new("queue_devices");
pub(super) const RECEIPTS: TableDefinition<u128, &[u8]> = TableDefinition::new("receipts");
pub(super) const RECEIPT_ORDER: TableDefinition<u64, (u128, u64)> =
    TableDefinition::new("receipt_order");
pub(super) const KEYS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("keys");
pub(super) const KEY_ORDER: TableDefinition<u64, (&str, &str, u64)> =
    TableDefinition::new("key_order");
pub(super) const DOWNLINKS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("downlinks");
pub(super) const DOWNLINK_ORDER: TableDefinition<u64, (&str, u64, u64)> =
    TableDefinition::new("downlink_order");
pub(super) const DOWNLINK_DEVICES: TableDefinition<&str, (u64, u64, u64)> =
    TableDefinition::new("downlink_devices");
pub(super) const RECORDS: TableDefinition<(u8, &str), &[u8]> = TableDefinition::new("records");

/// The key of the version in [`META`].
pub(super) const FORMAT: &str = "format";
/// The key of [`Totals`](super::format::Totals) in [`META`].
pub(super) const TOTALS: &str = "totals";
/// The version of the tables as this program writes them.
pub(super) const FORMAT_VERSION: u32 = 1;

/// All tables of one transaction.
pub(super) struct Tables<'tx> {
    pub(super) meta: Table<'tx, &'static str, &'static [u8]>,
    pub(super) queue: Table<'tx, (&'static str, u64), &'static [u8]>,
    pub(super) queue_devices: Table<'tx, &'static str, (u64, u64, u64)>,
    pub(super) receipts: Table<'tx, u128, &'static [u8]>,
    pub(super) receipt_order: Table<'tx, u64, (u128, u64)>,
    pub(super) keys: Table<'tx, (&'static str, &'static str), &'static [u8]>,
    pub(super) key_order: Table<'tx, u64, (&'static str, &'static str, u64)>,
    pub(super) downlinks: Table<'tx, (&'static str, u64), &'static [u8]>,
    pub(super) downlink_order: Table<'tx, u64, (&'static str, u64, u64)>,
    pub(super) downlink_devices: Table<'tx, &'static str, (u64, u64, u64)>,
    pub(super) records: Table<'tx, (u8, &'static str), &'static [u8]>,
}

impl<'tx> Tables<'tx> {
    /// Opens all, and creates those that do not exist.
    pub(super) fn open(tx: &'tx WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            meta: tx.open_table(META)?,
            queue: tx.open_table(QUEUE)?,
            queue_devices: tx.open_table(QUEUE_DEVICES)?,
            receipts: tx.open_table(RECEIPTS)?,
            receipt_order: tx.open_table(RECEIPT_ORDER)?,
            keys: tx.open_table(KEYS)?,
            key_order: tx.open_table(KEY_ORDER)?,
            downlinks: tx.open_table(DOWNLINKS)?,
            downlink_order: tx.open_table(DOWNLINK_ORDER)?,
            downlink_devices: tx.open_table(DOWNLINK_DEVICES)?,
            records: tx.open_table(RECORDS)?,
        })
    }
}

/// What is true of the whole store, or nothing in a file whose tables were never written.
pub(super) fn meta(tx: &ReadTransaction, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = match tx.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

pub(super) fn record(
    tx: &ReadTransaction,
    kind: RecordKind,
    key: &str,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = tx.open_table(RECORDS)?;
    let value = table.get((kind as u8, key))?;
    Ok(value.map(|value| value.value().to_vec()))
}

/// Records of one kind with keys behind `after`.
pub(super) fn records(
    tx: &ReadTransaction,
    kind: RecordKind,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Record>, redb::Error> {
    let table = tx.open_table(RECORDS)?;
    let kind = kind as u8;
    let start = match after {
        Some(after) => Bound::Excluded((kind, after)),
        None => Bound::Included((kind, "")),
    };
    let mut records = Vec::new();
    for entry in table
        .range((start, Bound::Excluded((kind + 1, ""))))?
        .take(limit)
    {
        let (key, value) = entry?;
        records.push(Record {
            key: key.value().1.into(),
            value: value.value().to_vec(),
        });
    }
    Ok(records)
}
