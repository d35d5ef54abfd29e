//! A listener's position in the windows of its devices.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use serde::Serialize;

use super::count::Count;
use super::cursor::{After, Cursor};
use super::event::{Draft, Event};
use super::history::{Replay, Step};
use super::hub::{Feed, Hub};
use crate::device::DeviceId;
use crate::tally::{ConnectorTally, Source};
use crate::topic::TopicFilter;

/// What a listener reads.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A downlink.
    Event(Arc<Event>),
    /// Downlinks are missing here.
    Gap(Gap),
    /// A device was deleted, or is no longer configured. Nothing more comes of it; with the last one, the listener is at its end.
    Deleted {
        /// The device.
        device: DeviceId,
        /// Whether it was the last one that was listened to.
        last: bool,
    },
    /// The listener was too slow: what it would read next is no longer kept. It is at its end; a new one that starts at
    /// [`Subscription::position`] is told by a gap what is missing.
    Behind,
    /// What comes next is stored, and cannot be read at the moment. It can be asked for again.
    Unavailable,
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
    places: Vec<Place>,
    topics: Option<TopicFilter>,
    /// Everything up to here was delivered or is not for this listener.
    position: Cursor,
    gap: Option<Gap>,
    stored: Option<Stored>,
    /// Of the hub's number of devices that were deleted, what has been looked at.
    forgotten: u64,
    waker: Arc<AtomicWaker>,
    count: Count,
}

#[derive(Debug)]
struct Place {
    feed: Arc<Feed>,
    /// The listener knows that events up to here may be missing, or that they are in the store.
    told: Cursor,
}

/// What a listener needs where there is a store.
#[derive(Debug)]
struct Stored {
    replay: Replay,
    told: Told,
}

/// What a listener knows of what is missing.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// It wants all that is stored: nothing that is gone already is missing.
    Whatever,
    /// It has presented a cursor that is not from here.
    Unknown,
    /// Up to here.
    Until(Cursor),
}

