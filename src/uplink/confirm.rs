//! An uplink in the form that its platform expects, and the platform's own answer to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, warn};

use super::desk::{Awaited, Desk};
use super::order::Order;
use super::platform::{PlatformOutcome, Verdict};
use super::{Accepted, Receipt, Road, UplinkError, Uplinks, Wishes};
use crate::device::DeviceId;
use crate::message::{ContentType, UplinkId};
use crate::profile::Profile;
use crate::registry::{Connector, Device};
use crate::seldom::{Pass, Seldom};
use crate::session::Publish;
use crate::store::records::{ReceiptRecord, ReceiptStatus};
use crate::store::{Answer, Engine};

/// Answers that may be on their way to stored receipts at a time; those above it are lost.
pub(super) const WRITES: usize = 1000;
/// How often the log says the same of platforms' answers.
const SAY: Duration = Duration::from_secs(60);

/// What is published of a posted body.
pub(super) struct Shaped {
    pub(super) payload: Bytes,
    /// The id that the platform's answer will carry.
    pub(super) ack_id: Option<Box<str>>,
}

/// Refuses wishes that the device's connector cannot fulfil.
pub(super) fn check_wishes(connector: &Connector, wishes: &Wishes) -> Result<(), UplinkError> {
    let profile = &connector.profile;
    let known = || {
        let envelope = profile.uplink.envelope.iter();
        let parameters = envelope.flat_map(|envelope| envelope.parameters());
        parameters.map(|parameter| parameter.name)
    };
    let unknown = (wishes.parameters.keys()).find(|name| known().all(|known| known != *name));
    if let Some(unknown) = unknown {
        return Err(UplinkError::NoSuchParameter {
            parameter: unknown.clone(),
            known: known().map(str::to_owned).collect(),
        });
    }
    if wishes.confirm_platform && profile.ack.is_none() {
        return Err(UplinkError::NoPlatformAck {
            profile: connector.profile_name.clone(),
        });
    }
    Ok(())
}

/// Puts a checked body into the profile's envelope, and an id for the platform's answer into it.
pub(super) fn shape(
    profile: &Profile,
    publish: &Publish,
    wishes: &Wishes,
    id: UplinkId,
) -> Result<Shaped, UplinkError> {
    let is_json = publish
        .content_type
        .as_ref()
        .is_some_and(ContentType::is_json);
    let payload = match &profile.uplink.envelope {
        Some(envelope) if is_json => envelope.wrap(&wishes.parameters, &publish.payload)?,
        _ => publish.payload.clone(),
    };
    let Some(ack) = &profile.ack else {
        return Ok(Shaped {
            payload,
            ack_id: None,
        });
    };
    match ack.insert_id(&payload, &id.to_string()) {
        Ok(marked) => Ok(Shaped {
            payload: marked.body,
            ack_id: Some(marked.id.into()),
        }),
        Err(error) if wishes.confirm_platform => Err(error.into()),
        // Without an id nobody will know what the platform says of it, and nobody has asked.
        Err(_) => Ok(Shaped {
            payload,
            ack_id: None,
        }),
    }
}

impl Uplinks {
    /// Takes a message from a device's ack topic: tells whoever waits for it, and writes it on the uplink's receipt.
    pub fn platform_answered(&self, device: &DeviceId, payload: &[u8]) {
        let Some(device) = self.registry.get(device) else {
            return;
        };
        let Some(ack) = &device.connector.profile.ack else {
            return;
        };
        let answers = match ack.read(payload) {
            Ok(answers) => answers,
            Err(error) => {
                static SAID: Seldom = Seldom::every(SAY);
                if let Some(Pass { left_out }) = SAID.pass() {
                    warn!(
                        device = %device.id, left_out,
                        "what the platform sent to the ack topic is of no use: {error}"
                    );
                }
                return;
            }
        };
        for answer in answers {
            let Some(id) = answer.id.clone() else {
                debug!(device = %device.id, code = answer.code, "the platform's answer names no uplink");
                continue;
            };
            let outcome = PlatformOutcome::from(answer);
            if let Some(uplink) = self.road.desk.answer(&device.id, &id, &outcome) {
                self.road.write_answer(&device.id, uplink, outcome);
            }
        }
    }
}

impl Road {
    /// Expects the platform's answer to an uplink that is about to be sent. `Some` where the request waits for it.
    pub(super) fn expect(
        &self,
        device: &Device,
        order: &Order,
        wishes: &Wishes,
    ) -> Result<Option<Awaited>, UplinkError> {
        let (uplink, Some(ack_id)) = (order.id, &order.ack_id) else {
            return Ok(None);
        };
        if wishes.confirm_platform {
            let awaited = self.desk.wait_for(&device.id, ack_id, uplink);
            return awaited.map(Some).map_err(|_| UplinkError::AckIdInUse);
        }
        // A request with a key may be an old one, and is stored first if it is not: expected when it is read from there.
        if wishes.key.is_none() {
            self.desk.expect(&device.id, ack_id, uplink);
        }
        Ok(None)
    }

