//! The one thread that writes: it gathers changes, commits them together, and gets over a disk that fails.
//!
//! A failed commit leaves redb's handle unusable, and may or may not have taken effect (see
//! [`redb::WriteTransaction::commit`]). So the file is closed and opened again; everybody who waited is told that nothing
//! was taken; and what turns out to have been written after all is taken back by the next transaction.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

use redb::{Database, Durability};

use super::batch::{Batch, Effects};
use super::change::{Applied, Change, Undo};
use super::file::{Check, StoreFile, is_corruption};
use super::inbox::{Message, Request, Work, gather};
use super::shared::Shared;
use super::waiting::WaitingReceipts;
use crate::store::records::ReceiptRecord;

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    file: StoreFile,
    times: Times,
    /// The number of the last commit that is in the file.
    commit: u64,
    /// How many changes the last transaction had.
    expected: usize,
    receipts_at: Option<Instant>,
    prune_at: Instant,
    outage: Option<Outage>,
    /// Failures since the last success.
    failures: u32,
    doubt: Doubt,
    /// Changes that could not be written and must not be lost.
    kept: VecDeque<Change>,
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

const MAX_RETRY: Duration = Duration::from_secs(5);
/// Changes that are kept in memory while nothing can be written.
const MAX_KEPT: usize = 100_000;
/// Changes and old entries in one transaction of the writer's own.
const STEP: usize = 1000;

/// Nothing can be written.
#[derive(Debug)]
struct Outage {
    retry_at: Instant,
    check: Check,
}

/// A commit of which it is not known whether it took effect.
#[derive(Debug, Default)]
struct Doubt {
    commit: u64,
    undo: Vec<Undo>,
}

/// What goes into a transaction.
#[derive(Default)]
struct Input<'a> {
    undo: &'a [Undo],
    changes: Vec<&'a Change>,
    receipts: &'a [ReceiptRecord],
    budget: usize,
    /// Commit even if there is nothing to do.
    force: bool,
}

struct Committed {
    effects: Effects,
    replies: Vec<Applied>,
}

