//! Uplinks of devices whose session is in another process, or in none at the moment: they are checked and stored here, and
//! whoever has the session sends them.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::error::UplinkError;
use super::fallback::Fallback;
use super::key::{self, IdempotencyKey};
use super::order::Order;
use super::prepare::prepare;
use super::receipt::Receipt;
use super::{Accepted, Uplinks, Wishes};
use crate::device::DeviceId;
use crate::message::{Uplink, UplinkId};
use crate::profile::UplinkTopic;
use crate::registry::Connector;
use crate::store::Engine;
use crate::store::records::{Begun, BodyHash, KeyedAnswer, ReceiptStatus};

/// Whoever knows the devices whose session is not here.
pub(crate) trait Away: Debug + Send + Sync {
    /// What an uplink of such a device is checked against; `None` where there is no such device.
    fn away(&self, device: &DeviceId) -> Option<AwayDevice>;
}

/// A device whose session is not here.
pub(crate) struct AwayDevice {
    pub(crate) connector: Arc<Connector>,
    pub(crate) topic: UplinkTopic,
    /// Whether it is being deleted, and takes no more uplinks.
    pub(crate) leaving: bool,
}

impl Fallback for Uplinks {
    fn store(
        &self,
        uplink: Uplink,
        wishes: Wishes,
    ) -> BoxFuture<'static, Result<Accepted, UplinkError>> {
        let uplinks = self.clone();
        Box::pin(async move {
            // It may have come here meanwhile.
            if uplinks.registry.get(&uplink.device).is_some() {
                return uplinks.deliver(uplink, wishes).await;
            }
            uplinks.store_away(uplink, wishes).await
        })
    }
}

impl Uplinks {
    /// Knows devices beside those of the registry, from now on and once.
    pub(crate) fn know_away(&self, away: Arc<dyn Away>) {
        // A second one would change nothing.
        let _ = self.road.away.set(away);
    }

    /// Makes sure that an uplink of a device which another process has stored is known here, and stands before what comes;
    /// `false` when it cannot be looked for.
    pub(crate) async fn hear(&self, device: &DeviceId, stored: UplinkId) -> bool {
        let Some(store) = &self.road.store else {
            return true;
        };
        let looked = store.look(stored).await;
        if self.backlog(device).is_some() {
            self.arrived(device);
        }
        looked.is_ok()
    }

    /// Stores an uplink of a device whose session is not here. One that nobody has is an unknown device.
    pub(super) async fn store_away(
        &self,
        uplink: Uplink,
        wishes: Wishes,
    ) -> Result<Accepted, UplinkError> {
        let away = self.road.away.get();
        let Some(device) = away.and_then(|away| away.away(&uplink.device)) else {
            return Err(UplinkError::UnknownDevice(uplink.device));
        };
        if device.leaving {
            return Err(UplinkError::Leaving);
        }
        let store = self.road.store.clone().ok_or(UplinkError::NoStore)?;
        let prepared = prepare(&device.connector, &device.topic, None, uplink, &wishes)?;
        let (order, keyed) = (prepared.order, wishes.key.zip(prepared.posted));
        // A client that goes away must not leave its key in flight.
        let uplinks = self.clone();
        let storing = self.road.tasks.spawn(async move {
            let accepted = put(&*store, &order, keyed).await?;
            if !accepted.replayed {
                // It may have come here meanwhile, before there was anything to be found in the store.
                uplinks.arrived(&order.uplink.device);
                let feed = &uplinks.road.feed;
                feed.tell(|| accepted.receipt.clone());
            }
            Ok(accepted)
        });
        storing.await.unwrap_or(Err(UplinkError::Closing))
    }
}

async fn put(
    store: &dyn Engine,
    order: &Order,
    keyed: Option<(IdempotencyKey, BodyHash)>,
) -> Result<Accepted, UplinkError> {
    let device = &order.uplink.device;
    if let Some((key, body)) = &keyed {
        match store.begin(device, key.as_str(), *body).await? {
            Begun::New => {}
            Begun::InFlight => return Err(UplinkError::KeyInFlight),
            Begun::OtherBody => return Err(UplinkError::KeyOtherBody),
            Begun::Finished(answer) => {
                let receipt = key::kept(device, &answer).ok_or(UplinkError::KeyOtherBody)?;
                return Ok(Accepted {
                    receipt,
                    replayed: true,
                });
            }
        }
    }
    let receipt: Receipt = order.receipt(ReceiptStatus::Queued);
    let answer = keyed.as_ref().map(|(key, body)| KeyedAnswer {
        key: key.as_str().into(),
        body: *body,
        answer: key::keep(&receipt),
    });
    let seq = store.next_seq();
    let queued = order.queued(seq);
    let stored = store.enqueue(queued, answer).await;
    if let (Err(_), Some((key, _))) = (&stored, &keyed) {
        store.abandon(device, key.as_str());
    }
    stored?;
    Ok(Accepted {
        receipt,
        replayed: false,
    })
}
