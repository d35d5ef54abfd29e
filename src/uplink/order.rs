//! An uplink on its way, and what is told of it.

use std::time::SystemTime;

use super::error::UplinkError;
use super::platform::PlatformOutcome;
use super::receipt::Receipt;
use crate::message::{Qos, Uplink, UplinkId};
use crate::session::{Outcome, Ticket, Withdrawn};
use crate::store::records::{QueuedUplink, ReceiptStatus};

/// An uplink on its way, with what was decided when it was accepted.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: UplinkId,
    pub(super) accepted_at: SystemTime,
    pub(super) qos: Qos,
    /// The id that the platform's answer will carry, where that will be known.
    pub(super) ack_id: Option<Box<str>>,
    pub(super) uplink: Uplink,
}

impl Order {
    /// The uplink as the store takes it.
    pub(super) fn queued(&self, seq: u64) -> QueuedUplink {
        let uplink = &self.uplink;
        QueuedUplink {
            seq,
            id: self.id,
            device: uplink.device.clone(),
            subtopic: uplink.subtopic.clone(),
            payload: uplink.payload.clone(),
            content_type: uplink.content_type.clone(),
            qos: self.qos,
            retain: uplink.retain,
            accepted_at: self.accepted_at,
            expires_at: uplink.expiry.map(|expiry| self.accepted_at + expiry),
            traceparent: uplink.traceparent.clone(),
        }
    }

    pub(super) fn receipt(&self, status: ReceiptStatus) -> Receipt {
        Receipt {
            id: self.id,
            device: self.uplink.device.clone(),
            status,
            reason: None,
            detail: None,
            qos: self.qos,
            attempts: 0,
            accepted_at: self.accepted_at,
            completed_at: None,
            platform: None,
        }
    }

    /// What a request is told of an outcome.
    pub(super) fn settled(&self, outcome: Outcome, attempts: u32) -> Result<Receipt, UplinkError> {
        let done = |status, reason| Receipt {
            reason,
            attempts,
            completed_at: Some(SystemTime::now()),
            platform: self.ack_id.is_some().then_some(PlatformOutcome::UNKNOWN),
            ..self.receipt(status)
        };
        match outcome {
            Outcome::Delivered { reason } => Ok(done(ReceiptStatus::Delivered, Some(reason))),
            Outcome::Sent => Ok(done(ReceiptStatus::Sent, None)),
            other => Err(other.into()),
        }
    }

    /// What a request is told when it stops waiting and nothing is stored.
    pub(super) fn given_up(
        &self,
        ticket: Ticket,
        not_sent: impl FnOnce() -> UplinkError,
    ) -> Result<Receipt, UplinkError> {
        match ticket.withdraw() {
            Withdrawn::Settled(outcome) => self.settled(outcome, 1),
            Withdrawn::Unconfirmed => Err(UplinkError::Unconfirmed),
            Withdrawn::NotSent => Err(not_sent()),
        }
    }
}
