//! A queued uplink as it lies in its stream: the uplink, and the answer to its request, in one message.

use bytes::Bytes;

use crate::device::DeviceId;
use crate::fields::{DecodeError, Decoder, Encoder};
use crate::store::format::{decode_uplink, encode_uplink};
use crate::store::records::{BodyHash, KeyedAnswer, QueuedUplink};

const QUEUED: u8 = 1;

/// The message, and the size of the uplink in it.
pub(super) fn encode_queued(
    uplink: &QueuedUplink,
    answer: Option<&KeyedAnswer>,
) -> (Vec<u8>, usize) {
    let bytes = encode_uplink(uplink);
    let mut out = Encoder::new(QUEUED, bytes.len() + 16);
    out.bytes(&bytes);
    out.option(answer, |out, answer| {
        out.text(&answer.key);
        out.fixed(&answer.body);
        out.bytes(&answer.answer);
    });
    (out.finish(), bytes.len())
}

pub(super) fn decode_queued(
    device: DeviceId,
    seq: u64,
    bytes: &[u8],
) -> Result<(QueuedUplink, Option<KeyedAnswer>), DecodeError> {
    let mut read = Decoder::new(bytes, QUEUED)?;
    let uplink = decode_uplink(device, seq, read.bytes()?)?;
    let answer = read.option(|read| {
        let key = read.text()?.into();
        let body: BodyHash = read.fixed()?;
        let answer = Bytes::copy_from_slice(read.bytes()?);
        Ok(KeyedAnswer { key, body, answer })
    })?;
    read.finish()?;
    Ok((uplink, answer))
}
