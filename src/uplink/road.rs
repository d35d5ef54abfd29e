//! How one uplink is accepted: directly, by way of the store, or both, and what its request is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::away::Away;
use super::desk::Desk;
use super::error::UplinkError;
use super::feed::Feed;
use super::key::{self, IdempotencyKey};
use super::order::Order;
use super::receipt::{Receipt, RecentReceipts};
use super::traveller::Traveller;
use super::{Accepted, Wishes, drain};
use crate::message::UplinkId;
use crate::registry::Device;
use crate::session::{Outcome, Ticket};
use crate::store::records::{Begun, BodyHash, KeyedAnswer, QueuedUplink, ReceiptStatus};
use crate::store::{Engine, StoreError};
use crate::telemetry::Tracer;

/// How often a request that waits looks whether the program ends, or its device leaves the session.
const LOOK_UP: Duration = Duration::from_secs(1);

/// How long what was sent may still be confirmed when its device leaves the session.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// What the whole road shares.
pub(super) struct Road {
    pub(super) store: Option<Arc<dyn Engine>>,
    pub(super) recent: RecentReceipts,
    pub(super) desk: Arc<Desk>,
    pub(super) feed: Arc<Feed>,
    /// Bounds the answers that are being written on stored receipts.
    pub(super) writes: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    /// Set when requests should no longer wait for the broker.
    pub(super) hurry: AtomicBool,
    pub(super) shutdown: CancellationToken,
    /// Where somebody wants traces.
    pub(super) tracer: OnceLock<Arc<Tracer>>,
    /// Where other processes have sessions, too.
    pub(super) away: OnceLock<Arc<dyn Away>>,
}

impl Road {
    pub(super) async fn receipt(&self, id: UplinkId) -> Result<Option<Receipt>, UplinkError> {
        if let Some(receipt) = self.recent.get(id) {
            return Ok(Some(receipt));
        }
        let Some(store) = &self.store else {
            return Ok(None);
        };
        // Asked first: an answer that is written while the store is read is then known from one of the two.
        let unwritten = self.desk.unwritten(id);
        let mut receipt = store.receipt(id).await?.map(Receipt::from);
        if let (Some(receipt), Some(_)) = (&mut receipt, &unwritten) {
            receipt.platform = unwritten;
        }
        Ok(receipt)
    }

    /// Waits for an uplink that is in its session's queue; stores it when that takes too long.
    pub(super) async fn await_direct(
        self: &Arc<Self>,
        device: &Traveller,
        order: Order,
        mut ticket: Ticket,
        wait: Duration,
    ) -> Result<Receipt, UplinkError> {
        let until = Instant::now() + wait;
        if let Some(outcome) = self.wait_for(&mut ticket, until, device).await {
            return self.settle_direct(device, &order, outcome, ticket.attempts());
        }
        // What is stored of a device that is gone would stay there.
        if self.store.is_none() || device.lane.is_closed() {
            let given_up = order.given_up(ticket, || not_sent(device));
            return given_up.inspect_err(|error| self.tell_failed(&order, 1, error));
        }
        self.store_beside(device, order, ticket).await
    }

    /// Settles an uplink that is not stored.
    fn settle_direct(
        &self,
        device: &Device,
        order: &Order,
        outcome: Outcome,
        attempts: u32,
    ) -> Result<Receipt, UplinkError> {
        let settled = order.settled(outcome, attempts);
        let mut receipt = settled.inspect_err(|error| self.tell_failed(order, attempts, error))?;
        self.recent.put(receipt.clone());
        if order.ack_id.is_some()
            && let Some(answer) = self.desk.recorded(order.id)
        {
            self.recent.answered(order.id, &device.id, &answer);
            self.desk.written(order.id, &answer);
            receipt.platform = Some(answer);
        }
        if let Some(at) = receipt.completed_at {
            device.lane.set_delivered_at(at);
        }
        self.feed.tell(|| receipt.clone());
        Ok(receipt)
    }

    /// Stores an uplink that is in its session's queue, where it keeps its place, and answers when it is on disk.
    pub(super) async fn store_beside(
        self: &Arc<Self>,
        device: &Traveller,
        order: Order,
        ticket: Ticket,
    ) -> Result<Receipt, UplinkError> {
        let Some(store) = self.store.clone() else {
            return Err(not_sent(device));
        };
        ticket.make_patient();
        // Here, and not in the task: in the order in which they came to the session.
        let seq = store.next_seq();
        device.lane.begin_shadow(seq);
        let stored = order.queued(seq);
        let (told, answer) = oneshot::channel();
        // Not the request's own task: a client that goes away now must not leave the uplink half stored.
        let shadow = Shadow {
            road: Arc::clone(self),
            device: device.clone(),
            order,
            ticket,
        };
        self.tasks.spawn(shadow.run(store, stored, told));
        answer.await.unwrap_or(Err(UplinkError::Closing))
    }

