//! What is to run, as plain data: connectors, the devices on them, and which of these share a session.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Partition, Partitions};
use crate::config::{ClientIds, Config, Connector, Device, Surroundings};
use crate::device::{ConnectorName, DeviceId};
use crate::profile::SessionScope;
use crate::registry::Origin;

/// Connectors and devices that fit together. What is equal to what was there before is the same allocation, so that a
/// comparison costs little.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    pub(super) connectors: BTreeMap<ConnectorName, Arc<Connector>>,
    pub(super) devices: BTreeMap<DeviceId, Arc<Member>>,
    pub(super) client_ids: ClientIds,
}

/// A device of a setup.
#[derive(Debug, PartialEq)]
pub(super) struct Member {
    pub(super) device: Device,
    pub(super) origin: Origin,
    /// It is deleted as soon as its backlog is sent, and takes no more uplinks.
    pub(super) leaving: bool,
}

/// Names a session: a connector's, or that of a device with a connection of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey {
    pub(super) connector: ConnectorName,
    pub(super) owner: Option<DeviceId>,
}

impl Setup {
    /// What a configuration describes; of what was there `before`, all that is unchanged.
    pub(super) fn of(config: &Config, before: &Self) -> Self {
        let connectors = config.connectors.iter().map(|(name, connector)| {
            let connector = match before.connectors.get(name) {
                Some(known) if **known == *connector => Arc::clone(known),
                _ => Arc::new(connector.clone()),
            };
            (name.clone(), connector)
        });
        let mut setup = Self {
            connectors: connectors.collect(),
            devices: BTreeMap::new(),
            client_ids: config.client_ids.clone(),
        };
        for device in config.devices.values() {
            let member = Member {
                device: device.clone(),
                origin: Origin::Configuration,
                leaving: false,
            };
            setup.insert(member, before);
        }
        setup
    }

    /// Puts a device in, or the same one from `before` where it is unchanged.
    pub(super) fn insert(&mut self, member: Member, before: &Self) {
        let id = member.device.id.clone();
        let member = match before.devices.get(&id) {
            Some(known) if **known == member => Arc::clone(known),
            _ => Arc::new(member),
        };
        self.devices.insert(id, member);
    }

    /// The session that carries a device of this setup.
    pub(super) fn session_of(&self, device: &Device) -> Option<SessionKey> {
        let connector = self.connectors.get(&device.connector)?;
        Some(session_of(connector, device))
    }

    /// The partition of a device of this setup.
    pub(super) fn partition(&self, device: &Device) -> Partition {
        let session = self.session_of(device);
        session.map_or_else(|| Partition::of(device.id.as_str()), |key| key.partition())
    }

    /// The part of this setup whose sessions are in these partitions.
    pub(super) fn held(&self, partitions: Partitions) -> Cow<'_, Self> {
        if partitions == Partitions::ALL {
            return Cow::Borrowed(self);
        }
        let devices = self.devices.iter();
        let held = devices.filter(|(_, member)| partitions.has(self.partition(&member.device)));
        Cow::Owned(Self {
            connectors: self.connectors.clone(),
            devices: held
                .map(|(id, member)| (id.clone(), Arc::clone(member)))
                .collect(),
            client_ids: self.client_ids.clone(),
        })
    }

    /// The devices behind a router device.
    pub(super) fn behind<'a>(
        &'a self,
        router: &'a DeviceId,
    ) -> impl Iterator<Item = &'a Arc<Member>> {
        let members = self.devices.values();
        members.filter(move |member| member.device.via.as_ref() == Some(router))
    }
}

impl SessionKey {
    /// Where the session is in a cluster.
    pub(super) fn partition(&self) -> Partition {
        match &self.owner {
            Some(device) => Partition::of(device.as_str()),
            None => Partition::of(self.connector.as_str()),
        }
    }
}

/// The session that carries a device.
pub(super) fn session_of(connector: &Connector, device: &Device) -> SessionKey {
    let owner = match connector.profile.session {
        SessionScope::Connector => None,
        SessionScope::Device => Some(device.via.as_ref().unwrap_or(&device.id).clone()),
    };
    SessionKey {
        connector: connector.name.clone(),
        owner,
    }
}

impl Surroundings for Setup {
    fn connectors(&self) -> &BTreeMap<ConnectorName, Arc<Connector>> {
        &self.connectors
    }

    fn client_ids(&self) -> &ClientIds {
        &self.client_ids
    }

    fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.get(id).map(|member| &member.device)
    }
}
