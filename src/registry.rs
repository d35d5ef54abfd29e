//! Which devices there are, and the session that each one uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::MqttVersion;
use crate::device::{ConnectorName, DeviceId};
use crate::profile::{Profile, UplinkTopic};
use crate::session::SessionHandle;
use crate::uplink::Lane;

/// A broker with the profile of its platform.
#[derive(Debug)]
pub struct Connector {
    /// Its name in the configuration.
    pub name: ConnectorName,
    /// What the platform expects.
    pub profile: Profile,
    /// The name or path that the profile was configured by.
    pub profile_name: String,
    /// The protocol version that was written down; MQTT 5 with a fallback otherwise.
    pub version: Option<MqttVersion>,
}

/// A registered device.
#[derive(Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its connector.
    pub connector: Arc<Connector>,
    /// The session that carries it: its own, or its connector's.
    pub session: SessionHandle,
    /// The topics that it publishes on.
    pub topic: UplinkTopic,
    /// The order of its uplinks between memory and the store.
    pub lane: Lane,
}

/// All registered devices, by id.
#[derive(Debug, Default)]
pub struct Registry {
    devices: BTreeMap<DeviceId, Arc<Device>>,
}

impl Registry {
    /// A registry of these devices.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        let devices = devices
            .into_iter()
            .map(|device| (device.id.clone(), Arc::new(device)));
        Self {
            devices: devices.collect(),
        }
    }

    /// The device with this id.
    pub fn get(&self, id: &DeviceId) -> Option<&Arc<Device>> {
        self.devices.get(id)
    }

    /// Devices in the order of their ids, from the one behind `after` on.
    pub fn page<'a>(
        &'a self,
        after: Option<&'a DeviceId>,
    ) -> impl Iterator<Item = &'a Arc<Device>> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.devices
            .range::<DeviceId, _>((after.map_or(Unbounded, Excluded), Unbounded))
            .map(|(_, device)| device)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}