    /// What comes of something until then; looks up now and then, for the end of the program and of the device's session.
    pub(super) async fn wait_for<F: Future + Unpin>(
        &self,
        something: &mut F,
        until: Instant,
        device: &Device,
    ) -> Option<F::Output> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left.min(LOOK_UP), &mut *something).await {
                Ok(outcome) => return Some(outcome),
                Err(_) if left <= LOOK_UP || self.hurry.load(Ordering::Relaxed) => return None,
                Err(_) if device.tenure.is_over() => return None,
                Err(_) => {}
            }
        }
    }

    /// What becomes of an uplink that is stored as well; nothing when it is left to the store, because the program ends or
    /// the device leaves the session.
    pub(super) async fn settlement(&self, device: &Device, ticket: &mut Ticket) -> Option<Outcome> {
        tokio::select! {
            // Mostly it is there already, and then nothing else need be looked at.
            biased;
            outcome = &mut *ticket => Some(outcome),
            () = self.shutdown.cancelled() => None,
            () = device.tenure.over() => last_settlement(ticket, Instant::now() + SETTLE).await,
        }
    }

    /// Stores an uplink first and lets the drain send it. The receipt may be of a refusal.
    pub(super) async fn deliver_stored(
        self: &Arc<Self>,
        device: &Traveller,
        order: Order,
        key: Option<(&IdempotencyKey, [u8; 32])>,
        wishes: &Wishes,
    ) -> Result<Receipt, UplinkError> {
        let Some(store) = self.store.clone() else {
            return Err(not_sent(device));
        };
        let until = Instant::now() + wishes.wait;
        let (seq, mut outcome, start) = device.lane.begin_write(|| store.next_seq());
        if let Some(placed) = &wishes.placed {
            placed.notify_one();
        }
        if start {
            self.start_drain(device);
        }
        let queued = order.receipt(ReceiptStatus::Queued);
        let answer = key.map(|(key, body)| KeyedAnswer {
            key: key.as_str().into(),
            body,
            answer: key::keep(&queued),
        });
        let stored = order.queued(seq);
        // Not the request's own task, so that the place is given back whatever becomes of the request.
        let (road, lane, told) = (Arc::clone(self), device.clone(), queued.clone());
        let writing = self.tasks.spawn(async move {
            let written = store.enqueue(stored, answer).await;
            if written.is_ok() {
                // Before the drain may send it, so that those who watch see it queued first.
                road.feed.tell(|| told);
            }
            lane.lane.end_write(seq, written.is_ok());
            written
        });
        writing.await.map_err(|_| UplinkError::Closing)??;
        if wishes.respond_async {
            device.lane.forget(seq);
            return Ok(queued);
        }
        match self.wait_for(&mut outcome, until, device).await {
            Some(Ok(receipt)) => Ok(receipt),
            Some(Err(_)) => Ok(queued),
            None => {
                device.lane.forget(seq);
                Ok(queued)
            }
        }
    }

    pub(super) async fn deliver_keyed(
        self: &Arc<Self>,
        device: &Traveller,
        order: Order,
        key: IdempotencyKey,
        body: BodyHash,
        wishes: Wishes,
    ) -> Result<Accepted, UplinkError> {
        let Some(store) = self.store.clone() else {
            return Err(UplinkError::NoStore);
        };
        let (road, device) = (Arc::clone(self), device.clone());
        // A client that goes away must not leave its key in flight for ever, so all of this outlives its request.
        let delivering = self.tasks.spawn(async move {
            match store.begin(&device.id, key.as_str(), body).await? {
                Begun::New => {}
                Begun::InFlight => return Err(UplinkError::KeyInFlight),
                Begun::OtherBody => return Err(UplinkError::KeyOtherBody),
                Begun::Finished(answer) => {
                    let receipt =
                        key::kept(&device.id, &answer).ok_or(UplinkError::KeyOtherBody)?;
                    return Ok((receipt, true));
                }
            }
            let outcome = road
                .deliver_stored(&device, order, Some((&key, body)), &wishes)
                .await;
            match &outcome {
                Ok(receipt) => {
                    let answer = KeyedAnswer {
                        key: key.as_str().into(),
                        body,
                        answer: key::keep(receipt),
                    };
                    drop(store.finish(&device.id, answer));
                }
                Err(_) => store.abandon(&device.id, key.as_str()),
            }
            outcome.map(|receipt| (receipt, false))
        });
        let (receipt, replayed) = delivering.await.map_err(|_| UplinkError::Closing)??;
        confirmed(receipt).map(|receipt| Accepted { receipt, replayed })
    }

    /// Tells those who watch of an uplink that ended without being stored. What was not even tried for want of a
    /// connection or of room is a matter between the bridge and its client.
    fn tell_failed(&self, order: &Order, attempts: u32, error: &UplinkError) {
        let (status, reason) = match error {
            UplinkError::Refused { reason, .. } | UplinkError::ConnectionRefused { reason, .. } => {
                (ReceiptStatus::Refused, Some(*reason))
            }
            UplinkError::Unusable(_) | UplinkError::Check(_) => (ReceiptStatus::Refused, None),
            UplinkError::Expired => (ReceiptStatus::Expired, None),
            UplinkError::Unconfirmed => (ReceiptStatus::Unknown, None),
            _ => return,
        };
        self.feed.tell(|| Receipt {
            reason,
            detail: Some(error.to_string().into()),
            attempts,
            completed_at: Some(SystemTime::now()),
            ..order.receipt(status)
        });
    }

    pub(super) fn start_drain(self: &Arc<Self>, device: &Traveller) {
        if let Some(store) = &self.store {
            let store = Arc::clone(store) as Arc<dyn crate::store::UplinkQueue>;
            self.tasks
                .spawn(drain::drain(Arc::clone(self), store, device.clone()));
        }
    }
}

