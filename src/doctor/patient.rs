//! What is examined: a device, or a connector that has none yet, with all that is needed to reach its broker.

use std::sync::Arc;

use bytes::Bytes;

use super::client::{Client, Platform, Proof};
use super::report::StepName;
use super::token;
use crate::device::{ConnectorName, DeviceId};
use crate::message::{ContentType, Uplink};
use crate::mqtt::transport::Endpoint;
use crate::profile::UplinkTopic;
use crate::registry::{Connector, Device};
use crate::session::{ConnectSpec, Password};
use crate::topic::{SubTopic, TopicFilter};

/// One examination's subject. What is missing is the subject of a [`Fault`].
#[derive(Debug, Clone)]
pub struct Patient {
    /// The device.
    pub device: Option<DeviceId>,
    /// Its connector.
    pub connector: ConnectorName,
    /// The name or path of the connector's profile.
    pub profile: String,
    /// The broker's URL.
    pub broker: String,
    /// What of the configuration should be seen to.
    pub warnings: Vec<String>,
    /// What of its files cannot be used.
    pub faults: Vec<Fault>,
    /// The way to the broker.
    pub endpoint: Option<Endpoint>,
    /// How its session connects.
    pub connect: Option<Arc<ConnectSpec>>,
    /// What is subscribed to for the device.
    pub filters: Vec<TopicFilter>,
    /// Where its uplinks go; not needed where its bridge runs.
    pub outlet: Option<Outlet>,
}

/// Where the uplinks of a device go.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// What may be published.
    pub connector: Arc<Connector>,
    /// The topics.
    pub topic: UplinkTopic,
}

/// Something that keeps a device from connecting before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The step that it is about.
    pub step: StepName,
    /// What is wrong, naming the file.
    pub problem: String,
}

/// A message to try out whether the device may publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestMessage {
    /// Its payload. Without one it is the smallest JSON object that says where it comes from.
    pub payload: Option<Bytes>,
    /// What the payload is; the profile's default otherwise.
    pub content_type: Option<ContentType>,
    /// What follows the device in the topic.
    pub subtopic: Option<SubTopic>,
}

/// The payload of a test message for which none was given.
const TEST_PAYLOAD: &[u8] = br#"{"causeway":"doctor"}"#;

impl Patient {
    /// A device of a running bridge. `None` where its session never connects.
    pub fn of(device: &Arc<Device>) -> Option<Self> {
        let connect = device.session.status().connect()?;
        Some(Self {
            device: Some(device.id.clone()),
            connector: device.connector.name.clone(),
            profile: device.connector.profile_name.clone(),
            broker: connect.endpoint.url(),
            warnings: Vec::new(),
            faults: Vec::new(),
            endpoint: Some(connect.endpoint.clone()),
            connect: Some(connect),
            filters: Vec::new(),
            outlet: None,
        })
    }

    /// What is wrong with the files of a step, if anything is.
    pub(super) fn fault(&self, step: StepName) -> Option<&str> {
        let found = self.faults.iter().find(|fault| fault.step == step);
        found.map(|fault| fault.problem.as_str())
    }

    /// Who connects, as refusals are explained by.
    pub(super) fn client(&self, connect: &ConnectSpec, now: std::time::SystemTime) -> Client {
        let tls = connect.endpoint.tls.as_ref();
        let certificate = tls.is_some_and(|tls| tls.identity.is_some());
        let proof = match &connect.password {
            Password::Token(source) => Proof::Token(match source.token() {
                Ok((spec, key)) => match key.get() {
                    Ok(key) => token::identity_of(key, spec.kid.as_deref()),
                    Err(_) => "unusable".to_owned(),
                },
                Err(_) => "unusable".to_owned(),
            }),
            Password::None if certificate => Proof::Certificate,
            Password::None if connect.username.is_none() => Proof::None,
            Password::Secret(_) | Password::None => Proof::Login,
        };
        Client {
            platform: Platform::of(&self.profile),
            client_id: connect.shown_client_id().to_string(),
            proof,
            now,
            pinned: connect.version.pinned(),
        }
    }
}

impl TestMessage {
    /// The uplink of a device that this is.
    pub(super) fn uplink(&self, device: &DeviceId) -> Uplink {
        let payload = self.payload.clone();
        Uplink {
            device: device.clone(),
            subtopic: self.subtopic.clone(),
            payload: payload.unwrap_or(Bytes::from_static(TEST_PAYLOAD)),
            content_type: self.content_type.clone(),
            qos: None,
            retain: false,
            expiry: None,
            traceparent: None,
        }
    }
}
