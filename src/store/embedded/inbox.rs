//! What waits for the writer, and how much of it goes into one transaction.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::change::{Change, Reply};
use super::file::Check;
use crate::store::engine::StoreError;

/// To the writer.
pub(super) enum Message {
    Change(Request),
    /// Receipts wait.
    Receipts,
    /// So many receipts wait that they are worth a transaction.
    ManyReceipts,
    /// Somebody could not read from this opening of the file.
    Fault(u64, Check),
    Close(oneshot::Sender<()>),
}

/// A change and who waits for it.
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) done: oneshot::Sender<Result<Reply, StoreError>>,
    /// Room in memory, given back when the request is dropped.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// What there is to do.
#[derive(Default)]
pub(super) struct Work {
    pub(super) requests: Vec<Request>,
    pub(super) receipts: bool,
    pub(super) many_receipts: bool,
    pub(super) fault: Option<(u64, Check)>,
    pub(super) close: Option<oneshot::Sender<()>>,
    /// Nobody is left who could ask for anything.
    pub(super) abandoned: bool,
    bytes: usize,
}

/// One transaction takes at the most this many changes,
const COUNT: usize = 1000;
/// this many bytes,
const BYTES: usize = 8 * 1024 * 1024;
/// and what comes within this time after the first.
const TIME: Duration = Duration::from_millis(5);
/// When several came the last time, so many are expected again, as long as one follows the other this closely.
const GAP: Duration = Duration::from_micros(200);

/// Waits for work until `deadline`, and gathers what belongs together: whatever is there, and what can be `expected`
/// because those who were answered last time ask again.
pub(super) fn gather(inbox: &Receiver<Message>, deadline: Instant, expected: usize) -> Work {
    let mut work = Work::default();
    let wait = deadline.saturating_duration_since(Instant::now());
    match inbox.recv_timeout(wait) {
        Ok(message) => work.take(message),
        Err(RecvTimeoutError::Timeout) => return work,
        Err(RecvTimeoutError::Disconnected) => {
            work.abandoned = true;
            return work;
        }
    }
    let until = Instant::now() + TIME;
    while !work.is_full() {
        let message = match inbox.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let left = until.saturating_duration_since(Instant::now());
                if work.requests.len() >= expected || left.is_zero() {
                    break;
                }
                match inbox.recv_timeout(left.min(GAP)) {
                    Ok(message) => message,
                    Err(_) => break,
                }
            }
        };
        work.take(message);
    }
    work
}

impl Work {
    fn take(&mut self, message: Message) {
        match message {
            Message::Change(request) => {
                self.bytes += request.change.weight();
                self.requests.push(request);
            }
            Message::Receipts => self.receipts = true,
            Message::ManyReceipts => self.many_receipts = true,
            Message::Fault(generation, check) => {
                self.fault = self.fault.max(Some((generation, check)));
            }
            Message::Close(done) => self.close = Some(done),
        }
    }

    fn is_full(&self) -> bool {
        self.close.is_some() || self.requests.len() >= COUNT || self.bytes >= BYTES
    }
}
