//! What the handle and the tasks have in common.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::changes::{Change, Request};
use super::conn::{Conn, PATIENCE};
use super::failure::Failure;
use super::histories::Histories;
use super::known::KnownRecords;
use super::link::Link;
use super::nudge::Nudge;
use super::numbers::Numbers;
use super::queues::Queues;
use super::requests::Message;
use super::slot::Slot;
use super::stored::encode_queued;
use super::writer::Order;
use crate::device::DeviceId;
use crate::message::Downlink;
use crate::store::engine::StoreError;
use crate::store::format::encode_answer;
use crate::store::limits::Limits;
use crate::store::marks::Marks;
use crate::store::records::{KeyedAnswer, QueuedUplink, StoredDownlink};
use crate::store::shared::{Holding, RecordChange};
use crate::store::waiting::WaitingReceipts;

/// Everything but the tasks.
pub(super) struct Core {
    pub(super) link: Link,
    pub(super) limits: Limits,
    pub(super) queues: Mutex<Queues>,
    /// Whose uplinks are in the index.
    pub(super) holding: Arc<dyn Holding>,
    /// How much waits of all devices, as the server last said.
    pub(super) stream_count: AtomicU64,
    pub(super) stream_bytes: AtomicU64,
    pub(super) histories: Mutex<Histories>,
    /// Up to which place of the downlinks the histories are true.
    pub(super) followed: watch::Sender<u64>,
    /// Cursors are this and a place in the stream of downlinks.
    pub(super) origin: u64,
    /// Which records there are.
    pub(super) records: Mutex<KnownRecords>,
    pub(super) readers: Readers,
    pub(super) marks: Marks,
    pub(super) waiting: WaitingReceipts,
    pub(super) numbers: Numbers,
    /// The loops that follow others end with it.
    pub(super) end: CancellationToken,
    pub(super) closed: AtomicBool,
    pub(super) to_writer: mpsc::UnboundedSender<Order>,
    pub(super) to_appender: mpsc::UnboundedSender<Append>,
    /// Memory for what waits to be published, in [`UNIT`]s.
    pub(super) room: Arc<Semaphore>,
    pub(super) units: u32,
    /// As the server last said.
    pub(super) receipts: AtomicU64,
    pub(super) keys: AtomicU64,
    pub(super) settlements_dropped: AtomicU64,
}

/// Who is told of what other processes do.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) arrivals: Mutex<Option<mpsc::UnboundedSender<DeviceId>>>,
    pub(super) changes: Mutex<Option<mpsc::UnboundedSender<RecordChange>>>,
    pub(super) downlinks: Mutex<Option<mpsc::Sender<StoredDownlink>>>,
}

impl Readers {
    /// Who has gone needs to know nothing.
    pub(super) fn arrived(&self, device: &DeviceId) {
        if let Some(reader) = &*lock(&self.arrivals) {
            let _ = reader.send(device.clone());
        }
    }

    pub(super) fn changed(&self, change: RecordChange) {
        if let Some(reader) = &*lock(&self.changes) {
            let _ = reader.send(change);
        }
    }

    pub(super) fn follower(&self) -> Option<mpsc::Sender<StoredDownlink>> {
        lock(&self.downlinks).clone()
    }
}

/// Bytes.
pub(super) const UNIT: u64 = 1024;

/// Downlinks that are to be stored, and who waits for their cursors.
pub(super) struct Append {
    pub(super) downlinks: Vec<Downlink>,
    pub(super) done: oneshot::Sender<Result<Vec<u64>, StoreError>>,
}

