//! A receipt as it is answered, shown in lists, and told in streams.

use std::io::Write;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::platform::PlatformBody;
use super::timestamp::Timestamp;
use crate::message::UplinkId;
use crate::mqtt::reason::Reason;
use crate::store::records::ReceiptStatus;
use crate::uplink::{Accepted, PlatformOutcome, Receipt, Verdict};

pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What became of one uplink.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptBody<'a> {
    /// Identifies the uplink and this receipt.
    #[schema(value_type = String, example = "0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d")]
    id: UplinkId,
    /// The device that it comes from.
    #[schema(example = "pump-1")]
    device: &'a str,
    /// `queued`: on disk, waiting for the broker. `delivered`: the broker confirmed it. `sent`: QoS 0, handed to the
    /// connection, never to be confirmed. `refused`: by the broker or the connector, for good. `expired`: its time was over
    /// first. `unknown`: sent, and whether the broker took it will never be known.
    #[schema(example = "delivered")]
    status: &'static str,
    /// The quality of service that it was published with.
    #[schema(example = 1, minimum = 0, maximum = 2)]
    qos: u8,
    /// The name of the broker's reason code; absent with QoS 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "success")]
    reason: Option<&'static str>,
    /// The broker's MQTT 5 reason code: 0, or 16 where nobody subscribes. With MQTT 3.1.1 always 0, also for a message
    /// that the broker then drops.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    reason_code: Option<u8>,
    /// Why it ended as it did, in words, where that is not a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// How often it was sent: more than once after a lost connection.
    #[schema(example = 1)]
    attempts: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    accepted_at: Timestamp,
    /// When it was settled; absent while it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:00:00.012Z")]
    completed_at: Option<Timestamp>,
    /// What the platform itself says of it; absent where the platform says nothing of any uplink.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformBody<'a>>,
}

/// A receipt with a device id of usual length fits.
const RECEIPT_BYTES: usize = 320;

/// 200 for what is settled, 202 with its place for what is on disk, or what the platform has not answered in time.
pub(super) fn answer(accepted: &Accepted, confirm_platform: bool) -> Response {
    let receipt = &accepted.receipt;
    let unknown =
        |outcome: &PlatformOutcome| confirm_platform && outcome.verdict == Verdict::Unknown;
    let queued =
        receipt.status == ReceiptStatus::Queued || receipt.platform.as_ref().is_some_and(unknown);
    let mut response = receipt_response(receipt);
    let headers = response.headers_mut();
    if queued {
        if let Ok(location) = HeaderValue::try_from(location(receipt)) {
            headers.insert(LOCATION, location);
        }
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    let headers = response.headers_mut();
    if accepted.replayed {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

impl<'a> ReceiptBody<'a> {
    pub(super) fn of(receipt: &'a Receipt) -> Self {
        Self {
            id: receipt.id,
            device: receipt.device.as_str(),
            status: receipt.status.name(),
            qos: receipt.qos.level(),
            reason: receipt.reason.map(Reason::name),
            reason_code: receipt.reason.map(|reason| reason.0),
            detail: receipt.detail.as_deref(),
            attempts: receipt.attempts,
            accepted_at: Timestamp(receipt.accepted_at),
            completed_at: receipt.completed_at.map(Timestamp),
            platform: receipt.platform.as_ref().map(PlatformBody::from),
        }
    }
}

impl ReceiptBody<'_> {
    /// Writes the receipt of an uplink that was confirmed, which is the answer to nearly every request, as serde would: that
    /// looks at each character of names and values again. `false`: it is of another kind, and nothing is written.
    fn write_usual(&self, out: &mut Vec<u8>) -> bool {
        let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        let (Some(reason), Some(code), Some(completed_at)) =
            (self.reason, self.reason_code, &self.completed_at)
        else {
            return false;
        };
        let is_usual = self.detail.is_none()
            && self.platform.is_none()
            && self.device.bytes().all(plain)
            && reason.bytes().all(plain);
        if is_usual {
            let (id, device, status, qos) = (self.id, self.device, self.status, self.qos);
            let (attempts, accepted_at) = (self.attempts, &self.accepted_at);
            // Writing to memory cannot fail.
            let _ = write!(
                out,
                "{{\"id\":\"{id}\",\"device\":\"{device}\",\"status\":\"{status}\",\"qos\":{qos},\"reason\":\"{reason}\",\"reason_code\":{code},\"attempts\":{attempts},\
                 \"accepted_at\":\"{accepted_at}\",\"completed_at\":\"{completed_at}\"}}"
            );
        }
        is_usual
    }
}

/// Where a receipt is found.
pub(super) fn location(receipt: &Receipt) -> String {
    format!("/v1/uplinks/{}", receipt.id)
}

/// A receipt as it is answered.
pub(super) fn receipt_json(receipt: &Receipt) -> Vec<u8> {
    let mut json = Vec::with_capacity(RECEIPT_BYTES);
    let body = ReceiptBody::of(receipt);
    if !body.write_usual(&mut json) {
        // Writing these to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, &body);
    }
    json.push(b'\n');
    json
}

pub(super) fn receipt_response(receipt: &Receipt) -> Response {
    let mut response = Response::new(Body::from(receipt_json(receipt)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::device::DeviceId;
    use crate::message::Qos;

    #[test]
    fn a_usual_receipt_is_written_as_serde_writes_it() {
        let receipt = |device: &str, completed: bool| Receipt {
            id: UplinkId::new(),
            device: DeviceId::parse(device).unwrap(),
            status: ReceiptStatus::Delivered,
            reason: Some(Reason(16)),
            detail: None,
            qos: Qos::AtLeastOnce,
            attempts: 12,
            accepted_at: SystemTime::now(),
            completed_at: completed.then(SystemTime::now),
            platform: None,
        };
        let failed = Receipt {
            detail: Some("a \"word\"".into()),
            ..receipt("a", true)
        };
        for (receipt, usual) in [
            (receipt("pump-1", true), true),
            (receipt("a b:c'", true), true),
            (receipt("Ger\u{e4}t", true), false),
            (receipt("a\"b", true), false),
            (receipt("a\\b", true), false),
            (receipt("a", false), false),
            (failed, false),
        ] {
            let (body, mut json) = (ReceiptBody::of(&receipt), Vec::new());
            assert_eq!(body.write_usual(&mut json), usual, "{receipt:?}");
            if usual {
                assert_eq!(json, serde_json::to_vec(&body).unwrap());
            }
        }
    }
}
