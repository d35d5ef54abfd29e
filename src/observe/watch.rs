//! Being told when the sessions of some devices change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::device::DeviceId;
use crate::registry::{Device, Registry};
use crate::session::{Snapshot, State, Status};

/// A watcher of some devices' sessions. It holds what it knows and nothing else: however many changes there are while it
/// is not read, it tells the latest state of each.
#[derive(Debug)]
pub struct Watch {
    registry: Arc<Registry>,
    places: Box<[Place]>,
    waker: Arc<AtomicWaker>,
}

#[derive(Debug)]
struct Place {
    device: Arc<Device>,
    /// The revision that is known; `None` before the first.
    known: Option<u64>,
}

/// A device's session as it is now.
#[derive(Debug)]
pub struct Seen {
    /// The device, with its session.
    pub device: Arc<Device>,
    /// The session's state.
    pub now: Snapshot,
    /// Names that state.
    pub revision: u64,
}

impl Seen {
    /// Looks at a device's session.
    pub fn now(device: &Arc<Device>) -> Self {
        let status = device.session.status();
        // In this order: what changes in between is told once more.
        let revision = status.revision();
        Self {
            device: Arc::clone(device),
            now: status.snapshot(),
            revision,
        }
    }
}

impl Watch {
    /// Watches these devices. Where all is well there is nothing to tell: a session that is connected already is told
    /// when that changes, any other one at once.
    pub fn new(registry: Arc<Registry>, devices: &BTreeMap<DeviceId, Arc<Device>>) -> Self {
        let waker = Arc::new(AtomicWaker::new());
        let place = |device: &Arc<Device>| {
            status(device).join(&waker);
            let seen = Seen::now(device);
            let known = (seen.now.state == State::Connected).then_some(seen.revision);
            Place {
                device: seen.device,
                known,
            }
        };
        Self {
            registry,
            places: devices.values().map(place).collect(),
            waker,
        }
    }

    /// A session that has changed, or a wake-up when one may have.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Seen> {
        if let Some(seen) = self.look() {
            return Poll::Ready(seen);
        }
        self.waker.register(cx.waker());
        // Once more: what changed between the look and the registration woke nobody.
        self.look().map_or(Poll::Pending, Poll::Ready)
    }

    /// Looks whether devices have other sessions by now: a session that was replaced tells nothing any more. To be called
    /// now and then.
    pub fn follow(&mut self) {
        for place in &mut self.places {
            let Some(device) = self.registry.get(&place.device.id) else {
                continue;
            };
            if !Arc::ptr_eq(status(&device), status(&place.device)) {
                status(&place.device).leave(&self.waker);
                status(&device).join(&self.waker);
            }
            place.device = device;
        }
    }

    fn look(&mut self) -> Option<Seen> {
        let changed = |place: &&mut Place| place.known != Some(status(&place.device).revision());
        let place = self.places.iter_mut().find(changed)?;
        let seen = Seen::now(&place.device);
        place.known = Some(seen.revision);
        Some(seen)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for place in &self.places {
            status(&place.device).leave(&self.waker);
        }
    }
}

fn status(device: &Device) -> &Arc<Status> {
    device.session.status()
}
