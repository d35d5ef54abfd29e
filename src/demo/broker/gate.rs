//! What a pretended platform decides: who may connect, and what a connection may publish and subscribe to.
//!
//! The broker knows MQTT alone; every platform's rules are behind [`Gate`] and [`Access`].

use std::time::SystemTime;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;

use crate::broker::MqttVersion;
use crate::device::DeviceId;
use crate::mqtt::packet::{Connect, Publish};
use crate::mqtt::reason::Reason;
use crate::topic::TopicFilter;

/// A platform's front door.
pub trait Gate: Send + Sync + 'static {
    /// Lets a client in, or says which check it failed.
    fn admit(&self, hello: &Hello<'_>) -> Result<Admission, Refusal>;

    /// Where this platform sends a device's downlink.
    /// An empty `topic` is the platform's downlink without a topic of its own.
    fn downlink_topic(&self, device: &DeviceId, topic: &str) -> Result<String, NoDownlink>;

    /// Writes down what was refused, for the owner of the platform to see.
    fn note(&self, attempt: Attempt);
}

/// What an admitted client may do.
pub trait Access: Send + Sync {
    /// Whether it may subscribe to this.
    fn may_subscribe(&self, filter: &TopicFilter) -> Result<(), Refusal>;

    /// Takes a message, and gives the platform's answers to it.
    fn take(&self, message: &Publish, version: MqttVersion) -> Result<Vec<Reply>, Refusal>;
}

/// A client at the door.
pub struct Hello<'a> {
    /// Its CONNECT.
    pub connect: &'a Connect,
    /// The certificate that it showed, when the listener asks for one; the listener has checked its chain.
    pub certificate: Option<&'a CertificateDer<'static>>,
    /// The time at which tokens are judged.
    pub now: SystemTime,
}

/// A client that was let in.
pub struct Admission {
    /// Within which its client id names its session: another connection with both takes the session over.
    pub scope: String,
    /// What it may do.
    pub access: Box<dyn Access>,
    /// When it must go: its token's `exp`.
    pub until: Option<SystemTime>,
    /// Its token's `iat`, in seconds since 1970.
    pub token_issued_at: Option<u64>,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason code that MQTT has for it.
    pub reason: Reason,
    /// Which check, in words; never a token or a secret.
    pub text: String,
}

impl Refusal {
    /// A refusal with words.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }
}

/// A message from the platform in answer to one that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
}

/// Why a downlink cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDownlink {
    /// The platform does not know the device.
    UnknownDevice,
    /// The platform has no such topic for its devices.
    NoSuchTopic {
        /// The one that it has.
        only: &'static str,
    },
}

/// Something that a client tried and that was refused.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The client id as it was given.
    pub client_id: String,
    /// What it tried.
    pub action: Action,
    /// What failed.
    pub refusal: Refusal,
}

/// What a client can try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// CONNECT.
    Connect,
    /// PUBLISH.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
}
