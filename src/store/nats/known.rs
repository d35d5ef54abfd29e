//! Which records there are, as far as this process knows: from what it writes, and from what it follows, in whatever order
//! the two come.

use std::collections::BTreeMap;

/// Kinds and keys, and the place of the last message of each.
#[derive(Debug, Default)]
pub(super) struct KnownRecords {
    present: BTreeMap<(u8, String), u64>,
    removed: BTreeMap<(u8, String), u64>,
}

impl KnownRecords {
    /// Takes in what the message at a place says; `false` when a later one is known already.
    pub(super) fn apply(&mut self, record: (u8, String), place: u64, is_there: bool) -> bool {
        let known = self.present.get(&record).or(self.removed.get(&record));
        if known.is_some_and(|known| *known >= place) {
            return false;
        }
        let (into, from) = match is_there {
            true => (&mut self.present, &mut self.removed),
            false => (&mut self.removed, &mut self.present),
        };
        from.remove(&record);
        into.insert(record, place);
        true
    }

    pub(super) fn has(&self, record: &(u8, String)) -> bool {
        self.present.contains_key(record)
    }

    /// Keys of a kind behind one of them.
    pub(super) fn keys(&self, kind: u8, after: Option<&str>, limit: usize) -> Vec<String> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match after {
            Some(after) => Excluded((kind, after.to_owned())),
            None => Included((kind, String::new())),
        };
        let keys = self.present.range((from, Unbounded)).map(|(key, _)| key);
        let keys = keys.take_while(|(found, _)| *found == kind).take(limit);
        keys.map(|(_, key)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_of_late_changes_nothing() {
        let mut known = KnownRecords::default();
        let key = || (1, "a".to_owned());
        assert!(known.apply(key(), 5, true));
        assert!(known.apply(key(), 6, false));
        // The follower is behind this process's own writes.
        assert!(!known.apply(key(), 5, true) && !known.has(&key()));
        assert!(known.apply(key(), 9, true) && known.has(&key()));
        assert_eq!(known.keys(1, None, 9), ["a"]);
        assert_eq!(known.keys(1, Some("a"), 9), Vec::<String>::new());
    }
}
