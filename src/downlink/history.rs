//! What is stored, read page by page by one listener.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use futures_util::FutureExt;

use super::cursor::Cursor;
use crate::device::DeviceId;
use crate::store::records::{HistoryPage, ReadLimit, StoredDownlink};
use crate::store::{Answer, DownlinkHistory};

/// The store's side of the road in.
#[derive(Clone)]
pub(super) struct History(pub(super) Arc<dyn DownlinkHistory>);

impl Deref for History {
    type Target = dyn DownlinkHistory;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

/// What one listener holds in memory of its history.
const PAGE: ReadLimit = ReadLimit {
    count: 200,
    bytes: 256 * 1024,
};

/// A listener's way through what is stored.
pub(super) struct Replay {
    history: History,
    devices: Arc<[DeviceId]>,
    state: State,
}

enum State {
    /// Nothing is read at the moment.
    Idle,
    Reading {
        after: Cursor,
        page: Answer<HistoryPage>,
    },
    Delivering {
        events: vec::IntoIter<StoredDownlink>,
        until: Cursor,
    },
}

/// One step of a replay.
pub(super) enum Step {
    /// Nothing is left of what was asked for.
    Idle,
    /// A page was read, and events up to this cursor are no longer there.
    Fallen(Cursor),
    Event(Box<StoredDownlink>),
    /// Everything up to here was looked at.
    Until(Cursor),
    /// The store cannot be read now.
    Failed,
}

impl Replay {
    pub(super) fn new(history: History, devices: Arc<[DeviceId]>) -> Self {
        Self {
            history,
            devices,
            state: State::Idle,
        }
    }

    pub(super) fn devices(&self) -> &Arc<[DeviceId]> {
        &self.devices
    }

    /// Asks for a page of what came behind this cursor.
    pub(super) fn read(&mut self, after: Cursor) {
        let devices = Arc::clone(&self.devices);
        let page = self.history.history(devices, after.to_raw(), PAGE);
        self.state = State::Reading { after, page };
    }

    /// What comes next of the page that was asked for. `published` tells up to where the hub has shown events: what is
    /// stored behind it comes from there.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        published: impl FnOnce() -> Cursor,
    ) -> Poll<Step> {
        match &mut self.state {
            State::Idle => Poll::Ready(Step::Idle),
            State::Reading { after, page } => {
                let after = *after;
                let Ok(page) = std::task::ready!(page.poll_unpin(cx)) else {
                    self.state = State::Idle;
                    return Poll::Ready(Step::Failed);
                };
                // Behind it there may be some that are about to be taken back, because their commit has failed.
                let published = published();
                let until = published.min(Cursor::from_raw(page.until));
                if until <= after {
                    self.state = State::Idle;
                    return Poll::Ready(Step::Failed);
                }
                let mut events = page.events;
                events.retain(|event| event.cursor <= until.to_raw());
                self.state = State::Delivering {
                    events: events.into_iter(),
                    until,
                };
                let fallen = page.fallen.map_or(Cursor::ZERO, Cursor::from_raw);
                Poll::Ready(Step::Fallen(fallen.min(published)))
            }
            State::Delivering { events, until } => {
                let step = match events.next() {
                    Some(event) => Step::Event(Box::new(event)),
                    None => Step::Until(*until),
                };
                if let Step::Until(_) = step {
                    self.state = State::Idle;
                }
                Poll::Ready(step)
            }
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}
