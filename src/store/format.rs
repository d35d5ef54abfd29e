//! Records as bytes. The first byte of each is its version; a reader knows every version that was ever written.

use std::time::SystemTime;

use bytes::Bytes;

use super::records::{BodyHash, QueuedUplink, ReceiptRecord, ReceiptStatus, StoredDownlink};
use crate::device::DeviceId;
use crate::fields::{DecodeError, Decoder, Encoder};
use crate::message::{ContentType, Downlink, Qos, UplinkId};
use crate::topic::SubTopic;

const UPLINK: u8 = 1;
const RECEIPT: u8 = 1;
const ANSWER: u8 = 1;
const DOWNLINK: u8 = 1;
/// More than the fields of fixed size take.
const ROOM: usize = 64;

/// An uplink without its device and number, which are its key.
pub(super) fn encode_uplink(uplink: &QueuedUplink) -> Vec<u8> {
    let mut out = Encoder::new(UPLINK, ROOM + uplink.payload.len());
    // In front, because `uplink_accepted_at` reads no further.
    out.time(uplink.accepted_at);
    out.fixed(&uplink.id.to_u128().to_be_bytes());
    out.byte(uplink.qos.level());
    out.byte(uplink.retain.into());
    out.option(uplink.expires_at, Encoder::time);
    out.option(uplink.subtopic.as_ref(), |out, s| out.text(s.as_str()));
    out.option(uplink.content_type.as_ref(), |out, c| out.text(c.as_str()));
    out.option(uplink.traceparent.as_deref(), Encoder::text);
    out.bytes(&uplink.payload);
    out.finish()
}

pub(super) fn decode_uplink(
    device: DeviceId,
    seq: u64,
    bytes: &[u8],
) -> Result<QueuedUplink, DecodeError> {
    let mut read = Decoder::new(bytes, UPLINK)?;
    let accepted_at = read.time()?;
    let id = UplinkId::from_u128(u128::from_be_bytes(read.fixed()?));
    let qos = qos(read.byte()?)?;
    let retain = read.byte()? != 0;
    let expires_at = read.option(Decoder::time)?;
    let subtopic = read.option(|read| {
        SubTopic::parse(read.text()?).map_err(|_| DecodeError::Field("sub-topic"))
    })?;
    let content_type = read.option(|read| {
        ContentType::parse(read.text()?).map_err(|_| DecodeError::Field("content type"))
    })?;
    let traceparent = read.option(|read| read.text().map(Into::into))?;
    let payload = Bytes::copy_from_slice(read.bytes()?);
    read.finish()?;
    Ok(QueuedUplink {
        seq,
        id,
        device,
        subtopic,
        payload,
        content_type,
        qos,
        retain,
        accepted_at,
        expires_at,
        traceparent,
    })
}

pub(super) fn uplink_accepted_at(bytes: &[u8]) -> Result<SystemTime, DecodeError> {
    Decoder::new(bytes, UPLINK)?.time()
}

pub(super) fn uplink_id(bytes: &[u8]) -> Result<UplinkId, DecodeError> {
    let mut read = Decoder::new(bytes, UPLINK)?;
    read.time()?;
    Ok(UplinkId::from_u128(u128::from_be_bytes(read.fixed()?)))
}

/// A receipt without its id, which is its key.
pub(super) fn encode_receipt(receipt: &ReceiptRecord) -> Vec<u8> {
    let mut out = Encoder::new(RECEIPT, ROOM + receipt.device.as_str().len());
    out.byte(status_number(receipt.status));
    out.time(receipt.accepted_at);
    out.option(receipt.completed_at, Encoder::time);
    out.byte(receipt.qos.level());
    out.number(receipt.attempts.into());
    out.option(receipt.reason_code, Encoder::byte);
    out.option(receipt.reason.as_deref(), Encoder::text);
    out.option(receipt.platform.as_deref(), Encoder::text);
    out.text(receipt.device.as_str());
    out.finish()
}

