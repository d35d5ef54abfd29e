//! What became of a stored uplink: its receipt, and its end in the store.

use std::time::SystemTime;

use super::Road;
use super::check::CheckError;
use super::error::UplinkError;
use super::platform::PlatformOutcome;
use super::receipt::Receipt;
use super::trace;
use crate::mqtt::reason::Reason;
use crate::registry::Device;
use crate::session::{NotSent, Outcome};
use crate::store::records::{QueuedUplink, ReceiptRecord, ReceiptStatus};

impl Road {
    /// Settles a stored uplink by what its session says; `false` when that is nothing final, because the program ends.
    pub(super) fn settle_stored(
        &self,
        device: &Device,
        uplink: &QueuedUplink,
        attempts: u32,
        outcome: Outcome,
    ) -> bool {
        let with = |status, reason, detail| Receipt {
            reason,
            ..receipt(uplink, attempts, status, detail)
        };
        let receipt = match outcome {
            Outcome::Delivered { reason } => with(ReceiptStatus::Delivered, Some(reason), None),
            Outcome::Sent => with(ReceiptStatus::Sent, None, None),
            Outcome::Refused { reason, text } => with(ReceiptStatus::Refused, Some(reason), text),
            Outcome::Expired => with(ReceiptStatus::Expired, None, None),
            // It stays in the store, and is sent after the next start.
            Outcome::Unconfirmed | Outcome::NotSent(NotSent::Closing) => return false,
            Outcome::NotSent(NotSent::ConnectionRefused { reason, text }) => {
                with(ReceiptStatus::Refused, Some(reason), text)
            }
            Outcome::NotSent(NotSent::Unusable(what)) => {
                with(ReceiptStatus::Refused, None, Some(what))
            }
            Outcome::NotSent(NotSent::NoKey) => {
                let what = UplinkError::NoKey.to_string();
                with(ReceiptStatus::Refused, None, Some(what.into()))
            }
            Outcome::NotSent(NotSent::ContentType) => refused(with, &CheckError::ContentTypeV3),
            Outcome::NotSent(NotSent::TooLarge { limit }) => {
                refused(with, &CheckError::TooLarge { limit })
            }
            Outcome::NotSent(NotSent::Qos { highest }) => {
                refused(with, &CheckError::Qos { highest })
            }
            Outcome::NotSent(NotSent::Retain) => refused(with, &CheckError::Retain),
        };
        if let Some(tracer) = self.tracer.get() {
            trace::stored(tracer, device, uplink, &receipt);
        }
        self.end_stored(device, uplink, receipt);
        true
    }

    /// Takes an uplink out of the store, for good.
    pub(super) fn end_stored(&self, device: &Device, uplink: &QueuedUplink, mut receipt: Receipt) {
        let sent = matches!(
            receipt.status,
            ReceiptStatus::Delivered | ReceiptStatus::Sent
        );
        let expects_answer =
            sent && device.connector.profile.ack.is_some() && self.desk.expects(uplink.id);
        if expects_answer {
            receipt.platform = Some(PlatformOutcome::UNKNOWN);
        }
        if let Some(store) = &self.store {
            // Handed over by the call; what is lost of it in a crash makes the uplink come twice, not never.
            let record = ReceiptRecord::from(receipt.clone());
            let settled = store.settle(&device.id, uplink.seq, record.clone());
            if expects_answer {
                self.answer_behind(store, settled, &record);
            }
        }
        if let Some(at) = receipt.completed_at.filter(|_| sent) {
            device.lane.set_delivered_at(at);
        }
        self.feed.tell(|| receipt.clone());
        device.lane.tell(uplink.seq, &receipt);
    }
}

fn refused(
    with: impl FnOnce(ReceiptStatus, Option<Reason>, Option<Box<str>>) -> Receipt,
    why: &CheckError,
) -> Receipt {
    with(ReceiptStatus::Refused, None, Some(why.to_string().into()))
}

/// The receipt of a stored uplink that is settled now.
pub(super) fn receipt(
    uplink: &QueuedUplink,
    attempts: u32,
    status: ReceiptStatus,
    detail: Option<Box<str>>,
) -> Receipt {
    Receipt {
        id: uplink.id,
        device: uplink.device.clone(),
        status,
        reason: None,
        detail,
        qos: uplink.qos,
        attempts,
        accepted_at: uplink.accepted_at,
        completed_at: Some(SystemTime::now()),
        platform: None,
    }
}
