//! What a listener has seen over all its connections, held against what was produced.

use std::collections::BTreeSet;

use super::*;

#[derive(Default)]
pub(super) struct Seen {
    pub(super) events: Vec<Cursor>,
    pub(super) gaps: Vec<Gap>,
}

impl Seen {
    pub(super) fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Event(event) => self.events.push(event.cursor()),
            Delivery::Gap(gap) => self.gaps.push(gap),
            Delivery::Deleted { .. } | Delivery::Behind | Delivery::Unavailable => {}
        }
    }

    /// Of these devices, every event that was produced, once and in order, or covered by a gap. Returns how many are missing.
    pub(super) fn check(
        &self,
        devices: &[usize],
        produced: impl IntoIterator<Item = (Cursor, DeviceId)>,
    ) -> usize {
        let in_order = self.events.is_sorted_by(|a, b| a < b);
        assert!(in_order, "twice or out of order: {:?}", self.events);
        let covered = |cursor: Cursor| {
            let covers =
                |gap: &Gap| gap.after.is_some_and(|after| after < cursor) && cursor < gap.next;
            self.gaps.iter().any(covers)
        };
        let devices: BTreeSet<_> = devices.iter().map(|n| device(*n)).collect();
        let (mut seen, mut missing) = (self.events.iter().peekable(), 0);
        for (cursor, device) in produced {
            if devices.contains(&device) && seen.next_if_eq(&&cursor).is_none() {
                missing += 1;
                assert!(covered(cursor), "{cursor:?} was skipped without a gap");
            }
        }
        assert_eq!(seen.next(), None, "an event that nobody produced");
        missing
    }
}
