//! One line, or one element of an array, to an uplink.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::device::{DeviceId, NameError};
use crate::http::path::PathError;
use crate::http::problem::{Kind, Problem};
use crate::message::{ContentType, Qos, Uplink};
use crate::topic::SubTopic;
use crate::uplink::IdempotencyKey;

/// The longest `id`, in bytes as it is written.
const MAX_REFERENCE: usize = 256;

/// One uplink of a batch. Another member than these is an error.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BatchUplink<'a> {
    /// The device that it comes from.
    #[serde(borrow)]
    #[schema(value_type = String, example = "pump-1")]
    device: Cow<'a, str>,
    /// One or more levels below the device's topic.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "alerts/critical")]
    subtopic: Option<Cow<'a, str>>,
    /// The payload: any JSON value, published as it is written. With a `content_type` that is not JSON it must be a string,
    /// and its text is published. Either this or `payload_base64`.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>, example = json!({"temperature": 21.5}))]
    payload: Option<&'a RawValue>,
    /// The payload: any bytes, in base64 (RFC 4648 §4). Either this or `payload`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "iVBORw0KGgo=")]
    payload_base64: Option<Cow<'a, str>>,
    /// Default: `application/json` with `payload`, the profile's with `payload_base64`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "application/json")]
    content_type: Option<Cow<'a, str>>,
    /// MQTT quality of service. Default: the profile's, mostly 1. With 0 nothing is confirmed.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    qos: Option<u8>,
    /// MQTT's retain flag. Default false.
    #[serde(default)]
    retain: Option<bool>,
    /// Seconds after which it is no longer worth delivering.
    #[serde(default)]
    #[schema(minimum = 1)]
    expiry: Option<u32>,
    /// What the profile makes the message of, beside the payload: its own query parameters of a single uplink. With
    /// sap-iot `capability`, `sensor` or `sensor_type`, and `timestamp`.
    #[serde(default)]
    #[schema(example = json!({"capability": "temperature"}))]
    parameters: BTreeMap<String, String>,
    /// The client's own name for the line, a string or a number: told in its result as `ref`.
    #[serde(borrow, default)]
    #[schema(schema_with = reference_schema, required = false)]
    id: Option<&'a RawValue>,
    /// The `Idempotency-Key`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "8e03978e-40d5-43dd-bc93-6894a57f9324")]
    key: Option<Cow<'a, str>>,
}

/// A client's own name for a line, in either direction.
pub(super) fn reference_schema() -> Schema {
    let of = |kind| ObjectBuilder::new().schema_type(kind);
    OneOfBuilder::new()
        .item(of(Type::String).examples(["a-1"]))
        .item(of(Type::Number))
        .description(Some(
            "The client's own name for the line, told in its result as `ref`",
        ))
        .into()
}

/// A line as far as it could be read.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The client's own name for it.
    pub(super) reference: Option<Box<RawValue>>,
    /// What it asks for.
    pub(super) wanted: Result<Wanted, Problem>,
}

/// What a line asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) uplink: Uplink,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) parameters: BTreeMap<String, String>,
}

/// Reads one line. It keeps nothing of `text`.
pub(super) fn parse(text: &[u8], traceparent: Option<&str>) -> Parsed {
    match serde_json::from_slice::<BatchUplink<'_>>(text) {
        Ok(line) => Parsed {
            reference: reference(line.id),
            wanted: wanted(&line, traceparent),
        },
        Err(error) => Parsed {
            reference: serde_json::from_slice::<Named<'_>>(text)
                .ok()
                .and_then(|named| reference(named.id)),
            wanted: Err(malformed(words(&error))),
        },
    }
}

/// What may still be readable of a line with a mistake.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

/// Unlike the default, `null` is a payload.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

fn reference(id: Option<&RawValue>) -> Option<Box<RawValue>> {
    id.filter(|id| is_reference(id)).map(RawValue::to_owned)
}

fn is_reference(id: &RawValue) -> bool {
    let scalar = id
        .get()
        .starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
    scalar && id.get().len() <= MAX_REFERENCE
}

