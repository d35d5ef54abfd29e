//! A platform that checks what SAP's IoT gateway (Cloud Foundry) checks.
//!
//! The client certificate names the device by its alternate id, which is also the client id; no password. A device
//! publishes on `measures/{id}` and gets an answer on `ack/{id}` to each measure, and commands on `commands/{id}`.

mod measure;

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::broker::{Access, Action, Admission, Attempt, Gate, Hello, NoDownlink, Refusal, Reply};
use super::platform::{NewUplink, Payload, Records};
use crate::broker::MqttVersion;
use crate::device::DeviceId;
use crate::mqtt::packet::Publish;
use crate::mqtt::reason::Reason;
use crate::topic::TopicFilter;

/// The pretended SAP gateway. Its listener must demand a client certificate.
pub struct Sap {
    devices: BTreeSet<DeviceId>,
    records: Records,
}

impl Sap {
    /// A gateway that knows devices by their alternate ids, and writes down what it receives.
    pub fn new(devices: impl IntoIterator<Item = DeviceId>, records: Records) -> Self {
        Self {
            devices: devices.into_iter().collect(),
            records,
        }
    }
}

impl Gate for Sap {
    fn admit(&self, hello: &Hello<'_>) -> Result<Admission, Refusal> {
        let named = hello.certificate.and_then(common_name);
        let Some(named) = named else {
            return Err(refused("there is no client certificate with a common name"));
        };
        let Some(id) = self.devices.get(named.as_str()) else {
            return Err(refused(format!(
                "the certificate is for {named:?}, which is not a registered device"
            )));
        };
        let client_id = &hello.connect.client_id;
        if client_id != id.as_str() {
            return Err(Refusal::new(
                Reason::CLIENT_ID_NOT_VALID,
                format!("the client id is {client_id:?}, but the certificate is for {id}"),
            ));
        }
        Ok(Admission {
            scope: "sap".to_owned(),
            access: Box::new(SapAccess {
                id: id.clone(),
                records: self.records.clone(),
            }),
            until: None,
            token_issued_at: None,
        })
    }

    fn downlink_topic(&self, device: &DeviceId, topic: &str) -> Result<String, NoDownlink> {
        if !self.devices.contains(device) {
            return Err(NoDownlink::UnknownDevice);
        }
        match topic {
            "" | COMMANDS => Ok(format!("{COMMANDS}/{device}")),
            _ => Err(NoDownlink::NoSuchTopic { only: COMMANDS }),
        }
    }

    fn note(&self, attempt: Attempt) {
        self.records.refuse(attempt);
    }
}

const MEASURES: &str = "measures";
const ACK: &str = "ack";
const COMMANDS: &str = "commands";

struct SapAccess {
    id: DeviceId,
    records: Records,
}

impl SapAccess {
    /// Whether a topic is this device's of one of these kinds.
    fn is_own(&self, topic: &str, kinds: &[&str]) -> bool {
        let own = topic.strip_suffix(self.id.as_str());
        let kind = own.and_then(|kind| kind.strip_suffix('/'));
        kind.is_some_and(|kind| kinds.contains(&kind))
    }
}

impl Access for SapAccess {
    fn may_subscribe(&self, filter: &TopicFilter) -> Result<(), Refusal> {
        if self.is_own(filter.expose(), &[ACK, COMMANDS]) {
            return Ok(());
        }
        let (filter, id) = (filter.expose(), &self.id);
        Err(refused(format!(
            "{filter} is not allowed; allowed are {ACK}/{id} and {COMMANDS}/{id}"
        )))
    }

    /// A malformed measure is refused in the answer; MQTT confirms that it has arrived.
    fn take(&self, message: &Publish, _: MqttVersion) -> Result<Vec<Reply>, Refusal> {
        if !self.is_own(&message.topic, &[MEASURES]) {
            return Err(refused(format!(
                "{} is not allowed; allowed is {MEASURES}/{}",
                message.topic, self.id
            )));
        }
        let mut findings = measure::check(&message.payload);
        if findings.problems.is_empty() {
            match Payload::json(&message.payload) {
                Ok(payload) => self.records.accept(NewUplink {
                    device: self.id.clone(),
                    topic: MEASURES.to_owned(),
                    content_type: "application/json".to_owned(),
                    payload,
                    dup: message.dup,
                }),
                Err(error) => findings.problems.push(error.to_string()),
            }
        }
        if !findings.problems.is_empty() {
            let text = findings.problems.join("; ");
            self.records.refuse(Attempt {
                client_id: self.id.to_string(),
                action: Action::Publish,
                refusal: Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, text),
            });
        }
        Ok(vec![Reply {
            topic: format!("{ACK}/{}", self.id),
            payload: findings.ack(),
        }])
    }
}

fn refused(text: impl Into<String>) -> Refusal {
    Refusal::new(Reason::NOT_AUTHORIZED, text)
}

fn common_name(certificate: &CertificateDer<'static>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let name = subject.common_name().ok()??;
    Some(String::from(name))
}
