//! The road out: an uplink is checked against its connector, handed to its device's session, and answered when the
//! broker has confirmed it, or when it is on disk.
//!
//! - [`check`]: what may be published, as a pure function
//! - [`compose`], `prepare`: the message that an uplink becomes
//! - [`Uplinks`]: submit, wait, store what cannot be confirmed in time
//! - [`Lane`]: the order of one device's uplinks between memory and the store
//! - `order`: an uplink on its way
//! - `road`: directly, by way of the store, or both
//! - `drain`: feeding what is stored to the session
//! - `settle`: what became of what was stored
//! - [`Receipt`]: what became of one uplink
//! - [`IdempotencyKey`]: requests that may be sent twice
//! - [`ReceiptWatch`]: receipts as they come about
//! - [`Fallback`], `away`: uplinks of devices whose session is elsewhere, and does not answer
//! - `confirm`, `desk`, [`PlatformOutcome`]: the platform's own answer, where there is one

mod away;
mod check;
mod confirm;
mod desk;
mod drain;
mod error;
mod fallback;
mod feed;
mod key;
mod lane;
mod order;
mod platform;
mod prepare;
mod receipt;
mod road;
mod settle;
mod trace;
mod traveller;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub(crate) use away::{Away, AwayDevice};
pub use check::{CheckError, check};
pub use error::UplinkError;
pub use fallback::Fallback;
pub use feed::{ReceiptWatch, Told};
#[cfg(test)]
pub(crate) use key::fingerprint;
pub use key::{IdempotencyKey, KeyFormError, MAX_KEY_BYTES};
use lane::Door;
pub use lane::Lane;
pub use platform::{MAX_KEPT_BYTES, PlatformOutcome, Verdict};
pub use prepare::compose;
use prepare::{Prepared, prepare};
pub use receipt::Receipt;

use crate::device::DeviceId;
use crate::message::{Uplink, UplinkId};
use crate::registry::{Device, Registry};
use crate::session::{State, SubmitError};
use crate::store::Engine;
use crate::store::records::{Backlog, ReceiptStatus};
use crate::tally::Answered;
use crate::telemetry::Tracer;
use receipt::RecentReceipts;
use road::{Road, confirmed};
use traveller::Traveller;

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

