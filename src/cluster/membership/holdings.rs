//! Which partitions this process has, and what is under way with them: plain data.

use super::plan::Own;
use crate::cluster::partition::Partitions;

/// Every partition is in one of these at the most.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Holdings {
    /// To be written down as this process's: not known yet whether it is.
    acquiring: Partitions,
    /// Its sessions are being started.
    taking: Partitions,
    /// Its sessions run.
    running: Partitions,
    /// Its sessions are being ended.
    leaving: Partitions,
    /// Lost while they were being started or ended: that goes on until its end.
    ending: Partitions,
    /// To be written down as nobody's.
    releasing: Partitions,
}

impl Holdings {
    pub(super) fn own(&self, is_ending: bool) -> Own {
        Own {
            running: self.running,
            busy: self.busy(),
            is_ending,
        }
    }

    pub(super) fn running(&self) -> Partitions {
        self.running
    }

    /// Those on their way in or out.
    pub(super) fn moving(&self) -> Partitions {
        self.taking.and(self.leaving)
    }

    /// Those that sessions have been told of, and not yet that they are over.
    pub(super) fn in_use(&self) -> Partitions {
        self.taking.and(self.running).and(self.leaving)
    }

    fn busy(&self) -> Partitions {
        let ending = self.leaving.and(self.ending).and(self.releasing);
        self.acquiring.and(self.taking).and(ending)
    }

    /// Nothing is held, and nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.busy().and(self.running).is_empty()
    }

    /// Nobody works at sessions any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_use().and(self.ending).is_empty()
    }

    pub(super) fn acquire(&mut self, partitions: Partitions) {
        self.acquiring = self.acquiring.and(partitions);
    }

    /// What became of it: `gained` are to be taken now.
    pub(super) fn acquired(&mut self, asked: Partitions, gained: Partitions) {
        self.acquiring = self.acquiring.without(asked);
        self.taking = self.taking.and(gained);
    }

    /// Their sessions have been started. Gives those that were not lost meanwhile.
    pub(super) fn taken(&mut self, partitions: Partitions) -> Partitions {
        let kept = self.taking.common(partitions);
        self.ending = self.ending.without(partitions);
        self.taking = self.taking.without(kept);
        self.running = self.running.and(kept);
        kept
    }

    pub(super) fn leave(&mut self, partitions: Partitions) {
        self.running = self.running.without(partitions);
        self.leaving = self.leaving.and(partitions);
    }

    /// Their sessions have ended. Gives those that were not lost meanwhile, which are to be released.
    pub(super) fn left(&mut self, partitions: Partitions) -> Partitions {
        let kept = self.leaving.common(partitions);
        self.ending = self.ending.without(partitions);
        self.leaving = self.leaving.without(kept);
        self.releasing = self.releasing.and(kept);
        kept
    }

    pub(super) fn release(&mut self, partitions: Partitions) {
        self.releasing = self.releasing.and(partitions);
    }

    pub(super) fn released(&mut self, partitions: Partitions) {
        self.releasing = self.releasing.without(partitions);
    }

    /// Gives those whose sessions are to be cut.
    pub(super) fn lose(&mut self, partitions: Partitions) -> Partitions {
        let lost = self.in_use().common(partitions);
        let under_way = self.moving().common(lost);
        self.taking = self.taking.without(lost);
        self.running = self.running.without(lost);
        self.leaving = self.leaving.without(lost);
        self.ending = self.ending.and(under_way);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Partition;

    fn set(numbers: &[u8]) -> Partitions {
        let partitions = numbers.iter().filter_map(|number| Partition::new(*number));
        partitions.collect()
    }

    #[test]
    fn what_is_lost_on_its_way_is_not_taken_again_before_its_end() {
        let mut holdings = Holdings::default();
        holdings.acquire(set(&[1, 2, 3]));
        holdings.acquired(set(&[1, 2, 3]), set(&[1, 2]));
        assert_eq!(holdings.lose(set(&[1])), set(&[1]));
        assert_eq!(holdings.own(false).busy, set(&[1, 2]));
        assert_eq!(holdings.taken(set(&[1, 2])), set(&[2]));
        assert_eq!(holdings.running(), set(&[2]));
        holdings.leave(set(&[2]));
        assert_eq!(holdings.lose(Partitions::ALL), set(&[2]));
        assert_eq!(holdings.own(false).busy, set(&[2]));
        assert!(holdings.left(set(&[2])).is_empty());
        assert!(holdings.is_empty());
    }

    #[test]
    fn what_is_left_is_busy_until_it_has_been_written_down() {
        let mut holdings = Holdings::default();
        holdings.acquired(set(&[]), set(&[7]));
        assert_eq!(holdings.taken(set(&[7])), set(&[7]));
        holdings.leave(set(&[7]));
        assert_eq!(
            (holdings.running(), holdings.moving()),
            (set(&[]), set(&[7]))
        );
        assert_eq!(holdings.left(set(&[7])), set(&[7]));
        assert!(!holdings.is_empty());
        // Nothing of it is in use any more.
        assert!(holdings.lose(Partitions::ALL).is_empty());
        holdings.released(set(&[7]));
        assert!(holdings.is_empty());
    }
}
