//! Uplinks that are to be removed wherever they are found in the stream: what may have been published although its caller was
//! told that it was not taken, and what was settled here. In memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::message::UplinkId;

/// Ids of uplinks that must not be sent.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    doubts: Doubts,
    finished: Finished,
}

/// Ids that may have been published although their caller was told that they were not taken.
#[derive(Debug, Default)]
struct Doubts {
    ids: HashMap<UplinkId, Instant>,
    /// How often one came, and up to which of them the stream was searched.
    came: u64,
    searched: u64,
}

/// How long a doubt stays: a message can be stuck in a network for a while.
const DOUBT: Duration = Duration::from_secs(10 * 60);

/// The last ids that were settled here: a server that comes back from a crash may have forgotten that it deleted them.
#[derive(Debug, Default)]
struct Finished {
    order: VecDeque<UplinkId>,
    ids: HashSet<UplinkId>,
}

/// Ids that are remembered.
const FINISHED: usize = 10_000;

impl Unwanted {
    pub(super) fn has(&self, id: UplinkId) -> bool {
        self.doubts.ids.contains_key(&id) || self.finished.ids.contains(&id)
    }

    /// It was settled.
    pub(super) fn settled(&mut self, id: UplinkId) {
        self.finished.remember(id);
    }

    /// It may have been published, and its caller is told that it was not taken.
    pub(super) fn doubt(&mut self, id: UplinkId) {
        self.doubts.ids.insert(id, Instant::now());
        self.doubts.came += 1;
    }

    /// Whether some were not yet looked for.
    pub(super) fn has_doubts(&self) -> bool {
        self.doubts.came != self.doubts.searched
    }

    /// How many came: to be said again after the whole stream was searched.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.came
    }

    /// The whole stream was searched for so many.
    pub(super) fn searched(&mut self, doubts: u64) {
        self.doubts.searched = self.doubts.searched.max(doubts);
    }

    /// Lets old doubts go.
    pub(super) fn prune(&mut self) {
        self.doubts.ids.retain(|_, since| since.elapsed() < DOUBT);
    }
}

impl Finished {
    fn remember(&mut self, id: UplinkId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > FINISHED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_settled_ones_are_let_go() {
        let mut unwanted = Unwanted::default();
        let ids: Vec<UplinkId> = (0..=FINISHED).map(|_| UplinkId::new()).collect();
        for id in &ids {
            unwanted.settled(*id);
            unwanted.settled(*id);
        }
        assert!(!unwanted.has(ids[0]));
        assert!(ids[1..].iter().all(|id| unwanted.has(*id)));
    }

    #[test]
    fn a_doubt_that_comes_during_a_search_is_searched_for_again() {
        let mut unwanted = Unwanted::default();
        unwanted.doubt(UplinkId::new());
        let before = unwanted.doubts();
        let late = UplinkId::new();
        unwanted.doubt(late);
        unwanted.searched(before);
        assert!(unwanted.has_doubts() && unwanted.has(late));
        unwanted.searched(unwanted.doubts());
        assert!(!unwanted.has_doubts() && unwanted.has(late));
    }
}
