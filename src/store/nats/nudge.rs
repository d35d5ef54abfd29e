//! What processes tell each other of uplinks that they have stored for devices which they do not hold. It may get lost: then
//! the next look into the stream finds them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;

use super::conn::Conn;
use super::core::Core;
use super::failure::Failure;
use super::link::Link;
use super::names::{device_of, encode};
use super::slot::Slot;
use super::writer::Order;
use crate::device::DeviceId;

/// An uplink that is in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nudge {
    pub(super) device: DeviceId,
    pub(super) seq: u64,
    pub(super) slot: Slot,
}

impl Nudge {
    /// Tells whoever holds the device, on the connection on which it was stored.
    pub(super) async fn send(&self, link: &Link, conn: &Conn) {
        let told = conn.within(async {
            let subject = link.names.enqueued();
            let published = conn.client.publish(subject, self.text().into()).await;
            if published.is_ok() {
                // Before the request is answered, so that it is on its way before the device's next one.
                let _ = conn.client.flush().await;
            }
        });
        // It would be found anyway.
        let _ = told.await;
    }

    fn text(&self) -> String {
        let (device, slot) = (encode(self.device.as_str()), &self.slot);
        format!("{device} {} {}", slot.place, slot.header(self.seq))
    }

    fn read(conn: u64, text: &str) -> Option<Self> {
        let (device, rest) = text.split_once(' ')?;
        let (place, header) = rest.split_once(' ')?;
        let (seq, slot) = Slot::read(conn, place.parse().ok()?, header)?;
        Some(Self {
            device: device_of(device)?,
            seq,
            slot,
        })
    }
}

/// From when it resolves on, what is told is heard.
pub(super) async fn subscribe(link: &Link, conn: &Conn) -> Result<Subscriber, Failure> {
    let subscribed = conn.within(async {
        let nudges = conn.client.subscribe(link.names.enqueued()).await;
        let flushed = conn.client.flush().await;
        (nudges, flushed)
    });
    let (nudges, flushed) = subscribed.await?;
    flushed.map_err(Failure::not)?;
    nudges.map_err(Failure::not)
}

/// Listens, over all connections, until the end. The first subscription has been made before the queue was looked through.
pub(super) async fn listen(core: Arc<Core>, conn: Arc<Conn>, nudges: Subscriber) {
    let listening = async {
        listen_on(&core, &conn, nudges).await;
        loop {
            let conn = core.link.usable().await;
            if let Ok(nudges) = subscribe(&core.link, &conn).await {
                // What was told before is found in the stream.
                let _ = core.to_writer.send(Order::CheckForNew);
                listen_on(&core, &conn, nudges).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = core.end.cancelled() => {}
        () = listening => {}
    }
}

/// Until the connection is lost.
async fn listen_on(core: &Core, conn: &Conn, mut nudges: Subscriber) {
    loop {
        let nudge = tokio::select! {
            () = conn.lost.cancelled() => return,
            nudge = nudges.next() => nudge,
        };
        let Some(nudge) = nudge else { return };
        let text = std::str::from_utf8(&nudge.payload).ok();
        let nudge = text.and_then(|text| Nudge::read(conn.number, text));
        // Somebody else's message, on a subject that is the bridge's.
        let Some(Nudge { device, seq, slot }) = nudge else {
            continue;
        };
        core.numbers.beyond(seq);
        let is_new = {
            let mut queues = core.queues();
            // A place of a connection that is over may be another message's by now.
            conn.number == core.link.number()
                && core.holding.has(&device)
                && queues.learn(&device, seq, slot)
        };
        if is_new {
            core.readers.arrived(&device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nudge_is_read_as_it_was_written() {
        let nudge = Nudge {
            device: DeviceId::parse("Ger\u{e4}t 7").unwrap(),
            seq: 5,
            slot: Slot::sample(),
        };
        assert_eq!(Nudge::read(3, &nudge.text()), Some(nudge));
        for bad in ["", "a b", "a 1 2 3", "=zz 1 2 3 4 5 6 7"] {
            assert_eq!(Nudge::read(3, bad), None, "{bad:?}");
        }
    }
}
