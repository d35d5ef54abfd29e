//! Bytes to packets and back, for both protocol versions, in either direction.
//!
//! Packets are parsed by `rumqttc`; framing is done here first, because `rumqttc` reports a packet whose *content*
//! ends too early in the same way as one that has not arrived completely. PUBLISH and the acknowledgements are
//! written here: they are the per-message path, and `rumqttc` would have topic and content type copied first.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::packet::{Ack, AckKind, Packet};
use super::reason::Reason;
use super::{v3, v5};
use crate::broker::MqttVersion;
use crate::message::Qos;

/// Why bytes are not a packet, or a packet cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The peer sent something that is not MQTT, or not this version of it.
    #[error("malformed packet: {0}")]
    Malformed(String),
    /// A packet larger than allowed.
    #[error("a packet of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Largest packet that MQTT can frame, in bytes (MQTT 5 §2.1.4).
pub const MAX_PACKET_BYTES: usize = 268_435_460;

/// Reads and writes packets of one version.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// Protocol version of the connection.
    pub version: MqttVersion,
    /// Largest packet that is read, in bytes.
    pub max_incoming: usize,
}

/// What is to be published, borrowed: nothing is copied before the write buffer.
#[derive(Clone, Copy)]
pub struct PublishParts<'a> {
    /// Whether it may have been sent before in this session.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// To be retained.
    pub retain: bool,
    /// Topic name.
    pub topic: &'a str,
    /// Packet identifier; not written with QoS 0.
    pub pkid: u16,
    /// Payload.
    pub payload: &'a [u8],
    /// MQTT 5's ContentType; 3.1.1 does not carry it.
    pub content_type: Option<&'a str>,
    /// MQTT 5's message expiry in seconds; 3.1.1 does not carry it.
    pub expiry: Option<u32>,
    /// One MQTT 5 user property; 3.1.1 does not carry it.
    pub user_property: Option<(&'a str, &'a str)>,
}

impl Codec {
    /// Takes one packet off the front of `stream`; `None` when it is not complete yet.
    pub fn decode(&self, stream: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
        let Some(frame) = frame(stream)? else {
            return Ok(None);
        };
        if frame.total() > self.max_incoming {
            return Err(CodecError::TooLarge {
                size: frame.total(),
                limit: self.max_incoming,
            });
        }
        if stream.len() < frame.total() {
            stream.reserve(frame.total() - stream.len());
            return Ok(None);
        }
        let body = &stream[frame.header..frame.total()];
        if let Some(ack) = short_ack(self.version, stream[0], body) {
            // Not split off, which would share the buffer and so allocate.
            stream.advance(frame.total());
            return Ok(Some(Packet::Ack(ack)));
        }
        if let Some(disconnect) = short_disconnect(self.version, stream[0], body) {
            stream.advance(frame.total());
            return Ok(Some(disconnect));
        }
        let bytes = stream.split_to(frame.total());
        match self.version {
            MqttVersion::V5 => v5::decode(bytes, frame.header).map(Some),
            MqttVersion::V311 => v3::decode(bytes, frame.header).map(Some),
        }
    }

    /// Appends a packet to `buffer`.
    pub fn encode(&self, packet: &Packet, buffer: &mut BytesMut) -> Result<(), CodecError> {
        match (packet, self.version) {
            (Packet::Ack(ack), version) => {
                encode_ack(ack, version, buffer);
                Ok(())
            }
            (Packet::Publish(publish), _) => self.encode_publish(
                PublishParts {
                    dup: publish.dup,
                    qos: publish.qos,
                    retain: publish.retain,
                    topic: &publish.topic,
                    pkid: publish.pkid,
                    payload: &publish.payload,
                    content_type: publish.content_type.as_deref(),
                    expiry: None,
                    user_property: None,
                },
                buffer,
            ),
            (Packet::Disconnect { reason, .. }, MqttVersion::V5) if *reason != Reason::SUCCESS => {
                buffer.extend_from_slice(&[0xE0, 1, reason.0]);
                Ok(())
            }
            (Packet::Disconnect { .. }, _) => {
                buffer.extend_from_slice(&[0xE0, 0]);
                Ok(())
            }
            (packet, MqttVersion::V5) => v5::encode(packet, buffer),
            (packet, MqttVersion::V311) => v3::encode(packet, buffer),
        }
    }

    /// The size that a PUBLISH has on the wire, in bytes.
    pub fn publish_size(&self, parts: &PublishParts<'_>) -> usize {
        let remaining = self.publish_remaining(parts);
        1 + variable_length(remaining) + remaining
    }

    /// Appends a PUBLISH to `buffer` (MQTT 5 §3.3, 3.1.1 §3.3).
    pub fn encode_publish(
        &self,
        parts: PublishParts<'_>,
        buffer: &mut BytesMut,
    ) -> Result<(), CodecError> {
        let remaining = self.publish_remaining(&parts);
        let size = 1 + variable_length(remaining) + remaining;
        if size > MAX_PACKET_BYTES {
            return Err(CodecError::TooLarge {
                size,
                limit: MAX_PACKET_BYTES,
            });
        }
        buffer.reserve(size);
        buffer.put_u8(
            0x30 | u8::from(parts.dup) << 3 | parts.qos.level() << 1 | u8::from(parts.retain),
        );
        put_variable(buffer, remaining);
        put_text(buffer, parts.topic);
        if parts.qos != Qos::AtMostOnce {
            buffer.put_u16(parts.pkid);
        }
        if self.version == MqttVersion::V5 {
            put_variable(buffer, properties_length(&parts));
            if let Some(expiry) = parts.expiry {
                buffer.put_u8(0x02);
                buffer.put_u32(expiry);
            }
            if let Some((name, value)) = parts.user_property {
                buffer.put_u8(0x26);
                put_text(buffer, name);
                put_text(buffer, value);
            }
            if let Some(content_type) = parts.content_type {
                buffer.put_u8(0x03);
                put_text(buffer, content_type);
            }
        }
        buffer.extend_from_slice(parts.payload);
        Ok(())
    }

