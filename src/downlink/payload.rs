//! A payload as a JSON value: itself, text, or base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::message::ContentType;

/// How a payload stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As the JSON value that it is.
    Json,
    /// As a JSON string.
    Text,
    /// As base64 (RFC 4648 §4, padded) in a JSON string.
    Base64,
}

/// Levels of nesting in a payload that stays JSON. Readers give up beyond some (serde_json after 128), and one that
/// polls would never get past such an event.
const MAX_DEPTH: usize = 100;

/// Writes a payload as one JSON value on one line.
///
/// A JSON content type, or none, is JSON where the payload really is, and not nested absurdly deep; `application/octet-stream` is always base64, so
/// that a reader of binary data never sees it change its form; everything else is text where it is UTF-8.
pub(super) fn write(out: &mut Vec<u8>, payload: &[u8], content_type: Option<&str>) -> Encoding {
    let content_type = content_type.and_then(|text| ContentType::parse(text).ok());
    let binary = content_type
        .as_ref()
        .is_some_and(|known| known.is("application/octet-stream"));
    let text = std::str::from_utf8(payload).ok().filter(|_| !binary);
    let may_be_json = content_type.as_ref().is_none_or(ContentType::is_json);
    match text {
        Some(text) if may_be_json && is_json(text) && is_shallow(text) => {
            write_compact(out, payload);
            Encoding::Json
        }
        Some(text) => {
            write_string(out, text);
            Encoding::Text
        }
        None => {
            let start = out.len() + 1;
            out.push(b'"');
            out.resize(start + payload.len().div_ceil(3) * 4, b'=');
            // The room is exactly what the encoding needs, so it cannot fail.
            let written = STANDARD
                .encode_slice(payload, &mut out[start..])
                .unwrap_or(0);
            out.truncate(start + written);
            out.push(b'"');
            Encoding::Base64
        }
    }
}

/// Writes a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Text that is JSON, checked without building it. It must be text first: serde_json skips over strings without
/// looking whether they are UTF-8.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether readers will get through valid JSON: it stands some levels deep in an event or a page already.
fn is_shallow(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// Copies valid JSON without the white space between its tokens. Numbers keep every digit; a line break cannot stand
/// inside a string (RFC 8259 §7), so none is left, as server-sent events require.
fn write_compact(out: &mut Vec<u8>, json: &[u8]) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            (in_string, escaped) = match byte {
                _ if escaped => (true, false),
                b'\\' => (true, true),
                b'"' => (false, false),
                _ => (true, false),
            };
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(payload: &[u8], content_type: Option<&str>) -> (String, Encoding) {
        let mut out = Vec::new();
        let encoding = write(&mut out, payload, content_type);
        (String::from_utf8(out).unwrap(), encoding)
    }

    #[test]
    fn the_form_follows_content_type_and_content() {
        let json = Some("application/json; charset=utf-8");
        let binary = Some("application/octet-stream");
        let cases: [(&[u8], Option<&str>, &str, Encoding); 12] = [
            (b"{\"a\":1}", json, "{\"a\":1}", Encoding::Json),
            (b"{\"a\":1}", None, "{\"a\":1}", Encoding::Json),
            (
                b"{\"a\":1}",
                Some("text/plain"),
                r#""{\"a\":1}""#,
                Encoding::Text,
            ),
            (
                b"[1]",
                Some("application/senml+json"),
                "[1]",
                Encoding::Json,
            ),
            (b"{broken", json, "\"{broken\"", Encoding::Text),
            (b"on", None, "\"on\"", Encoding::Text),
            (b"", None, "\"\"", Encoding::Text),
            (b"\xff\x00", None, "\"/wA=\"", Encoding::Base64),
            (b"\"\xff\"", json, "\"Iv8i\"", Encoding::Base64),
            (b"abc", binary, "\"YWJj\"", Encoding::Base64),
            (b"", binary, "\"\"", Encoding::Base64),
            (b"a\r\nb", Some("nonsense"), "\"a\\r\\nb\"", Encoding::Text),
        ];
        for (payload, content_type, expected, encoding) in cases {
            assert_eq!(
                written(payload, content_type),
                (expected.to_owned(), encoding),
                "{payload:?} as {content_type:?}"
            );
        }
    }

    #[test]
    fn json_that_readers_would_choke_on_is_text() {
        let nested = |levels| format!("{}\"[[\\\"[\"{}", "[".repeat(levels), "]".repeat(levels));
        let (json, encoding) = written(nested(MAX_DEPTH).as_bytes(), None);
        assert_eq!((json, encoding), (nested(MAX_DEPTH), Encoding::Json));
        for levels in [MAX_DEPTH + 1, 100_000] {
            let (json, encoding) = written(nested(levels).as_bytes(), Some("application/json"));
            assert_eq!(encoding, Encoding::Text);
            let text: String = serde_json::from_str(&json).unwrap();
            assert_eq!(text, nested(levels));
        }
    }

    #[test]
    fn json_loses_its_white_space_and_no_digit() {
        let pretty =
            b"{\n  \"a b\": [1.10, 12345678901234567890123],\r\n\t\"c\\\"\\\\\": \" \"\n}\n";
        assert_eq!(
            written(pretty, None).0,
            r#"{"a b":[1.10,12345678901234567890123],"c\"\\":" "}"#
        );
    }

    proptest! {
        #[test]
        fn any_payload_becomes_one_line_of_json(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let (json, encoding) = written(&payload, None);
            prop_assert!(!json.contains(['\n', '\r']));
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            match encoding {
                Encoding::Json => prop_assert_eq!(value, serde_json::from_slice::<serde_json::Value>(&payload).unwrap()),
                Encoding::Text => prop_assert_eq!(value.as_str().unwrap().as_bytes(), payload),
                Encoding::Base64 => prop_assert_eq!(STANDARD.decode(value.as_str().unwrap()).unwrap(), payload),
            }
        }
    }
}
