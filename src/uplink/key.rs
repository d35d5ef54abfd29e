//! Requests with an `Idempotency-Key`: what the first answer was, in a form that outlives a restart.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::receipt::Receipt;
use crate::device::DeviceId;
use crate::message::{Qos, Uplink, UplinkId};
use crate::mqtt::reason::Reason;
use crate::store::records::{BodyHash, ReceiptStatus};

/// The longest key that is taken, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// What a client names a request by, so that sending it twice does no harm (draft-ietf-httpapi-idempotency-key-header).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

/// The key is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Idempotency-Key has 1 to {MAX_KEY_BYTES} visible ASCII characters")]
pub struct KeyFormError;

impl IdempotencyKey {
    /// Takes a header's value; quotes around it are its string form and no part of it.
    pub fn parse(text: &str) -> Result<Self, KeyFormError> {
        let text = text.trim();
        let text = text
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text);
        let fits = (1..=MAX_KEY_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(KeyFormError)
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything that a request asks for, so that the same key with something else is noticed.
pub(crate) fn fingerprint(uplink: &Uplink, parameters: &BTreeMap<String, String>) -> BodyHash {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(uplink.device.as_str().as_bytes());
    part(
        uplink
            .subtopic
            .as_ref()
            .map_or("", |sub| sub.as_str())
            .as_bytes(),
    );
    part(
        uplink
            .content_type
            .as_ref()
            .map_or("", |content_type| content_type.as_str())
            .as_bytes(),
    );
    part(&[uplink.qos.map_or(0xFF, Qos::level), u8::from(uplink.retain)]);
    part(
        &uplink
            .expiry
            .map_or(0, |expiry| expiry.as_secs())
            .to_be_bytes(),
    );
    part(&uplink.payload);
    for (name, value) in parameters {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    hash.finalize().into()
}

/// The first answer as it is stored.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: UplinkId,
    status: u8,
    reason: Option<u8>,
    detail: Option<Box<str>>,
    qos: u8,
    attempts: u32,
    accepted_us: u64,
    completed_us: Option<u64>,
}

pub(super) fn keep(receipt: &Receipt) -> Bytes {
    let us = |at: SystemTime| {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    };
    let kept = Kept {
        id: receipt.id,
        status: match receipt.status {
            ReceiptStatus::Delivered => 1,
            ReceiptStatus::Sent => 2,
            ReceiptStatus::Refused => 3,
            ReceiptStatus::Expired => 4,
            ReceiptStatus::Queued | ReceiptStatus::Unknown => 0,
        },
        reason: receipt.reason.map(|reason| reason.0),
        detail: receipt.detail.clone(),
        qos: receipt.qos.level(),
        attempts: receipt.attempts,
        accepted_us: us(receipt.accepted_at),
        completed_us: receipt.completed_at.map(us),
    };
    serde_json::to_vec(&kept).unwrap_or_default().into()
}

/// The answer that was given first. `None` when it cannot be read, which only another version's file can bring about.
pub(super) fn kept(device: &DeviceId, answer: &[u8]) -> Option<Receipt> {
    let kept: Kept = serde_json::from_slice(answer).ok()?;
    let at = |us| UNIX_EPOCH + Duration::from_micros(us);
    Some(Receipt {
        id: kept.id,
        device: device.clone(),
        status: match kept.status {
            1 => ReceiptStatus::Delivered,
            2 => ReceiptStatus::Sent,
            3 => ReceiptStatus::Refused,
            4 => ReceiptStatus::Expired,
            _ => ReceiptStatus::Queued,
        },
        reason: kept.reason.map(Reason),
        detail: kept.detail,
        qos: Qos::from_level(kept.qos)?,
        attempts: kept.attempts,
        accepted_at: at(kept.accepted_us),
        completed_at: kept.completed_us.map(at),
        platform: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_text() {
        for bad in ["", "\"\"", "a\tb", "ä", &"x".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?} was taken");
        }
        let quoted = IdempotencyKey::parse(" \"8e03978e-40d5-43dd\" ").unwrap();
        assert_eq!(quoted.as_str(), "8e03978e-40d5-43dd");
    }

    #[test]
    fn the_first_answer_is_read_as_it_was_kept() {
        let device = DeviceId::parse("a").unwrap();
        let receipt = Receipt {
            id: UplinkId::new(),
            device: device.clone(),
            status: ReceiptStatus::Delivered,
            reason: Some(Reason::NO_MATCHING_SUBSCRIBERS),
            detail: None,
            qos: Qos::AtLeastOnce,
            attempts: 2,
            accepted_at: UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
            completed_at: Some(UNIX_EPOCH + Duration::from_micros(1_700_000_001_000_000)),
            platform: None,
        };
        assert_eq!(kept(&device, &keep(&receipt)), Some(receipt));
    }
}
