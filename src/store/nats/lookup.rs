//! Reading what is stored, by where the index says that it lies: queued uplinks, downlinks.

use std::sync::Arc;

use async_nats::jetstream::message::StreamMessage;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::core::Core;
use super::names::{StreamName, device_of};
use super::requests::header;
use super::slot::Slot;
use super::stored::decode_queued;
use super::writer::Order;
use crate::device::DeviceId;
use crate::store::engine::StoreError;
use crate::store::format::decode_downlink;
use crate::store::records::{HistoryPage, QueuedUplink, ReadLimit};

/// Messages that are asked for at a time.
pub(super) const READS: usize = 32;

impl Core {
    /// An uplink as it lies in the stream; nothing when it was settled meanwhile.
    pub(super) async fn queued(
        &self,
        device: DeviceId,
        seq: u64,
        mut slot: Slot,
    ) -> Result<Option<QueuedUplink>, StoreError> {
        let message = loop {
            let message = self.link.get(StreamName::Uplinks, slot.place).await?;
            let found = message.and_then(|message| {
                let header = header(&message.headers)?;
                let (_, there) = Slot::read(slot.conn, slot.place, header)?;
                (there.id == slot.id).then_some(message)
            });
            if let Some(message) = found {
                break message;
            }
            let queues = self.queues();
            match queues.slot(&device, seq) {
                None => return Ok(None),
                Some(_) if queues.is_settling(&device, seq) => return Ok(None),
                // It was found elsewhere meanwhile: whoever reads on must not pass it by.
                Some(known) if known != slot => slot = known,
                Some(_) => {
                    drop(queues);
                    // Nothing is taken for gone because it was not found once: the whole stream is looked through.
                    let _ = self.to_writer.send(Order::Rescan(None));
                    return Err(StoreError::Unavailable {
                        cause: "a queued uplink is not where it was, and is being looked for"
                            .into(),
                    });
                }
            }
        };
        let decoded = decode_queued(device.clone(), seq, &message.payload);
        match decoded {
            Ok((uplink, _)) => Ok(Some(uplink)),
            // It stays where it is: one that cannot be read must neither be lost nor hold up those behind it.
            Err(error) => {
                tracing::error!(%device, seq, %error, "a queued uplink cannot be read");
                Ok(None)
            }
        }
    }

    pub(super) async fn history(
        &self,
        devices: Arc<[DeviceId]>,
        after: u64,
        limit: ReadLimit,
    ) -> Result<HistoryPage, StoreError> {
        self.check()?;
        let page = self.histories().page(&devices, after, limit);
        let events = stream::iter(page.events).map(|(cursor, device)| async move {
            let place = cursor - self.origin;
            let message = self.link.get(StreamName::Downlinks, place).await?;
            Ok::<_, StoreError>((cursor, device, message))
        });
        let events: Vec<_> = events.buffered(READS).try_collect().await?;
        let mut read = HistoryPage {
            events: Vec::with_capacity(events.len()),
            until: page.until,
            fallen: page.fallen,
        };
        for (cursor, device, message) in events {
            let of_device =
                |message: &StreamMessage| device_of(&message.subject).as_ref() == Some(&device);
            let Some(message) = message.filter(of_device) else {
                // The server has let it go first.
                self.histories().mark(&device, cursor);
                read.fallen = read.fallen.max(Some(cursor));
                continue;
            };
            match decode_downlink(device.clone(), cursor, &message.payload) {
                Ok(event) => read.events.push(event),
                Err(error) => {
                    tracing::error!(%device, cursor, %error, "a downlink cannot be read");
                }
            }
        }
        Ok(read)
    }
}
