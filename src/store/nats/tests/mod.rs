//! The engine against a real nats-server that dies and comes back, and several of them on one.

mod cluster;
mod outage;
mod places;
mod server;
mod several;

pub(crate) use server::TestServer;

use super::requests::Message;
use super::slot::Slot;
use super::stored::encode_queued;
use crate::store::Nats;
use crate::store::records::QueuedUplink;

/// Publishes an uplink of which the store knows nothing: as a process that ends before it can tell anybody.
async fn publish_untold(store: &Nats, uplink: &QueuedUplink) {
    let (payload, size) = encode_queued(uplink, None);
    let published = store.core.link.publish(Message {
        subject: store.core.link.names.uplinks(&uplink.device),
        header: Some(Slot::new(uplink, size as u64, false).header(uplink.seq)),
        payload: payload.into(),
        expected: None,
    });
    published.await.unwrap();
}
