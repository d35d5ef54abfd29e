//! The one thread that writes: it gathers changes and commits them together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::access::Access;
use super::change::{Applied, Change};
use super::file::{Check, StoreFile, is_corruption};
use super::inbox::{Message, Request, Work, gather};
use super::outage::Outage;
use super::shared::Shared;
use super::transaction::{Committed, Doubt, Failure, Input, run};
use crate::store::waiting::WaitingReceipts;

/// The writer's own state.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    inbox: Receiver<Message>,
    pub(super) file: StoreFile,
    pub(super) times: Times,
    /// The number of the last commit that is in the file.
    pub(super) commit: u64,
    /// How many changes the last transaction had.
    expected: usize,
    pub(super) receipts_at: Option<Instant>,
    prune_at: Instant,
    pub(super) outage: Option<Outage>,
    /// Failures since the last success.
    pub(super) failures: u32,
    pub(super) doubt: Doubt,
    /// Changes that could not be written and must not be lost.
    pub(super) kept: VecDeque<Change>,
}

/// How often things are done when nothing else happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Receipts wait so long for company.
    pub(super) receipts: Duration,
    /// What is too old is looked for so often.
    pub(super) prune: Duration,
    /// The first wait after a failure; it doubles up to [`MAX_RETRY`].
    pub(super) retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            receipts: Duration::from_millis(200),
            prune: Duration::from_secs(5),
            retry: Duration::from_millis(100),
        }
    }
}

