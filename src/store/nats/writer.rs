//! The one task that settles: in the order in which it was asked, many at a time; and that brings the store back after an
//! outage.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::core::Core;
use super::failure::Failure;
use super::link::{Message, PATIENCE, SOON, Sent};
use super::names::StreamName;
use super::queues::Slot;
use super::reader::milestone;
use super::rescan::{Extent, Scanned};
use crate::device::DeviceId;
use crate::fields::micros;
use crate::message::UplinkId;
use crate::store::engine::StoreError;
use crate::store::format::encode_receipt;
use crate::store::health::Health;
use crate::store::records::{KeyedAnswer, ReceiptRecord};
use crate::store::waiting::WaitingReceipts;

/// What reports something that has happened elsewhere.
pub(super) enum Change {
    Settle {
        device: DeviceId,
        seq: u64,
        /// Where it was when it was handed over: by now the device may be somebody else's.
        slot: Option<Slot>,
        receipt: Box<ReceiptRecord>,
        /// Whether it is kept when it cannot be written now; otherwise the uplink is there again.
        keep: bool,
    },
    Finish {
        device: DeviceId,
        answer: KeyedAnswer,
    },
}

/// A change and who waits for it.
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// To the writer.
pub(super) enum Order {
    Change(Request),
    /// Receipts wait.
    Receipts,
    /// So many that they are worth a round of their own.
    ManyReceipts,
    /// The whole stream of uplinks is to be looked through.
    Rescan(Option<oneshot::Sender<Result<(), StoreError>>>),
    /// What has come to the stream by now is to be looked at, for somebody who waits for it.
    Look(oneshot::Sender<Result<(), StoreError>>),
    /// Something may have come of which nobody has told: it is soon found out.
    CheckForNew,
    Close(oneshot::Sender<()>),
}

/// Changes of one round.
const ROUND: usize = 512;
/// Messages that are removed at a time.
const REMOVALS: usize = 64;
/// Receipts wait so long for company.
const RECEIPTS: Duration = Duration::from_millis(200);
/// How often the server is asked how it is, and what is too old is let go.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often it is found out whether uplinks have come of which nobody has told.
const CHECK_FOR_NEW: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(1);
/// Changes that are kept in memory during an outage.
const MAX_KEPT: usize = 100_000;

pub(super) struct Writer {
    core: Arc<Core>,
    scanned: Scanned,
    inbox: mpsc::UnboundedReceiver<Order>,
    kept: VecDeque<Change>,
    receipts_at: Option<Instant>,
    upkeep_at: Instant,
    check_at: Instant,
    retry_at: Instant,
    retry: Duration,
}

