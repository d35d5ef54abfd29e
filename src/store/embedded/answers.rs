//! Answers to requests with an idempotency key, and the order in which they were finished, in which they go.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::batch::{Batch, corrupt};
use super::change::FORGET_STEP;
use super::tables::KEYS;
use crate::device::DeviceId;
use crate::fields::micros;
use crate::store::format::{StoredAnswer, decode_answer, encode_answer};
use crate::store::records::KeyedAnswer;

impl Batch<'_> {
    pub(super) fn put_answer(
        &mut self,
        device: &DeviceId,
        answer: &KeyedAnswer,
    ) -> Result<(), redb::Error> {
        let key = (device.as_str(), &*answer.key);
        let bytes = encode_answer(self.now, &answer.body, &answer.answer);
        self.tables.keys.insert(key, bytes.as_slice())?;
        let next = {
            let last = self.tables.key_order.last()?;
            last.map_or(0, |(number, _)| number.value() + 1)
        };
        let entry = (key.0, key.1, micros(self.now));
        self.tables.key_order.insert(next, entry)?;
        Ok(())
    }

    /// Forgets some keys of a device, and says how many. Their places in the order are found empty later.
    pub(super) fn forget_keys(&mut self, device: &str) -> Result<u64, redb::Error> {
        let mut keys: Vec<Box<str>> = Vec::new();
        for entry in self.tables.keys.range((device, "")..)? {
            let (key, _) = entry?;
            let (owner, key) = key.value();
            if owner != device || keys.len() as u64 == FORGET_STEP {
                break;
            }
            keys.push(key.into());
        }
        for key in &keys {
            self.tables.keys.remove((device, &**key))?;
        }
        Ok(keys.len() as u64)
    }

    pub(super) fn prune_keys(&mut self, budget: usize) -> Result<(), redb::Error> {
        let limits = self.limits.keys;
        let oldest = micros(
            self.now
                .checked_sub(limits.age)
                .unwrap_or(std::time::UNIX_EPOCH),
        );
        for _ in 0..budget {
            let over = self.tables.key_order.len()? > limits.count;
            let Some(first) = self.first_key()? else {
                break;
            };
            if !over && first.finished_at >= oldest {
                break;
            }
            self.tables.key_order.remove(first.number)?;
            let key = (&*first.device, &*first.key);
            // A key that was used anew is a later entry's.
            let current = self.tables.keys.get(key)?.is_some_and(|bytes| {
                decode_answer(bytes.value())
                    .is_ok_and(|a| micros(a.finished_at) != first.finished_at)
            });
            if !current {
                self.tables.keys.remove(key)?;
            }
            self.pruned += 1;
        }
        Ok(())
    }

    fn first_key(&self) -> Result<Option<Oldest>, redb::Error> {
        let first = self.tables.key_order.first()?;
        Ok(first.map(|(number, entry)| {
            let (device, key, finished_at) = entry.value();
            Oldest {
                number: number.value(),
                device: device.into(),
                key: key.into(),
                finished_at,
            }
        }))
    }
}

struct Oldest {
    number: u64,
    device: Box<str>,
    key: Box<str>,
    finished_at: u64,
}

/// The answer that is kept for a key, whatever its age.
pub(super) fn read(
    tx: &ReadTransaction,
    device: &DeviceId,
    key: &str,
) -> Result<Option<StoredAnswer>, redb::Error> {
    let table = tx.open_table(KEYS)?;
    let stored = table.get((device.as_str(), key))?;
    stored
        .map(|bytes| decode_answer(bytes.value()).map_err(corrupt))
        .transpose()
}