fn wanted(line: &BatchUplink<'_>, traceparent: Option<&str>) -> Result<Wanted, Problem> {
    if line.id.is_some_and(|id| !is_reference(id)) {
        return Err(malformed(format!(
            "`id` is a string or a number of at most {MAX_REFERENCE} bytes"
        )));
    }
    let device =
        DeviceId::parse(&line.device).map_err(|error: NameError| PathError::from(error))?;
    let subtopic = line.subtopic.as_deref().map(SubTopic::parse).transpose();
    let given = line
        .content_type
        .as_deref()
        .map(ContentType::parse)
        .transpose()
        .map_err(|error| malformed(format!("`content_type` is malformed: {error}")))?;
    let (payload, content_type) = payload(line.payload, line.payload_base64.as_deref(), given)?;
    let qos = match line.qos.map(|level| (level, Qos::from_level(level))) {
        None => None,
        Some((_, Some(qos))) => Some(qos),
        Some((level, None)) => {
            return Err(malformed(format!("`qos` is 0, 1 or 2, and not {level}")));
        }
    };
    if line.expiry == Some(0) {
        return Err(malformed(
            "`expiry` is a number of seconds, at least 1".to_owned(),
        ));
    }
    let key = line.key.as_deref().map(IdempotencyKey::parse).transpose();
    Ok(Wanted {
        uplink: Uplink {
            device,
            subtopic: subtopic.map_err(PathError::from)?,
            payload,
            content_type,
            qos,
            retain: line.retain.unwrap_or(false),
            expiry: line.expiry.map(|expiry| Duration::from_secs(expiry.into())),
            traceparent: traceparent.map(Into::into),
        },
        key: key.map_err(|error| malformed(format!("`key`: {error}")))?,
        parameters: line.parameters.clone(),
    })
}

