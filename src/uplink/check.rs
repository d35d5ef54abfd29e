//! What a connector carries: an uplink becomes a publish, or an error that says what to change.

use std::time::Instant;

use crate::broker::MqttVersion;
use crate::message::{ContentType, Uplink};
use crate::profile::{ContentTypeRule, UplinkTopic};
use crate::registry::{Connector, Device};
use crate::session::Publish;

/// Why a connector does not carry an uplink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The profile has no place for a sub-topic, or not for this one.
    #[error("{}", no_subtopic(.known))]
    Subtopic {
        /// Those that there are.
        known: Vec<String>,
    },
    /// With the sub-topic, the topic is longer than MQTT can carry.
    #[error("the topic is longer than MQTT can carry")]
    TopicLength,
    /// A content type that the platform does not take.
    #[error("this connector does not carry {content_type}; it carries: {carried}")]
    ContentType {
        /// The one that was given.
        content_type: String,
        /// Those that are carried.
        carried: String,
    },
    /// The connection turned out to be MQTT 3.1.1, which does not carry the content type.
    #[error(
        "the broker speaks MQTT 3.1.1, with which this connector does not carry the content type"
    )]
    ContentTypeV3,
    /// The body is not the JSON that it should be.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// A QoS above the connector's or the broker's.
    #[error("the highest QoS here is {highest}")]
    Qos {
        /// The highest that is allowed.
        highest: u8,
    },
    /// Retained messages are not taken.
    #[error("this connector takes no retained messages")]
    Retain,
    /// Larger than the broker takes.
    #[error("the broker takes at most {limit} bytes")]
    TooLarge {
        /// The broker's limit, in bytes.
        limit: usize,
    },
}

/// Checks an uplink against its device's connector.
pub fn check(device: &Device, uplink: &Uplink) -> Result<Publish, CheckError> {
    let spoken = device.session.status().spoken();
    check_for(&device.connector, &device.topic, spoken, uplink)
}

/// The same for a device without a session; `spoken` is the version of a connection that there is or was.
pub(super) fn check_for(
    connector: &Connector,
    topic: &UplinkTopic,
    spoken: Option<MqttVersion>,
    uplink: &Uplink,
) -> Result<Publish, CheckError> {
    let rules = &connector.profile.uplink;
    let qos = uplink.qos.unwrap_or(rules.default_qos);
    if qos > rules.max_qos {
        return Err(CheckError::Qos {
            highest: rules.max_qos.level(),
        });
    }
    if uplink.retain && !rules.retain {
        return Err(CheckError::Retain);
    }
    let carried = carried(connector, spoken);
    let content_type = content_type(
        uplink.content_type.clone(),
        carried,
        rules.default_content_type.as_ref(),
    )?;
    if content_type.as_ref().is_some_and(ContentType::is_json) {
        check_json(&uplink.payload)?;
    }
    let topic = topic
        .of(uplink.subtopic.as_ref())
        .ok_or(match &uplink.subtopic {
            Some(_) if rules.topic.uses("subtopic") => CheckError::TopicLength,
            _ => CheckError::Subtopic {
                known: rules.subtopics.keys().cloned().collect(),
            },
        })?;
    Ok(Publish {
        topic,
        payload: uplink.payload.clone(),
        content_type,
        qos,
        retain: uplink.retain,
        expires_at: uplink.expiry.map(|expiry| Instant::now() + expiry),
        traceparent: uplink.traceparent.clone(),
    })
}

fn no_subtopic(known: &[String]) -> String {
    match known {
        [] => "this connector's topics have no sub-topics".to_owned(),
        known => format!(
            "this connector has no such sub-topic; there are: {}",
            known.join(", ")
        ),
    }
}

/// The content types that can be carried with the version that is spoken, or will most likely be.
fn carried(connector: &Connector, spoken: Option<MqttVersion>) -> &[ContentTypeRule] {
    let rules = &connector.profile.uplink;
    match connector.version.or(spoken) {
        Some(MqttVersion::V311) => &rules.content_types_v3,
        Some(MqttVersion::V5) | None => &rules.content_types,
    }
}

/// `curl -d` claims a form when it is told nothing else. Where no platform takes forms, that claim says nothing.
const CURL_DEFAULT: &str = "application/x-www-form-urlencoded";

fn content_type(
    given: Option<ContentType>,
    carried: &[ContentTypeRule],
    default: Option<&ContentType>,
) -> Result<Option<ContentType>, CheckError> {
    let named = |essence: &str| {
        carried
            .iter()
            .any(|rule| rule.as_str().eq_ignore_ascii_case(essence))
    };
    let given =
        given.filter(|given| !given.is(CURL_DEFAULT) || named(CURL_DEFAULT) || default.is_none());
    let Some(given) = given else {
        return Ok(default.cloned());
    };
    match carried.iter().find(|rule| rule.takes(&given)) {
        Some(rule) if rule.is_any() => Ok(Some(given)),
        // The platform compares the property with its own spelling, so parameters and case are left out.
        Some(rule) => Ok(ContentType::parse(rule.as_str()).ok().or(Some(given))),
        None => Err(CheckError::ContentType {
            content_type: given.essence().to_owned(),
            carried: carried
                .iter()
                .map(ContentTypeRule::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// One JSON value in UTF-8 (RFC 8259 §8.1) and nothing behind it, checked without building it.
fn check_json(payload: &[u8]) -> Result<(), CheckError> {
    // Skipping over a value, serde_json does not look into its strings.
    let text = std::str::from_utf8(payload)
        .map_err(|error| CheckError::Json(format!("it is not UTF-8: {error}")))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| CheckError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(types: &[&str]) -> Vec<ContentTypeRule> {
        types
            .iter()
            .map(|t| ContentTypeRule::from((*t).to_owned()))
            .collect()
    }

    fn given(text: &str) -> Option<ContentType> {
        Some(ContentType::parse(text).unwrap())
    }

    #[test]
    fn content_types_as_a_platform_spells_them() {
        let akenza = rules(&["application/json", "text/plain"]);
        let json = ContentType::json();
        let choose = |text: Option<&str>| content_type(text.and_then(given), &akenza, Some(&json));
        assert_eq!(choose(None), Ok(given("application/json")));
        assert_eq!(choose(Some(CURL_DEFAULT)), Ok(given("application/json")));
        assert_eq!(
            choose(Some("Text/Plain; charset=utf-8")),
            Ok(given("text/plain"))
        );
        let error = choose(Some("image/png")).unwrap_err().to_string();
        assert_eq!(
            error,
            "this connector does not carry image/png; it carries: application/json, text/plain"
        );
    }

    #[test]
    fn anything_goes_through_where_anything_is_carried() {
        let any = rules(&["*/*"]);
        assert_eq!(
            content_type(given("text/plain; charset=utf-8"), &any, None),
            Ok(given("text/plain; charset=utf-8"))
        );
        assert_eq!(
            content_type(given(CURL_DEFAULT), &any, None),
            Ok(given(CURL_DEFAULT))
        );
        assert_eq!(content_type(None, &any, None), Ok(None));
    }

    #[test]
    fn json_is_one_value() {
        for bad in ["", "{", "{} x", "{a:1}", "nul", "\u{feff}{}"] {
            assert!(check_json(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
        assert!(check_json(b"\xff").is_err() && check_json(b"\"\xff\"").is_err());
        for good in ["{}", " [1] ", "1", "\"x\"", "null"] {
            assert_eq!(check_json(good.as_bytes()), Ok(()), "{good}");
        }
    }
}
