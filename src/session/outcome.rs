//! What a session is given to publish, and what it says of it.

use std::time::Instant;

use bytes::Bytes;

use crate::message::{ContentType, Qos};
use crate::mqtt::reason::Reason;
use crate::topic::TopicName;

/// One message for the broker, checked against its connector.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// Carried with MQTT 5 only.
    pub content_type: Option<ContentType>,
    /// Quality of service.
    pub qos: Qos,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// When it is no longer worth delivering: it is not sent any more then, and MQTT 5 carries the seconds that are left.
    pub expires_at: Option<Instant>,
    /// W3C trace context; carried with MQTT 5 only.
    pub traceparent: Option<Box<str>>,
}

/// What became of one publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker confirmed it with a success reason.
    Delivered {
        /// `success` or `no matching subscribers`.
        reason: Reason,
    },
    /// QoS 0: handed to the connection, never to be confirmed.
    Sent,
    /// The broker refused it. It will not be sent again.
    Refused {
        /// The broker's reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// Its time was over before it could be sent.
    Expired,
    /// It was not sent and will not be.
    NotSent(NotSent),
    /// It was sent, the connection was lost, and it was not sent again: nobody waits for it any more.
    Unconfirmed,
}

/// Why a session did not send a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// The broker refuses the connection.
    ConnectionRefused {
        /// The broker's reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// No key signs the device's tokens.
    NoKey,
    /// No connection can be made for a reason of the device's own, for example a key that cannot sign.
    Unusable(Box<str>),
    /// The connection is MQTT 3.1.1, and the connector does not carry this content type with it.
    ContentType,
    /// Larger than the broker takes, in bytes.
    TooLarge {
        /// The broker's limit, in bytes.
        limit: usize,
    },
    /// The broker takes no QoS as high as this.
    Qos {
        /// The broker's highest.
        highest: u8,
    },
    /// The broker keeps no retained messages.
    Retain,
    /// The session ends.
    Closing,
}
