//! JSON that is read without being changed: an object's members with their values as they were written, so that no
//! number loses a digit and nothing is put in another order.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// The type of a JSON value (RFC 8259 §3), as a profile names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text.
    String,
    /// A number without fraction and exponent.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Members in braces.
    Object,
    /// Values in brackets.
    Array,
}

impl Kind {
    /// Whether a value is of this type.
    pub(super) fn takes(self, value: &RawValue) -> bool {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'"') => self == Self::String,
            Some(b'{') => self == Self::Object,
            Some(b'[') => self == Self::Array,
            Some(b't' | b'f') => self == Self::Boolean,
            Some(b'-' | b'0'..=b'9') => {
                self == Self::Number || self == Self::Integer && !text.contains(['.', 'e', 'E'])
            }
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Object => "an object",
            Self::Array => "an array",
        })
    }
}

/// Why a body cannot be read as an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObjectError {
    /// Not JSON at all.
    Syntax(String),
    /// Another JSON value.
    Kind,
}

/// An object's members in their order, those that are there twice included.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads a whole body.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, ObjectError> {
        let value = value(body).map_err(ObjectError::Syntax)?;
        if !Kind::Object.takes(value) {
            return Err(ObjectError::Kind);
        }
        serde_json::from_str(value.get()).map_err(|error| ObjectError::Syntax(error.to_string()))
    }

    /// The values of all members of this name: none, one, or more where the object is ambiguous.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        self.0
            .iter()
            .filter(move |(member, _)| member == name)
            .map(|(_, value)| *value)
    }

    /// Whether there is a member of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Whether there is none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// One JSON value and nothing behind it, without the space around it.
pub(super) fn value(body: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The elements of an array; `None` where the value is something else.
pub(super) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_types() {
        let takes = |text: &str| {
            let value = value(text.as_bytes()).unwrap();
            let kinds = [
                Kind::String,
                Kind::Integer,
                Kind::Number,
                Kind::Boolean,
                Kind::Object,
                Kind::Array,
            ];
            kinds
                .into_iter()
                .filter(|kind| kind.takes(value))
                .collect::<Vec<_>>()
        };
        assert_eq!(takes(" \"1\" "), [Kind::String]);
        assert_eq!(takes("-7"), [Kind::Integer, Kind::Number]);
        assert_eq!(takes("1e3"), [Kind::Number]);
        assert_eq!(takes("false"), [Kind::Boolean]);
        assert_eq!(takes("{}"), [Kind::Object]);
        assert_eq!(takes("[]"), [Kind::Array]);
        assert_eq!(takes("null"), []);
    }

    #[test]
    fn members_are_kept_as_they_were_written() {
        let body = br#" {"b": 1.10, "\u0061": [ 1 ], "b":12345678901234567890123} "#;
        let members = Members::read(body).ok().unwrap();
        let of = |name| members.all(name).map(RawValue::get).collect::<Vec<_>>();
        assert_eq!(of("b"), ["1.10", "12345678901234567890123"]);
        assert_eq!(of("a"), ["[ 1 ]"]);
        assert!(!members.has("c"));
        assert_eq!(Members::read(b"[]").err(), Some(ObjectError::Kind));
        for bad in [&b"{} x"[..], b"{\"a\":\"\xff\"}", b"\xef\xbb\xbf{}", b""] {
            assert!(matches!(
                Members::read(bad).err(),
                Some(ObjectError::Syntax(_))
            ));
        }
    }
}
