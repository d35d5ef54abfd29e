//! Whether a profile, its connector and its device fit together: every template has its values, every value has a use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::model::{Connector, Device};
use super::section::Section;
use super::tree::join;
use crate::broker::{BrokerUrl, Scheme};
use crate::device::{ConnectorName, DeviceId};
use crate::profile::{
    BindError, Binding, PasswordSource, Profile, SessionScope, Template, TemplateError,
};
use crate::secret::Secret;
use crate::topic::{TopicError, TopicName};

/// Which connection uses which client id on which broker. Two with the same would throw each other off without end
/// (MQTT 5 §3.1.4).
#[derive(Clone, Default)]
pub struct ClientIds {
    owners: HashMap<ClientId, Owner>,
    of_owners: HashMap<Owner, ClientId>,
}

/// A client id and the broker that it is used on, as a digest: there is one for every device, and it may contain a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientId([u8; 16]);

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// That of all devices of a connector.
    Connector(ConnectorName),
    /// That of a device, and of those behind it.
    Device(DeviceId),
}

/// Where the connection is written: `devices.a`, `connectors.a`.
impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&match self {
            Self::Connector(name) => join("connectors", name.as_str()),
            Self::Device(id) => join("devices", id.as_str()),
        })
    }
}

impl ClientId {
    fn new(broker: &BrokerUrl, client_id: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(broker.to_string())
            .chain_update("\0")
            .chain_update(client_id)
            .finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Self(short)
    }
}

impl ClientIds {
    /// Notes that a connection uses this client id, and no other one any more.
    pub(crate) fn claim(&mut self, owner: &Owner, client_id: ClientId) {
        self.release(owner);
        self.owners.insert(client_id, owner.clone());
        self.of_owners.insert(owner.clone(), client_id);
    }

    /// Notes that there is no such connection any more.
    pub(crate) fn release(&mut self, owner: &Owner) {
        if let Some(client_id) = self.of_owners.remove(owner) {
            self.owners.remove(&client_id);
        }
    }

    /// What the connection of a device uses.
    pub(crate) fn of(&self, device: &DeviceId) -> Option<ClientId> {
        self.of_owners.get(&Owner::Device(device.clone())).copied()
    }

    fn check(
        &self,
        owner: &Owner,
        broker: &BrokerUrl,
        client_id: &str,
    ) -> Result<ClientId, String> {
        let client_id = ClientId::new(broker, client_id);
        match self.owners.get(&client_id) {
            Some(other) if other != owner => Err(format!(
                "its connection to {broker} would have the same client id as that of {other}, \
                 and the broker would close the one whenever the other is opened"
            )),
            _ => Ok(client_id),
        }
    }
}

impl std::fmt::Debug for ClientIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientIds({})", self.owners.len())
    }
}

/// Checks the connection that all devices of a connector share; nothing where each device has its own.
pub(super) fn check_connection(
    section: &Section<'_>,
    connector: &Connector,
    client_ids: &mut ClientIds,
) {
    if connector.profile.session != SessionScope::Connector {
        return;
    }
    let owner = Owner::Connector(connector.name.clone());
    let checked = Binding::new(&connector.profile, connector.scope(None))
        .map_err(explain)
        .and_then(|binding| client_id(&binding, connector, &owner, client_ids));
    match checked {
        Ok(client_id) => client_ids.claim(&owner, client_id),
        Err(message) => section.report().error(section.place(), message),
    }
}

/// Checks a device's own connection, if it has one, its token and its topics. Gives the connection's client id, to be
/// claimed.
pub(super) fn check_device(
    section: &Section<'_>,
    connector: &Connector,
    device: &Device,
    client_ids: &ClientIds,
) -> Option<ClientId> {
    let check = || {
        let binding =
            Binding::new(&connector.profile, connector.scope(Some(device))).map_err(explain)?;
        let mut own = None;
        if connector.profile.session == SessionScope::Device && device.via.is_none() {
            let owner = Owner::Device(device.id.clone());
            own = Some(client_id(&binding, connector, &owner, client_ids)?);
            binding.token().map_err(explain)?;
        }
        binding.uplink_topic().map_err(explain)?;
        binding.downlinks().map_err(explain)?;
        binding.ack_filter().map_err(explain)?;
        Ok::<_, String>(own)
    };
    check().unwrap_or_else(|message| {
        section.report().error(section.place(), message);
        None
    })
}

/// Checks values that become part of topics on their own, so that the error stands at the value and not at every device.
pub(super) fn check_values(
    section: &mut Section<'_>,
    profile: &Profile,
    variables: &BTreeMap<String, String>,
    secret: Option<&Secret>,
) {
    let uplink_topics =
        || std::iter::once(&profile.uplink.topic).chain(profile.uplink.subtopics.values());
    let given = section.section("variables");
    for (name, value) in variables {
        if !profile.variables.contains_key(name) {
            let known: Vec<_> = profile.variables.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "it has none".to_owned(),
                known => format!("it has: {}", known.join(", ")),
            };
            given.error(
                name,
                format_args!("the profile has no such variable; {known}"),
            );
        } else if let (true, Err(error)) = (uses(uplink_topics(), name), in_topic(value)) {
            given.error(
                name,
                format_args!("the value is part of the profile's uplink topics: {error}"),
            );
        }
    }
    let Some(secret) = secret.map(Secret::expose) else {
        return;
    };
    if let (true, Err(error)) = (uses(profile.device_templates(), "secret"), in_topic(secret)) {
        section.error(
            secret_key(section),
            format_args!("the secret is part of the profile's topics: {error}"),
        );
    }
}

