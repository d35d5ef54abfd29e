//! What akenza knows: devices with their public keys, and device connectors with their secrets and devices.

use std::collections::BTreeMap;

use crate::device::DeviceId;
use crate::identity::VerifyingKey;
use crate::secret::Secret;

/// Who is registered.
#[derive(Default)]
pub struct Registry {
    pub(super) devices: BTreeMap<DeviceId, Vec<VerifyingKey>>,
    pub(super) connectors: BTreeMap<String, Connector>,
}

pub(super) struct Connector {
    pub(super) secret: Secret,
    pub(super) devices: Vec<DeviceId>,
}

impl Registry {
    /// Registers a device's public key. A device may have several, all valid at once.
    pub fn add_device(&mut self, device: DeviceId, key: VerifyingKey) {
        self.devices.entry(device).or_default().push(key);
    }

    /// Registers a device connector: its id, its uplink secret, and its devices.
    pub fn add_connector(&mut self, id: &str, secret: Secret, devices: Vec<DeviceId>) {
        let connector = Connector { secret, devices };
        self.connectors.insert(id.to_owned(), connector);
    }

    /// The connector that a device belongs to.
    pub(super) fn connector_of(&self, device: &DeviceId) -> Option<&Connector> {
        let mut connectors = self.connectors.values();
        connectors.find(|connector| connector.devices.contains(device))
    }
}
