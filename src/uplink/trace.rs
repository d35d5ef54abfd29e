//! The spans of what is published. They name connector, device and outcome: never a topic or a payload.

use std::sync::Arc;

use super::Accepted;
use super::error::UplinkError;
use super::receipt::Receipt;
use crate::message::Uplink;
use crate::registry::Device;
use crate::store::records::{QueuedUplink, ReceiptStatus};
use crate::tally::Answered;
use crate::telemetry::{Span, Tracer};

/// A span for an uplink, if the trace that it comes with is recorded. What goes to the broker continues from this span.
pub(super) fn publish(tracer: &Arc<Tracer>, device: &Device, uplink: &mut Uplink) -> Option<Span> {
    let mut span = tracer.producer(uplink.traceparent.as_deref(), "publish")?;
    describe(&mut span, device, uplink.payload.len());
    uplink.traceparent = Some(span.context().to_string().into());
    Some(span)
}

/// Its sender is answered.
pub(super) fn published(
    mut span: Span,
    answered: Answered,
    outcome: &Result<Accepted, UplinkError>,
) {
    span.set("causeway.outcome", answered.name());
    if let Ok(accepted) = outcome {
        span.set("causeway.uplink.id", accepted.receipt.id.to_string());
    }
    if !matches!(answered, Answered::Delivered | Answered::Queued) {
        span.set("error.type", answered.name());
        span.fail();
    }
    span.end();
}

/// An uplink that was answered with 202 is settled: one more span, from its acceptance on.
pub(super) fn stored(
    tracer: &Arc<Tracer>,
    device: &Device,
    uplink: &QueuedUplink,
    receipt: &Receipt,
) {
    let Some(mut span) = tracer.producer(uplink.traceparent.as_deref(), "deliver stored") else {
        return;
    };
    describe(&mut span, device, uplink.payload.len());
    span.began_at(uplink.accepted_at);
    span.set("causeway.outcome", receipt.status.name());
    span.set("causeway.uplink.id", receipt.id.to_string());
    span.set("causeway.attempts", receipt.attempts);
    if !matches!(
        receipt.status,
        ReceiptStatus::Delivered | ReceiptStatus::Sent
    ) {
        span.set("error.type", receipt.status.name());
        span.fail();
    }
    span.end();
}

/// As OpenTelemetry's semantic conventions for messaging have it, without the destination: a topic may be a secret.
fn describe(span: &mut Span, device: &Device, payload: usize) {
    span.set("messaging.system", "mqtt");
    span.set("messaging.operation.type", "send");
    span.set("messaging.operation.name", "publish");
    span.set("messaging.message.body.size", payload);
    span.set(
        "causeway.connector",
        device.connector.name.as_str().to_owned(),
    );
    span.set("causeway.device", device.id.as_str().to_owned());
}