    fn publish_remaining(&self, parts: &PublishParts<'_>) -> usize {
        let pkid = if parts.qos == Qos::AtMostOnce { 0 } else { 2 };
        let properties = match self.version {
            MqttVersion::V5 => {
                let length = properties_length(parts);
                variable_length(length) + length
            }
            MqttVersion::V311 => 0,
        };
        2 + parts.topic.len() + pkid + properties + parts.payload.len()
    }
}

/// The protocol level that a CONNECT asks for, once enough of it has arrived: a server chooses its codec by it.
pub fn connect_level(stream: &[u8]) -> Result<Option<u8>, CodecError> {
    let Some(frame) = frame(stream)? else {
        return Ok(None);
    };
    if stream[0] >> 4 != 1 {
        return Err(CodecError::Malformed(
            "the first packet is not a CONNECT".to_owned(),
        ));
    }
    match stream.get(frame.header..frame.header + 7) {
        Some([0, 4, b'M', b'Q', b'T', b'T', level]) => Ok(Some(*level)),
        Some(_) => Err(CodecError::Malformed(
            "the protocol name is not MQTT".to_owned(),
        )),
        None if frame.remaining < 7 => Err(CodecError::Malformed(
            "a CONNECT without a protocol level".to_owned(),
        )),
        None => Ok(None),
    }
}

struct Frame {
    header: usize,
    remaining: usize,
}

impl Frame {
    fn total(&self) -> usize {
        self.header + self.remaining
    }
}

fn frame(stream: &[u8]) -> Result<Option<Frame>, CodecError> {
    let mut remaining = 0;
    for (index, byte) in stream.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some(Frame {
                header: index + 2,
                remaining,
            }));
        }
    }
    if stream.len() >= 5 {
        Err(CodecError::Malformed(
            "the remaining length has more than four bytes".to_owned(),
        ))
    } else {
        Ok(None)
    }
}

/// Most acknowledgements there are. Only MQTT 5's have a reason (§3.4.2).
fn short_ack(version: MqttVersion, first: u8, body: &[u8]) -> Option<Ack> {
    let kind = ack_kind(first >> 4)?;
    let (pkid, reason) = match *body {
        [high, low] => (u16::from_be_bytes([high, low]), Reason::SUCCESS),
        [high, low, reason] | [high, low, reason, 0] if version == MqttVersion::V5 => {
            (u16::from_be_bytes([high, low]), Reason(reason))
        }
        _ => return None,
    };
    Some(Ack {
        kind,
        pkid,
        reason,
        text: None,
    })
}

/// DISCONNECT may end before its properties or its reason (MQTT 5 §3.14.2), which `rumqttc` does not take.
fn short_disconnect(version: MqttVersion, first: u8, body: &[u8]) -> Option<Packet> {
    let reason = match *body {
        _ if first >> 4 != 14 => return None,
        [] => Reason::SUCCESS,
        [reason] if version == MqttVersion::V5 => Reason(reason),
        _ => return None,
    };
    Some(Packet::Disconnect { reason, text: None })
}

/// Which acknowledgement a packet type is.
pub(super) fn ack_kind(packet_type: u8) -> Option<AckKind> {
    match packet_type {
        4 => Some(AckKind::PubAck),
        5 => Some(AckKind::PubRec),
        6 => Some(AckKind::PubRel),
        7 => Some(AckKind::PubComp),
        _ => None,
    }
}

fn encode_ack(ack: &Ack, version: MqttVersion, buffer: &mut BytesMut) {
    buffer.put_u8(match ack.kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
        AckKind::PubRel => 0x62,
        AckKind::PubComp => 0x70,
    });
    let with_reason = version == MqttVersion::V5 && ack.reason != Reason::SUCCESS;
    buffer.put_u8(if with_reason { 3 } else { 2 });
    buffer.put_u16(ack.pkid);
    if with_reason {
        buffer.put_u8(ack.reason.0);
    }
}

fn properties_length(parts: &PublishParts<'_>) -> usize {
    parts.expiry.map_or(0, |_| 5)
        + parts.content_type.map_or(0, |text| 3 + text.len())
        + parts
            .user_property
            .map_or(0, |(name, value)| 5 + name.len() + value.len())
}

fn variable_length(value: usize) -> usize {
    match value {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

fn put_variable(buffer: &mut BytesMut, mut value: usize) {
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        buffer.put_u8(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn put_text(buffer: &mut BytesMut, text: &str) {
    buffer.put_u16(text.len() as u16);
    buffer.extend_from_slice(text.as_bytes());
}

/// Bytes that are to be text.
pub(super) fn text(bytes: &Bytes) -> Result<String, CodecError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(CodecError::Malformed(
            "a topic that is not UTF-8".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
