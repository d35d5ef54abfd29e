//! A listener's position in the windows of its devices.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use serde::Serialize;

use super::cursor::{After, Cursor};
use super::event::Event;
use super::hub::{Feed, Hub};
use crate::device::DeviceId;
use crate::topic::TopicFilter;

/// What a listener reads.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A downlink.
    Event(Arc<Event>),
    /// Downlinks are missing here.
    Gap(Gap),
    /// The listener was too slow: what it would read next is no longer kept. It is at its end; a new one that starts at
    /// [`Subscription::position`] is told by a gap what is missing.
    Behind,
}

/// Downlinks that came behind `after` and before `next` may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The device concerned; absent when it may be several of those that are listened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Where the listener had come to. `null` when it presented a cursor that this bridge has not given out, as after
    /// the clock was set back: then all that is kept follows.
    #[serde(serialize_with = "as_text")]
    pub after: Option<Cursor>,
    /// From here on nothing is missing.
    #[serde(serialize_with = "as_some_text")]
    pub next: Cursor,
}

/// A listener: it holds its position and nothing else, and is woken when there may be more.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    places: Box<[Place]>,
    topics: Option<TopicFilter>,
    /// Everything up to here was delivered or is not for this listener.
    position: Cursor,
    gap: Option<Gap>,
    waker: Arc<AtomicWaker>,
}

#[derive(Debug)]
struct Place {
    feed: Arc<Feed>,
    /// The listener knows that events up to here may be missing.
    told: Cursor,
}

impl Subscription {
    pub(super) fn new(
        hub: Arc<Hub>,
        feeds: impl Iterator<Item = Arc<Feed>>,
        topics: Option<TopicFilter>,
        after: After,
    ) -> Self {
        let waker = Arc::new(AtomicWaker::new());
        let published = hub.published();
        let (position, known) = match after {
            After::Now => (published, Some(published)),
            After::Earliest => (Cursor::ZERO, None),
            After::Cursor(cursor) if cursor <= published => (cursor, Some(cursor)),
            After::Cursor(_) | After::Unknown => (Cursor::ZERO, None),
        };
        let place = |feed: Arc<Feed>| {
            feed.join(&waker);
            let told = feed.ring().evicted();
            Place { feed, told }
        };
        let places: Box<[Place]> = feeds.map(place).collect();
        let gap = match after {
            After::Now | After::Earliest => None,
            After::Cursor(_) | After::Unknown => gap(&places, known),
        };
        Self {
            hub,
            places,
            topics,
            position,
            gap,
            waker,
        }
    }

    /// Everything up to here was delivered or is not for this listener: where to go on after a break. Nothing before
    /// the first read of a listener that wants all that is kept.
    pub fn position(&self) -> Option<Cursor> {
        Some(self.position).filter(|position| *position != Cursor::ZERO)
    }

    /// What comes next, when it is there.
    pub async fn next(&mut self) -> Delivery {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What comes next, or a wake-up when there may be more.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        if let Some(delivery) = self.try_next() {
            return Poll::Ready(delivery);
        }
        self.waker.register(cx.waker());
        // Once more: what was published between the look and the registration woke nobody.
        self.try_next().map_or(Poll::Pending, Poll::Ready)
    }

    /// What comes next, if it is there.
    pub fn try_next(&mut self) -> Option<Delivery> {
        if let Some(gap) = self.gap.take() {
            return Some(Delivery::Gap(gap));
        }
        let until = self.hub.published();
        if until == self.position {
            return None;
        }
        let mut next: Option<Arc<Event>> = None;
        for place in &self.places {
            let ring = place.feed.ring();
            if ring.evicted() > self.position.max(place.told) {
                return Some(Delivery::Behind);
            }
            let until = next.as_ref().map_or(until, |event| event.cursor());
            let wanted = |event: &&Arc<Event>| {
                self.topics
                    .as_ref()
                    .is_none_or(|topics| topics.matches(event.topic()))
            };
            let first = ring.between(self.position, until).find(wanted);
            if let Some(event) = first {
                next = Some(Arc::clone(event));
            }
        }
        self.position = next.as_ref().map_or(until, |event| event.cursor());
        next.map(Delivery::Event)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for place in &self.places {
            place.feed.leave(&self.waker);
        }
    }
}

/// What a listener that had come to `after` has missed.
fn gap(places: &[Place], after: Option<Cursor>) -> Option<Gap> {
    let missed = |place: &&Place| after.is_none_or(|after| place.told > after);
    let last = places.iter().filter(missed).map(|place| place.told).max()?;
    let mut devices = places.iter().filter(missed).map(|place| &place.feed.device);
    let device = devices.next().filter(|_| devices.next().is_none());
    Some(Gap {
        device: device.cloned(),
        after,
        next: last.next(),
    })
}

fn as_text<S: serde::Serializer>(cursor: &Option<Cursor>, s: S) -> Result<S::Ok, S::Error> {
    match cursor {
        Some(cursor) => s.collect_str(cursor),
        None => s.serialize_none(),
    }
}

fn as_some_text<S: serde::Serializer>(cursor: &Cursor, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(cursor)
}
