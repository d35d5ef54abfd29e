//! Spans as an `ExportTraceServiceRequest` (opentelemetry-proto 1.x, `trace/v1/trace.proto`).

use std::time::{SystemTime, UNIX_EPOCH};

use super::protobuf::Message;
use super::span::{Kind, Record, Value};

/// Whose spans they are: resource attributes.
pub(super) type Resource = Vec<(String, String)>;

/// The body of one export.
pub(super) fn request(resource: &Resource, spans: &[Record]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| {
            for (key, value) in resource {
                attribute(message, 1, key, |any| any.always(1, value.as_bytes()));
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.bytes(1, env!("CARGO_PKG_NAME").as_bytes());
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for record in spans {
                scope_spans.message(2, |message| span(message, record));
            }
        });
    });
    request.finish()
}

fn span(message: &mut Message, record: &Record) {
    /// The trace is recorded; it is known whether the parent is elsewhere; and it is.
    const SAMPLED: u32 = 0x001;
    const HAS_IS_REMOTE: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    const ERROR: u64 = 2;
    message.bytes(1, &record.context.trace);
    message.bytes(2, &record.context.span);
    message.bytes(4, record.parent.as_ref().map_or(&[], |parent| parent));
    message.bytes(5, record.name.as_bytes());
    let (kind, remote) = match record.kind {
        Kind::Server => (2, IS_REMOTE),
        Kind::Producer => (4, 0),
    };
    message.varint(6, kind);
    message.fixed64(7, nanos(record.began));
    message.fixed64(8, nanos(record.ended));
    for (key, value) in &record.attributes {
        attribute(message, 9, key, |any| match value {
            Value::Text(text) => any.always(1, text.as_bytes()),
            // A negative number is written as the unsigned one with the same bits.
            Value::Int(number) => any.always_varint(3, *number as u64),
        });
    }
    if record.failed {
        message.message(15, |status| status.varint(3, ERROR));
    }
    let parent = record.parent.map_or(0, |_| HAS_IS_REMOTE | remote);
    message.fixed32(16, SAMPLED | parent);
}

fn attribute(message: &mut Message, field: u64, key: &str, value: impl FnOnce(&mut Message)) {
    message.message(field, |pair| {
        pair.bytes(1, key.as_bytes());
        pair.message(2, value);
    });
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::TraceContext;

    /// Judged once by the published definitions (`opentelemetry-proto` for Python); here so that it stays as it was.
    #[test]
    fn a_span_as_collectors_read_it() {
        let record = Record {
            context: TraceContext {
                trace: [1; 16],
                span: [2; 8],
                sampled: true,
            },
            parent: Some([3; 8]),
            name: "GET /x".into(),
            kind: Kind::Server,
            began: UNIX_EPOCH + Duration::from_nanos(0x0102),
            ended: UNIX_EPOCH + Duration::from_nanos(0x0203),
            attributes: vec![("a", "b".into()), ("n", Value::Int(-1))],
            failed: true,
        };
        let mut span = Message::default();
        super::span(&mut span, &record);
        let expected = [
            &b"\x0a\x10"[..],
            &[1; 16],
            b"\x12\x08",
            &[2; 8],
            b"\x22\x08",
            &[3; 8],
            b"\x2a\x06GET /x\x30\x02",
            b"\x39\x02\x01\0\0\0\0\0\0\x41\x03\x02\0\0\0\0\0\0",
            b"\x4a\x08\x0a\x01a\x12\x03\x0a\x01b",
            b"\x4a\x10\x0a\x01n\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x7a\x02\x18\x02\x85\x01\x01\x03\0\0",
        ];
        assert_eq!(span.finish(), expected.concat());
        let body = request(&vec![("service.name".into(), "causeway".into())], &[record]);
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("service.name") && text.contains("GET /x"));
    }
}
