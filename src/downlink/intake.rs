//! The way into the hub: first into the store, where there is one, then to the listeners.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::cursor::Cursor;
use super::event::Draft;
use super::history::History;
use super::hub::Hub;
use crate::message::Downlink;
use crate::store::{Follow, StoreError};

/// Takes downlinks from sessions. The [`Writer`] ends when all of its intakes are gone.
#[derive(Debug, Clone)]
pub struct Intake(Way);

#[derive(Debug, Clone)]
enum Way {
    Memory(Arc<Hub>),
    Store(mpsc::Sender<Batch>),
}

/// What one session has handed over, and where it waits for the answer.
#[derive(Debug)]
struct Batch {
    downlinks: Arc<[Downlink]>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Batches that may wait for the writer; further sessions wait.
const WAITING: usize = 256;
/// What goes into one append at the most, unless a single batch is larger.
const COUNT: usize = 1000;
/// The same in bytes of payload.
const BYTES: usize = 4 * 1024 * 1024;

/// A way into the hub, and the task that has to run for it.
pub fn intake(hub: &Arc<Hub>) -> (Intake, Writer) {
    let (sender, batches) = mpsc::channel(WAITING);
    let way = match hub.history() {
        Some(_) => Way::Store(sender),
        None => Way::Memory(Arc::clone(hub)),
    };
    let writer = Writer {
        hub: Arc::clone(hub),
        batches,
        next: None,
    };
    (Intake(way), writer)
}

impl Intake {
    /// Takes downlinks, in their order. When it resolves with `Ok`, they are durable where the hub has a store, and
    /// listeners get them. On an error they are not taken. When the answer is dropped before, they may be.
    pub fn accept(&self, downlinks: Arc<[Downlink]>) -> BoxFuture<'static, Result<(), StoreError>> {
        match self.0.clone() {
            Way::Memory(hub) => {
                for downlink in downlinks.iter() {
                    hub.accept(downlink);
                }
                Box::pin(std::future::ready(Ok(())))
            }
            Way::Store(sender) => Box::pin(async move {
                let (done, answer) = oneshot::channel();
                // Without a writer, `done` is dropped.
                let _ = sender.send(Batch { downlinks, done }).await;
                let ended = || {
                    let cause = "the bridge is ending".into();
                    Err(StoreError::Unavailable { cause })
                };
                answer.await.unwrap_or_else(|_| ended())
            }),
        }
    }
}

/// Stores what comes through an [`Intake`] and then shows it to the listeners, one append at a time: so listeners get
/// events in the order of their cursors, and what was begun is finished whether or not the session still waits.
#[derive(Debug)]
pub struct Writer {
    hub: Arc<Hub>,
    batches: mpsc::Receiver<Batch>,
    /// Taken out of the channel, and too much for the append before.
    next: Option<Batch>,
}

impl Writer {
    /// Runs until all intakes are gone and everything is answered.
    pub async fn run(self) {
        let hub = Arc::clone(&self.hub);
        let Some(follow) = hub.take_follow() else {
            return self.store().await;
        };
        tokio::select! {
            () = self.store() => {}
            () = feed(&hub, follow) => {}
        }
    }

    async fn store(mut self) {
        let Some(history) = self.hub.history().cloned() else {
            return;
        };
        while let Some(batches) = self.gather().await {
            let answer = self.append(&history, &batches).await;
            for batch in batches {
                // Nobody waits where the connection has ended meanwhile.
                let _ = batch.done.send(answer.clone());
            }
        }
    }

    /// Waits for a batch, and takes what has come with it.
    async fn gather(&mut self) -> Option<Vec<Batch>> {
        let first = match self.next.take() {
            Some(batch) => batch,
            None => self.batches.recv().await?,
        };
        let (mut count, mut bytes) = size(&first);
        let mut batches = vec![first];
        while let Ok(batch) = self.batches.try_recv() {
            let more = size(&batch);
            (count, bytes) = (count + more.0, bytes + more.1);
            if count > COUNT || bytes > BYTES {
                self.next = Some(batch);
                break;
            }
            batches.push(batch);
        }
        Some(batches)
    }

    async fn append(&self, history: &History, batches: &[Batch]) -> Result<(), StoreError> {
        let all = || batches.iter().flat_map(|batch| batch.downlinks.iter());
        let stored = history.append(all().cloned().collect());
        if self.hub.is_followed() {
            return stored.await.map(drop);
        }
        let drafts: Vec<_> = all()
            .map(|downlink| (&downlink.device, Draft::render(downlink)))
            .collect();
        let cursors = stored.await?;
        if cursors.len() != drafts.len() {
            error!(
                "the store gave {} cursors for {} downlinks",
                cursors.len(),
                drafts.len()
            );
        }
        let cursors = cursors.into_iter().map(Cursor::from_raw);
        self.hub.publish(drafts.into_iter().zip(cursors));
        Ok(())
    }
}

/// Shows the listeners what all processes store, for ever.
async fn feed(hub: &Hub, mut follow: Follow) {
    const AT_A_TIME: usize = 256;
    let mut stored = Vec::new();
    while follow.recv_many(&mut stored, AT_A_TIME).await > 0 {
        let published = hub.published();
        // Those from before the hub began are known from the history.
        let new = stored
            .iter()
            .map(|stored| (&stored.downlink, Cursor::from_raw(stored.cursor)))
            .filter(|(_, cursor)| *cursor > published);
        hub.publish(
            new.map(|(downlink, cursor)| ((&downlink.device, Draft::render(downlink)), cursor)),
        );
        stored.clear();
    }
    // The store is closed, and whoever appends to it is told so.
    std::future::pending().await
}

fn size(batch: &Batch) -> (usize, usize) {
    let bytes = batch.downlinks.iter().map(|d| Bytes::len(&d.payload)).sum();
    (batch.downlinks.len(), bytes)
}
