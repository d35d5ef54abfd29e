//! What the handle and the tasks have in common.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::changes::{Change, Request};
use super::conn::PATIENCE;
use super::histories::Histories;
use super::known::KnownRecords;
use super::link::Link;
use super::numbers::Numbers;
use super::queues::Queues;
use super::writer::Order;
use crate::device::DeviceId;
use crate::message::Downlink;
use crate::store::engine::StoreError;
use crate::store::limits::Limits;
use crate::store::marks::Marks;
use crate::store::records::StoredDownlink;
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