/// The key that a section's secret is written under.
pub(super) fn secret_key(section: &Section<'_>) -> &'static str {
    if section.has("secret_file") {
        "secret_file"
    } else {
        "secret"
    }
}

/// Whether a profile does anything with a secret, as its password or in a template.
pub(super) fn uses_secret(profile: &Profile) -> bool {
    let password = matches!(
        profile.connect.password,
        PasswordSource::Secret | PasswordSource::OptionalSecret
    );
    password
        || uses(profile.connection_templates(), "secret")
        || uses(profile.device_templates(), "secret")
}

/// Whether a variable has a use beside the connection: in a topic.
pub(super) fn device_part_uses(profile: &Profile, variable: &str) -> bool {
    uses(profile.device_templates(), variable)
}

/// Warns of passwords that cross a network in plain text.
pub(super) fn warn_of_plain_text(
    root: &Section<'_>,
    connectors: &BTreeMap<ConnectorName, Option<Connector>>,
    devices: &BTreeMap<DeviceId, Arc<Device>>,
) {
    let with_secret: BTreeSet<_> = devices
        .values()
        .filter(|device| device.secret.is_some())
        .map(|device| &device.connector)
        .collect();
    for connector in connectors.values().flatten() {
        let what = if connector.profile.connect.password == PasswordSource::Jwt {
            "tokens"
        } else if connector.secret.is_some() || with_secret.contains(&connector.name) {
            "secrets"
        } else {
            continue;
        };
        let local = match &connector.proxy {
            Some(proxy) => proxy.host.is_loopback(),
            None => connector.url.is_loopback(),
        };
        if connector.url.scheme() == Scheme::Plain && !local {
            root.report().warning(
                &root.deepest_place(&["connectors", connector.name.as_str(), "url"]),
                format_args!(
                    "{what} cross the network unencrypted; use mqtts:// or wss:// where the broker has it"
                ),
            );
        }
    }
}

fn client_id(
    binding: &Binding<'_>,
    connector: &Connector,
    owner: &Owner,
    client_ids: &ClientIds,
) -> Result<ClientId, String> {
    let client_id = binding.client_id().map_err(explain)?;
    let username = binding.username().map_err(explain)?.unwrap_or_default();
    for (what, text) in [("client id", &client_id), ("user name", &username)] {
        if text.len() > usize::from(u16::MAX) || text.chars().any(char::is_control) {
            return Err(format!(
                "the MQTT {what} is longer than 65535 bytes or contains a control character"
            ));
        }
    }
    client_ids.check(owner, &connector.url, &client_id)
}

fn explain(error: BindError) -> String {
    match error {
        BindError::Template(TemplateError::Unknown {
            template, variable, ..
        }) if &*variable == "secret" => format!(
            "the profile's template {template:?} needs a secret: write secret_file or secret here or at the connector"
        ),
        error => error.to_string(),
    }
}

/// Whether a value can be part of a topic to publish on.
fn in_topic(value: &str) -> Result<(), TopicError> {
    match TopicName::parse(value) {
        // Nothing, or a long value, may fit beside what stands around it: that shows where the topic is whole.
        Ok(_) | Err(TopicError::Length) => Ok(()),
        Err(error) => Err(error),
    }
}

fn uses<'a>(mut templates: impl Iterator<Item = &'a Template>, variable: &str) -> bool {
    templates.any(|template| template.uses(variable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::builtin;

    #[test]
    fn a_client_id_is_of_one_connection_on_its_broker_and_nobodys_when_that_is_gone() {
        let broker = |text: &str| BrokerUrl::parse(text).unwrap();
        let (here, there) = (broker("mqtt://here"), broker("mqtt://there"));
        let device = |id: &str| Owner::Device(DeviceId::parse(id).unwrap());
        let mut all = ClientIds::default();
        let mine = all.check(&device("a b"), &here, "x").unwrap();
        all.claim(&device("a b"), mine);
        assert_eq!(all.of(&DeviceId::parse("a b").unwrap()), Some(mine));
        assert_eq!(all.check(&device("a b"), &here, "x"), Ok(mine));
        let connector = Owner::Connector(ConnectorName::parse("c").unwrap());
        let refused = all.check(&connector, &here, "x").unwrap_err();
        assert!(refused.contains("mqtt://here:1883"), "{refused}");
        assert!(refused.contains("devices.\"a b\""), "{refused}");
        for (broker, client_id) in [(&there, "x"), (&here, "y"), (&here, "")] {
            assert_ne!(all.check(&connector, broker, client_id), Ok(mine));
        }
        let other = all.check(&device("a b"), &there, "x").unwrap();
        all.claim(&device("a b"), other);
        assert_eq!(all.check(&connector, &here, "x"), Ok(mine));
        all.release(&device("a b"));
        assert!(all.owners.is_empty() && all.of_owners.is_empty());
    }

    #[test]
    fn what_uses_a_secret() {
        for (name, anywhere, beside_the_connection) in [
            ("akenza-device", false, false),
            ("akenza-secret", true, true),
            ("plain", true, false),
            ("sap-iot", false, false),
        ] {
            let profile = Profile::parse(builtin(name).unwrap()).unwrap();
            assert_eq!(uses_secret(&profile), anywhere, "{name}");
            assert_eq!(
                device_part_uses(&profile, "secret"),
                beside_the_connection,
                "{name}"
            );
        }
    }

    #[test]
    fn errors_about_topics_name_the_rule_and_not_the_value() {
        assert_eq!(in_topic("a/b"), Ok(()));
        assert_eq!(in_topic(""), Ok(()));
        let error = in_topic("s3cret+").unwrap_err().to_string();
        assert!(error.contains("'+'") && !error.contains("s3cret"));
    }
}
