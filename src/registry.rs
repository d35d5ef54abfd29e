//! Which devices there are, and the session that each one uses.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::broker::MqttVersion;
use crate::device::{ConnectorName, DeviceId};
use crate::keyring::DeviceKeys;
use crate::profile::{Profile, UplinkTopic};
use crate::session::SessionHandle;
use crate::tally::ConnectorTally;
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
    /// What is counted of it.
    pub tally: Arc<ConnectorTally>,
}

/// What a device's tokens are signed with.
#[derive(Debug, Clone)]
pub enum Signing {
    /// It has no tokens.
    None,
    /// The private key in a file that the configuration names.
    File,
    /// A key pair that is kept here.
    Kept(Arc<DeviceKeys>),
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
    /// What its tokens are signed with.
    pub signing: Signing,
    /// The order of its uplinks between memory and the store.
    pub lane: Arc<Lane>,
}

/// All registered devices, by id. They come and go while requests look them up.
#[derive(Debug, Default)]
pub struct Registry {
    devices: RwLock<BTreeMap<DeviceId, Arc<Device>>>,
}

impl Registry {
    /// A registry of these devices.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        let devices = devices
            .into_iter()
            .map(|device| (device.id.clone(), Arc::new(device)));
        Self {
            devices: RwLock::new(devices.collect()),
        }
    }

    /// The device with this id.
    pub fn get(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.read().get(id).cloned()
    }

    /// At most so many devices that are wanted, in the order of their ids, from the one behind `after` on.
    pub fn page(
        &self,
        after: Option<&DeviceId>,
        limit: usize,
        wanted: impl Fn(&DeviceId) -> bool,
    ) -> Vec<Arc<Device>> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.read()
            .range::<DeviceId, _>((after.map_or(Unbounded, Excluded), Unbounded))
            .filter(|(id, _)| wanted(id))
            .map(|(_, device)| Arc::clone(device))
            .take(limit)
            .collect()
    }

    /// All of them, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Device>> {
        self.page(None, usize::MAX, |_| true)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<DeviceId, Arc<Device>>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }
}
