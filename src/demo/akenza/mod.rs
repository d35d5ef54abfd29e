//! A platform that checks what akenza's MQTT broker checks.
//!
//! Device credentials: client id = device id, password = a JWT signed with the device's key. Uplink secrets: user name
//! = connector id, password = secret, and the secret in every topic.
//! <https://docs.akenza.io/akenza.io/get-started/create-and-connect-devices/device-credentials>

mod content;
mod credentials;
mod registry;
mod topics;

use std::sync::Arc;

use credentials::Who;
pub use registry::Registry;

use super::broker::{Access, Admission, Attempt, Gate, Hello, NoDownlink, Refusal, Reply};
use super::platform::{NewUplink, Records};
use crate::broker::MqttVersion;
use crate::device::DeviceId;
use crate::mqtt::packet::Publish;
use crate::mqtt::reason::Reason;
use crate::topic::TopicFilter;

/// The pretended akenza.
pub struct Akenza {
    registry: Arc<Registry>,
    records: Records,
}

impl Akenza {
    /// A platform that knows `registry` and writes down what it receives.
    pub fn new(registry: Arc<Registry>, records: Records) -> Self {
        Self { registry, records }
    }
}

impl Gate for Akenza {
    fn admit(&self, hello: &Hello<'_>) -> Result<Admission, Refusal> {
        let who = credentials::check(&self.registry, hello.connect, hello.now)?;
        let (registry, records) = (self.registry.clone(), self.records.clone());
        Ok(match who {
            Who::Device {
                id,
                issued_at,
                until,
            } => Admission {
                scope: "device".to_owned(),
                access: Box::new(DeviceAccess { id, records }),
                until: Some(until),
                token_issued_at: Some(issued_at),
            },
            Who::Connector { id } => Admission {
                // Client ids are arbitrary here, and must not meet a device's or another connector's.
                scope: format!("connector {id}"),
                access: Box::new(ConnectorAccess {
                    id,
                    registry,
                    records,
                }),
                until: None,
                token_issued_at: None,
            },
        })
    }

    fn downlink_topic(&self, device: &DeviceId, topic: &str) -> Result<String, NoDownlink> {
        if self.registry.has_device(device) {
            return Ok(topics::downlink(topics::DEVICE, device, topic));
        }
        match self.registry.connector_of(device) {
            Some(connector) => Ok(topics::downlink(connector.secret.expose(), device, topic)),
            None => Err(NoDownlink::UnknownDevice),
        }
    }

    fn note(&self, attempt: Attempt) {
        self.records.refuse(attempt);
    }
}

struct DeviceAccess {
    id: DeviceId,
    records: Records,
}

impl Access for DeviceAccess {
    fn may_subscribe(&self, filter: &TopicFilter) -> Result<(), Refusal> {
        match topics::parse_downlink_filter(filter.expose()) {
            Some((topics::DEVICE, device)) if device == self.id.as_str() => Ok(()),
            _ => Err(foreign(
                filter.expose(),
                &format!("/down/device/id/{}/…", self.id),
            )),
        }
    }

    fn take(&self, message: &Publish, version: MqttVersion) -> Result<Vec<Reply>, Refusal> {
        match topics::parse_uplink(&message.topic) {
            Some(topic)
                if topic.credential == topics::DEVICE && topic.device == self.id.as_str() =>
            {
                accept(
                    &self.records,
                    self.id.clone(),
                    topic.stored_as,
                    message,
                    version,
                )
            }
            _ => Err(foreign(
                &message.topic,
                &format!("/up/device/id/{}[/…]", self.id),
            )),
        }
    }
}

struct ConnectorAccess {
    id: String,
    registry: Arc<Registry>,
    records: Records,
}

impl ConnectorAccess {
    /// The device, when it is this connector's and the credential its secret.
    fn device(&self, credential: &str, device: &str) -> Option<&DeviceId> {
        let connector = self.registry.connectors.get(&self.id)?;
        if connector.secret.expose() != credential {
            return None;
        }
        connector.devices.iter().find(|d| d.as_str() == device)
    }
}

impl Access for ConnectorAccess {
    fn may_subscribe(&self, filter: &TopicFilter) -> Result<(), Refusal> {
        let asked = topics::parse_downlink_filter(filter.expose());
        match asked.and_then(|(credential, device)| self.device(credential, device)) {
            Some(_) => Ok(()),
            None => Err(foreign(
                filter.expose(),
                "/down/{secret}/id/{one of the connector's devices}/…",
            )),
        }
    }

    fn take(&self, message: &Publish, version: MqttVersion) -> Result<Vec<Reply>, Refusal> {
        let topic = topics::parse_uplink(&message.topic);
        let known = topic.and_then(|topic| {
            let device = self.device(topic.credential, topic.device)?.clone();
            Some((device, topic.stored_as))
        });
        match known {
            Some((device, topic)) => accept(&self.records, device, topic, message, version),
            None => Err(foreign(
                &message.topic,
                "/up/{secret}/id/{one of the connector's devices}[/…]",
            )),
        }
    }
}

fn accept(
    records: &Records,
    device: DeviceId,
    topic: String,
    message: &Publish,
    version: MqttVersion,
) -> Result<Vec<Reply>, Refusal> {
    let (content_type, payload) = content::read(message, version)?;
    records.accept(NewUplink {
        device,
        topic,
        content_type,
        payload,
        dup: message.dup,
    });
    Ok(Vec::new())
}

fn foreign(topic: &str, allowed: &str) -> Refusal {
    let text = format!(
        "{} is not allowed; allowed is {allowed}",
        topics::shown(topic)
    );
    Refusal::new(Reason::NOT_AUTHORIZED, text)
}
