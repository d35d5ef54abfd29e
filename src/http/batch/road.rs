//! A line's way to its device, here or elsewhere, behind the device's lines before it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::RwLock;

use crate::device::DeviceId;
use crate::http::forward::{Delivered, Way};
use crate::http::problem::Problem;
use crate::message::Uplink;
use crate::uplink::{Uplinks, Wishes};

/// Devices whose order is kept when nothing of them is under way.
const IDLE: usize = 128;

/// The way of one request's lines.
pub(super) struct Road {
    uplinks: Uplinks,
    /// Absent in one process.
    forward: Option<Way>,
    /// Where a device may be elsewhere, the order of each device's lines. As long as all of them are here, they go side by
    /// side and are put in order by their session.
    orders: HashMap<DeviceId, Arc<RwLock<()>>>,
}

impl Road {
    pub(super) fn new(uplinks: Uplinks, forward: Option<Way>) -> Self {
        Self {
            uplinks,
            forward,
            orders: HashMap::new(),
        }
    }

    /// Delivers an uplink. Its place in the order of its device's is that of the first poll, or, with a key, that of which
    /// its [`Wishes`] tell.
    pub(super) fn deliver(
        &mut self,
        uplink: Uplink,
        wishes: Wishes,
    ) -> BoxFuture<'static, Delivered> {
        let uplinks = self.uplinks.clone();
        let Some(forward) = self.forward.clone() else {
            return Box::pin(async move {
                let delivered = uplinks.deliver(uplink, wishes).await;
                Delivered::Here(delivered.map_err(Problem::from))
            });
        };
        let order = self.order(&uplink.device);
        Box::pin(async move {
            forward
                .deliver_in_turn(&uplinks, uplink, wishes, order)
                .await
        })
    }

    /// Whether something of a device is stored and waits; `None` where another replica knows.
    pub(super) fn backlog(&self, device: &DeviceId) -> Option<bool> {
        let forward = self.forward.as_ref();
        let here = forward.is_none_or(|forward| !forward.is_elsewhere(device));
        here.then(|| self.uplinks.backlog(device).is_some())
    }

    fn order(&mut self, device: &DeviceId) -> Arc<RwLock<()>> {
        if self.orders.len() >= IDLE && !self.orders.contains_key(device) {
            self.orders.retain(|_, order| Arc::strong_count(order) > 1);
        }
        Arc::clone(self.orders.entry(device.clone()).or_default())
    }
}