impl Core {
    /// An error while nothing can be done.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(closed());
        }
        self.link.unavailable().map_or(Ok(()), Err)
    }

    /// Room in memory for this many bytes; waits for it.
    pub(super) async fn room(&self, bytes: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let wanted = (bytes as u64).div_ceil(UNIT).max(1);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.units);
        Arc::clone(&self.room).acquire_many_owned(wanted).await.ok()
    }

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
        {
            let mut queues = self.queues();
            let reserved = match is_held {
                true => queues.reserve(device, slot.bytes),
                false => self.room_elsewhere(slot.bytes),
            };
            reserved.map_err(|limit| StoreError::Full { limit })?;
            queues.publishing(slot.id);
        }
        let conn = self.link.conn();
        let message = Message {
            subject: self.link.names.uplinks(device),
            header: Some(slot.header(seq)),
            payload: payload.into(),
            expected: None,
        };
        let published = self.link.publish_on(Arc::clone(&conn), message).await;
        let slot = {
            let mut queues = self.queues();
            queues.published(slot.id);
            // A place that was learned on a connection that is over may be another message's by now.
            let published = match published {
                Ok(_) if conn.number != self.link.number() => {
                    Err(Failure::unclear("the connection was lost"))
                }
                published => published,
            };
            let failure = match published {
                Ok(place) if is_held && self.holding.has(device) => {
                    let (conn, place) = (conn.number, place);
                    queues.insert(
                        device,
                        seq,
                        Slot {
                            place,
                            conn,
                            ..slot
                        },
                    );
                    None
                }
                Ok(place) => Some(Ok(place)),
                Err(failure) => Some(Err(failure)),
            };
            if failure.is_some() && is_held {
                queues.release(device, slot.bytes);
            }
            match failure {
                None => None,
                Some(Ok(place)) => Some(Slot { place, ..slot }),
                Some(Err(failure)) => {
                    if matches!(failure, Failure::Unclear(_)) {
                        queues.unwanted.doubt(slot.id);
                    }
                    return Err(self.too_large(failure, &conn));
                }
            }
        };
        if let Some(slot) = slot {
            Nudge {
                device: device.clone(),
                seq,
                slot,
            }
            .send(&self.link, &conn)
            .await;
        }
        if let Some(answer) = answer {
            self.keep_answer(device, answer).await;
        }
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

    fn too_large(&self, failure: Failure, conn: &Conn) -> StoreError {
        match failure {
            Failure::TooLarge => StoreError::TooLarge {
                limit: conn.client.max_payload(),
            },
            failure => failure.into(),
        }
    }

    /// The uplink is in the stream, and the answer with it: what fails from here on only takes longer.
    async fn keep_answer(&self, device: &DeviceId, answer: KeyedAnswer) {
        let key = answer.key.clone();
        if self
            .link
            .publish(self.answer(device, &answer))
            .await
            .is_ok()
        {
            self.marks.remove(device, &key);
            return;
        }
        self.marks.answer(device, &answer);
        self.change(Change::Finish {
            device: device.clone(),
            answer,
        });
    }

    /// The message that keeps an answer.
    pub(super) fn answer(&self, device: &DeviceId, answer: &KeyedAnswer) -> Message {
        let now = std::time::SystemTime::now();
        Message {
            subject: self.link.names.key(device, &answer.key),
            header: None,
            payload: Bytes::from(encode_answer(now, &answer.body, &answer.answer)),
            expected: None,
        }
    }

    /// Hands a change to the writer.
    pub(super) fn change(&self, change: Change) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, answer) = oneshot::channel();
        // Without a writer, `done` is dropped.
        let _ = self.to_writer.send(Order::Change(Request { change, done }));
        answer
    }

    /// Waits until the histories are true up to this place of the stream of downlinks: what is stored can then be read.
    /// Not for ever: it is stored all the same.
    pub(super) async fn followed(&self, place: u64) {
        let mut followed = self.followed.subscribe();
        let reached = followed.wait_for(|followed| *followed >= place);
        tokio::select! {
            _ = tokio::time::timeout(PATIENCE, reached) => {}
            () = self.end.cancelled() => {}
        }
    }

    pub(super) fn queues(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queues)
    }

    pub(super) fn histories(&self) -> MutexGuard<'_, Histories> {
        lock(&self.histories)
    }

    pub(super) fn records(&self) -> MutexGuard<'_, KnownRecords> {
        lock(&self.records)
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable {
        cause: "it is closed".into(),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
