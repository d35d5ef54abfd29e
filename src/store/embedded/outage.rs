//! When nothing can be written: what is said, what is kept, and how it ends.
//!
//! A failed commit leaves redb's handle unusable, and may or may not have taken effect (see
//! [`redb::WriteTransaction::commit`]). So the file is closed and opened again; everybody who waited is told that nothing
//! was taken; and what turns out to have been written after all is taken back by the next transaction.

use std::time::{Duration, Instant};

use super::change::{Change, Undo};
use super::file::Check;
use super::inbox::Request;
use super::transaction::{Failure, Input};
use super::writer::{STEP, Writer};
use crate::store::records::ReceiptRecord;

const MAX_RETRY: Duration = Duration::from_secs(5);
/// Changes that are kept in memory while nothing can be written.
const MAX_KEPT: usize = 100_000;
/// Nothing can be written.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) retry_at: Instant,
    pub(super) check: Check,
}

impl Writer {
    /// A transaction has failed: says so to all who wait, and opens the file anew.
    pub(super) fn fail(
        &mut self,
        failure: Failure,
        requests: Vec<Request>,
        receipts: Vec<ReceiptRecord>,
    ) {
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

    /// Opens the file anew, and if it cannot be written, at least to read. Says whether it can be written.
    fn reopen(&mut self) -> bool {
        let check = self.outage.as_ref().map_or(Check::Trust, |o| o.check);
        // Nobody may see what is going to be taken back.
        self.hide();
        let mut trouble = None;
        let opened = self.shared.replace(|| {
            self.file.open(check).or_else(|error| {
                trouble = Some(error.to_string());
                self.file.open_to_read()
            })
        });
        if let Ok(commit) = opened {
            self.commit = commit;
            if self.doubt.commit != commit {
                let undo = std::mem::take(&mut self.doubt.undo);
                self.show(&undo);
            }
        }
        match trouble {
            Some(cause) => {
                self.shared.set_read_only(&cause);
                false
            }
            None => {
                if let Some(outage) = &mut self.outage {
                    outage.check = Check::Trust;
                }
                true
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

    pub(super) fn refuse(&mut self, requests: Vec<Request>) {
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

    /// Tries to write what was kept. On a full disk there is room for it once redb has found the pages that earlier
    /// transactions have freed, which takes a commit, and as long as the steps are small: each makes room for the next.
    pub(super) fn recover(&mut self) {
        const FIRST_STEP: usize = 8;
        let closed = self.shared.with_database(|database| database.is_none());
        if closed && !self.reopen() {
            return self.postpone();
        }
        let mut step = 0;
        loop {
            let undo = std::mem::take(&mut self.doubt.undo);
            let count = self.kept.len().min(step);
            let kept: Vec<Change> = self.kept.drain(..count).collect();
            let result = self.transact(&Input {
                undo: &undo,
                changes: kept.iter().collect(),
                budget: step,
                force: true,
                ..Input::default()
            });
            match result {
                Ok(committed) => {
                    if let Some(committed) = committed {
                        self.publish(&committed, kept.iter());
                    }
                    self.show(&undo);
                    step = (2 * step).clamp(FIRST_STEP, STEP);
                }
                Err(failure) => {
                    for change in kept.into_iter().rev() {
                        self.kept.push_front(change);
                    }
                    self.doubt.undo = undo;
                    return self.fail(failure, Vec::new(), Vec::new());
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
}
