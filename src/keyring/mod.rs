//! Key pairs that are made and kept here: the private half never leaves, the public half is for the platform.
//!
//! ```text
//! http, cli ─► DeviceKeys (add, activate, delete) ─► vault ─► store
//!                  │ ▲
//!      the key that signs  accepted, refused
//!                  ▼ │
//!               session
//! ```
//!
//! - [`KeyPair`]: one of them, and what is known of it
//! - [`Ring`]: one device's keys and what may be done with them, as pure decisions
//! - `record`: how a ring is stored
//! - [`DeviceKeys`]: a ring that is on disk and that a session signs with
//! - [`Keyring`]: all of them
//!
//! A key that is newly activated is on trial until the broker has accepted it. When the broker refuses it instead, the
//! key before it signs again, before anybody else notices. The trial is stored, so it goes on after a restart.

mod device_keys;
mod error;
mod pair;
mod record;
mod reports;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use device_keys::DeviceKeys;
pub use error::KeyringError;
pub use pair::{KeyPair, KeyState, Refusal};
pub use reports::Verdict;
pub use ring::{MAX_KEYS, Ring, RingError};

use crate::device::DeviceId;
use crate::store::records::RecordKind;
use crate::vault::Vault;

/// RSA keys that are made at a time: each keeps a processor busy.
const MADE_AT_ONCE: usize = 2;

/// The keys of all devices.
pub struct Keyring {
    core: Arc<Core>,
    devices: RwLock<BTreeMap<DeviceId, Arc<DeviceKeys>>>,
}

/// What all devices' keys share.
struct Core {
    vault: Arc<Vault>,
    /// Changes and notes that are being written.
    tasks: TaskTracker,
    making: Semaphore,
}

impl Keyring {
    /// Reads all keys. No private half is taken apart before it signs.
    pub async fn open(vault: Arc<Vault>) -> Result<Self, KeyringError> {
        let core = Arc::new(Core {
            vault,
            tasks: TaskTracker::new(),
            making: Semaphore::new(MADE_AT_ONCE),
        });
        let mut devices = BTreeMap::new();
        for entry in core.vault.load(RecordKind::Key).await? {
            let damaged = |error| KeyringError::Record {
                device: entry.key.clone(),
                error,
            };
            let id = DeviceId::parse(&entry.key)
                .map_err(|_| damaged(record::RecordError::Form("its device's id")))?;
            let ring = record::decode(&entry.content).map_err(damaged)?;
            let keys = DeviceKeys::new(id.clone(), ring, Arc::clone(&core));
            devices.insert(id, Arc::new(keys));
        }
        Ok(Self {
            core,
            devices: RwLock::new(devices),
        })
    }

    /// A device's keys; a device without any may get some.
    pub fn of(&self, device: &DeviceId) -> Arc<DeviceKeys> {
        if let Some(keys) = self.read().get(device) {
            return Arc::clone(keys);
        }
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        let keys = devices.entry(device.clone()).or_insert_with(|| {
            let core = Arc::clone(&self.core);
            Arc::new(DeviceKeys::new(device.clone(), Ring::default(), core))
        });
        Arc::clone(keys)
    }

    /// Takes over what another process has written of a device's keys.
    pub async fn reload(&self, device: &DeviceId) -> Result<(), KeyringError> {
        self.of(device).reload().await
    }

    /// Forgets the keys of a device that was deleted. Its session must have ended.
    pub async fn forget(&self, device: &DeviceId) -> Result<(), KeyringError> {
        let keys = self.of(device);
        keys.delete_all().await?;
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        devices.remove(device);
        Ok(())
    }

    /// The devices that have keys, in the order of their ids.
    pub fn devices(&self) -> Vec<Arc<DeviceKeys>> {
        let devices = self.read();
        let with_keys = devices
            .values()
            .filter(|keys| !keys.ring().keys().is_empty());
        with_keys.cloned().collect()
    }

    /// Writes what is only in memory: when which key was last used. To be called when no session runs any more.
    pub async fn close(&self) {
        let devices: Vec<_> = self.read().values().cloned().collect();
        join_all(devices.iter().map(|keys| keys.flush())).await;
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<DeviceId, Arc<DeviceKeys>>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} devices)", self.read().len())
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Core({:?})", self.vault)
    }
}
