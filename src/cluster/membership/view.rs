//! What this process knows of the records.

use std::collections::BTreeMap;

use super::record::{MemberRecord, PartitionRecord, Record};
use crate::cluster::clock::Moment;
use crate::cluster::partition::Partition;
use crate::cluster::table::MemberId;

/// A record, and when it came here.
#[derive(Debug, Clone)]
pub(super) struct Known<T> {
    pub(super) record: T,
    /// Its place in the stream: what the next one is written over.
    pub(super) seq: u64,
    /// Not before it was written.
    pub(super) seen: Moment,
}

/// The last record of each subject.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) members: BTreeMap<MemberId, Known<MemberRecord>>,
    partitions: [Option<Known<PartitionRecord>>; Partition::COUNT as usize],
}

impl Default for View {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            partitions: std::array::from_fn(|_| None),
        }
    }
}

impl View {
    /// Takes a record over, unless a later one of its subject is known.
    pub(super) fn take(&mut self, record: Record, seq: u64, seen: Moment) -> bool {
        match record {
            Record::Member(id, record) => {
                let is_new = self.members.get(&id).is_none_or(|known| known.seq < seq);
                if is_new {
                    self.members.insert(id, Known { record, seq, seen });
                }
                is_new
            }
            Record::Partition(partition, record) => {
                let place = &mut self.partitions[usize::from(partition.number())];
                let is_new = place.as_ref().is_none_or(|known| known.seq < seq);
                if is_new {
                    *place = Some(Known { record, seq, seen });
                }
                is_new
            }
        }
    }

    /// Makes it what a list of all records says that was made at `position`. When something was seen stays as it was.
    pub(super) fn replace(&mut self, records: Vec<(Record, u64)>, position: u64, seen: Moment) {
        let before = std::mem::take(self);
        for (record, seq) in records {
            self.take(record, seq, seen);
        }
        for (id, known) in before.members {
            let same = |now: &Known<_>| now.seq == known.seq;
            if self.members.get(&id).is_some_and(same)
                || known.seq > position && !self.members.contains_key(&id)
            {
                self.members.insert(id, known);
            }
        }
        for (place, known) in self.partitions.iter_mut().zip(before.partitions) {
            let Some(known) = known else { continue };
            if known.seq > position && place.as_ref().is_none_or(|now| now.seq < known.seq) {
                *place = Some(known);
            }
        }
    }

    pub(super) fn partition(&self, partition: Partition) -> Option<&Known<PartitionRecord>> {
        self.partitions[usize::from(partition.number())].as_ref()
    }

    /// Who has a partition, dead or alive.
    pub(super) fn holder(&self, partition: Partition) -> Option<&MemberId> {
        self.partition(partition)?.record.holder.as_ref()
    }

    /// What the next record of a partition is written over.
    pub(super) fn seq(&self, partition: Partition) -> u64 {
        self.partition(partition).map_or(0, |known| known.seq)
    }
}
