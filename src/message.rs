//! Messages on their way: what a client posted, what the broker sent, and what became of them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::device::DeviceId;
use crate::topic::SubTopic;

/// MQTT quality of service (MQTT 5 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0: sent once, never confirmed.
    AtMostOnce,
    /// 1: confirmed by PUBACK.
    AtLeastOnce,
    /// 2: confirmed by PUBCOMP. Only where a connector allows it.
    ExactlyOnce,
}

impl Qos {
    /// From the number of the specification.
    pub fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number of the specification.
    pub fn level(self) -> u8 {
        self as u8
    }
}

/// A media type (RFC 9110 §8.3.1) as it travels in MQTT 5's ContentType property.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentType(Text);

/// What nearly all of them are costs neither an allocation nor a counter that all requests share.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    /// `application/json`, always.
    Json,
    Other(Arc<str>),
}

const JSON: &str = "application/json";

/// The content type is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a content type is type/subtype with optional parameters, of at most 255 visible ASCII characters"
)]
pub struct ContentTypeError;

impl ContentType {
    /// Takes a header's value: `application/json; charset=utf-8`.
    pub fn parse(text: &str) -> Result<Self, ContentTypeError> {
        if text == JSON {
            return Ok(Self::json());
        }
        let text = text.trim();
        let essence = essence(text);
        let token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+%'*`|~".contains(&b))
        };
        let shaped = essence
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && token(sub));
        let visible = text.len() <= 255 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
        match shaped && visible {
            true if text == JSON => Ok(Self::json()),
            true => Ok(Self(Text::Other(text.into()))),
            false => Err(ContentTypeError),
        }
    }

    /// `application/json`.
    pub fn json() -> Self {
        Self(Text::Json)
    }

    /// The whole value, parameters included.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Json => JSON,
            Text::Other(text) => text,
        }
    }

    /// Type and subtype without parameters, in the case they were written in.
    pub fn essence(&self) -> &str {
        essence(self.as_str())
    }

    /// Whether the type and subtype are these, whatever the case and the parameters.
    pub fn is(&self, essence: &str) -> bool {
        self.essence().eq_ignore_ascii_case(essence)
    }

    /// Whether the payload must be JSON: `application/json` or a `+json` type (RFC 6839).
    pub fn is_json(&self) -> bool {
        let essence = self.essence().as_bytes();
        self.is(JSON)
            || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json")
    }
}

fn essence(text: &str) -> &str {
    let end = text.bytes().position(|byte| byte == b';');
    text[..end.unwrap_or(text.len())].trim_end()
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The identifier of one accepted uplink and of its receipt: a UUID of version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UplinkId(uuid::Uuid);

impl UplinkId {
    /// A new id, later than every one before it in this process.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// Takes an id's text; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }

    /// The id as a number; ids sort alike in both forms.
    pub fn to_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The id that [`to_u128`](Self::to_u128) came from.
    pub fn from_u128(number: u128) -> Self {
        Self(uuid::Uuid::from_u128(number))
    }
}

impl Default for UplinkId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for UplinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UplinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for UplinkId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an uplink's id"))
    }
}

impl Serialize for UplinkId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(
            self.0
                .hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()),
        )
    }
}

/// One uplink as a client posted it, parsed but not yet checked against its connector.
#[derive(Debug, Clone)]
pub struct Uplink {
    /// The device it comes from.
    pub device: DeviceId,
    /// What follows the device in the topic.
    pub subtopic: Option<SubTopic>,
    /// The body as it came, any bytes.
    pub payload: Bytes,
    /// The request's `Content-Type`, when it had one.
    pub content_type: Option<ContentType>,
    /// Requested quality of service, when the request named one; the connector's default otherwise.
    pub qos: Option<Qos>,
    /// MQTT's retain flag.
    pub retain: bool,
    /// How long the message is worth delivering; MQTT 5 message expiry carries what is left.
    pub expiry: Option<Duration>,
    /// W3C `traceparent`, carried as an MQTT 5 user property.
    pub traceparent: Option<Box<str>>,
}

/// One message from the broker to a device.
#[derive(Debug, Clone)]
pub struct Downlink {
    /// The device it is for.
    pub device: DeviceId,
    /// What follows the profile's prefix in its topic; empty where nothing follows.
    pub topic: Box<str>,
    /// The payload as it came.
    pub payload: Bytes,
    /// MQTT 5's ContentType.
    pub content_type: Option<Box<str>>,
    /// The quality of service it was delivered with.
    pub qos: Qos,
    /// Whether the broker sent it from its retained messages.
    pub retained: bool,
    /// When this process received it.
    pub received_at: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for bad in [
            "",
            "json",
            "a/",
            "/b",
            "a b/c",
            "a/b\u{e4}",
            "text/plain;\n",
        ] {
            let taken = ContentType::parse(bad).is_ok_and(|t| t.as_str() != "text/plain;");
            assert!(!taken, "{bad:?} was taken");
        }
        let parsed =
            ContentType::parse("Application/JSON; charset=utf-8").unwrap_or_else(|e| panic!("{e}"));
        assert!(parsed.is("application/json") && parsed.is_json());
        assert_eq!(parsed.essence(), "Application/JSON");
        let json = ContentType::parse(" application/json ");
        assert_eq!(json, Ok(ContentType::json()));
        assert!(json.is_ok_and(|t| t.is_json() && t.as_str() == "application/json"));
        assert!(ContentType::parse("application/senml+json").is_ok_and(|t| t.is_json()));
        assert!(ContentType::parse("text/csv").is_ok_and(|t| !t.is_json()));
    }

    #[test]
    fn uplink_ids_grow() {
        let ids: Vec<_> = (0..1000).map(|_| UplinkId::new()).collect();
        assert!(ids.is_sorted());
    }
}
