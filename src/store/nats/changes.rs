//! Writing what has happened: settlements, answers of finished requests, and receipts; many at a time, in the order in which
//! they were handed over.

use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

use super::core::Core;
use super::failure::Failure;
use super::names::StreamName;
use super::requests::{Message, Sent};
use super::slot::Slot;
use crate::device::DeviceId;
use crate::message::UplinkId;
use crate::store::engine::StoreError;
use crate::store::format::encode_receipt;
use crate::store::records::{KeyedAnswer, ReceiptRecord};

/// What reports something that has happened.
pub(super) enum Change {
    Settle {
        device: DeviceId,
        seq: u64,
        /// Where it was when it was handed over: by now the device may be somebody else's.
        slot: Option<Slot>,
        receipt: Box<ReceiptRecord>,
        /// Whether it is kept when it cannot be written now; otherwise the uplink is there again.
        keep: bool,
    },
    Finish {
        device: DeviceId,
        answer: KeyedAnswer,
    },
}

/// A change and who waits for it.
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// Messages that are removed at a time.
const REMOVALS: usize = 64;

impl Core {
    /// Writes changes, in two steps: what is to be known of them, and then what they remove. A crash in between leaves an
    /// uplink that comes again. Gives those that could not be written, whose askers still wait.
    pub(super) async fn write(&self, requests: Vec<Request>) -> Vec<Request> {
        let mut under_way = Vec::with_capacity(requests.len());
        for request in requests {
            let message = self.change_message(&request.change);
            under_way.push((request, self.link.send(message).await));
        }
        let mut written = Vec::with_capacity(under_way.len());
        for (request, sent) in under_way {
            let result = self.confirmed(sent).await;
            written.push((request, result));
        }
        let removed = stream::iter(written).map(|(request, written)| async move {
            let result = match (&request.change, written) {
                (_, Err(failure)) => Err(failure),
                (
                    Change::Settle {
                        device,
                        seq,
                        slot,
                        receipt,
                        ..
                    },
                    Ok(()),
                ) => self.remove(device, *seq, receipt.id, *slot).await,
                (Change::Finish { .. }, Ok(())) => Ok(()),
            };
            (request, result)
        });
        let removed: Vec<_> = removed.buffered(REMOVALS).collect().await;
        let (mut answers, mut failed) = (Vec::with_capacity(removed.len()), Vec::new());
        for (request, result) in removed {
            match result {
                Ok(()) => {
                    self.written(&request.change);
                    answers.push(request.done);
                }
                Err(_) => failed.push(request),
            }
        }
        for done in answers {
            // Its failure means that somebody has stopped waiting.
            let _ = done.send(Ok(()));
        }
        failed
    }

    /// Writes the receipts that wait for it. What could not be written waits on.
    pub(super) async fn write_receipts(&self) {
        let receipts = self.waiting.take();
        let mut under_way = Vec::with_capacity(receipts.len());
        for receipt in &receipts {
            let message = self.receipt_message(receipt);
            under_way.push(self.link.send(message).await);
        }
        let mut failed = false;
        for sent in under_way {
            failed |= self.confirmed(sent).await.is_err();
        }
        if failed {
            // Those that were written are written once more.
            self.waiting.put_back(receipts);
        } else {
            self.waiting.written();
        }
    }

    /// A message that the server does not take, whatever its state, is not worth a settlement that never ends.
    async fn confirmed(&self, sent: Result<Sent, Failure>) -> Result<(), Failure> {
        let confirmed = match sent {
            Ok(sent) => self.link.confirmed(sent).await,
            Err(failure) => Err(failure),
        };
        match confirmed {
            Err(failure) if failure.outage().is_none() => {
                tracing::error!(?failure, "a receipt or an answer cannot be stored");
                Ok(())
            }
            confirmed => confirmed.map(drop),
        }
    }

    /// Deletes an uplink where it is known to be: by the index, or, when that has let it go because the device is somebody
    /// else's by now, where it was on this very connection. What cannot be deleted is delivered once more.
    async fn remove(
        &self,
        device: &DeviceId,
        seq: u64,
        id: UplinkId,
        handed_over: Option<Slot>,
    ) -> Result<(), Failure> {
        let indexed = self.queues().slot(device, seq);
        let conn = self.link.number();
        let slot = indexed.or(handed_over);
        match slot.filter(|slot| slot.id == id && slot.conn == conn) {
            Some(slot) => self.link.delete(StreamName::Uplinks, slot.place).await,
            None => Ok(()),
        }
    }

    fn written(&self, change: &Change) {
        match change {
            Change::Settle {
                device,
                seq,
                receipt,
                ..
            } => self.queues().settled(device, *seq, receipt.id),
            Change::Finish { device, answer } => self.marks.remove(device, &answer.key),
        }
    }

    fn change_message(&self, change: &Change) -> Message {
        match change {
            Change::Settle { receipt, .. } => self.receipt_message(receipt),
            Change::Finish { device, answer } => self.answer(device, answer),
        }
    }

    fn receipt_message(&self, receipt: &ReceiptRecord) -> Message {
        Message {
            subject: self.link.names.receipt(receipt.id),
            header: None,
            payload: encode_receipt(receipt).into(),
            expected: None,
        }
    }
}
