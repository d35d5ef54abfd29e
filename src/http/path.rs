//! Device and sub-topic, from the path as it was sent.
//!
//! The router's own parameters are decoded already, so that an encoded slash could no longer be told from a plain one.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::device::{DeviceId, NameError};
use crate::topic::{LevelError, MAX_SUBTOPIC_BYTES, SubTopic};

/// Levels before the device: the empty one before the first slash, `v1`, `devices`.
const BEFORE_DEVICE: usize = 3;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// The device is none.
    #[error(transparent)]
    Device(#[from] NameError),
    /// The sub-topic is none.
    #[error("the sub-topic {0}")]
    Subtopic(#[from] LevelError),
    /// The key's id is none.
    #[error("a key's id has 64 hexadecimal digits in lower case")]
    Kid,
}

/// The device of `/v1/devices/{device}/…`.
#[derive(Debug)]
pub(super) struct DevicePath(pub(super) DeviceId);

impl<S: Sync> FromRequestParts<S> for DevicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(device(parts.uri.path())?))
    }
}

/// The device in a raw path `/v1/devices/{device}/…`.
pub(super) fn device(path: &str) -> Result<DeviceId, PathError> {
    let raw = level(path, BEFORE_DEVICE);
    Ok(DeviceId::parse(&decode(raw).map_err(NameError::Device)?)?)
}

/// The sub-topic in a raw path `/v1/devices/{device}/uplinks[/{subtopic}…]`.
pub(super) fn subtopic(path: &str) -> Result<Option<SubTopic>, PathError> {
    let Some(raw) = behind(path, BEFORE_DEVICE + 2) else {
        return Ok(None);
    };
    // Encoding makes text three times as long at the most.
    if raw.len() > 3 * MAX_SUBTOPIC_BYTES {
        return Err(LevelError::TooLong.into());
    }
    let mut decoded = String::with_capacity(raw.len());
    for (index, level) in raw.split('/').enumerate() {
        let level = decode(level)?;
        if level.contains('/') {
            return Err(LevelError::Slash.into());
        }
        if index > 0 {
            decoded.push('/');
        }
        decoded.push_str(&level);
    }
    Ok(Some(SubTopic::parse(&decoded)?))
}

/// The key's id in a raw path `/v1/devices/{device}/keys/{kid}[/…]`: 64 hexadecimal digits in lower case.
pub(super) fn kid(path: &str) -> Result<&str, PathError> {
    let raw = level(path, BEFORE_DEVICE + 2);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match raw.len() == 64 && raw.bytes().all(is_digit) {
        true => Ok(raw),
        false => Err(PathError::Kid),
    }
}

/// The level behind so many slashes; empty where there are fewer.
fn level(path: &str, slashes: usize) -> &str {
    let rest = behind(path, slashes).unwrap_or_default();
    &rest[..find(rest, b'/').unwrap_or(rest.len())]
}

/// What is behind so many slashes.
fn behind(path: &str, slashes: usize) -> Option<&str> {
    (0..slashes).try_fold(path, |rest, _| Some(&rest[find(rest, b'/')? + 1..]))
}

/// The place of an ASCII character. Paths are short, and looking at each byte is quicker here than a search.
fn find(text: &str, character: u8) -> Option<usize> {
    text.bytes().position(|byte| byte == character)
}

/// The last level of a raw path, as it was sent.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Percent-decodes one level (RFC 3986 §2.1); anything that is not UTF-8, and a `%` without two digits, is refused.
fn decode(level: &str) -> Result<Cow<'_, str>, LevelError> {
    if find(level, b'%').is_none() {
        return Ok(Cow::Borrowed(level));
    }
    let complete = level.split('%').skip(1).all(|encoded| {
        let mut digits = encoded.bytes().take(2);
        digits.len() == 2 && digits.all(|digit| digit.is_ascii_hexdigit())
    });
    if !complete {
        return Err(LevelError::Encoding);
    }
    percent_decode_str(level)
        .decode_utf8()
        .map_err(|_| LevelError::Encoding)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn parse(path: &str) -> Result<(String, Option<String>), PathError> {
        let device = device(path)?.as_str().to_owned();
        Ok((device, subtopic(path)?.map(|sub| sub.as_str().to_owned())))
    }

    #[test]
    fn device_and_subtopic_are_decoded() {
        let cases = [
            ("/v1/devices/a/uplinks", "a", None),
            ("/v1/devices/a%20b/uplinks/x", "a b", Some("x")),
            (
                "/v1/devices/Ger%C3%A4t/uplinks/x/y%3A1",
                "Gerät",
                Some("x/y:1"),
            ),
            (
                "/v1/devices/a:b/uplinks/uplinks/z",
                "a:b",
                Some("uplinks/z"),
            ),
        ];
        for (path, device, sub) in cases {
            let expected = (device.to_owned(), sub.map(str::to_owned));
            assert_eq!(parse(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_topic_is_refused() {
        let long = "x".repeat(256);
        let bad = [
            "+", "%2B", "%23", "%2F", "a%2Fb", "%00", "%0a", "%7F", "%FF", "%C3", "%", "%2", "%zz",
            "%+1", ".", "..", "%2e%2E", "$SYS", "%24x", &long,
        ];
        for level in bad {
            for path in [
                format!("/v1/devices/{level}/uplinks"),
                format!("/v1/devices/a/uplinks/{level}"),
            ] {
                assert!(parse(&path).is_err(), "{path} was taken");
            }
        }
        for sub in ["", "/", "a/", "/a", "a//b", &"x/".repeat(600)] {
            let path = format!("/v1/devices/a/uplinks/{sub}");
            assert!(parse(&path).is_err(), "{path} was taken");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_meant(device in "\\PC{1,12}", levels in prop::collection::vec("\\PC{0,8}", 0..4)) {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let mut path = format!("/v1/devices/{}/uplinks", encode(&device));
            for level in &levels {
                path = format!("{path}/{}", encode(level));
            }
            let meant = (!levels.is_empty()).then(|| levels.join("/"));
            let valid = DeviceId::parse(&device).is_ok()
                && meant.as_ref().is_none_or(|sub| SubTopic::parse(sub).is_ok())
                && !levels.iter().any(|level| level.contains('/'));
            match parse(&path) {
                Ok(parsed) => prop_assert_eq!(parsed, (device, meant)),
                Err(_) => prop_assert!(!valid, "{} was refused", path),
            }
        }

        #[test]
        fn no_path_makes_a_wildcard_or_another_level(raw in "[a%+#/.$0-9A-F]{0,16}") {
            if let Ok(Some(sub)) = subtopic(&format!("/v1/devices/a/uplinks/{raw}")) {
                prop_assert!(!sub.as_str().contains(['+', '#']));
                prop_assert_eq!(sub.as_str().split('/').count(), raw.split('/').count());
            }
        }
    }
}
