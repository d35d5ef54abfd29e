//! The road out: an uplink is checked against its connector, handed to its device's session, and answered when the
//! broker has confirmed it, or when it is on disk.
//!
//! - [`check`]: what may be published, as a pure function
//! - [`Uplinks`]: submit, wait, store what cannot be confirmed in time
//! - [`Lane`]: the order of one device's uplinks between memory and the store
//! - `drain`, [`Pace`]: feeding what is stored to the session
//! - [`Receipt`]: what became of one uplink
//! - [`IdempotencyKey`]: requests that may be sent twice
//! - `confirm`, `desk`, [`PlatformOutcome`]: the platform's own answer, where there is one

mod check;
mod confirm;
mod desk;
mod drain;
mod error;
mod key;
mod lane;
mod pace;
mod platform;
mod receipt;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub use check::{CheckError, check};
pub use error::UplinkError;
#[cfg(test)]
pub(crate) use key::fingerprint;
pub use key::{IdempotencyKey, KeyFormError, MAX_KEY_BYTES};
pub use lane::Lane;
pub use pace::Pace;
pub use platform::{MAX_KEPT_BYTES, PlatformOutcome, Verdict};
pub use receipt::Receipt;

use crate::device::DeviceId;
use crate::message::{Qos, Uplink, UplinkId};
use crate::registry::{Device, Registry};
use crate::session::{Outcome, Publish, SubmitError, Ticket, Withdrawn};
use crate::store::Engine;
use crate::store::records::{Backlog, Begun, BodyHash, KeyedAnswer, ReceiptStatus};
use desk::Desk;
use receipt::RecentReceipts;

/// How often a request that waits looks whether the program ends.
const LOOK_UP: Duration = Duration::from_secs(1);

/// The road out, for all devices.
#[derive(Clone)]
pub struct Uplinks {
    registry: Arc<Registry>,
    road: Arc<Road>,
}

impl std::fmt::Debug for Uplinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Uplinks({} devices)", self.registry.len())
    }
}

/// What the whole road shares.
struct Road {
    store: Option<Arc<dyn Engine>>,
    recent: RecentReceipts,
    desk: Arc<Desk>,
    /// Bounds the answers that are being written on stored receipts.
    writes: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Set when requests should no longer wait for the broker.
    hurry: AtomicBool,
    shutdown: CancellationToken,
}

/// What a request wants of its answer.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// How long to wait for the broker.
    pub wait: Duration,
    /// Answer as soon as the uplink is on disk (RFC 7240 `respond-async`).
    pub respond_async: bool,
    /// Make sending the request twice harmless.
    pub key: Option<IdempotencyKey>,
    /// Answer when the platform itself has answered, within the same wait. Only where the profile has `[ack]`.
    pub confirm_platform: bool,
    /// Values of the profile's envelope, by the names of its parameters.
    pub parameters: BTreeMap<String, String>,
    /// Told when an uplink with a key has its place in the order of its device: whoever wants to send another one behind
    /// it waits for this, or for the answer. An uplink without a key has its place when its future is first polled.
    pub placed: Option<Arc<Notify>>,
}

impl Wishes {
    /// To wait this long, and nothing else.
    pub fn wait(wait: Duration) -> Self {
        Self {
            wait,
            respond_async: false,
            key: None,
            confirm_platform: false,
            parameters: BTreeMap::new(),
            placed: None,
        }
    }
}

/// What a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where the uplink stands: delivered, sent, or queued on disk.
    pub receipt: Receipt,
    /// Whether the same request, by its key, was answered so before.
    pub replayed: bool,
}

impl Uplinks {
    /// The road out for the devices of a registry. Without a store, what cannot be confirmed in time is not taken.
    pub fn new(
        registry: Arc<Registry>,
        store: Option<Arc<dyn Engine>>,
        recent_receipts: usize,
    ) -> Self {
        let road = Road {
            store,
            recent: RecentReceipts::new(recent_receipts),
            desk: Arc::default(),
            writes: Arc::new(Semaphore::new(confirm::WRITES)),
            tasks: TaskTracker::new(),
            hurry: AtomicBool::new(false),
            shutdown: CancellationToken::new(),
        };
        Self {
            registry,
            road: Arc::new(road),
        }
    }

    /// Begins to send what is stored from before the start.
    pub fn resume(&self) {
        let Some(store) = &self.road.store else {
            return;
        };
        for (id, backlog) in store.backlogs() {
            match self.registry.get(&id) {
                Some(device) if device.lane.become_stored() => self.road.start_drain(device),
                Some(_) => {}
                None => warn!(
                    device = %id, uplinks = backlog.count,
                    "uplinks are stored for a device that is not configured any more; they wait until it is"
                ),
            }
        }
    }

    /// Requests that wait for the broker are answered now: what is not confirmed is stored.
    pub fn hurry(&self) {
        self.road.hurry.store(true, Ordering::Relaxed);
    }

    /// Ends the drains. What is not confirmed stays in the store.
    pub async fn stop(&self) {
        self.road.shutdown.cancel();
        self.road.tasks.close();
        self.road.tasks.wait().await;
    }

