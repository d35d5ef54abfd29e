//! Where sessions bring what comes from the broker.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;

use crate::device::DeviceId;
use crate::downlink::Intake;
use crate::message::Downlink;
use crate::session::{AckSink, DownlinkSink, NotTaken};
use crate::uplink::Uplinks;

/// Platforms' answers go to the uplinks.
#[derive(Default)]
pub(super) struct IntoUplinks(OnceLock<Uplinks>);

impl IntoUplinks {
    /// From now on and once; before, nothing is answered.
    pub(super) fn lead(&self, uplinks: Uplinks) {
        // A second one would change nothing.
        let _ = self.0.set(uplinks);
    }
}

impl AckSink for IntoUplinks {
    fn answered(&self, device: &DeviceId, payload: Bytes) {
        if let Some(uplinks) = self.0.get() {
            uplinks.platform_answered(device, &payload);
        }
    }
}

/// Downlinks go to the hub.
pub(super) struct IntoHub(pub(super) Intake);

impl DownlinkSink for IntoHub {
    fn accept(&self, downlinks: Arc<[Downlink]>) -> BoxFuture<'static, Result<(), NotTaken>> {
        let taken = self.0.accept(downlinks);
        Box::pin(taken.map_err(|error| NotTaken(error.to_string().into())))
    }
}
