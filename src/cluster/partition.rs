//! The parts into which all sessions are divided.

use std::fmt;

/// One of [`COUNT`](Self::COUNT) parts of all sessions: what a member holds as a whole, or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// How many there are. It stays: members of several versions work together.
    pub const COUNT: u8 = 64;

    /// The partition with a number below [`COUNT`](Self::COUNT).
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The partition of a session, by the text of whom it belongs to: the id of its device, or the name of the connector
    /// whose devices share it. The same in every process and version.
    pub fn of(owner: &str) -> Self {
        Self((hash(owner.bytes()) >> 58) as u8)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// The same in every process and version.
pub(super) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    // FNV-1a, in which the last bytes of a text hardly reach the upper bits: ids that end in a number would share a few
    // partitions.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3_u64)
    });
    // The finalizer of MurmurHash3, after which every bit depends on all.
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A set of partitions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Partitions(u64);

impl Partitions {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them: what a process holds that is alone.
    pub const ALL: Self = Self(u64::MAX);

    /// Whether the partition is one of these.
    pub fn has(self, partition: Partition) -> bool {
        self.0 >> partition.0 & 1 == 1
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// These, and one more.
    pub fn insert(&mut self, partition: Partition) {
        self.0 |= 1 << partition.0;
    }

    /// These, but for one.
    pub fn remove(&mut self, partition: Partition) {
        self.0 &= !(1 << partition.0);
    }

    /// Those that are in either.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These, but for the others.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn common(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Each of them, the lowest number first.
    pub fn iter(self) -> Iter {
        Iter(self.0)
    }
}

impl From<Partition> for Partitions {
    fn from(partition: Partition) -> Self {
        Self(1 << partition.0)
    }
}

impl FromIterator<Partition> for Partitions {
    fn from_iter<I: IntoIterator<Item = Partition>>(partitions: I) -> Self {
        let add = |set: u64, partition: Partition| set | 1 << partition.0;
        Self(partitions.into_iter().fold(0, add))
    }
}

impl IntoIterator for Partitions {
    type Item = Partition;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

/// Each partition of a set.
#[derive(Debug, Clone)]
pub struct Iter(u64);

impl Iterator for Iter {
    type Item = Partition;

    fn next(&mut self) -> Option<Partition> {
        let number = self.0.trailing_zeros();
        // Of nothing, the lowest bit is taken away without harm.
        self.0 &= self.0.wrapping_sub(1);
        Partition::new(number as u8)
    }
}

/// As people write it: `0-3, 7`.
impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut is_first = true;
        while let Some(first) = rest.iter().next() {
            let mut last = first;
            rest.remove(first);
            while let Some(next) = Partition::new(last.0 + 1).filter(|next| rest.has(*next)) {
                rest.remove(next);
                last = next;
            }
            let comma = if is_first { "" } else { ", " };
            is_first = false;
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn partitions_are_the_same_for_ever() {
        let found = ["a", "pump-1", "Ger\u{e4}t 7"].map(|id| Partition::of(id).number());
        assert_eq!(found, [32, 19, 1]);
    }

    #[test]
    fn devices_are_spread_evenly() {
        let mut counts = [0_u32; Partition::COUNT as usize];
        for number in 0..64_000 {
            let partition = Partition::of(&format!("pump-{number}"));
            counts[usize::from(partition.number())] += 1;
        }
        let near = counts.iter().all(|count| (850..1150).contains(count));
        assert!(near, "{counts:?}");
    }

    fn set(numbers: &BTreeSet<u8>) -> Partitions {
        let partitions = numbers.iter().filter_map(|number| Partition::new(*number));
        partitions.collect()
    }

    proptest! {
        #[test]
        fn a_set_is_one(
            one in prop::collection::btree_set(0_u8..64, 0..64),
            other in prop::collection::btree_set(0_u8..64, 0..64),
        ) {
            let (a, b) = (set(&one), set(&other));
            prop_assert_eq!(a.iter().map(Partition::number).collect::<BTreeSet<_>>(), one.clone());
            prop_assert_eq!(a.len(), one.len());
            prop_assert_eq!(a.and(b), set(&(&one | &other)));
            prop_assert_eq!(a.without(b), set(&(&one - &other)));
            prop_assert_eq!(a.common(b), set(&(&one & &other)));
        }
    }

    #[test]
    fn a_set_reads_as_people_write_it() {
        let numbers = [0, 1, 2, 7, 62, 63].into();
        assert_eq!(set(&numbers).to_string(), "0-2, 7, 62-63");
        assert_eq!(Partitions::ALL.to_string(), "0-63");
        assert_eq!(Partitions::NONE.to_string(), "");
    }
}
