//! Where sessions leave downlinks and listeners find them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures_util::task::AtomicWaker;

use super::cursor::{After, Cursor};
use super::event::Draft;
use super::history::History;
use super::order::Order;
use super::ring::Ring;
use super::subscription::Subscription;
use crate::device::DeviceId;
use crate::message::Downlink;
use crate::store::{DownlinkHistory, Follow};
use crate::topic::TopicFilter;

/// What is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events of each device. Default 1000. At least the latest one is kept, unless all devices together hold too much.
    pub events: usize,
    /// Bytes of memory for each device, structures included. Default 1 MiB.
    pub bytes: usize,
    /// Bytes of memory for all devices together, structures included. Default 256 MiB.
    pub total_bytes: usize,
}

impl Limits {
    /// Where everything is stored as well, memory only has to span the time that a listener takes to read, and the
    /// usual short break: 128 events and 256 KiB of each device, 32 MiB in all.
    pub const CACHE: Self = Self {
        events: 128,
        bytes: 256 * 1024,
        total_bytes: 32 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 1000,
            bytes: 1024 * 1024,
            total_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Takes downlinks from sessions and lets any number of listeners read them.
#[derive(Debug)]
pub struct Hub {
    limits: Limits,
    history: Option<History>,
    /// What all processes store, until somebody takes it; where there is one, it alone feeds the listeners.
    follow: Mutex<Option<Follow>>,
    is_followed: bool,
    start: Cursor,
    sequence: Mutex<Sequence>,
    /// Everything up to this cursor is in its ring.
    published: AtomicU64,
    /// How many devices were forgotten or dismissed: a listener that sees another number looks whether they were its own.
    forgotten: AtomicU64,
    feeds: RwLock<HashMap<DeviceId, Arc<Feed>>>,
}

/// Locked while an event is put into a ring, so that events appear in the order of their cursors across all devices: a
/// listener that has seen one will not find an earlier one later.
#[derive(Debug)]
struct Sequence {
    /// The last cursor that was published.
    last: Cursor,
    order: Order,
}

/// One device's window and those who read it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) device: DeviceId,
    ring: Mutex<Ring>,
    /// The device was deleted, or is no longer configured.
    gone: AtomicBool,
    /// By address.
    listeners: Mutex<HashMap<usize, Arc<AtomicWaker>>>,
}

impl Hub {
    /// A hub that keeps everything in memory, without events, whose cursors start now.
    pub fn new(limits: Limits) -> Self {
        Self::starting_at(limits, None, Cursor::at_start())
    }

    /// A hub in front of a store, where its listeners find what is not in memory, and everything before a restart.
    pub fn with_history(limits: Limits, history: Arc<dyn DownlinkHistory>) -> Self {
        // In this order: what is stored between the two comes twice and not never.
        let follow = history.follow();
        let start = Cursor::from_raw(history.newest_cursor());
        Self {
            is_followed: follow.is_some(),
            follow: Mutex::new(follow),
            ..Self::starting_at(limits, Some(History(history)), start)
        }
    }

    pub(super) fn starting_at(limits: Limits, history: Option<History>, start: Cursor) -> Self {
        Self {
            limits,
            history,
            follow: Mutex::default(),
            is_followed: false,
            start,
            sequence: Mutex::new(Sequence {
                last: start,
                order: Order::default(),
            }),
            published: AtomicU64::new(start.to_raw()),
            forgotten: AtomicU64::new(0),
            feeds: RwLock::default(),
        }
    }

    /// Takes a downlink without storing it, and wakes its listeners. For a hub that keeps everything in memory; the
    /// others have an [`Intake`](super::Intake).
    pub fn accept(&self, downlink: &Downlink) -> Cursor {
        let feed = self.feed(&downlink.device);
        let draft = Draft::render(downlink);
        let mut sequence = lock(&self.sequence);
        let cursor = sequence.last.next();
        let feed = self.put(&mut sequence, feed, draft, cursor);
        drop(sequence);
        feed.wake();
        cursor
    }