/// The payload that one of the two members holds, and its content type.
pub(in crate::http) fn payload(
    json: Option<&RawValue>,
    base64: Option<&str>,
    given: Option<ContentType>,
) -> Result<(Bytes, Option<ContentType>), Problem> {
    match (json, base64) {
        (Some(json), None) => {
            let content_type = given.unwrap_or_else(ContentType::json);
            let payload = if content_type.is_json() {
                Bytes::copy_from_slice(json.get().as_bytes())
            } else {
                let text: String = serde_json::from_str(json.get()).map_err(|_| {
                    malformed(format!(
                        "`payload` is no string, and {} is not JSON",
                        content_type.essence()
                    ))
                    .hint("give other bytes as `payload_base64`")
                })?;
                Bytes::from(text)
            };
            Ok((payload, Some(content_type)))
        }
        (None, Some(base64)) => {
            let payload = STANDARD
                .decode(base64.as_bytes())
                .map_err(|error| malformed(format!("`payload_base64` is not base64: {error}")))?;
            Ok((payload.into(), given))
        }
        (Some(_), Some(_)) => Err(malformed(
            "there are both `payload` and `payload_base64`".to_owned(),
        )),
        (None, None) => Err(malformed(
            "there is neither `payload` nor `payload_base64`".to_owned(),
        )),
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(Kind::Malformed, detail)
}

/// What is wrong, with the column alone where there is only one line anyway.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((what, column)) => format!("{what} at column {column}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wanted, String> {
        let problem = |problem: Problem| problem.body().detail().to_owned();
        parse(text.as_bytes(), None).wanted.map_err(problem)
    }

    #[test]
    fn everything_is_read() {
        let text = r#"{"device":"p\u0031","subtopic":"a/b","payload":[1, 2],"qos":0,"retain":true,"expiry":9,"id":7,"key":"k","parameters":{"x":"y"}}"#;
        let parsed = parse(text.as_bytes(), Some("trace"));
        assert_eq!(parsed.reference.unwrap().get(), "7");
        let Wanted {
            uplink,
            key,
            parameters,
        } = parsed.wanted.unwrap();
        assert_eq!(parameters["x"], "y");
        assert_eq!(uplink.device.as_str(), "p1");
        assert_eq!(uplink.subtopic.unwrap().as_str(), "a/b");
        assert_eq!(&uplink.payload[..], b"[1, 2]");
        assert!(uplink.content_type.unwrap().is_json() && uplink.retain);
        assert_eq!(
            (uplink.qos, uplink.expiry),
            (Some(Qos::AtMostOnce), Some(Duration::from_secs(9)))
        );
        assert_eq!(uplink.traceparent.as_deref(), Some("trace"));
        assert_eq!(key.unwrap().as_str(), "k");
    }

    #[test]
    fn payloads() {
        let payload = |members: &str| {
            let wanted = read(&format!("{{\"device\":\"a\",{members}}}"))?;
            let content_type = wanted.uplink.content_type.map(|t| t.as_str().to_owned());
            Ok::<_, String>((wanted.uplink.payload.to_vec(), content_type))
        };
        let json = |text: &str| Ok((text.into(), Some("application/json".to_owned())));
        assert_eq!(payload(r#""payload":null"#), json("null"));
        assert_eq!(payload(r#""payload":"a\n""#), json(r#""a\n""#));
        assert_eq!(
            payload(r#""payload":"a\n","content_type":"text/plain""#),
            Ok((b"a\n".to_vec(), Some("text/plain".to_owned())))
        );
        assert_eq!(
            payload(r#""payload_base64":"/wA=""#),
            Ok((vec![255, 0], None))
        );
        assert_eq!(payload(r#""payload_base64":"""#), Ok((vec![], None)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("{", "EOF while parsing"),
            ("[]", "invalid length 0"),
            ("1", "invalid type: integer `1`"),
            ("{} {}", "missing field `device`"),
            (
                r#"{"device":"a","payload":1} x"#,
                "trailing characters at column 28",
            ),
            (
                r#"{"device":"a","payload":1,"topic":"x"}"#,
                "unknown field `topic`",
            ),
            (
                r#"{"device":"a","payload":1,"payload":2}"#,
                "duplicate field `payload`",
            ),
            (r#"{"device":"a"}"#, "neither"),
            (r#"{"device":"a","payload":1,"payload_base64":""}"#, "both"),
            (r#"{"device":"a","payload_base64":"="}"#, "not base64"),
            (
                r#"{"device":"a","payload":1,"content_type":"text/plain"}"#,
                "no string",
            ),
            (
                r#"{"device":"a","payload":1,"content_type":"text"}"#,
                "`content_type`",
            ),
            (r#"{"device":"a","payload":1,"qos":3}"#, "`qos`"),
            (r#"{"device":"a","payload":1,"qos":"1"}"#, "invalid type"),
            (r#"{"device":"a","payload":1,"expiry":0}"#, "`expiry`"),
            (r#"{"device":"a","payload":1,"id":{}}"#, "`id`"),
            (r#"{"device":"a","payload":1,"key":""}"#, "`key`"),
            (r#"{"device":"a/b","payload":1}"#, "contains '/'"),
            (
                r##"{"device":"a","subtopic":"#","payload":1}"##,
                "reserves for subscriptions",
            ),
        ];
        for (text, expected) in cases {
            let detail = read(text).expect_err(text);
            assert!(detail.contains(expected), "{text}: {detail}");
        }
        assert!(parse(b"{\"device\":\"\xff\"}", None).wanted.is_err());
    }

    #[test]
    fn a_line_with_a_mistake_is_still_called_by_its_name() {
        let name = |text: &str| {
            let reference = parse(text.as_bytes(), None).reference?;
            Some(reference.get().to_owned())
        };
        assert_eq!(name(r#"{"id":"x","nonsense":1}"#).as_deref(), Some("\"x\""));
        assert_eq!(name(r#"{"id":[1],"device":"a","payload":1}"#), None);
        assert_eq!(name(r#"{"id":"x","#), None);
    }
}
