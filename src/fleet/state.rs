//! What runs at this moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::task::AbortHandle;

use super::plan::Workshops;
use super::setup::{SessionKey, Setup};
use super::share::Share;
use super::stored::StoredDevices;
use crate::cluster::Partitions;
use crate::device::DeviceId;
use crate::session::{SessionControl, SessionHandle};
use crate::store::Holding;

/// What runs.
#[derive(Debug, Default)]
pub(super) struct State {
    /// All devices, those whose sessions run in other processes included.
    pub(super) setup: Setup,
    /// The partitions whose sessions run here.
    pub(super) made: Partitions,
    pub(super) workshops: Workshops,
    pub(super) sessions: HashMap<SessionKey, Running>,
    /// Registered in the store, whether they are in the setup or not.
    pub(super) stored: StoredDevices,
    /// Those of them that the configuration has no place for, and why.
    pub(super) unfit: BTreeMap<DeviceId, String>,
}

/// A session that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) handle: SessionHandle,
    pub(super) control: SessionControl,
    pub(super) task: AbortHandle,
    /// Its devices.
    pub(super) carries: BTreeSet<DeviceId>,
}

impl State {
    /// Whether other devices than these use a session.
    pub(super) fn is_used(&self, key: &SessionKey, but: &Setup) -> bool {
        let running = self.sessions.get(key);
        running.is_some_and(|running| {
            let mut carries = running.carries.iter();
            carries.any(|id| !but.devices.contains_key(id))
        })
    }

    /// Whether a device's session is this process's, and what waits for it is known.
    pub(super) fn has(&self, id: &DeviceId, share: &Share) -> bool {
        self.made.has(share.partition(id)) && share.has(id)
    }

    /// The sessions of these partitions.
    pub(super) fn running_in(&self, partitions: Partitions) -> Vec<Running> {
        let sessions = self.sessions.iter();
        let running = sessions.filter(|(key, _)| partitions.has(key.partition()));
        running.map(|(_, running)| running.clone()).collect()
    }

    /// Takes a device out of the session that carried it.
    pub(super) fn leave(&mut self, key: &SessionKey, id: &DeviceId) {
        if let Some(running) = self.sessions.get_mut(key) {
            running.carries.remove(id);
            // A device's own session is about to be closed.
            if key.owner.as_ref() != Some(id) {
                running.control.drop_device(id.clone());
            }
        }
    }
}
