//! What akenza knows: devices with their public keys, and device connectors with their secrets and devices.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::device::DeviceId;
use crate::identity::VerifyingKey;
use crate::secret::Secret;

/// Who is registered. Keys come and go while devices connect.
#[derive(Default)]
pub struct Registry {
    devices: RwLock<BTreeMap<DeviceId, Vec<Arc<VerifyingKey>>>>,
    pub(super) connectors: BTreeMap<String, Connector>,
}

pub(super) struct Connector {
    pub(super) secret: Secret,
    pub(super) devices: Vec<DeviceId>,
}

impl Registry {
    /// Registers a device's public key, and with it the device. A device may have several, all valid at once.
    pub fn add_key(&self, device: DeviceId, key: VerifyingKey) {
        let mut devices = self.write();
        let keys = devices.entry(device).or_default();
        keys.retain(|known| known.spki_sha256() != key.spki_sha256());
        keys.push(Arc::new(key));
    }

    /// Forgets a device's public key, and says whether there was one.
    pub fn remove_key(&self, device: &DeviceId, kid: &str) -> bool {
        let mut devices = self.write();
        let Some(keys) = devices.get_mut(device) else {
            return false;
        };
        let before = keys.len();
        keys.retain(|key| key.spki_sha256() != kid);
        keys.len() < before
    }

    /// A device's public keys; none for a device that is not registered.
    pub fn keys_of(&self, device: &DeviceId) -> Vec<Arc<VerifyingKey>> {
        self.read().get(device).cloned().unwrap_or_default()
    }

    /// Registers a device connector: its id, its uplink secret, and its devices.
    pub fn add_connector(&mut self, id: &str, secret: Secret, devices: Vec<DeviceId>) {
        let connector = Connector { secret, devices };
        self.connectors.insert(id.to_owned(), connector);
    }

    /// The devices with public keys.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.read().keys().cloned().collect()
    }

    /// Whether a device has or had public keys.
    pub fn has_device(&self, device: &DeviceId) -> bool {
        self.read().contains_key(device)
    }

    /// Whether a device belongs to a device connector.
    pub fn is_of_connector(&self, device: &DeviceId) -> bool {
        self.connector_of(device).is_some()
    }

    /// The connector that a device belongs to.
    pub(super) fn connector_of(&self, device: &DeviceId) -> Option<&Connector> {
        let mut connectors = self.connectors.values();
        connectors.find(|connector| connector.devices.contains(device))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<DeviceId, Vec<Arc<VerifyingKey>>>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<DeviceId, Vec<Arc<VerifyingKey>>>> {
        self.devices.write().unwrap_or_else(PoisonError::into_inner)
    }
}
