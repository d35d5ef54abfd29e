//! One uplink and one refusal, in the form in which the console shows them.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::NewUplink;
use crate::demo::broker::{Action, Attempt};

/// An uplink that a platform took.
#[derive(Debug)]
pub struct Uplink {
    /// Counts all uplinks of all devices in the order in which they came, from 1.
    pub number: u64,
    /// What came.
    pub uplink: NewUplink,
    /// When.
    pub received_at: SystemTime,
}

/// A payload as a platform understood it.
#[derive(Debug, Clone)]
pub enum Payload {
    /// A JSON text, kept as it was written.
    Json(Box<RawValue>),
    /// Anything else.
    Bytes(Bytes),
}

impl Payload {
    /// Reads JSON.
    pub fn json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes).map(Self::Json)
    }

    /// Its size, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(json) => json.get().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// Something that a client tried and that was refused.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedAttempt {
    /// When, as RFC 3339.
    pub at: String,
    /// The client id as it was given.
    pub client_id: String,
    /// What was tried.
    pub action: Action,
    /// MQTT 5's name and number of the reason.
    pub reason: String,
    /// Which check failed.
    pub detail: String,
}

impl RefusedAttempt {
    pub(super) fn new(attempt: Attempt, now: SystemTime) -> Self {
        Self {
            at: rfc3339(now),
            client_id: attempt.client_id,
            action: attempt.action,
            reason: attempt.refusal.reason.to_string(),
            detail: attempt.refusal.text,
        }
    }
}

impl Serialize for Uplink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let NewUplink {
            device,
            topic,
            content_type,
            payload,
            dup,
        } = &self.uplink;
        let mut map = serializer.serialize_struct("Uplink", 7)?;
        map.serialize_field("number", &self.number)?;
        map.serialize_field("device", device)?;
        map.serialize_field("topic", topic)?;
        map.serialize_field("content_type", content_type)?;
        match payload {
            Payload::Json(json) => map.serialize_field("payload", json)?,
            Payload::Bytes(bytes) => {
                map.serialize_field("payload_base64", &STANDARD.encode(bytes))?;
            }
        }
        map.serialize_field("dup", dup)?;
        map.serialize_field("received_at", &rfc3339(self.received_at))?;
        map.end()
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
