//! The order in which events leave the windows of all devices when these together hold too much.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cursor::Cursor;
use super::event::Event;
use super::hub::{Feed, Limits};

/// All events in all windows, by their cursors, and some that have left theirs already.
#[derive(Debug, Default)]
pub(super) struct Order {
    entries: VecDeque<(Cursor, Arc<Feed>)>,
    events: usize,
    bytes: usize,
}

/// Entries of events that have left their windows may outnumber the others by this many.
const SLACK: usize = 1000;

impl Order {
    /// Puts an event, behind all others, into its window, and takes the oldest of all out as the limits demand.
    pub(super) fn push(&mut self, feed: &Arc<Feed>, event: Arc<Event>, limits: &Limits) {
        self.entries.push_back((event.cursor(), Arc::clone(feed)));
        self.events += 1;
        self.bytes += event.held();
        let gone = feed.ring().push(event, limits);
        self.forget(gone);
        while self.bytes > limits.total_bytes
            && self.entries.len() > 1
            && let Some((cursor, feed)) = self.entries.pop_front()
        {
            let gone = feed.ring().evict(cursor);
            self.forget(gone);
        }
        if self.entries.len() > 2 * self.events + SLACK {
            self.entries
                .retain(|(cursor, feed)| *cursor > feed.ring().evicted());
        }
    }

    /// Lets go of everything in a window.
    pub(super) fn empty(&mut self, feed: &Feed) {
        let gone = feed.ring().evict(Cursor::from_raw(u64::MAX));
        self.forget(gone);
    }

    fn forget(&mut self, gone: Gone) {
        self.events -= gone.events;
        self.bytes -= gone.bytes;
    }
}

/// What has left a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gone {
    pub(super) events: usize,
    pub(super) bytes: usize,
}
