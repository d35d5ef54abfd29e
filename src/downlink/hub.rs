//! Where sessions leave downlinks and listeners find them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures_util::task::AtomicWaker;

use super::cursor::{After, Cursor};
use super::event::Draft;
use super::ring::Ring;
use super::subscription::Subscription;
use crate::device::DeviceId;
use crate::message::Downlink;
use crate::topic::TopicFilter;

/// What is kept of each device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events. Default 1000. At least the latest one is always kept.
    pub events: usize,
    /// Bytes of memory, structures included. Default 1 MiB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 1000,
            bytes: 1024 * 1024,
        }
    }
}

/// Takes downlinks from sessions and lets any number of listeners read them.
#[derive(Debug)]
pub struct Hub {
    limits: Limits,
    start: Cursor,
    /// The last cursor assigned. Held while its event is put into a ring, so that events appear in the order of their
    /// cursors across all devices: a listener that has seen one will not find an earlier one later.
    sequence: Mutex<Cursor>,
    /// Everything up to this cursor is in its ring.
    published: AtomicU64,
    feeds: RwLock<HashMap<DeviceId, Arc<Feed>>>,
}

/// One device's window and those who read it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) device: DeviceId,
    ring: Mutex<Ring>,
    /// By address.
    listeners: Mutex<HashMap<usize, Arc<AtomicWaker>>>,
}

impl Hub {
    /// A hub without events, whose cursors start now.
    pub fn new(limits: Limits) -> Self {
        Self::starting_at(limits, Cursor::at_start())
    }

    pub(super) fn starting_at(limits: Limits, start: Cursor) -> Self {
        Self {
            limits,
            start,
            sequence: Mutex::new(start),
            published: AtomicU64::new(start.to_raw()),
            feeds: RwLock::default(),
        }
    }

    /// Takes a downlink and wakes its listeners. When this returns, the downlink can be replayed, and the broker may be
    /// told that it has arrived.
    pub fn accept(&self, downlink: Downlink) -> Cursor {
        let feed = self.feed(&downlink.device);
        let draft = Draft::render(downlink);
        let cursor = {
            let mut last = lock(&self.sequence);
            let cursor = last.next();
            feed.ring().push(Arc::new(draft.seal(cursor)), &self.limits);
            *last = cursor;
            self.published.store(cursor.to_raw(), Ordering::Release);
            cursor
        };
        feed.wake();
        cursor
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

    /// How many listeners there are; one that reads several devices counts for each.
    pub fn listeners(&self) -> usize {
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        feeds.values().map(|feed| lock(&feed.listeners).len()).sum()
    }

    pub(super) fn published(&self) -> Cursor {
        Cursor::from_raw(self.published.load(Ordering::Acquire))
    }

    fn feed(&self, device: &DeviceId) -> Arc<Feed> {
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = feeds.get(device) {
            return Arc::clone(feed);
        }
        drop(feeds);
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Feed {
                device: device.clone(),
                ring: Mutex::new(Ring::new(self.start)),
                listeners: Mutex::default(),
            })
        };
        Arc::clone(feeds.entry(device.clone()).or_insert_with(new))
    }
}

impl Feed {
    pub(super) fn ring(&self) -> MutexGuard<'_, Ring> {
        lock(&self.ring)
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
