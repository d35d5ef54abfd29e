//! Whether every record that was written has been seen: pure.

/// How far the records have been followed.
#[derive(Debug, Default)]
pub(super) struct Following {
    is_whole: bool,
    is_listing: bool,
    /// Something was missed while a list was made: it may not be in it.
    is_list_old: bool,
    /// Everything up to here has been seen.
    position: u64,
    /// Seen while a list was made.
    seen: Vec<u64>,
    /// This member's last record but one must have come back.
    expected: u64,
}

impl Following {
    /// Whether nothing is missing, as far as that can be known.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many records have been written that have not come here.
    pub(super) fn behind(&self) -> u64 {
        self.expected.saturating_sub(self.position)
    }

    /// Something may be missing.
    pub(super) fn lose(&mut self) {
        self.is_whole = false;
        self.is_list_old |= self.is_listing;
    }

    /// Whether all records are to be read now.
    pub(super) fn begin_listing(&mut self) -> bool {
        let begins = !self.is_whole && !self.is_listing;
        self.is_listing |= begins;
        begins
    }

    /// They have been read, as they were at `position`.
    pub(super) fn listed(&mut self, position: u64) {
        self.position = position;
        self.is_listing = false;
        self.is_whole = !std::mem::take(&mut self.is_list_old);
        for seq in std::mem::take(&mut self.seen) {
            self.saw(seq);
        }
    }

    /// They could not be read.
    pub(super) fn not_listed(&mut self) {
        self.is_listing = false;
        self.is_list_old = false;
        self.seen.clear();
    }

    /// A record came.
    pub(super) fn saw(&mut self, seq: u64) {
        if self.is_listing {
            self.seen.push(seq);
        } else if seq == self.position + 1 {
            self.position = seq;
        } else if seq > self.position {
            self.lose();
        }
    }

    /// A record of this member was written, and comes in a moment.
    pub(super) fn expect(&mut self, seq: u64) {
        if self.position < self.expected {
            self.lose();
        }
        self.expected = seq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(position: u64) -> Following {
        let mut following = Following::default();
        assert!(following.begin_listing() && !following.begin_listing());
        following.listed(position);
        assert!(following.is_whole());
        following
    }

    #[test]
    fn what_is_missing_shows_by_the_next() {
        let mut following = listed(3);
        following.saw(3);
        following.saw(4);
        assert!(following.is_whole());
        following.saw(6);
        assert!(!following.is_whole() && following.begin_listing());
    }

    #[test]
    fn what_is_missing_shows_by_the_members_own_record() {
        let mut following = listed(3);
        following.expect(5);
        assert!(following.is_whole());
        assert_eq!(following.behind(), 2);
        following.expect(7);
        assert!(!following.is_whole());
    }

    #[test]
    fn what_comes_while_a_list_is_made_follows_it() {
        let mut following = Following::default();
        assert!(following.begin_listing());
        (4..=6).for_each(|seq| following.saw(seq));
        following.listed(5);
        assert!(following.is_whole());
        assert_eq!(following.position(), 6);
        following.lose();
        assert!(following.begin_listing());
        following.saw(9);
        following.listed(7);
        assert!(!following.is_whole());
    }

    #[test]
    fn a_list_that_was_begun_before_a_loss_is_not_the_last() {
        let mut following = Following::default();
        assert!(following.begin_listing());
        following.lose();
        following.listed(9);
        assert!(!following.is_whole() && following.begin_listing());
        following.not_listed();
        assert!(following.begin_listing());
        following.listed(9);
        assert!(following.is_whole());
    }
}
