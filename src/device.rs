//! Names: a device's id and a connector's name, parsed once and valid ever after.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::topic::{LevelError, check_level};

/// The longest name that is taken, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A device id: one topic level as MQTT 5 §4.7 allows it, of at most [`MAX_NAME_BYTES`] bytes,
/// without wildcards, control characters, a leading `$`, `.` and `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Takes a decoded id (percent-encoding is the caller's business).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match check_level(text) {
            Ok(()) if text.starts_with('$') => Err(NameError::Device(LevelError::Dollar)),
            Ok(()) => Ok(Self(text.into())),
            Err(error) => Err(NameError::Device(error)),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a connector in the configuration: lower-case letters, digits, `-` and `_`, at most 64 bytes.
/// It is a metric label and an environment variable's part, so it is narrower than a device id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorName(Arc<str>);

impl ConnectorName {
    /// Takes a name from the configuration.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = !text.is_empty()
            && text.len() <= 64
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Connector)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The device id cannot stand as one level of an MQTT topic.
    #[error("the device id {0}")]
    Device(LevelError),
    /// The connector's name has characters that are not allowed.
    #[error("a connector's name consists of 1 to 64 of the characters a-z, 0-9, - and _")]
    Connector,
}

macro_rules! name {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}
name!(DeviceId);
name!(ConnectorName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_that_cannot_stand_in_a_topic_are_refused() {
        for bad in [
            "",
            "a/b",
            "+",
            "#",
            "a+b",
            "a#",
            "$SYS",
            ".",
            "..",
            "a\0b",
            "a\nb",
            "\u{7f}",
            &"x".repeat(256),
        ] {
            assert!(DeviceId::parse(bad).is_err(), "{bad:?} was taken");
        }
        for good in [
            "a",
            "0102.03-04_05:06",
            "Gerät 7",
            "a$b",
            "...",
            &"x".repeat(255),
        ] {
            assert_eq!(
                DeviceId::parse(good).map(|id| id.as_str().to_owned()),
                Ok(good.to_owned())
            );
        }
    }

    #[test]
    fn connector_names_are_labels() {
        for bad in ["", "Akenza", "a b", "a.b", &"x".repeat(65)] {
            assert!(ConnectorName::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(ConnectorName::parse("akenza-eu_1").is_ok());
    }
}