    /// Publishes an uplink and waits for the broker, or for the disk, and then for the platform where that is wished.
    pub async fn deliver(
        &self,
        mut uplink: Uplink,
        wishes: Wishes,
    ) -> Result<Accepted, UplinkError> {
        let Some(device) = self.registry.get(&uplink.device) else {
            return Err(UplinkError::UnknownDevice(uplink.device));
        };
        confirm::check_wishes(device, &wishes)?;
        let mut publish = check(device, &uplink)?;
        let until = Instant::now() + wishes.wait;
        // Of what was posted: the id in what is published is another one each time.
        let posted = (wishes.key.as_ref()).map(|_| key::fingerprint(&uplink, &wishes.parameters));
        let id = UplinkId::new();
        let shaped = confirm::shape(device, &publish, &wishes, id)?;
        publish.payload = shaped.payload.clone();
        uplink.payload = shaped.payload;
        let ack_id = shaped.ack_id.as_deref();
        let awaited = self.road.expect(device, id, ack_id, &wishes)?;
        let order = Order {
            id,
            accepted_at: SystemTime::now(),
            qos: publish.qos,
            expects_answer: ack_id.is_some(),
            uplink,
        };
        let accepted = self.accept(device, publish, order, posted, &wishes).await?;
        match awaited {
            Some(awaited) => self.road.confirm(accepted, awaited, until).await,
            None => Ok(accepted),
        }
    }

    /// Waits for the broker, or for the disk.
    async fn accept(
        &self,
        device: &Arc<Device>,
        publish: Publish,
        order: Order,
        posted: Option<BodyHash>,
        wishes: &Wishes,
    ) -> Result<Accepted, UplinkError> {
        if let (Some(key), Some(posted)) = (&wishes.key, posted) {
            let (key, wishes) = (key.clone(), wishes.clone());
            let keyed = self.road.deliver_keyed(device, order, key, posted, wishes);
            return keyed.await;
        }
        let fresh = |receipt| Accepted {
            receipt,
            replayed: false,
        };
        let stored_first = wishes.respond_async || device.lane.is_stored();
        if stored_first && self.road.store.is_some() {
            let receipt = self
                .road
                .deliver_stored(device, order, None, wishes)
                .await?;
            return confirmed(receipt).map(fresh);
        }
        match device.session.submit(publish) {
            Ok(ticket) => self
                .road
                .await_direct(device, order, ticket, wishes.wait)
                .await
                .map(fresh),
            Err(SubmitError::Full) if self.road.store.is_some() => self
                .road
                .deliver_stored(device, order, None, wishes)
                .await
                .and_then(confirmed)
                .map(fresh),
            Err(SubmitError::Full) => Err(UplinkError::Full),
            Err(SubmitError::Closed) => Err(UplinkError::Closing),
        }
    }

    /// What waits on disk for a device's broker; `None` when nothing does, or when there is no store.
    pub fn backlog(&self, device: &DeviceId) -> Option<Backlog> {
        self.road.store.as_ref()?.backlog(device)
    }

    /// Whether what cannot be confirmed in time is stored.
    pub fn has_store(&self) -> bool {
        self.road.store.is_some()
    }

    /// What became of an uplink; `None` when it is not known, or no longer.
    pub async fn receipt(&self, id: UplinkId) -> Result<Option<Receipt>, UplinkError> {
        self.road.receipt(id).await
    }
}

/// An uplink on its way, with what was decided when it was accepted.
#[derive(Debug, Clone)]
struct Order {
    id: UplinkId,
    accepted_at: SystemTime,
    qos: Qos,
    /// Whether the platform will be known to answer to it.
    expects_answer: bool,
    uplink: Uplink,
}

impl Order {
    fn receipt(&self, status: ReceiptStatus) -> Receipt {
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
    fn settled(&self, outcome: Outcome, attempts: u32) -> Result<Receipt, UplinkError> {
        let done = |status, reason| Receipt {
            reason,
            attempts,
            completed_at: Some(SystemTime::now()),
            platform: self.expects_answer.then_some(PlatformOutcome::UNKNOWN),
            ..self.receipt(status)
        };
        match outcome {
            Outcome::Delivered { reason } => Ok(done(ReceiptStatus::Delivered, Some(reason))),
            Outcome::Sent => Ok(done(ReceiptStatus::Sent, None)),
            other => Err(other.into()),
        }
    }
}

impl Road {
    async fn receipt(&self, id: UplinkId) -> Result<Option<Receipt>, UplinkError> {
        if let Some(receipt) = self.recent.get(id) {
            return Ok(Some(receipt));
        }
        match &self.store {
            Some(store) => Ok(store.receipt(id).await?.map(Receipt::from)),
            None => Ok(None),
        }
    }

