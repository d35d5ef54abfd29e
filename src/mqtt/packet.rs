//! MQTT control packets, the same for both protocol versions. What 3.1.1 cannot carry is absent or zero there.

use bytes::Bytes;

use super::reason::Reason;
use crate::message::Qos;
use crate::secret::Secret;

/// One control packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Client to broker, first.
    Connect(Box<Connect>),
    /// Broker to client, first.
    ConnAck(Box<ConnAck>),
    /// A message, either way.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Ack),
    /// Client to broker.
    Subscribe {
        /// Packet identifier.
        pkid: u16,
        /// Filters with the highest QoS wished for each.
        filters: Vec<(String, Qos)>,
    },
    /// Broker to client: one reason per filter, the granted QoS or a failure.
    SubAck {
        /// Packet identifier.
        pkid: u16,
        /// In the order of the filters.
        reasons: Vec<Reason>,
    },
    /// Client to broker.
    Unsubscribe {
        /// Packet identifier.
        pkid: u16,
        /// Filters to give up.
        filters: Vec<String>,
    },
    /// Broker to client.
    UnsubAck {
        /// Packet identifier.
        pkid: u16,
    },
    /// Client to broker.
    PingReq,
    /// Broker to client.
    PingResp,
    /// The last packet, from the client, and with MQTT 5 also from the broker.
    Disconnect {
        /// Why; zero for a normal end.
        reason: Reason,
        /// The broker's words, MQTT 5.
        text: Option<String>,
    },
}

impl Packet {
    /// Leaves secrets out of the broker's words: some brokers repeat the topic, or what they were shown.
    pub(super) fn hide(&mut self, secrets: &[Secret]) {
        let (text, reference) = match self {
            Self::ConnAck(ack) => (&mut ack.text, Some(&mut ack.server_reference)),
            Self::Ack(ack) => (&mut ack.text, None),
            Self::Disconnect { text, .. } => (text, None),
            _ => return,
        };
        for text in [Some(text), reference].into_iter().flatten().flatten() {
            for secret in secrets {
                *text = secret.hide_in(text);
            }
        }
    }
}

/// CONNECT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    /// Client id.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Whether the broker forgets what it knows of this client id.
    pub clean_start: bool,
    /// Seconds for which the broker keeps the session after a disconnect; MQTT 5.
    pub session_expiry: u32,
    /// Seconds; 0 switches keep-alive off.
    pub keep_alive: u16,
    /// How many unacknowledged QoS 1 and 2 messages the client takes at once; MQTT 5.
    pub receive_maximum: u16,
    /// Largest packet the client takes, in bytes; MQTT 5.
    pub max_packet_size: u32,
}

impl Connect {
    /// User name and password as the wire has them, if there is either: what is not there is empty.
    pub(super) fn login(&self) -> Option<(String, String)> {
        if self.username.is_none() && self.password.is_none() {
            return None;
        }
        let password = self.password.as_ref().map(Secret::expose);
        Some((
            self.username.clone().unwrap_or_default(),
            password.unwrap_or_default().to_owned(),
        ))
    }
}

/// CONNACK.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConnAck {
    /// Whether the broker still had the session.
    pub session_present: bool,
    /// Success or the refusal. 3.1.1's return codes are translated to MQTT 5's.
    pub reason: Reason,
    /// The broker's words; MQTT 5.
    pub text: Option<String>,
    /// How many unacknowledged QoS 1 and 2 messages the broker takes at once; MQTT 5, 65,535 by default.
    pub receive_maximum: Option<u16>,
    /// Largest packet the broker takes, in bytes; MQTT 5.
    pub max_packet_size: Option<u32>,
    /// Highest QoS the broker takes; MQTT 5.
    pub max_qos: Option<u8>,
    /// Whether the broker keeps retained messages; MQTT 5.
    pub retain_available: Option<bool>,
    /// Keep-alive that the broker asks for instead, in seconds; MQTT 5.
    pub server_keep_alive: Option<u16>,
    /// Where the broker sends the client instead (MQTT 5 §4.13); with the reasons 0x9C and 0x9D.
    pub server_reference: Option<String>,
}

/// PUBLISH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// Retained, or to be retained.
    pub retain: bool,
    /// Topic name.
    pub topic: String,
    /// Packet identifier; 0 with QoS 0.
    pub pkid: u16,
    /// Payload.
    pub payload: Bytes,
    /// MQTT 5's ContentType.
    pub content_type: Option<String>,
}

/// One of the four acknowledgements of a PUBLISH.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Which.
    pub kind: AckKind,
    /// Packet identifier.
    pub pkid: u16,
    /// Success or failure; MQTT 5, always success with 3.1.1.
    pub reason: Reason,
    /// The broker's words; MQTT 5.
    pub text: Option<String>,
}

/// The four acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckKind {
    /// QoS 1: taken.
    PubAck,
    /// QoS 2, first step.
    PubRec,
    /// QoS 2, second step.
    PubRel,
    /// QoS 2, last step.
    PubComp,
}