/// Changes and old entries in one transaction of the writer's own.
pub(super) const STEP: usize = 1000;

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
        file: StoreFile,
        times: Times,
        commit: u64,
    ) -> Self {
        Self {
            shared,
            inbox,
            file,
            times,
            commit,
            expected: 1,
            receipts_at: None,
            prune_at: Instant::now() + times.prune,
            outage: None,
            failures: 0,
            doubt: Doubt::default(),
            kept: VecDeque::new(),
        }
    }

    /// Until it is closed, or nobody is left.
    pub(super) fn run(mut self) {
        loop {
            let mut work = gather(&self.inbox, self.deadline(), self.expected);
            let (close, abandoned) = (work.close.take(), work.abandoned);
            self.step(work);
            if close.is_some() || abandoned {
                self.end();
                // Its failure means that somebody has stopped waiting.
                let _ = close.map(|done| done.send(()));
                return;
            }
        }
    }

    fn deadline(&self) -> Instant {
        match &self.outage {
            Some(outage) => outage.retry_at,
            None => self
                .receipts_at
                .map_or(self.prune_at, |at| at.min(self.prune_at)),
        }
    }

    fn step(&mut self, work: Work) {
        if work.many_receipts {
            self.receipts_at = Some(Instant::now());
        } else if work.receipts && self.receipts_at.is_none() {
            self.receipts_at = Some(Instant::now() + self.times.receipts);
        }
        if let Some(outage) = &self.outage {
            let due = outage.retry_at <= Instant::now();
            self.refuse(work.requests);
            if due {
                self.recover();
            }
            return;
        }
        if let Some((_, check)) = work.fault.filter(|f| f.0 == self.shared.generation()) {
            let cause = "reading failed".into();
            let failure = Failure { cause, check };
            self.fail(failure, work.requests, Vec::new());
            return;
        }
        self.write(work.requests);
    }

    /// One transaction with what was asked for and what is due.
    fn write(&mut self, requests: Vec<Request>) {
        let now = Instant::now();
        let due = |at: Instant| at <= now;
        let take = !requests.is_empty() || self.receipts_at.is_some_and(due);
        let receipts = if take {
            self.shared.waiting.take()
        } else {
            Vec::new()
        };
        if requests.is_empty() && receipts.is_empty() && !due(self.prune_at) {
            self.receipts_at = self.receipts_at.filter(|at| !due(*at));
            return;
        }
        self.expected = requests.len().max(1);
        let budget = if requests.is_empty() {
            STEP
        } else {
            64 + 2 * requests.len()
        };
        let input = Input {
            changes: requests.iter().map(|request| &request.change).collect(),
            receipts: &receipts,
            budget,
            ..Input::default()
        };
        match self.transact(&input) {
            Ok(committed) => {
                if !requests.is_empty() {
                    self.failures = 0;
                }
                let pruned = committed.as_ref().map_or(0, |c| c.effects.pruned);
                let pause = if pruned >= budget {
                    Duration::ZERO
                } else {
                    self.times.prune
                };
                self.prune_at = Instant::now() + pause;
                if let Some(committed) = committed {
                    self.publish(&committed, requests.iter().map(|request| &request.change));
                    self.answer(requests, committed.replies);
                }
            }
            Err(failure) => self.fail(failure, requests, receipts),
        }
    }

    /// Runs a transaction. `None`: there was nothing to write.
    pub(super) fn transact(&mut self, input: &Input<'_>) -> Result<Option<Committed>, Failure> {
        let started = Instant::now();
        // The doubt about an earlier commit is more than that about the one which takes it back.
        let mut doubt = Doubt::default();
        let shared = Arc::clone(&self.shared);
        let result = catch_unwind(AssertUnwindSafe(|| {
            shared.with_database(|database| match database {
                Some(database) => run(database, shared.limits, input, &mut doubt),
                None => Err(redb::Error::DatabaseClosed),
            })
        }));
        let failure = match result {
            Ok(Ok(committed)) => {
                if let Some(committed) = &committed {
                    self.commit = committed.effects.totals.commit;
                    let changes = input.changes.len() + input.receipts.len();
                    self.shared.count(|work| {
                        work.commits += 1;
                        work.changes += changes as u64;
                        work.commit_time.record(started.elapsed());
                    });
                }
                return Ok(committed);
            }
            Ok(Err(error)) => Failure {
                check: if is_corruption(&error) {
                    Check::Whole
                } else {
                    Check::Trust
                },
                cause: error.to_string(),
            },
            Err(_) => Failure {
                cause: "writing panicked".into(),
                check: Check::Whole,
            },
        };
        if !doubt.undo.is_empty() {
            self.doubt = doubt;
        }
        Err(failure)
    }

    pub(super) fn publish<'a>(
        &self,
        committed: &Committed,
        changes: impl Iterator<Item = &'a Change> + Clone,
    ) {
        self.shared.waiting.written();
        let settled = changes.clone().filter_map(|change| match change {
            Change::Settle { device, seq, .. } => Some((device, *seq)),
            _ => None,
        });
        self.shared.ledger.publish(&committed.effects, settled);
        for (change, reply) in changes.zip(&committed.replies) {
            let (device, answer) = match change {
                Change::Finish { device, answer } => (device, answer),
                Change::Enqueue {
                    uplink,
                    answer: Some(answer),
                } => (&uplink.device, answer),
                _ => continue,
            };
            if reply.is_ok() {
                self.shared.marks.remove(device, &answer.key);
            }
        }
    }

    fn answer(&mut self, requests: Vec<Request>, replies: Vec<Applied>) {
        for (request, reply) in requests.into_iter().zip(replies) {
            // Its failure means that somebody has stopped waiting.
            let _ = request.done.send(reply);
        }
        let pause = match self.shared.waiting.len() {
            0 => None,
            WaitingReceipts::MANY.. => Some(Duration::ZERO),
            _ => Some(self.times.receipts),
        };
        self.receipts_at = pause.map(|pause| Instant::now() + pause);
    }

    /// Writes what can be written, and closes the file.
    fn end(&mut self) {
        if self.outage.is_some() {
            self.recover();
        }
        while self.outage.is_none() && self.shared.waiting.len() > 0 {
            self.receipts_at = Some(Instant::now());
            self.write(Vec::new());
        }
        let Some(Access::Write(database)) = self.shared.take() else {
            return;
        };
        if let Err(error) = database.close() {
            tracing::warn!(
                store = %self.file.path.display(), %error,
                "the store was not closed well; what was acknowledged is in it all the same"
            );
        }
    }
}
