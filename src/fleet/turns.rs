//! Who may change what, and when: single devices beside each other, everything alone.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::device::DeviceId;

/// The locks of changes. They are held while the store writes and while uplinks leave a session, so they are not std's.
#[derive(Debug, Default)]
pub(super) struct Turns {
    everything: RwLock<()>,
    hasher: RandomState,
    /// By a hash of the device's id.
    devices: [Mutex<()>; STRIPES],
}

/// So many changes of different devices are made at a time, at the most.
const STRIPES: usize = 32;

/// The turn to change one device.
pub(super) struct OfDevice<'a> {
    _everything: RwLockReadGuard<'a, ()>,
    _device: MutexGuard<'a, ()>,
}

impl Turns {
    /// Waits for the turn to change one device.
    pub(super) async fn of(&self, device: &DeviceId) -> OfDevice<'_> {
        let stripe = self.hasher.hash_one(device) as usize % STRIPES;
        OfDevice {
            _everything: self.everything.read().await,
            _device: self.devices[stripe].lock().await,
        }
    }

    /// Waits for the turn to change everything.
    pub(super) async fn of_everything(&self) -> RwLockWriteGuard<'_, ()> {
        self.everything.write().await
    }
}
