//! The answer to one line.

use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::line::reference_schema;
use crate::device::DeviceId;
use crate::http::forward::{Delivered, HttpAnswer};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::receipt_form::{IDEMPOTENCY_REPLAYED, ReceiptBody, location};
use crate::store::records::ReceiptStatus;
use crate::uplink::Accepted;

/// How a batch comes, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One object a line.
    Lines,
    /// One array.
    Array,
}

/// What became of one line.
#[derive(Debug)]
pub(super) struct LineResult {
    pub(super) line: u64,
    pub(super) reference: Option<Box<RawValue>>,
    /// Of a line that could be read.
    pub(super) device: Option<DeviceId>,
    pub(super) outcome: Delivered,
}

impl LineResult {
    /// Writes it as JSON on one line.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        // Writing this to memory cannot fail.
        let _ = match &self.outcome {
            Delivered::Here(outcome) => {
                serde_json::to_writer(to, &ResultBody::of(self, outcome.as_ref()))
            }
            Delivered::Elsewhere(answer) => {
                serde_json::to_writer(to, &ForeignBody::of(self, answer))
            }
        };
    }

    /// The device, where its uplink is stored and waits.
    pub(super) fn queued(&self) -> Option<&DeviceId> {
        let queued = match &self.outcome {
            Delivered::Here(Ok(accepted)) => accepted.receipt.status == ReceiptStatus::Queued,
            Delivered::Here(Err(_)) => false,
            Delivered::Elsewhere(answer) => answer.status == StatusCode::ACCEPTED,
        };
        self.device.as_ref().filter(|_| queued)
    }
}

/// What one line would have been answered as a request of its own.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
pub(super) struct ResultBody<'a> {
    /// The number of the line, from 1, empty ones counted; of an array, the number of the element.
    #[schema(example = 1)]
    line: u64,
    /// The line's own `id`, as far as it could be read.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = reference_schema, required = false)]
    reference: Option<&'a RawValue>,
    /// The status code: 200 delivered, 202 queued, otherwise that of the problem.
    #[schema(example = 200)]
    status: u16,
    /// With 200 and 202.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptBody<'a>>,
    /// With 202: where the receipt is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/uplinks/0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d")]
    location: Option<String>,
    /// `true`: this is the answer that the same uplink, by its `key`, got before; nothing was published.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    replayed: bool,
    /// With any other status. The line was not taken, and the uplink will not be delivered later.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody<'a>>,
    /// With a problem that may pass: after how many seconds to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    retry_after: Option<u32>,
}

impl<'a> ResultBody<'a> {
    fn of(result: &'a LineResult, outcome: Result<&'a Accepted, &'a Problem>) -> Self {
        let body = Self {
            line: result.line,
            reference: result.reference.as_deref(),
            status: 200,
            receipt: None,
            location: None,
            replayed: false,
            problem: None,
            retry_after: None,
        };
        match outcome {
            Ok(Accepted { receipt, replayed }) => {
                let queued = receipt.status == ReceiptStatus::Queued;
                Self {
                    status: if queued { 202 } else { 200 },
                    receipt: Some(ReceiptBody::of(receipt)),
                    location: queued.then(|| location(receipt)),
                    replayed: *replayed,
                    ..body
                }
            }
            Err(problem) => Self {
                status: problem.status().as_u16(),
                problem: Some(problem.body()),
                retry_after: problem.seconds_to_retry(),
                ..body
            },
        }
    }
}

/// The same, of a line that another replica has answered.
#[derive(Serialize)]
struct ForeignBody<'a> {
    line: u64,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a RawValue>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

impl<'a> ForeignBody<'a> {
    fn of(result: &'a LineResult, answer: &'a HttpAnswer) -> Self {
        let header = |name: HeaderName| answer.headers.get(name)?.to_str().ok();
        // What another replica writes is JSON; if it were not, the status would still be told.
        let body = serde_json::from_slice(&answer.body).ok();
        let is_receipt = answer.status.is_success();
        Self {
            line: result.line,
            reference: result.reference.as_deref(),
            status: answer.status.as_u16(),
            receipt: body.filter(|_| is_receipt),
            location: header(LOCATION).filter(|_| is_receipt),
            replayed: header(IDEMPOTENCY_REPLAYED).is_some(),
            problem: body.filter(|_| !is_receipt),
            retry_after: header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
        }
    }
}