/// What the windows say.
enum Look {
    /// One of the device with this number.
    Event(usize, Arc<Event>),
    /// There is no more.
    End,
    /// What comes next is not in them.
    Behind,
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
        let (position, known, told) = match after {
            After::Now => (published, Some(published), Told::Until(published)),
            After::Earliest => (Cursor::ZERO, None, Told::Whatever),
            After::Cursor(cursor) if hub.may_have_shown(cursor) => {
                (cursor, Some(cursor), Told::Until(cursor))
            }
            After::Cursor(_) | After::Unknown => (Cursor::ZERO, None, Told::Unknown),
        };
        let is_stored = hub.history().is_some();
        let place = |feed: Arc<Feed>| {
            feed.join(&waker);
            let told = if is_stored {
                Cursor::ZERO
            } else {
                feed.ring().evicted()
            };
            Place { feed, told }
        };
        // Before the feeds are asked for: one that goes meanwhile is noticed.
        let forgotten = hub.forgotten();
        let places: Vec<Place> = feeds.map(place).collect();
        let stored = hub.history().map(|history| {
            let devices = places.iter().map(|place| place.feed.device.clone());
            let replay = Replay::new(history.clone(), devices.collect());
            Stored { replay, told }
        });
        let gap = match after {
            After::Now | After::Earliest => None,
            After::Cursor(_) | After::Unknown => gap(&places, known),
        };
        Self {
            gap: gap.filter(|_| !is_stored),
            hub,
            places,
            topics,
            position,
            stored,
            forgotten,
            waker,
            count: Count::default(),
        }
    }

    /// Counts this listener, and what it is given, for the connectors of its devices.
    pub fn counted(mut self, tally: impl Fn(&DeviceId) -> Option<Arc<ConnectorTally>>) -> Self {
        let devices = self.places.iter().map(|place| &place.feed.device);
        self.count = Count::of(devices, tally);
        self
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

    /// What comes next, if it is there; waits while that has to be read from the store.
    pub async fn present(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_present(cx)).await
    }

    /// What comes next, or a wake-up when there may be more.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        if let Some(delivery) = ready!(self.poll_present(cx)) {
            return Poll::Ready(delivery);
        }
        self.waker.register(cx.waker());
        // Once more: what was published between the look and the registration woke nobody.
        match self.poll_present(cx) {
            Poll::Ready(Some(delivery)) => Poll::Ready(delivery),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_present(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            if self.forgotten != self.hub.forgotten()
                && let Some(deleted) = self.look_for_deleted()
            {
                return Poll::Ready(Some(deleted));
            }
            if let Some(gap) = self.gap.take() {
                self.count.gap(gap.device.as_ref());
                return Poll::Ready(Some(Delivery::Gap(gap)));
            }
            if let Some(stored) = &mut self.stored {
                match ready!(stored.replay.poll(cx, || self.hub.published())) {
                    Step::Idle => {}
                    Step::Failed => return Poll::Ready(Some(Delivery::Unavailable)),
                    Step::Fallen(fallen) => {
                        self.gap = stored.fallen(fallen, self.position);
                        continue;
                    }
                    Step::Until(cursor) => {
                        self.position = cursor;
                        continue;
                    }
                    Step::Event(event) => {
                        self.position = Cursor::from_raw(event.cursor);
                        if !wants(self.topics.as_ref(), &event.downlink.topic) {
                            continue;
                        }
                        self.count.delivers(&event.downlink.device, Source::Store);
                        let event = Draft::render(&event.downlink).seal(self.position);
                        return Poll::Ready(Some(Delivery::Event(Arc::new(event))));
                    }
                }
            }
            match (self.look(), &mut self.stored) {
                (Look::Event(device, event), _) => {
                    let device = &self.places[device].feed.device;
                    self.count.delivers(device, Source::Memory);
                    return Poll::Ready(Some(Delivery::Event(event)));
                }
                (Look::End, _) => return Poll::Ready(None),
                (Look::Behind, None) => {
                    self.count.behind();
                    return Poll::Ready(Some(Delivery::Behind));
                }
                (Look::Behind, Some(stored)) => stored.replay.read(self.position),
            }
        }
    }

    /// One of its devices that was deleted; when there is none left to tell of, it has looked at all.
    fn look_for_deleted(&mut self) -> Option<Delivery> {
        let forgotten = self.hub.forgotten();
        let gone = self.places.iter().position(|place| place.feed.is_gone());
        let Some(gone) = gone else {
            self.forgotten = forgotten;
            return None;
        };
        let place = self.places.remove(gone);
        place.feed.leave(&self.waker);
        Some(Delivery::Deleted {
            device: place.feed.device.clone(),
            last: self.places.is_empty(),
        })
    }

    /// Looks for the next event in the windows.
    fn look(&mut self) -> Look {
        let until = self.hub.published();
        if until <= self.position {
            return Look::End;
        }
        let mut next: Option<(usize, Arc<Event>)> = None;
        for (number, place) in self.places.iter().enumerate() {
            let ring = place.feed.ring();
            if ring.evicted() > self.position.max(place.told) {
                return Look::Behind;
            }
            let until = next.as_ref().map_or(until, |(_, event)| event.cursor());
            let first = ring
                .between(self.position, until)
                .find(|event| wants(self.topics.as_ref(), event.topic()));
            if let Some(event) = first {
                next = Some((number, Arc::clone(event)));
            }
        }
        self.position = next.as_ref().map_or(until, |(_, event)| event.cursor());
        next.map_or(Look::End, |(number, event)| Look::Event(number, event))
    }
}

impl Stored {
    /// What the listener has to be told about events up to `fallen`, which are gone.
    fn fallen(&mut self, fallen: Cursor, position: Cursor) -> Option<Gap> {
        let (known, after) = match self.told {
            Told::Whatever => (fallen, Some(position)),
            Told::Unknown => (Cursor::ZERO, None),
            Told::Until(known) => (known, Some(position)),
        };
        self.told = Told::Until(known.max(fallen));
        let device = match &**self.replay.devices() {
            [device] => Some(device.clone()),
            _ => None,
        };
        (fallen > known.max(position)).then(|| Gap {
            device,
            after,
            next: fallen.next(),
        })
    }
}

fn wants(topics: Option<&TopicFilter>, topic: &str) -> bool {
    topics.is_none_or(|topics| topics.matches(topic))
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
