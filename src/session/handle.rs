//! How the rest of the program reaches a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::budget::Budget;
use super::outcome::Publish;
use super::status::Status;
use super::tenure::Tenure;
use super::ticket::{Entry, Ticket, ticket};

/// A session's door: cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    commands: mpsc::Sender<Command>,
    status: Arc<Status>,
    budget: Arc<Budget>,
}

/// What a session is told. As small as a pointer: every session's queue makes room for 32 of them at once.
#[derive(Debug)]
pub(super) enum Command {
    /// Publish this.
    Publish(Entry),
    /// Connect if you have not yet.
    Connect,
    /// Connect if you are not connected, without waiting any longer.
    Retry,
}

/// A session takes no more at the moment, or at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Its queue, or the memory of all queues together, is full.
    #[error("the queue is full")]
    Full,
    /// It has ended.
    #[error("the session has ended")]
    Closed,
}

impl SessionHandle {
    /// A handle, and the end of the queue that the session reads.
    pub(super) fn new(
        queue: usize,
        budget: Arc<Budget>,
        status: Status,
    ) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(queue);
        let handle = Self {
            commands,
            status: Arc::new(status),
            budget,
        };
        (handle, receiver)
    }

    /// Queues a publish of a device, in the order of the calls. The ticket tells what became of it.
    pub fn submit(&self, publish: Publish, tenure: &Arc<Tenure>) -> Result<Ticket, SubmitError> {
        self.queue(publish, tenure, false)
    }

    /// The same for one that is about to be kept elsewhere as well: a refused connection does not settle it.
    pub fn submit_beside(
        &self,
        publish: Publish,
        tenure: &Arc<Tenure>,
    ) -> Result<Ticket, SubmitError> {
        self.queue(publish, tenure, true)
    }

    fn queue(
        &self,
        publish: Publish,
        tenure: &Arc<Tenure>,
        patient: bool,
    ) -> Result<Ticket, SubmitError> {
        let share = self
            .budget
            .take(publish.payload.len())
            .ok_or(SubmitError::Full)?;
        let (ticket, entry) = ticket(publish, Arc::clone(tenure), Some(share), patient);
        match self.commands.try_send(Command::Publish(entry)) {
            Ok(()) => Ok(ticket),
            Err(mpsc::error::TrySendError::Full(_)) => Err(SubmitError::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SubmitError::Closed),
        }
    }

    /// Queues a publish that is kept elsewhere as well: waits for room, is not settled by a refused connection, and is
    /// not counted in the budget. The caller bounds how many there are at a time.
    pub async fn submit_patiently(
        &self,
        publish: Publish,
        tenure: &Arc<Tenure>,
    ) -> Result<Ticket, SubmitError> {
        let (ticket, entry) = ticket(publish, Arc::clone(tenure), None, true);
        match self.commands.send(Command::Publish(entry)).await {
            Ok(()) => Ok(ticket),
            Err(_) => Err(SubmitError::Closed),
        }
    }

    /// Makes a session that connects on first use connect now: a listener waits for its downlinks.
    pub fn wake(&self) {
        // A full queue has a publish in it, which wakes the session as well.
        let _ = self.commands.try_send(Command::Connect);
    }

    /// Makes a session that is not connected try now, for somebody who looks. One whose last attempt is younger than
    /// 3 s, or that another client has taken over, stays as it is.
    pub fn retry(&self) {
        let _ = self.commands.try_send(Command::Retry);
    }

    /// What the session tells about itself.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Uplinks that wait to be sent.
    pub fn queued(&self) -> usize {
        let queued = self.commands.max_capacity() - self.commands.capacity();
        queued + self.status.held.load(Ordering::Relaxed)
    }

    /// Its MQTT client id.
    pub fn client_id(&self) -> Arc<str> {
        let connect = self.status.connect();
        connect.map_or_else(|| "client".into(), |connect| connect.shown_client_id())
    }
}

/// A session without a task: tests see what it is told, and say what becomes of it.
#[cfg(test)]
pub(crate) struct Detached {
    commands: mpsc::Receiver<Command>,
    status: Arc<Status>,
}

#[cfg(test)]
impl Detached {
    /// A handle with room for so many commands.
    pub(crate) fn new(queue: usize) -> (SessionHandle, Self) {
        let (budget, status) = (Budget::new(1 << 30), Status::default());
        let (handle, commands) = SessionHandle::new(queue, budget, status);
        let status = Arc::clone(&handle.status);
        (handle, Self { commands, status })
    }

    /// The next publish, marked as sent, settled with this outcome, or held unsettled without one.
    pub(crate) async fn settle(&mut self, outcome: Option<super::Outcome>) -> Publish {
        loop {
            match self.commands.recv().await {
                Some(Command::Publish(entry)) => {
                    assert!(entry.mark_sent());
                    let publish = entry.publish().clone();
                    match outcome {
                        Some(outcome) => entry.settle(outcome),
                        None => std::mem::forget(entry),
                    }
                    return publish;
                }
                Some(Command::Connect | Command::Retry) => {}
                None => panic!("all handles are gone"),
            }
        }
    }

    /// Waits until it is told to connect.
    pub(crate) async fn told_to_connect(&mut self) {
        assert!(matches!(self.commands.recv().await, Some(Command::Connect)));
    }

    /// Notes a connection.
    pub(crate) fn connected(&self) {
        self.status.connected(crate::broker::MqttVersion::V5, None);
    }

    /// Notes what went wrong.
    pub(crate) fn trouble(&self, state: super::State, what: &str, hint: &'static str) {
        self.status.trouble(state, what.to_owned(), hint);
    }
}