struct Failure {
    cause: String,
    check: Check,
}

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
    fn transact(&mut self, input: &Input<'_>) -> Result<Option<Committed>, Failure> {
        let started = Instant::now();
        // The doubt about an earlier commit is more than that about the one which takes it back.
        let mut doubt = Doubt::default();
        let shared = Arc::clone(&self.shared);
        let result = catch_unwind(AssertUnwindSafe(|| {
            shared.with_database(|database| match database {
                Some(database) => transaction(&shared, database, input, &mut doubt),
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

    fn publish<'a>(
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

    /// A transaction has failed: says so to all who wait, and opens the file anew.
    fn fail(&mut self, failure: Failure, requests: Vec<Request>, receipts: Vec<ReceiptRecord>) {
        self.shared.count(|work| work.failed_commits += 1);
        self.shared.waiting.put_back(receipts);
        if self.shared.set_read_only(&failure.cause) {
            tracing::error!(
                store = %self.file.path.display(), cause = failure.cause,
                "the store cannot be written; what must be durable is refused until it can be"
            );
        }
        self.outage = Some(Outage {
            retry_at: Instant::now(),
            check: failure.check,
        });
        self.postpone();
        self.reopen();
        self.refuse(requests);
    }

    /// Waits longer each time.
    fn postpone(&mut self) {
        let pause = self.times.retry * 2u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        if let Some(outage) = &mut self.outage {
            outage.retry_at = Instant::now() + pause.min(MAX_RETRY);
        }
    }

    /// Opens the file anew; reading goes on with it. Says whether that was possible.
    fn reopen(&mut self) -> bool {
        let check = self.outage.as_ref().map_or(Check::Trust, |o| o.check);
        // Nobody may see what is going to be taken back.
        self.hide();
        match self.shared.replace(|| self.file.open(check)) {
            Ok(commit) => {
                self.commit = commit;
                if let Some(outage) = &mut self.outage {
                    outage.check = Check::Trust;
                }
                if self.doubt.commit != commit {
                    let undo = std::mem::take(&mut self.doubt.undo);
                    self.show(&undo);
                }
                true
            }
            Err(error) => {
                self.shared.set_read_only(&error.to_string());
                false
            }
        }
    }

    fn hide(&self) {
        for undo in &self.doubt.undo {
            if let Undo::Uplink { device, seq, .. } = undo {
                self.shared.ledger.settling(device, *seq);
            }
        }
    }

    fn show(&self, undo: &[Undo]) {
        for undo in undo {
            if let Undo::Uplink { device, seq, .. } = undo {
                self.shared.ledger.settled(device, *seq);
            }
        }
    }

    fn refuse(&mut self, requests: Vec<Request>) {
        for request in requests {
            // Its failure means that somebody has stopped waiting.
            let _ = request.done.send(Err(self.shared.unavailable()));
            if request.change.must_be_kept() {
                self.kept.push_back(request.change);
            }
        }
        while self.kept.len() > MAX_KEPT
            && let Some(change) = self.kept.pop_front()
        {
            self.give_up(&change);
        }
    }

    fn give_up(&self, change: &Change) {
        match change {
            Change::Settle { device, seq, .. } => {
                self.shared.ledger.settled(device, *seq);
                self.shared.count(|work| work.settlements_dropped += 1);
            }
            Change::Finish { device, answer } => self.shared.marks.remove(device, &answer.key),
            _ => {}
        }
    }

    /// Tries to write what was kept. With it, or without anything, a commit that succeeds ends the outage.
    fn recover(&mut self) {
        if self.shared.with_database(|database| database.is_none()) && !self.reopen() {
            return self.postpone();
        }
        loop {
            let undo = std::mem::take(&mut self.doubt.undo);
            let receipts = self.shared.waiting.take();
            let count = self.kept.len().min(STEP);
            let kept: Vec<Change> = self.kept.drain(..count).collect();
            let result = self.transact(&Input {
                undo: &undo,
                changes: kept.iter().collect(),
                receipts: &receipts,
                budget: STEP,
                force: true,
            });
            match result {
                Ok(Some(committed)) => {
                    self.publish(&committed, kept.iter());
                    self.show(&undo);
                }
                Ok(None) => {}
                Err(failure) => {
                    for change in kept.into_iter().rev() {
                        self.kept.push_front(change);
                    }
                    self.doubt.undo = undo;
                    self.fail(failure, Vec::new(), receipts);
                    return;
                }
            }
            if self.kept.is_empty() {
                break;
            }
        }
        self.outage = None;
        self.receipts_at = Some(Instant::now());
        self.shared.set_writable();
        tracing::info!(store = %self.file.path.display(), "the store can be written again");
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
        let closed = self.shared.take().map(Database::close);
        if let Some(Err(error)) = closed {
            tracing::warn!(
                store = %self.file.path.display(), %error,
                "the store was not closed well; what was acknowledged is in it all the same"
            );
        }
    }
}

fn transaction(
    shared: &Shared,
    database: &Database,
    input: &Input<'_>,
    doubt: &mut Doubt,
) -> Result<Option<Committed>, redb::Error> {
    let mut tx = database.begin_write()?;
    tx.set_durability(Durability::Immediate)
        .map_err(super::batch::corrupt)?;
    // After a crash, a file opens in a millisecond, whatever its size.
    tx.set_quick_repair(true);
    let mut batch = Batch::begin(&tx, shared.limits, SystemTime::now())?;
    for undo in input.undo {
        batch.take_back(undo)?;
    }
    let mut replies = Vec::with_capacity(input.changes.len());
    for change in &input.changes {
        replies.push(batch.apply(change)?);
    }
    for receipt in input.receipts {
        batch.put_receipt(receipt)?;
    }
    batch.prune(input.budget)?;
    let idle = input.changes.is_empty() && input.receipts.is_empty() && batch.pruned == 0;
    if idle && !input.force {
        drop(batch);
        tx.abort()?;
        return Ok(None);
    }
    let mut effects = batch.finish()?;
    *doubt = Doubt {
        commit: effects.totals.commit,
        undo: std::mem::take(&mut effects.undo),
    };
    tx.commit()?;
    *doubt = Doubt::default();
    Ok(Some(Committed { effects, replies }))
}
