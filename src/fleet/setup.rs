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
    pub(super) client_ids: Arc<ClientIds>,
}

/// A device of a setup.
#[derive(Debug, PartialEq)]
pub(super) struct Member {
    pub(super) device: Arc<Device>,
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
            client_ids: Arc::clone(&config.client_ids),
        };
        for device in config.devices.values() {
            let member = Member {
                device: Arc::clone(device),
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
        let held = held.map(|(id, member)| (id.clone(), Arc::clone(member)));
        Cow::Owned(self.part(held.collect()))
    }

    /// The same divided by partitions, each as a part of its own; those without a device are left out.
    pub(super) fn parts(&self) -> impl Iterator<Item = Self> {
        let mut parts: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (id, member) in &self.devices {
            let part = parts.entry(self.partition(&member.device)).or_default();
            part.insert(id.clone(), Arc::clone(member));
        }
        parts.into_values().map(|devices| self.part(devices))
    }

    /// Some of its devices, on the same connectors.
    pub(super) fn part(&self, devices: BTreeMap<DeviceId, Arc<Member>>) -> Self {
        Self {
            connectors: self.connectors.clone(),
            devices,
            client_ids: Arc::default(),
        }
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
        self.devices.get(id).map(|member| &*member.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANT: &str = r#"
[connectors.own]
profile = "plain"
url = "mqtt://own"
override.session = "device"
override.connect.client_id = "own-{device}"
[connectors.shared]
profile = "plain"
url = "mqtt://shared"
[connectors.sap]
profile = "sap-iot"
url = "mqtt://sap"
override.connect.tls_identity = "optional"
[devices]
router = { connector = "sap" }
behind = { connector = "sap", via = "router" }
beside = { connector = "sap", via = "router" }
"#;

    #[test]
    fn parts_are_the_whole_and_divide_no_session() {
        let devices = (0..200).map(|number| {
            let connector = ["own", "shared"][number % 2];
            format!("d{number} = {{ connector = \"{connector}\" }}\n")
        });
        let text = [PLANT, &devices.collect::<String>()].concat();
        let config = Config::from_text(&text, "causeway.toml", ".".as_ref(), []).unwrap();
        let setup = Setup::of(&config, &Setup::default());
        let parts: Vec<_> = setup.parts().collect();
        assert!(parts.len() > 40);
        let mut all = BTreeMap::new();
        let mut sessions = BTreeMap::new();
        for (number, part) in parts.into_iter().enumerate() {
            assert_eq!(part.connectors.len(), 3);
            for (id, member) in part.devices {
                let session = part.connectors[&member.device.connector].as_ref();
                let session = session_of(session, &member.device);
                assert_eq!(*sessions.entry(session).or_insert(number), number);
                all.insert(id, member);
            }
        }
        assert_eq!(sessions.len(), 102);
        assert_eq!(all, setup.devices);
    }
}
