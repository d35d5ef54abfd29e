//! Downlinks on their way from the connection to the sink, and the acknowledgements that wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tracing::{info, warn};

use super::spec::DownlinkSink;
use super::status::Status;
use crate::message::Downlink;
use crate::mqtt::packet::AckKind;
use crate::seldom::{Pass, Seldom};

/// After a failure, the same downlinks are given to the sink again this much later.
const RETRY: Duration = Duration::from_millis(500);
/// Downlinks that wait for the batch before them, beyond which nothing more is read from the connection. A broker that
/// keeps to the receive maximum does not come near it; one that speaks MQTT 3.1.1 knows no such maximum.
const MAX_WAITING: usize = 2000;
/// The same in bytes of payload.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// An acknowledgement that is owed to the broker.
pub(super) type Owed = (AckKind, u16);

/// One batch at a time is with the sink, so that a failed one is repeated before anything behind it; what comes
/// meanwhile is the next batch.
pub(super) struct Inbox {
    sink: Arc<dyn DownlinkSink>,
    status: Arc<Status>,
    waiting: Vec<(Option<Downlink>, Option<Owed>)>,
    waiting_bytes: usize,
    storing: Option<Storing>,
    /// Batches that the sink has taken.
    taken: u64,
    failing: Arc<AtomicBool>,
}

struct Storing {
    done: BoxFuture<'static, ()>,
    owed: Vec<Owed>,
}

impl Inbox {
    pub(super) fn new(sink: Arc<dyn DownlinkSink>, status: Arc<Status>) -> Self {
        Self {
            sink,
            status,
            waiting: Vec::new(),
            waiting_bytes: 0,
            storing: None,
            taken: 0,
            failing: Arc::default(),
        }
    }

    /// Takes one downlink, and what is owed to the broker for it. Without a downlink it only keeps the order of what is
    /// owed (MQTT 5 §4.6).
    pub(super) fn push(&mut self, downlink: Option<Downlink>, owed: Option<Owed>) {
        self.waiting_bytes += downlink.as_ref().map_or(0, |d| d.payload.len());
        self.waiting.push((downlink, owed));
        if !self.has_room() && self.failing.load(Ordering::Relaxed) {
            self.drop_unconfirmed();
        }
    }

    /// Whether more should be read from the connection.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING && self.waiting_bytes < MAX_WAITING_BYTES
    }

    /// Gives what waits to the sink, unless that still has the batch before.
    pub(super) fn hand_over(&mut self) {
        if self.storing.is_some() || self.waiting.is_empty() {
            return;
        }
        self.waiting_bytes = 0;
        let (downlinks, owed): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        self.storing = Some(Storing {
            done: Box::pin(persist(
                Arc::clone(&self.sink),
                downlinks.into_iter().flatten().collect(),
                Arc::clone(&self.status),
                Arc::clone(&self.failing),
            )),
            owed: owed.into_iter().flatten().collect(),
        });
    }

    /// Waits until the sink has taken the batch that it was given, and tells what is owed to the broker for it, in the
    /// order of arrival. Never, when it has none. Cancel-safe.
    pub(super) async fn taken(&mut self) -> Vec<Owed> {
        match &mut self.storing {
            Some(storing) => (&mut storing.done).await,
            None => std::future::pending().await,
        }
        self.taken += 1;
        self.storing
            .take()
            .map_or_else(Vec::new, |storing| storing.owed)
    }

    /// What has to be [finished](Self::has_finished) so that everything that is here now is taken.
    pub(super) fn mark(&self) -> u64 {
        self.taken + u64::from(self.storing.is_some()) + u64::from(!self.waiting.is_empty())
    }

    /// Whether everything that was here at a mark is taken.
    pub(super) fn has_finished(&self, mark: u64) -> bool {
        self.taken >= mark
    }

    /// While nothing can be stored, QoS 0 downlinks must not keep the connection from being read.
    fn drop_unconfirmed(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|(_, owed)| owed.is_some());
        let bytes =
            |(downlink, _): &(Option<Downlink>, _)| downlink.as_ref().map(|d| d.payload.len());
        self.waiting_bytes = self.waiting.iter().filter_map(bytes).sum();
        let dropped = before - self.waiting.len();
        self.status
            .count(dropped, |counters| &counters.downlinks_dropped);
        static SAID: Seldom = Seldom::every(Duration::from_secs(60));
        if let Some(Pass { left_out }) = SAID.pass() {
            warn!(
                dropped,
                left_out, "QoS 0 downlinks cannot be stored and are dropped"
            );
        }
    }
}

/// Gives a batch to the sink until it takes it.
async fn persist(
    sink: Arc<dyn DownlinkSink>,
    downlinks: Arc<[Downlink]>,
    status: Arc<Status>,
    failing: Arc<AtomicBool>,
) {
    if downlinks.is_empty() {
        return;
    }
    while let Err(error) = sink.accept(Arc::clone(&downlinks)).await {
        let what = format!(
            "{error}; the broker is not told that they have arrived, and they are tried again"
        );
        if !failing.swap(true, Ordering::Relaxed) {
            warn!("{what}");
        }
        status.note(what, "nothing is lost; see to the store: is its disk full?");
        tokio::time::sleep(RETRY).await;
    }
    if failing.swap(false, Ordering::Relaxed) {
        info!("downlinks are stored again");
    }
}
