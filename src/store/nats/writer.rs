//! The one task that settles and looks through the queue: what it does when. How it writes is in `changes.rs`, how it comes back
//! after an outage in `recovery.rs`, how it looks in `rescan.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::changes::Request;
use super::conn::PATIENCE;
use super::core::Core;
use super::names::StreamName;
use super::recovery::Kept;
use super::rescan::{Extent, Scanned};
use crate::fields::micros;
use crate::store::engine::StoreError;
use crate::store::health::Health;
use crate::store::waiting::WaitingReceipts;

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
/// Receipts wait so long for company.
const RECEIPTS: Duration = Duration::from_millis(200);
/// How often the server is asked how it is, and what is too old is let go.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often it is found out whether uplinks have come of which nobody has told.
const CHECK_FOR_NEW: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    core: Arc<Core>,
    scanned: Scanned,
    inbox: mpsc::UnboundedReceiver<Order>,
    kept: Kept,
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
            kept: Kept::default(),
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
        if !self.is_down() && self.core.queues().unwanted.has_doubts() {
            // One that was given up while the store came back.
            self.core
                .link
                .set_read_only("what was not confirmed is looked for");
        }
        if !self.is_down() {
            let now = Instant::now();
            let failed = self.core.write(requests).await;
            self.core.refuse(failed, &mut self.kept);
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
        self.core.refuse(requests, &mut self.kept);
        if self.retry_at <= Instant::now() {
            self.recover().await;
        }
    }

    async fn write_receipts(&mut self) {
        self.core.write_receipts().await;
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
        core.queues().unwanted.prune();
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

    /// Tries whether the store can be used again, and says so.
    async fn recover(&mut self) {
        self.retry_at = Instant::now() + self.retry;
        self.retry = (2 * self.retry).min(MAX_RETRY);
        let recovered = self.core.recover(&mut self.scanned, &mut self.kept);
        if let Err(failure) = recovered.await {
            tracing::debug!(?failure, "the store cannot be used yet");
            return;
        }
        self.retry = FIRST_RETRY;
        self.receipts_at = Some(Instant::now());
        self.core.link.set_writable();
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