impl Writer {
    pub(super) fn new(
        core: Arc<Core>,
        scanned: Scanned,
        inbox: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            core,
            scanned,
            inbox,
            kept: VecDeque::new(),
            receipts_at: None,
            upkeep_at: Instant::now(),
            check_at: Instant::now() + CHECK_FOR_NEW,
            retry_at: Instant::now(),
            retry: FIRST_RETRY,
        }
    }

    /// Until it is closed, or nobody is left.
    pub(super) async fn run(mut self) {
        let core = Arc::clone(&self.core);
        loop {
            let mut orders = Vec::new();
            let deadline = self.deadline();
            let (conn, is_down) = (core.link.conn(), self.is_down());
            tokio::select! {
                count = self.inbox.recv_many(&mut orders, ROUND) => if count == 0 {
                    return;
                },
                () = conn.lost.cancelled(), if !is_down => {
                    core.link.set_read_only("the connection was lost");
                }
                () = core.link.trouble.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            let (mut requests, mut rescans, mut looks) = (Vec::new(), Vec::new(), Vec::new());
            let (mut rescan, mut close) = (false, None);
            for order in orders {
                match order {
                    Order::Change(request) => requests.push(request),
                    Order::Receipts => {
                        let at = self.receipts_at.get_or_insert(Instant::now() + RECEIPTS);
                        *at = (*at).min(Instant::now() + RECEIPTS);
                    }
                    Order::ManyReceipts => self.receipts_at = Some(Instant::now()),
                    Order::Rescan(done) => {
                        rescan = true;
                        rescans.extend(done);
                    }
                    Order::Look(done) => looks.push(done),
                    Order::CheckForNew => self.check_at = Instant::now(),
                    Order::Close(done) => close = Some(done),
                }
            }
            self.step(requests).await;
            if rescan {
                rescans.append(&mut looks);
                self.rescan(Extent::All, rescans).await;
            } else if !looks.is_empty() {
                self.rescan(Extent::New, looks).await;
            }
            if let Some(done) = close {
                self.end().await;
                // Its failure means that somebody has stopped waiting.
                let _ = done.send(());
                return;
            }
        }
    }

    fn is_down(&self) -> bool {
        self.core.link.health() != Health::Writable
    }

    fn deadline(&self) -> Instant {
        if self.is_down() {
            return self.retry_at;
        }
        let at = self.upkeep_at.min(self.check_at);
        self.receipts_at.map_or(at, |receipts| receipts.min(at))
    }

    async fn step(&mut self, requests: Vec<Request>) {
        if !self.is_down() && self.core.queues().has_doubts() {
            // One that was given up while the store came back.
            self.core
                .link
                .set_read_only("what was not confirmed is looked for");
        }
        if !self.is_down() {
            let now = Instant::now();
            self.write(requests).await;
            if self.receipts_at.is_some_and(|at| at <= now) {
                self.write_receipts().await;
            }
            if self.upkeep_at <= now {
                self.keep_up().await;
            }
            if self.check_at <= now {
                self.check_for_new().await;
            }
            return;
        }
        for request in requests {
            self.refuse(request.change, Some(request.done));
        }
        if self.retry_at <= Instant::now() {
            self.recover().await;
        }
    }

    /// Writes changes, in two steps: what is to be known of them, and then what they remove. A crash in between leaves an
    /// uplink that comes again.
    async fn write(&mut self, requests: Vec<Request>) {
        let mut under_way = Vec::with_capacity(requests.len());
        for request in requests {
            let message = self.message(&request.change);
            under_way.push((request, self.core.link.send(message).await));
        }
        let mut written = Vec::with_capacity(under_way.len());
        for (request, sent) in under_way {
            let result = self.confirmed(sent).await;
            written.push((request, result));
        }
        let core = &self.core;
        let removed = stream::iter(written).map(|(request, written)| async move {
            let result = match (&request.change, written) {
                (_, Err(failure)) => Err(failure),
                (
                    Change::Settle {
                        device,
                        seq,
                        slot,
                        receipt,
                        ..
                    },
                    Ok(()),
                ) => remove(core, device, *seq, receipt.id, *slot).await,
                (Change::Finish { .. }, Ok(())) => Ok(()),
            };
            (request, result)
        });
        let removed: Vec<_> = removed.buffered(REMOVALS).collect().await;
        let mut answers = Vec::with_capacity(removed.len());
        for (Request { change, done }, result) in removed {
            match result {
                Ok(()) => {
                    self.done(&change);
                    answers.push(done);
                }
                Err(_) => self.refuse(change, Some(done)),
            }
        }
        for done in answers {
            // Its failure means that somebody has stopped waiting.
            let _ = done.send(Ok(()));
        }
    }

    /// A message that the server does not take, whatever its state, is not worth a settlement that never ends.
    async fn confirmed(&self, sent: Result<Sent, Failure>) -> Result<(), Failure> {
        let confirmed = match sent {
            Ok(sent) => self.core.link.confirmed(sent).await,
            Err(failure) => Err(failure),
        };
        match confirmed {
            Err(failure) if failure.outage().is_none() => {
                tracing::error!(?failure, "a receipt or an answer cannot be stored");
                Ok(())
            }
            confirmed => confirmed.map(drop),
        }
    }

    fn message(&self, change: &Change) -> Message {
        match change {
            Change::Settle { receipt, .. } => receipt_message(&self.core, receipt),
            Change::Finish { device, answer } => self.core.answer(device, answer),
        }
    }

    fn done(&self, change: &Change) {
        match change {
            Change::Settle {
                device,
                seq,
                receipt,
                ..
            } => (self.core.queues()).settled(device, *seq, receipt.id),
            Change::Finish { device, answer } => self.core.marks.remove(device, &answer.key),
        }
    }

    /// Says that it could not be written, and keeps what must not be lost.
    fn refuse(&mut self, change: Change, done: Option<oneshot::Sender<Result<(), StoreError>>>) {
        let error = self.core.link.unavailable();
        let error = error.unwrap_or(StoreError::Unavailable {
            cause: "the server did not confirm it".into(),
        });
        if let Some(done) = done {
            // Its failure means that somebody has stopped waiting.
            let _ = done.send(Err(error));
        }
        if let Change::Settle {
            device,
            seq,
            keep: false,
            ..
        } = &change
        {
            self.core.queues().not_settled(device, *seq);
            return;
        }
        self.kept.push_back(change);
        while self.kept.len() > MAX_KEPT
            && let Some(change) = self.kept.pop_front()
        {
            match change {
                Change::Settle { device, seq, .. } => {
                    self.core.queues().not_settled(&device, seq);
                    let dropped = &self.core.settlements_dropped;
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
                Change::Finish { device, answer } => {
                    self.core.marks.remove(&device, &answer.key);
                }
            }
        }
    }

    async fn write_receipts(&mut self) {
        let receipts = self.core.waiting.take();
        let mut under_way = Vec::with_capacity(receipts.len());
        for receipt in &receipts {
            let message = receipt_message(&self.core, receipt);
            under_way.push(self.core.link.send(message).await);
        }
        let mut failed = false;
        for sent in under_way {
            failed |= self.confirmed(sent).await.is_err();
        }
        if failed {
            // Those that were written are written once more.
            self.core.waiting.put_back(receipts);
        } else {
            self.core.waiting.written();
        }
        self.receipts_at = match self.core.waiting.len() {
            0 => None,
            WaitingReceipts::MANY.. => Some(Instant::now()),
            _ => Some(Instant::now() + RECEIPTS),
        };
    }

    /// Asks how the server is, when nobody else does, and lets go what is too old. A failure is noted where it happens.
    async fn keep_up(&mut self) {
        self.upkeep_at = Instant::now() + UPKEEP;
        let core = &self.core;
        core.histories().prune(micros(std::time::SystemTime::now()));
        core.queues().prune();
        let Ok(infos) = core.link.infos(PATIENCE).await else {
            return;
        };
        let state = |stream: StreamName| &infos[stream as usize].state;
        for (count, said) in [
            (&core.receipts, state(StreamName::Receipts).messages),
            (&core.keys, state(StreamName::Keys).messages),
            (&core.stream_count, state(StreamName::Uplinks).messages),
            (&core.stream_bytes, state(StreamName::Uplinks).bytes),
        ] {
            count.store(said, Ordering::Relaxed);
        }
    }

    /// Finds out whether uplinks have come of which nobody has told, and looks for them only then. A failure is noted where it
    /// happens.
    async fn check_for_new(&mut self) {
        self.check_at = Instant::now() + CHECK_FOR_NEW;
        let Ok(info) = self.core.link.info(StreamName::Uplinks).await else {
            return;
        };
        let conn = self.core.link.number();
        if !self.scanned.is_at(conn, info.state.last_sequence) {
            let _ = self.core.rescan(&mut self.scanned, Extent::New).await;
        }
    }

    /// Looks through the stream, and answers those who have asked for it.
    async fn rescan(
        &mut self,
        extent: Extent,
        asked: Vec<oneshot::Sender<Result<(), StoreError>>>,
    ) {
        let done = match self.core.check() {
            Ok(()) => {
                let done = self.core.rescan(&mut self.scanned, extent).await;
                done.map_err(StoreError::from)
            }
            Err(error) => Err(error),
        };
        for asked in asked {
            // Its failure means that somebody has stopped waiting.
            let _ = asked.send(done.clone());
        }
    }

    /// Tries whether the server can be used again, makes true what was answered meanwhile, and says so.
    async fn recover(&mut self) {
        self.retry_at = Instant::now() + self.retry;
        self.retry = (2 * self.retry).min(MAX_RETRY);
        if let Err(failure) = self.try_recover().await {
            tracing::debug!(?failure, "the store cannot be used yet");
            return;
        }
        self.retry = FIRST_RETRY;
        self.receipts_at = Some(Instant::now());
        self.core.link.set_writable();
    }

    async fn try_recover(&mut self) -> Result<(), Failure> {
        self.core.link.renew().await?;
        let infos = self.core.link.infos(SOON).await?;
        let downlinks = &infos[StreamName::Downlinks as usize];
        self.pass_by(downlinks.state.last_sequence).await?;
        self.core.rescan(&mut self.scanned, Extent::All).await?;
        while !self.kept.is_empty() {
            let count = self.kept.len().min(ROUND);
            let kept: Vec<Change> = self.kept.drain(..count).collect();
            let requests = kept.into_iter().map(|change| {
                let (done, _) = oneshot::channel();
                Request { change, done }
            });
            let before = self.kept.len();
            self.write(requests.collect()).await;
            if self.kept.len() > before {
                return Err(Failure::not("it failed again"));
            }
        }
        Ok(())
    }

    /// A server that has lost the end of its history, as in a power cut, would give cursors again that listeners have seen:
    /// they are passed by.
    async fn pass_by(&self, last: u64) -> Result<(), Failure> {
        const AT_MOST: u64 = 1_000_000;
        let followed = *self.core.followed.borrow();
        let lost = followed.saturating_sub(last).min(AT_MOST);
        if lost == 0 {
            return Ok(());
        }
        tracing::error!(
            lost,
            "the store's server has lost downlinks that it had confirmed"
        );
        let mut under_way = VecDeque::new();
        for _ in 0..lost {
            let message = milestone(&self.core.link.names, StreamName::Downlinks);
            under_way.push_back(self.core.link.send(message).await?);
            if under_way.len() >= ROUND
                && let Some(sent) = under_way.pop_front()
            {
                self.core.link.confirmed(sent).await?;
            }
        }
        for sent in under_way {
            self.core.link.confirmed(sent).await?;
        }
        Ok(())
    }

    /// Writes what can be written.
    async fn end(&mut self) {
        if self.is_down() {
            // Whoever has asked for the end does not wait for long.
            let _ = tokio::time::timeout(PATIENCE, self.recover()).await;
        }
        while !self.is_down() && self.core.waiting.len() > 0 {
            self.write_receipts().await;
        }
        self.core.closed.store(true, Ordering::Relaxed);
        self.core.link.flush().await;
    }
}

/// Deletes an uplink where it is known to be: by the index, or, when that has let it go because the device is somebody
/// else's by now, where it was on this very connection. What cannot be deleted is delivered once more.
async fn remove(
    core: &Core,
    device: &DeviceId,
    seq: u64,
    id: UplinkId,
    handed_over: Option<Slot>,
) -> Result<(), Failure> {
    let indexed = core.queues().slot(device, seq);
    let conn = core.link.number();
    let slot = indexed.or(handed_over);
    match slot.filter(|slot| slot.id == id && slot.conn == conn) {
        Some(slot) => core.link.delete(StreamName::Uplinks, slot.place).await,
        None => Ok(()),
    }
}

fn receipt_message(core: &Core, receipt: &ReceiptRecord) -> Message {
    Message {
        subject: core.link.names.receipt(receipt.id),
        header: None,
        payload: encode_receipt(receipt).into(),
        expected: None,
    }
}
