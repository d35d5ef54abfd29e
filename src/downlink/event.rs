//! One downlink as listeners get it, rendered once.

use std::ops::Range;

use bytes::Bytes;

use super::cursor::Cursor;
use super::payload::{self, Encoding};
use crate::message::Downlink;

/// One downlink with its cursor. Its text exists once, whatever the number of listeners.
#[derive(Debug)]
pub struct Event {
    cursor: Cursor,
    topic: Box<str>,
    /// The whole server-sent event; the JSON is a part of it.
    frame: Bytes,
    data: Range<usize>,
    held: usize,
}

impl Event {
    /// Its position in the stream.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// What follows the profile's prefix in its topic; empty where nothing follows.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// One line of JSON: `{"device","topic","payload","encoding"?,"content_type"?,"qos","retained","received_at"}`.
    pub fn data(&self) -> &[u8] {
        &self.frame[self.data.clone()]
    }

    /// The whole server-sent event with `id`, `event: downlink` and `data`, ended by an empty line.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// What it costs in memory, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

/// `id: ` with the longest cursor and its line break, for which a draft keeps room.
const ID_ROOM: usize = 25;
const EVENT_LINE: &[u8] = b"event: downlink\ndata: ";
/// What an event costs beside its text: the structures around it.
const OVERHEAD: usize = 200;

/// An event without its cursor: everything that takes time is done before a cursor is assigned.
pub(super) struct Draft {
    topic: Box<str>,
    text: Vec<u8>,
}

impl Draft {
    pub(super) fn render(downlink: &Downlink) -> Self {
        let mut text = Vec::with_capacity(
            ID_ROOM
                + 256
                + downlink.device.as_str().len()
                + downlink.topic.len()
                + downlink.payload.len(),
        );
        text.resize(ID_ROOM, b' ');
        text.extend_from_slice(EVENT_LINE);
        write_data(&mut text, downlink);
        text.extend_from_slice(b"\n\n");
        Self {
            topic: downlink.topic.clone(),
            text,
        }
    }

    /// Puts the cursor in, in the room kept at the front.
    pub(super) fn seal(mut self, cursor: Cursor) -> Event {
        let id = format_id(cursor);
        let unused = ID_ROOM - id.len();
        self.text[unused..ID_ROOM].copy_from_slice(id.as_bytes());
        let held = self.text.capacity() + self.topic.len() + OVERHEAD;
        let frame = Bytes::from(self.text).slice(unused..);
        let data = id.len() + EVENT_LINE.len()..frame.len() - 2;
        Event {
            cursor,
            topic: self.topic,
            frame,
            data,
            held,
        }
    }
}

fn format_id(cursor: Cursor) -> String {
    format!("id: {cursor}\n")
}

fn write_data(out: &mut Vec<u8>, downlink: &Downlink) {
    out.extend_from_slice(b"{\"device\":");
    payload::write_string(out, downlink.device.as_str());
    out.extend_from_slice(b",\"topic\":");
    payload::write_string(out, &downlink.topic);
    out.extend_from_slice(b",\"payload\":");
    let content_type = downlink.content_type.as_deref();
    if payload::write(out, &downlink.payload, content_type) == Encoding::Base64 {
        out.extend_from_slice(b",\"encoding\":\"base64\"");
    }
    if let Some(content_type) = content_type {
        out.extend_from_slice(b",\"content_type\":");
        payload::write_string(out, content_type);
    }
    let rest = format!(
        ",\"qos\":{},\"retained\":{},\"received_at\":\"{}\"}}",
        downlink.qos.level(),
        downlink.retained,
        humantime::format_rfc3339_millis(downlink.received_at),
    );
    out.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::device::DeviceId;
    use crate::message::Qos;

    fn sealed(payload: &'static [u8], content_type: Option<&str>, cursor: u64) -> Event {
        let downlink = Downlink {
            device: DeviceId::parse("pump \"1\"").unwrap(),
            topic: "set/on".into(),
            payload: Bytes::from_static(payload),
            content_type: content_type.map(Into::into),
            qos: Qos::AtLeastOnce,
            retained: false,
            received_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        };
        Draft::render(&downlink).seal(Cursor::from_raw(cursor))
    }

    #[test]
    fn a_frame_is_one_server_sent_event() {
        let event = sealed(b"{ \"on\" : true }", None, 17);
        let data = r#"{"device":"pump \"1\"","topic":"set/on","payload":{"on":true},"qos":1,"retained":false,"received_at":"2023-11-14T22:13:20.123Z"}"#;
        assert_eq!(std::str::from_utf8(event.data()).unwrap(), data);
        assert_eq!(
            std::str::from_utf8(event.frame()).unwrap(),
            format!("id: 17\nevent: downlink\ndata: {data}\n\n")
        );
    }

    #[test]
    fn the_longest_cursor_fits() {
        let event = sealed(b"\xff", Some("application/octet-stream"), u64::MAX);
        let frame = std::str::from_utf8(event.frame()).unwrap();
        assert!(frame.starts_with(&format!("id: {}\nevent: downlink\ndata: {{", u64::MAX)));
        let data: serde_json::Value = serde_json::from_slice(event.data()).unwrap();
        assert_eq!(data["payload"], "/w==");
        assert_eq!(data["encoding"], "base64");
        assert_eq!(data["content_type"], "application/octet-stream");
    }
}
