//! The window of one device: its latest events, bounded by count and bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cursor::Cursor;
use super::event::Event;
use super::hub::Limits;
use super::order::Gone;

#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The last event that is no longer here, or the start of the process, before which nothing is known.
    evicted: Cursor,
}

impl Ring {
    pub(super) fn new(start: Cursor) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            evicted: start,
        }
    }

    /// Everything up to this cursor may be missing.
    pub(super) fn evicted(&self) -> Cursor {
        self.evicted
    }

    /// Takes an event with a cursor behind all others. The latest one is always kept, however large it is: a listener
    /// that is there must get it.
    pub(super) fn push(&mut self, event: Arc<Event>, limits: &Limits) -> Gone {
        self.bytes += event.held();
        self.events.push_back(event);
        let mut gone = Gone::default();
        while self.events.len() > 1
            && (self.events.len() > limits.events || self.bytes > limits.bytes)
        {
            self.pop(&mut gone);
        }
        gone
    }

    /// Lets go of everything up to this cursor.
    pub(super) fn evict(&mut self, until: Cursor) -> Gone {
        let mut gone = Gone::default();
        while self.events.front().is_some_and(|e| e.cursor() <= until) {
            self.pop(&mut gone);
        }
        gone
    }

    /// Events behind `after`, up to and including `until`.
    pub(super) fn between(
        &self,
        after: Cursor,
        until: Cursor,
    ) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|event| event.cursor() <= after);
        self.events
            .range(start..)
            .take_while(move |event| event.cursor() <= until)
    }

    fn pop(&mut self, gone: &mut Gone) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.held();
            self.evicted = oldest.cursor();
            gone.events += 1;
            gone.bytes += oldest.held();
        }
    }
}