    /// The same for a stored uplink, whose body carries its id already.
    pub(super) fn expect_stored(&self, device: &Device, uplink: UplinkId, body: &Bytes) {
        if let Some(ack) = &device.connector.profile.ack
            && let Ok(marked) = ack.insert_id(body, "")
            && marked.by_client
        {
            self.desk.expect(&device.id, &marked.id, uplink);
        }
    }

    /// Waits for the platform, when the broker has confirmed. Nothing is sent again because no answer comes.
    pub(super) async fn confirm(
        &self,
        mut accepted: Accepted,
        mut awaited: Awaited,
        until: Instant,
        device: &Device,
    ) -> Result<Accepted, UplinkError> {
        let receipt = &mut accepted.receipt;
        if !matches!(
            receipt.status,
            ReceiptStatus::Delivered | ReceiptStatus::Sent
        ) {
            return Ok(accepted);
        }
        let outcome = if accepted.replayed {
            self.receipt(receipt.id)
                .await?
                .and_then(|receipt| receipt.platform)
        } else {
            let answered = self.wait_for(&mut awaited, until, device).await;
            answered.and_then(Result::ok)
        };
        let outcome = outcome.unwrap_or(PlatformOutcome::UNKNOWN);
        if outcome.verdict == Verdict::Refused {
            return Err(UplinkError::PlatformRefused {
                uplink: receipt.id,
                outcome,
            });
        }
        receipt.platform = Some(outcome);
        Ok(accepted)
    }

    /// Writes an answer on a receipt: one in memory, or one in the store.
    fn write_answer(&self, device: &DeviceId, uplink: UplinkId, outcome: PlatformOutcome) {
        if self.recent.answered(uplink, device, &outcome) {
            self.desk.written(uplink, &outcome);
            if let Some(receipt) = self.recent.get(uplink) {
                self.feed.tell(|| receipt);
            }
            return;
        }
        let Some(store) = self.store.clone() else {
            return;
        };
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else {
            static SAID: Seldom = Seldom::every(SAY);
            if let Some(Pass { left_out }) = SAID.pass() {
                warn!(
                    left_out,
                    "more answers of platforms come than can be written on receipts"
                );
            }
            return;
        };
        let (device, desk, feed) = (device.clone(), self.desk.clone(), self.feed.clone());
        self.tasks.spawn(async move {
            if let Some(receipt) = write_on_stored(&*store, &desk, &device, uplink, outcome).await {
                feed.tell(|| receipt);
            }
            drop(permit);
        });
    }

    /// Writes the answer to a stored uplink that comes while its receipt is being written.
    pub(super) fn answer_behind(
        &self,
        store: &Arc<dyn Engine>,
        settled: Answer<()>,
        receipt: &ReceiptRecord,
    ) {
        let (store, desk, feed) = (store.clone(), self.desk.clone(), self.feed.clone());
        let (device, uplink) = (receipt.device.clone(), receipt.id);
        self.tasks.spawn(async move {
            // Whether it is durable or only in memory yet: it can be read now.
            let _ = settled.await;
            if let Some(outcome) = desk.recorded(uplink)
                && let Some(receipt) =
                    write_on_stored(&*store, &desk, &device, uplink, outcome).await
            {
                feed.tell(|| receipt);
            }
        });
    }
}

/// Gives the receipt with the answer, where there is one.
async fn write_on_stored(
    store: &dyn Engine,
    desk: &Desk,
    device: &DeviceId,
    uplink: UplinkId,
    outcome: PlatformOutcome,
) -> Option<Receipt> {
    match store.receipt(uplink).await {
        // One that is queued will be sent again, and answered again.
        Ok(Some(receipt))
            if receipt.device == *device && receipt.status != ReceiptStatus::Queued =>
        {
            let answered = ReceiptRecord {
                platform: Some(outcome.to_text()),
                ..receipt
            };
            store.put_receipts(vec![answered.clone()]);
            desk.written(uplink, &outcome);
            return Some(answered.into());
        }
        Ok(_) => debug!(%device, "the platform answered to an uplink without a receipt"),
        Err(error) => {
            static SAID: Seldom = Seldom::every(SAY);
            if let Some(Pass { left_out }) = SAID.pass() {
                warn!(%device, left_out, "a platform's answer is not on its receipt: {error}");
            }
        }
    }
    None
}
