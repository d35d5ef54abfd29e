//! Storing an uplink: the index where its device is held here, and news for its holder where it is not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::conn::Conn;
use super::core::Core;
use super::failure::Failure;
use super::nudge::Nudge;
use super::requests::Message;
use super::slot::Slot;
use super::stored::encode_queued;
use crate::device::DeviceId;
use crate::store::engine::StoreError;
use crate::store::records::{KeyedAnswer, QueuedUplink};

impl Core {
    pub(super) async fn enqueue(
        &self,
        uplink: QueuedUplink,
        answer: Option<KeyedAnswer>,
    ) -> Result<(), StoreError> {
        let _room = self.room(uplink.payload.len()).await;
        self.check()?;
        let (payload, size) = encode_queued(&uplink, answer.as_ref());
        let slot = Slot::new(&uplink, size as u64, answer.is_some());
        let (device, seq) = (&uplink.device, uplink.seq);
        let is_held = self.holding.has(device);
        let reserved = self.reserve(device, &slot, is_held);
        reserved.map_err(|limit| StoreError::Full { limit })?;
        let conn = self.link.conn();
        let message = Message {
            subject: self.link.names.uplinks(device),
            header: Some(slot.header(seq)),
            payload: payload.into(),
            expected: None,
        };
        let published = self.link.publish_on(Arc::clone(&conn), message).await;
        let elsewhere = match self.take_in(&uplink, slot, is_held, &conn, published) {
            Ok(elsewhere) => elsewhere,
            Err(Failure::TooLarge) => {
                let limit = conn.client.max_payload();
                return Err(StoreError::TooLarge { limit });
            }
            Err(failure) => return Err(failure.into()),
        };
        if let Some(slot) = elsewhere {
            let device = device.clone();
            let nudge = Nudge { device, seq, slot };
            nudge.send(&self.link, &conn).await;
        }
        if let Some(answer) = answer {
            self.keep_answer(device, answer).await;
        }
        Ok(())
    }

    /// Makes room for an uplink that is about to be published, or says which limit is reached.
    fn reserve(&self, device: &DeviceId, slot: &Slot, is_held: bool) -> Result<(), &'static str> {
        let mut queues = self.queues();
        match is_held {
            true => queues.reserve(device, slot.bytes)?,
            false => self.room_elsewhere(slot.bytes)?,
        }
        queues.publishing(slot.id);
        Ok(())
    }

    /// Whoever holds the device counts what waits for it; here, only what waits of all is known.
    fn room_elsewhere(&self, bytes: u64) -> Result<(), &'static str> {
        let limits = &self.limits.uplinks;
        if self.stream_count.load(Ordering::Relaxed) + 1 > limits.total_count {
            return Err("too many uplinks wait");
        }
        if self.stream_bytes.load(Ordering::Relaxed) + bytes > limits.total_bytes {
            return Err("the waiting uplinks take too many bytes");
        }
        Ok(())
    }

    /// Takes in what became of an uplink that was published, for which there is room where its device was held. Gives one whose
    /// device is not held, or not any more: its holder is to be told.
    fn take_in(
        &self,
        uplink: &QueuedUplink,
        slot: Slot,
        was_held: bool,
        conn: &Conn,
        published: Result<u64, Failure>,
    ) -> Result<Option<Slot>, Failure> {
        let (device, seq) = (&uplink.device, uplink.seq);
        // Held to the end: a look on the next connection comes before it, or behind it.
        let mut queues = self.queues();
        queues.published(slot.id);
        let published = match published {
            // A place that was learned on a connection that is over may be another message's by now.
            Ok(_) if conn.number != self.link.number() => {
                Err(Failure::unclear("the connection was lost"))
            }
            published => published,
        };
        let is_here = published.is_ok() && was_held && self.holding.has(device);
        if was_held && !is_here {
            queues.release(device, slot.bytes);
        }
        match published {
            Ok(place) if is_here => {
                let known = Slot {
                    place,
                    conn: conn.number,
                    ..slot
                };
                queues.insert(device, seq, known);
                Ok(None)
            }
            Ok(place) => Ok(Some(Slot { place, ..slot })),
            Err(failure) => {
                if matches!(failure, Failure::Unclear(_)) {
                    queues.unwanted.doubt(slot.id);
                }
                Err(failure)
            }
        }
    }
}
