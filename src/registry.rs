//! Which devices there are, and the session that each one uses.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::broker::MqttVersion;
use crate::device::{ConnectorName, DeviceId};
use crate::keyring::DeviceKeys;
use crate::profile::{Profile, UplinkTopic};
use crate::session::{SessionHandle, Tenure};
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

/// A registered device, as it is at the moment. When it changes, another one takes its place; what holds this one until
/// then finishes with it.
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
    /// The order of its uplinks between memory and the store. It outlives changes of the device.
    pub lane: Arc<Lane>,
    /// How it was registered.
    pub registration: Registration,
    /// Over when what is on its way must leave the device's session.
    pub tenure: Arc<Tenure>,
}

/// How a device was registered, without its secrets.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Where.
    pub origin: Origin,
    /// The router device that it is behind.
    pub via: Option<DeviceId>,
    /// Whether it has a secret of its own.
    pub has_secret: bool,
    /// Values of the profile's variables.
    pub variables: BTreeMap<String, String>,
    /// Whether it is deleted as soon as its backlog is sent. It takes no more uplinks.
    pub leaving: bool,
}

/// Where a device was registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file, which goes before.
    #[default]
    Configuration,
    /// Through the HTTP interface.
    Api,
}

impl Origin {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Api => "api",
        }
    }
}

/// All registered devices, by id. They come and go while requests look them up.
///
/// Each uplink looks its device up, so that look-up shares no lock with those of most other devices, nor with a listing
/// of all of them: the devices are spread over shards by a hash of their ids, and kept in their order once more.
#[derive(Debug)]
pub struct Registry {
    hasher: RandomState,
    shards: [RwLock<HashMap<DeviceId, Arc<Device>>>; SHARDS],
    in_order: RwLock<BTreeMap<DeviceId, Arc<Device>>>,
}

/// A power of two.
const SHARDS: usize = 16;

impl Default for Registry {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: Default::default(),
            in_order: RwLock::default(),
        }
    }
}

impl Registry {
    /// A registry of these devices.
    pub fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        let registry = Self::default();
        for device in devices {
            registry.insert(Arc::new(device));
        }
        registry
    }

    /// The device with this id.
    pub fn get(&self, id: &DeviceId) -> Option<Arc<Device>> {
        read(self.shard(id)).get(id).cloned()
    }

    /// At most so many devices that are wanted, in the order of their ids, from the one behind `after` on.
    pub fn page(
        &self,
        after: Option<&DeviceId>,
        limit: usize,
        wanted: impl Fn(&Device) -> bool,
    ) -> Vec<Arc<Device>> {
        read(&self.in_order)
            .range::<DeviceId, _>((after.map_or(Unbounded, Excluded), Unbounded))
            .map(|(_, device)| device)
            .filter(|device| wanted(device))
            .take(limit)
            .cloned()
            .collect()
    }

    /// All of them, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Device>> {
        self.page(None, usize::MAX, |_| true)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        read(&self.in_order).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        read(&self.in_order).is_empty()
    }

    /// Puts a device in, and gives the one whose place it takes. One call at a time for the same device.
    pub(crate) fn insert(&self, device: Arc<Device>) -> Option<Arc<Device>> {
        let id = device.id.clone();
        write(&self.in_order).insert(id.clone(), Arc::clone(&device));
        write(self.shard(&id)).insert(id, device)
    }

    /// Takes a device out. One call at a time for the same device.
    pub(crate) fn remove(&self, id: &DeviceId) -> Option<Arc<Device>> {
        write(&self.in_order).remove(id);
        write(self.shard(id)).remove(id)
    }

    fn shard(&self, id: &DeviceId) -> &RwLock<HashMap<DeviceId, Arc<Device>>> {
        // Of the hash that the map uses lower bits itself.
        let hash = self.hasher.hash_one(id);
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl Device {
    /// A device of a profile, on a session that a test plays and that takes so many commands.
    pub(crate) fn detached(
        id: &str,
        profile_name: &str,
        queue: usize,
    ) -> (Self, crate::session::Detached) {
        use crate::profile::{Binding, ScopeValues, builtin};

        let (session, detached) = crate::session::Detached::new(queue);
        let profile = Profile::parse(builtin(profile_name).unwrap()).unwrap();
        let id = DeviceId::parse(id).unwrap();
        let name = ConnectorName::parse(if profile_name == "plain" {
            "lan"
        } else {
            "cloud"
        })
        .unwrap();
        let none = BTreeMap::new();
        let values = ScopeValues {
            connector: &name,
            host: "127.0.0.1",
            device: Some(&id),
            secret: None,
            connector_variables: &none,
            device_variables: &none,
        };
        let topic = Binding::new(&profile, values)
            .unwrap()
            .uplink_topic()
            .unwrap();
        let connector = Arc::new(Connector {
            name,
            profile,
            profile_name: profile_name.to_owned(),
            version: None,
            tally: Default::default(),
        });
        let device = Device {
            lane: Default::default(),
            signing: Signing::None,
            registration: Default::default(),
            tenure: Default::default(),
            id,
            connector,
            session,
            topic,
        };
        (device, detached)
    }
}