pub(super) fn decode_receipt(id: UplinkId, bytes: &[u8]) -> Result<ReceiptRecord, DecodeError> {
    let mut read = Decoder::new(bytes, RECEIPT)?;
    let status = status(read.byte()?)?;
    let accepted_at = read.time()?;
    let completed_at = read.option(Decoder::time)?;
    let qos = qos(read.byte()?)?;
    let attempts = u32::try_from(read.number()?).map_err(|_| DecodeError::Field("attempts"))?;
    let reason_code = read.option(Decoder::byte)?;
    let reason = read.option(|read| read.text().map(Into::into))?;
    let platform = read.option(|read| read.text().map(Into::into))?;
    let device = device(read.text()?)?;
    read.finish()?;
    Ok(ReceiptRecord {
        id,
        device,
        status,
        reason_code,
        reason,
        qos,
        attempts,
        accepted_at,
        completed_at,
        platform,
    })
}

/// The answer to a request with an idempotency key, which is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredAnswer {
    pub(super) finished_at: SystemTime,
    pub(super) body: BodyHash,
    pub(super) answer: Bytes,
}

pub(super) fn encode_answer(finished_at: SystemTime, body: &BodyHash, answer: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new(ANSWER, ROOM + answer.len());
    out.time(finished_at);
    out.fixed(body);
    out.bytes(answer);
    out.finish()
}

pub(super) fn decode_answer(bytes: &[u8]) -> Result<StoredAnswer, DecodeError> {
    let mut read = Decoder::new(bytes, ANSWER)?;
    let finished_at = read.time()?;
    let body = read.fixed()?;
    let answer = Bytes::copy_from_slice(read.bytes()?);
    read.finish()?;
    Ok(StoredAnswer {
        finished_at,
        body,
        answer,
    })
}

/// A downlink without its device and cursor, which are its key.
pub(super) fn encode_downlink(downlink: &Downlink) -> Vec<u8> {
    let mut out = Encoder::new(
        DOWNLINK,
        ROOM + downlink.topic.len() + downlink.payload.len(),
    );
    out.time(downlink.received_at);
    out.byte(downlink.qos.level());
    out.byte(downlink.retained.into());
    out.option(downlink.content_type.as_deref(), Encoder::text);
    out.text(&downlink.topic);
    out.bytes(&downlink.payload);
    out.finish()
}

pub(super) fn decode_downlink(
    device: DeviceId,
    cursor: u64,
    bytes: &[u8],
) -> Result<StoredDownlink, DecodeError> {
    let mut read = Decoder::new(bytes, DOWNLINK)?;
    let received_at = read.time()?;
    let qos = qos(read.byte()?)?;
    let retained = read.byte()? != 0;
    let content_type = read.option(|read| read.text().map(Into::into))?;
    let topic = read.text()?.into();
    let payload = Bytes::copy_from_slice(read.bytes()?);
    read.finish()?;
    let downlink = Downlink {
        device,
        topic,
        payload,
        content_type,
        qos,
        retained,
        received_at,
    };
    Ok(StoredDownlink { cursor, downlink })
}

pub(super) fn device(text: &str) -> Result<DeviceId, DecodeError> {
    DeviceId::parse(text).map_err(|_| DecodeError::Field("device"))
}

fn qos(level: u8) -> Result<Qos, DecodeError> {
    Qos::from_level(level).ok_or(DecodeError::Field("quality of service"))
}

fn status_number(status: ReceiptStatus) -> u8 {
    match status {
        ReceiptStatus::Queued => 0,
        ReceiptStatus::Delivered => 1,
        ReceiptStatus::Refused => 2,
        ReceiptStatus::Expired => 3,
        ReceiptStatus::Unknown => 4,
        ReceiptStatus::Sent => 5,
    }
}

fn status(number: u8) -> Result<ReceiptStatus, DecodeError> {
    Ok(match number {
        0 => ReceiptStatus::Queued,
        1 => ReceiptStatus::Delivered,
        2 => ReceiptStatus::Refused,
        3 => ReceiptStatus::Expired,
        4 => ReceiptStatus::Unknown,
        5 => ReceiptStatus::Sent,
        _ => return Err(DecodeError::Field("status")),
    })
}
