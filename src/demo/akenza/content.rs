//! What akenza takes as a payload.

use crate::broker::MqttVersion;
use crate::demo::broker::Refusal;
use crate::demo::platform::Payload;
use crate::message::ContentType;
use crate::mqtt::packet::Publish;
use crate::mqtt::reason::Reason;

/// The content types that akenza documents for MQTT 5.
const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "text/plain",
    "application/octet-stream",
    "application/xml",
    "text/csv",
];

/// The content type and the payload as akenza understands them. Without a content type, and with MQTT 3.1.1 always,
/// a payload is JSON.
pub(super) fn read(publish: &Publish, version: MqttVersion) -> Result<(String, Payload), Refusal> {
    let stated = match version {
        MqttVersion::V5 => publish.content_type.as_deref(),
        MqttVersion::V311 => None,
    };
    let stated = stated.unwrap_or(CONTENT_TYPES[0]);
    let parsed = ContentType::parse(stated).ok();
    let known = parsed.filter(|parsed| CONTENT_TYPES.iter().any(|known| parsed.is(known)));
    let Some(content_type) = known else {
        return Err(malformed(format!(
            "the content type {stated:?} is none of {}",
            CONTENT_TYPES.join(", ")
        )));
    };
    let payload = if content_type.is_json() {
        Payload::json(&publish.payload)
            .map_err(|error| malformed(format!("the payload is not JSON: {error}")))?
    } else {
        Payload::Bytes(publish.payload.clone())
    };
    Ok((stated.to_owned(), payload))
}

fn malformed(text: String) -> Refusal {
    Refusal::new(Reason::PAYLOAD_FORMAT_INVALID, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Qos;
    use bytes::Bytes;

    fn take(version: MqttVersion, content_type: Option<&str>, payload: &'static str) -> bool {
        let publish = Publish {
            dup: false,
            qos: Qos::AtLeastOnce,
            retain: false,
            topic: "/up/device/id/a".to_owned(),
            pkid: 1,
            payload: Bytes::from_static(payload.as_bytes()),
            content_type: content_type.map(str::to_owned),
        };
        read(&publish, version).is_ok()
    }

    #[test]
    fn five_content_types_and_json_by_default() {
        use MqttVersion::{V5, V311};
        assert!(take(V5, None, "{}") && !take(V5, None, "{"));
        assert!(take(V5, Some("application/json; charset=utf-8"), "1"));
        for taken in &CONTENT_TYPES[1..] {
            assert!(take(V5, Some(taken), "not JSON"), "{taken}");
        }
        assert!(!take(V5, Some("image/png"), "{}") && !take(V5, Some(""), "{}"));
        assert!(take(V311, None, "[]") && !take(V311, None, "not JSON"));
    }
}