    /// Waits for an uplink that is in its session's queue; stores it when that takes too long.
    async fn await_direct(
        self: &Arc<Self>,
        device: &Arc<Device>,
        order: Order,
        mut ticket: Ticket,
        wait: Duration,
    ) -> Result<Receipt, UplinkError> {
        if let Some(outcome) = self.outcome(&mut ticket, wait).await {
            let mut receipt = order.settled(outcome, ticket.attempts())?;
            self.recent.put(receipt.clone());
            if order.expects_answer
                && let Some(answer) = self.desk.recorded(order.id)
            {
                self.recent.answered(order.id, &device.id, &answer);
                receipt.platform = Some(answer);
            }
            return Ok(receipt);
        }
        if self.store.is_none() {
            return match ticket.withdraw() {
                Withdrawn::Settled(outcome) => order.settled(outcome, 1),
                Withdrawn::Unconfirmed => Err(UplinkError::Unconfirmed),
                Withdrawn::NotSent => Err(not_sent(device)),
            };
        }
        // Not the request's own task: a client that goes away now must not leave the uplink half stored.
        let (road, device) = (Arc::clone(self), Arc::clone(device));
        let storing = self
            .tasks
            .spawn(async move { road.store_shadow(device, order, ticket).await });
        storing.await.unwrap_or(Err(UplinkError::Closing))
    }

    /// What becomes of a ticket within the wait; looks up now and then, for the end of the program.
    async fn outcome(&self, ticket: &mut Ticket, wait: Duration) -> Option<Outcome> {
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left.min(LOOK_UP), &mut *ticket).await {
                Ok(outcome) => return Some(outcome),
                Err(_) if left <= LOOK_UP || self.hurry.load(Ordering::Relaxed) => return None,
                Err(_) => {}
            }
        }
    }

    /// Stores an uplink that keeps its place in the session's queue.
    async fn store_shadow(
        self: Arc<Self>,
        device: Arc<Device>,
        order: Order,
        mut ticket: Ticket,
    ) -> Result<Receipt, UplinkError> {
        let Some(store) = &self.store else {
            return Err(not_sent(&device));
        };
        ticket.make_patient();
        let stored = drain::queued(
            &order.uplink,
            order.qos,
            store.next_seq(),
            order.id,
            order.accepted_at,
        );
        device.lane.begin_shadow(stored.seq);
        if let Err(error) = store.enqueue(stored.clone(), None).await {
            device.lane.end_shadow(stored.seq);
            return match ticket.withdraw() {
                Withdrawn::Settled(outcome) => order.settled(outcome, 1),
                Withdrawn::Unconfirmed => Err(UplinkError::Unconfirmed),
                Withdrawn::NotSent => Err(error.into()),
            };
        }
        let queued = order.receipt(ReceiptStatus::Queued);
        let road = Arc::clone(&self);
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                outcome = &mut ticket => outcome,
                () = road.shutdown.cancelled() => return,
            };
            road.settle_stored(&device, &stored, ticket.attempts(), outcome);
            device.lane.end_shadow(stored.seq);
        });
        Ok(queued)
    }

    /// Stores an uplink first and lets the drain send it. The receipt may be of a refusal.
    async fn deliver_stored(
        self: &Arc<Self>,
        device: &Arc<Device>,
        order: Order,
        key: Option<(&IdempotencyKey, [u8; 32])>,
        wishes: &Wishes,
    ) -> Result<Receipt, UplinkError> {
        let Some(store) = self.store.clone() else {
            return Err(not_sent(device));
        };
        let (seq, outcome, start) = device.lane.begin_write(|| store.next_seq());
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
        let stored = drain::queued(&order.uplink, order.qos, seq, order.id, order.accepted_at);
        // Not the request's own task, so that the place is given back whatever becomes of the request.
        let lane = Arc::clone(device);
        let writing = self.tasks.spawn(async move {
            let written = store.enqueue(stored, answer).await;
            lane.lane.end_write(seq, written.is_ok());
            written
        });
        writing.await.map_err(|_| UplinkError::Closing)??;
        if wishes.respond_async {
            device.lane.forget(seq);
            return Ok(queued);
        }
        match tokio::time::timeout(wishes.wait, outcome).await {
            Ok(Ok(receipt)) => Ok(receipt),
            Ok(Err(_)) => Ok(queued),
            Err(_) => {
                device.lane.forget(seq);
                Ok(queued)
            }
        }
    }

    async fn deliver_keyed(
        self: &Arc<Self>,
        device: &Arc<Device>,
        order: Order,
        key: IdempotencyKey,
        body: BodyHash,
        wishes: Wishes,
    ) -> Result<Accepted, UplinkError> {
        let Some(store) = self.store.clone() else {
            return Err(UplinkError::NoStore);
        };
        let (road, device) = (Arc::clone(self), Arc::clone(device));
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

    fn start_drain(self: &Arc<Self>, device: &Arc<Device>) {
        if let Some(store) = &self.store {
            let store = Arc::clone(store) as Arc<dyn crate::store::UplinkQueue>;
            self.tasks
                .spawn(drain::drain(Arc::clone(self), store, Arc::clone(device)));
        }
    }
}

/// A request that waited is told of a final refusal as such, although the uplink was stored for a while.
fn confirmed(receipt: Receipt) -> Result<Receipt, UplinkError> {
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

fn not_sent(device: &Device) -> UplinkError {
    UplinkError::NotSent {
        trouble: device.session.status().snapshot().last_trouble,
    }
}