    /// Shows stored downlinks to their listeners. Cursors must be growing, from one call to the next as well.
    pub(super) fn publish<'a>(
        &self,
        drafts: impl Iterator<Item = ((&'a DeviceId, Draft), Cursor)>,
    ) {
        let drafts = drafts.map(|((device, draft), cursor)| (self.feed(device), draft, cursor));
        let drafts: Vec<_> = drafts.collect();
        let mut feeds: Vec<Arc<Feed>> = Vec::new();
        let mut sequence = lock(&self.sequence);
        for (feed, draft, cursor) in drafts {
            let feed = self.put(&mut sequence, feed, draft, cursor);
            feeds.push(feed);
        }
        drop(sequence);
        feeds.sort_unstable_by_key(|feed| Arc::as_ptr(feed).addr());
        feeds.dedup_by_key(|feed| Arc::as_ptr(feed).addr());
        for feed in feeds {
            feed.wake();
        }
    }

    /// Reads the downlinks of these devices, on topics that the filter matches (what follows the profile's prefix; all
    /// without one), in the order of their cursors.
    pub fn subscribe(
        self: &Arc<Self>,
        devices: impl IntoIterator<Item = DeviceId>,
        topics: Option<TopicFilter>,
        after: After,
    ) -> Subscription {
        let feeds = devices.into_iter().map(|device| self.feed(&device));
        Subscription::new(Arc::clone(self), feeds, topics, after)
    }

    /// Forgets a device that was deleted, and tells its listeners. One of the same id that comes later is another one.
    pub fn forget(&self, device: &DeviceId) {
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        let Some(feed) = feeds.remove(device) else {
            return;
        };
        drop(feeds);
        lock(&self.sequence).order.empty(&feed);
        feed.gone.store(true, Ordering::Release);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        feed.wake();
    }

    /// Ends the listening to a device that is not there any more, and keeps its history: one of the same id that comes later
    /// goes on with it, where there is a store.
    pub fn dismiss(&self, device: &DeviceId) {
        let mut sequence = lock(&self.sequence);
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        let Some(feed) = feeds.remove(device) else {
            return;
        };
        // What came before is not in the new window, so whoever asks for it is led to the store, or told of a gap.
        let next = Feed::new(device.clone(), sequence.last);
        feeds.insert(device.clone(), Arc::new(next));
        drop(feeds);
        sequence.order.empty(&feed);
        // While nothing is put into a window: what comes next goes into the new one.
        feed.gone.store(true, Ordering::Release);
        drop(sequence);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        feed.wake();
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// How many listeners there are; one that reads several devices counts for each.
    pub fn listeners(&self) -> usize {
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        feeds.values().map(|feed| lock(&feed.listeners).len()).sum()
    }

    /// Whether listeners are told by what all processes store, and not by whoever stores something here.
    pub(super) fn is_followed(&self) -> bool {
        self.is_followed
    }

    pub(super) fn take_follow(&self) -> Option<Follow> {
        lock(&self.follow).take()
    }

    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// Whether a listener can have seen this cursor, here or at another replica that was faster.
    pub(super) fn may_have_shown(&self, cursor: Cursor) -> bool {
        /// Events that another replica may have shown and that have not come here yet: far more than come in a moment, and
        /// few enough that the cursor of another store is told from it.
        const AHEAD: u64 = 1_000_000;
        let ahead = if self.is_followed { AHEAD } else { 0 };
        cursor.to_raw() <= self.published().to_raw().saturating_add(ahead)
    }

    /// As one whose downlinks come by way of other processes.
    #[cfg(test)]
    pub(super) fn followed(self) -> Self {
        Self {
            is_followed: true,
            ..self
        }
    }

    pub(super) fn published(&self) -> Cursor {
        Cursor::from_raw(self.published.load(Ordering::Acquire))
    }

    /// Puts an event into a device's window, and tells which one that is: one that was found a moment ago may have gone.
    fn put(
        &self,
        sequence: &mut Sequence,
        mut feed: Arc<Feed>,
        draft: Draft,
        cursor: Cursor,
    ) -> Arc<Feed> {
        if feed.is_gone() {
            feed = self.feed(&feed.device);
        }
        let event = Arc::new(draft.seal(cursor));
        sequence.order.push(&feed, event, &self.limits);
        sequence.last = cursor;
        self.published.store(cursor.to_raw(), Ordering::Release);
        feed
    }

    fn feed(&self, device: &DeviceId) -> Arc<Feed> {
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(device) {
            return Arc::clone(feed);
        }
        drop(feeds);
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Feed::new(device.clone(), self.start));
        Arc::clone(feeds.entry(device.clone()).or_insert_with(new))
    }
}

impl Feed {
    /// One in which nothing is missing that came behind `start`.
    fn new(device: DeviceId, start: Cursor) -> Self {
        Self {
            device,
            ring: Mutex::new(Ring::new(start)),
            gone: AtomicBool::new(false),
            listeners: Mutex::default(),
        }
    }

    pub(super) fn ring(&self) -> MutexGuard<'_, Ring> {
        lock(&self.ring)
    }

    /// Whether nothing more comes of the device.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn join(&self, waker: &Arc<AtomicWaker>) {
        lock(&self.listeners).insert(address(waker), Arc::clone(waker));
    }

    pub(super) fn leave(&self, waker: &Arc<AtomicWaker>) {
        lock(&self.listeners).remove(&address(waker));
    }

    fn wake(&self) {
        for waker in lock(&self.listeners).values() {
            waker.wake();
        }
    }
}

fn address(waker: &Arc<AtomicWaker>) -> usize {
    Arc::as_ptr(waker).addr()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