impl Accepted {
    /// What it is counted as.
    fn answered(&self) -> Answered {
        match self.receipt.status {
            ReceiptStatus::Queued => Answered::Queued,
            ReceiptStatus::Delivered | ReceiptStatus::Sent => Answered::Delivered,
            ReceiptStatus::Refused => Answered::Refused,
            ReceiptStatus::Expired => Answered::NotTaken,
            ReceiptStatus::Unknown => Answered::Unconfirmed,
        }
    }
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
            feed: Arc::default(),
            writes: Arc::new(Semaphore::new(confirm::WRITES)),
            tasks: TaskTracker::new(),
            hurry: AtomicBool::new(false),
            shutdown: CancellationToken::new(),
            tracer: OnceLock::new(),
            away: OnceLock::new(),
        };
        Self {
            registry,
            road: Arc::new(road),
        }
    }

    /// Makes spans of what is published, from now on and once.
    pub fn trace(&self, tracer: Arc<Tracer>) {
        // A second one would change nothing.
        let _ = self.road.tracer.set(tracer);
    }

    /// Begins to send what is stored from before the start.
    pub fn resume(&self) {
        let Some(store) = &self.road.store else {
            return;
        };
        for (id, _) in store.backlogs() {
            match self.registry.get(&id) {
                Some(device) => self.drain(&device),
                None => self.warn_of_orphans(&id),
            }
        }
    }

    /// Tells of uplinks that are stored for a device which is not there.
    pub(crate) fn warn_of_orphans(&self, id: &DeviceId) {
        if let Some(backlog) = self.backlog(id) {
            warn!(
                device = %id, uplinks = backlog.count,
                "uplinks are stored for a device that is not configured any more; they wait until it is"
            );
        }
    }

    /// Lets uplinks of a device enter that were held, behind what is stored of it.
    pub(crate) fn reopen(&self, device: &Arc<Device>) {
        if self.backlog(&device.id).is_some() || device.lane.is_stored() {
            self.drain(device);
        }
        if !device.registration.leaving {
            device.lane.open();
        }
    }

    /// Sends what is stored of a device, unless that is being done.
    fn drain(&self, device: &Arc<Device>) {
        if self.road.store.is_some()
            && let Some(device) = Traveller::new(Arc::clone(device))
            && device.lane.become_stored()
        {
            self.road.start_drain(&device);
        }
    }

    /// Sends what came to the store by another way, if the device is here.
    pub(crate) fn arrived(&self, id: &DeviceId) {
        if let Some(device) = self.registry.get(id)
            && let Some(device) = Traveller::new(device)
            && device.lane.arrive()
        {
            self.road.start_drain(&device);
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
        let began = Instant::now();
        let device = match self.enter(&uplink.device, began + wishes.wait).await {
            Ok(device) => device,
            // It may have just left.
            Err(UplinkError::UnknownDevice(_)) => {
                // In a box: the future of every uplink would otherwise be as large as this one.
                return Box::pin(self.store_away(uplink, wishes)).await;
            }
            Err(error) => return Err(error),
        };
        let span = self.road.tracer.get();
        let span = span.and_then(|tracer| trace::publish(tracer, &device, &mut uplink));
        let mut outcome = self.deliver_for(&device, uplink, wishes, began).await;
        if let (Err(UplinkError::Closing), true) = (&outcome, device.tenure.is_over()) {
            // Not the program ends, but the session that the device had.
            outcome = Err(UplinkError::Changing);
        }
        let answered = match &outcome {
            Ok(accepted) => accepted.answered(),
            Err(error) => error.answered(),
        };
        device.connector.tally.answered(answered, began.elapsed());
        if let Some(span) = span {
            trace::published(span, answered, &outcome);
        }
        outcome
    }

    /// The device, when uplinks enter its lane.
    async fn enter(&self, id: &DeviceId, until: Instant) -> Result<Traveller, UplinkError> {
        loop {
            let Some(device) = self.registry.get(id) else {
                return Err(UplinkError::UnknownDevice(id.clone()));
            };
            match device.lane.door() {
                Door::Open => match Traveller::new(device) {
                    Some(device) => return Ok(device),
                    // Another one has just taken its place.
                    None => tokio::task::yield_now().await,
                },
                Door::Closed if device.registration.leaving => return Err(UplinkError::Leaving),
                Door::Closed => tokio::task::yield_now().await,
                Door::Held => tokio::time::timeout_at(until.into(), device.lane.moved())
                    .await
                    .map_err(|_| UplinkError::Changing)?,
            }
        }
    }

    async fn deliver_for(
        &self,
        device: &Traveller,
        uplink: Uplink,
        wishes: Wishes,
        began: Instant,
    ) -> Result<Accepted, UplinkError> {
        let until = began + wishes.wait;
        let spoken = device.session.status().spoken();
        let prepared = prepare(&device.connector, &device.topic, spoken, uplink, &wishes)?;
        let awaited = self.road.expect(device, &prepared.order, &wishes)?;
        let accepted = self.accept(device, prepared, &wishes).await?;
        match awaited {
            Some(awaited) => {
                let confirmed = self.road.confirm(accepted, awaited, until, device);
                confirmed.await
            }
            None => Ok(accepted),
        }
    }

    /// Waits for the broker, or for the disk.
    async fn accept(
        &self,
        device: &Traveller,
        prepared: Prepared,
        wishes: &Wishes,
    ) -> Result<Accepted, UplinkError> {
        let Prepared {
            order,
            publish,
            posted,
        } = prepared;
        if let (Some(key), Some(posted)) = (&wishes.key, posted) {
            let (key, wishes) = (key.clone(), wishes.clone());
            let keyed = self.road.deliver_keyed(device, order, key, posted, wishes);
            return keyed.await;
        }
        let fresh = |receipt| Accepted {
            receipt,
            replayed: false,
        };
        let has_store = self.road.store.is_some();
        let is_stored = device.lane.is_stored();
        if has_store && (wishes.respond_async || is_stored) {
            // To the disk and to the broker at the same time where nothing stands before it: neither waits for the other.
            if !is_stored
                && device.session.status().state() == State::Connected
                && let Ok(ticket) = device.session.submit_beside(publish, &device.tenure)
            {
                let receipt = self.road.store_beside(device, order, ticket).await;
                return receipt.map(fresh);
            }
            let receipt = self.road.deliver_stored(device, order, None, wishes);
            return receipt.await.and_then(confirmed).map(fresh);
        }
        match device.session.submit(publish, &device.tenure) {
            Ok(ticket) => self
                .road
                .await_direct(device, order, ticket, wishes.wait)
                .await
                .map(fresh),
            Err(SubmitError::Full) if has_store => self
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

    /// The same for all devices for which something waits.
    pub fn backlogs(&self) -> Vec<(DeviceId, Backlog)> {
        let store = self.road.store.as_ref();
        store.map(|store| store.backlogs()).unwrap_or_default()
    }

    /// Watches receipts as they come about, from now on.
    pub fn watch(&self) -> ReceiptWatch {
        self.road.feed.watch()
    }

    /// Whether what cannot be confirmed in time is stored.
    pub fn has_store(&self) -> bool {
        self.road.store.is_some()
    }

    /// The receipt of an uplink, as far as it is in memory: of one that was settled here without being stored.
    pub fn recent_receipt(&self, id: UplinkId) -> Option<Receipt> {
        self.road.recent.get(id)
    }

    /// What became of an uplink; `None` when it is not known, or no longer.
    pub async fn receipt(&self, id: UplinkId) -> Result<Option<Receipt>, UplinkError> {
        self.road.receipt(id).await
    }
}
