//! How a request is answered: changes go to the writer when there is room for them, reads to the blocking threads of the
//! runtime; and the writer is told of a file that cannot be read.

use std::sync::{Arc, mpsc};

use redb::ReadTransaction;
use tokio::sync::{Semaphore, oneshot};

use super::change::{Change, Reply};
use super::file::Check;
use super::inbox::{Message, Request};
use super::shared::{Shared, unavailable};
use crate::store::engine::{Answer, StoreError};

/// What answers carry with them.
#[derive(Clone)]
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    outbox: mpsc::Sender<Message>,
    /// Memory for changes that wait, in [`UNIT`]s.
    room: Arc<Semaphore>,
    units: u32,
}

/// Bytes.
const UNIT: u64 = 1024;

impl Core {
    /// `waiting_bytes` is what may wait for the writer at a time.
    pub(super) fn new(
        shared: Arc<Shared>,
        outbox: mpsc::Sender<Message>,
        waiting_bytes: u64,
    ) -> Self {
        let units = (waiting_bytes / UNIT).clamp(1, u64::from(u32::MAX >> 3));
        let units = u32::try_from(units).unwrap_or(u32::MAX >> 3);
        Self {
            shared,
            outbox,
            room: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Tells the writer something. Without one, the store is closed, and there is nothing to be told.
    pub(super) fn tell(&self, message: Message) {
        let _ = self.outbox.send(message);
    }

    /// Hands a change over when there is room for it.
    pub(super) async fn change(self, change: Change) -> Result<Reply, StoreError> {
        let wanted = (change.weight() as u64).div_ceil(UNIT);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.units);
        let room = self.room.acquire_many_owned(wanted).await.ok();
        let (done, answer) = oneshot::channel();
        let request = Request {
            change,
            done,
            _room: room,
        };
        // Without a writer, `done` is dropped.
        let _ = self.outbox.send(Message::Change(request));
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Hands a change over now, whether there is room or not.
    pub(super) fn change_now(&self, change: Change) -> Answer<()> {
        let (done, answer) = oneshot::channel();
        let request = Request {
            change,
            done,
            _room: None,
        };
        // Without a writer, `done` is dropped.
        self.tell(Message::Change(request));
        Box::pin(async move {
            let reply = answer.await.unwrap_or_else(|_| Err(closed()));
            reply.map(drop)
        })
    }

    pub(super) fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Answer<T> {
        let core = self.clone();
        Box::pin(async move { core.block(move |core| core.read_now(&read)).await })
    }

    pub(super) async fn block<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let core = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&self)).await;
        done.unwrap_or_else(|_| {
            // redb panics where a page is not what it should be.
            let fault = Message::Fault(core.shared.generation(), Check::Whole);
            core.tell(fault);
            Err(unavailable("reading panicked"))
        })
    }

    pub(super) fn read_now<T>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.shared.read(read).map_err(|fault| {
            if let Some((generation, check)) = fault.reopen {
                self.tell(Message::Fault(generation, check));
            }
            fault.error
        })
    }
}

fn closed() -> StoreError {
    unavailable("it is closed")
}