/// An uplink that is in its session's queue and in the store.
struct Shadow {
    road: Arc<Road>,
    device: Traveller,
    order: Order,
    ticket: Ticket,
}

impl Shadow {
    /// Has it stored, tells the request, and settles it when the broker has.
    async fn run(
        self,
        store: Arc<dyn Engine>,
        stored: QueuedUplink,
        told: oneshot::Sender<Result<Receipt, UplinkError>>,
    ) {
        let seq = stored.seq;
        if let Err(error) = store.enqueue(stored.clone(), None).await {
            self.device.lane.end_shadow(seq);
            // A request that has gone needs no answer.
            let _ = told.send(self.not_stored(error).await);
            return;
        }
        let Self {
            road,
            device,
            order,
            mut ticket,
        } = self;
        let queued = order.receipt(ReceiptStatus::Queued);
        road.feed.tell(|| queued.clone());
        let _ = told.send(Ok(queued));
        if let Some(outcome) = road.settlement(&device, &mut ticket).await {
            road.settle_stored(&device, &stored, ticket.attempts(), outcome);
        }
        // What is not settled is no longer in a session's queue once the ticket is gone.
        drop(ticket);
        device.lane.end_shadow(seq);
    }

    /// The store does not take it: what was sent may still be confirmed, and the rest is not sent any more.
    async fn not_stored(mut self, error: StoreError) -> Result<Receipt, UplinkError> {
        let until = Instant::now() + SETTLE;
        if let Some(outcome) = last_settlement(&mut self.ticket, until).await {
            let attempts = self.ticket.attempts();
            return (self.road).settle_direct(&self.device, &self.order, outcome, attempts);
        }
        let given_up = self.order.given_up(self.ticket, || error.into());
        given_up.inspect_err(|error| self.road.tell_failed(&self.order, 1, error))
    }
}

/// What becomes of an uplink that is to leave its session: one that was sent may still be confirmed.
pub(super) async fn last_settlement(ticket: &mut Ticket, until: Instant) -> Option<Outcome> {
    if ticket.attempts() == 0 {
        return None;
    }
    tokio::time::timeout_at(until.into(), ticket).await.ok()
}

/// A request that waited is told of a final refusal as such, although the uplink was stored for a while.
pub(super) fn confirmed(receipt: Receipt) -> Result<Receipt, UplinkError> {
    match receipt.status {
        ReceiptStatus::Refused => Err(UplinkError::Refused {
            reason: receipt
                .reason
                .unwrap_or(crate::mqtt::reason::Reason::UNSPECIFIED),
            text: receipt.detail,
        }),
        ReceiptStatus::Expired => Err(UplinkError::Expired),
        _ => Ok(receipt),
    }
}

pub(super) fn not_sent(device: &Device) -> UplinkError {
    UplinkError::NotSent {
        trouble: device.session.status().snapshot().last_trouble,
    }
}
