//! What has to be waited for after a change: what leaves a session has left it before what goes on elsewhere does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::device::DeviceId;
use crate::registry::Device;
use crate::session::{SessionControl, SessionSpec, Tenure};
use crate::uplink::{Lane, Uplinks};

/// How long what holds a device that has gone may take to finish: far longer than it should.
const LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether something is so.
const LOOK: Duration = Duration::from_millis(5);

/// A change that is made and not finished.
#[derive(Debug, Default)]
#[must_use = "uplinks are held until it is finished"]
pub(super) struct Transition {
    /// Of devices whose place was taken by another one, or that have gone.
    leaving: BTreeMap<DeviceId, Arc<Tenure>>,
    /// Lanes of devices that have gone on elsewhere: who waits there is led there.
    gone: Vec<Arc<Lane>>,
    /// Devices whose uplinks are held meanwhile.
    entering: Vec<Arc<Device>>,
    /// Sessions that become another one when everybody has left.
    pub(super) turns: Vec<Turn>,
    /// What is stored of a device may not be known here: its session was another process' before.
    pub(super) comes: bool,
    /// It is another process' from now on.
    pub(super) goes: bool,
}

/// A session that is to become another one.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) control: SessionControl,
    pub(super) spec: SessionSpec,
    pub(super) reconnect: bool,
}

impl Turn {
    pub(super) fn take(self) {
        match self.reconnect {
            true => self.control.replace(self.spec),
            false => self.control.adjust(self.spec),
        }
    }
}

impl Transition {
    /// A device that is, or will be at once, out of the registry: what is on its way leaves its session.
    pub(super) fn retire(&mut self, device: &Device) {
        device.tenure.end();
        let tenure = Arc::clone(&device.tenure);
        self.leaving.insert(device.id.clone(), tenure);
    }

    /// The same for one that goes on in another process.
    pub(super) fn send_on(&mut self, device: &Device) {
        device.lane.hold();
        self.gone.push(Arc::clone(&device.lane));
        self.retire(device);
    }

    /// A device whose uplinks are held.
    pub(super) fn admit(&mut self, device: &Arc<Device>) {
        self.entering.push(Arc::clone(device));
    }

    /// Whether uplinks of this device are held until a device of the same id has left.
    pub(super) fn concerns(&self, id: &DeviceId) -> bool {
        self.leaving.contains_key(id)
    }

    /// Waits until everything has left, and lets go on what waits for that.
    pub(super) async fn finish(self, uplinks: &Uplinks) {
        let until = Instant::now() + LIMIT;
        for (device, tenure) in self.leaving {
            // Nothing of it is on the way to the session that it has left.
            if !is_so_by(until, || tenure.is_deserted()).await {
                warn!(%device, "something still uses a device that has gone or changed {LIMIT:?} ago");
            }
        }
        for lane in self.gone {
            lane.close();
        }
        for turn in self.turns {
            turn.take();
        }
        for device in self.entering {
            uplinks.reopen(&device);
        }
    }
}

/// Waits until something is so; `false` when it is not by then.
pub(super) async fn is_so_by(until: Instant, is_so: impl Fn() -> bool) -> bool {
    while !is_so() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}
