//! Waiting for the turn to connect. Meanwhile what is to be sent is taken out of the queue: a session for which somebody
//! waits comes before others.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::ended::Ended;
use super::handle::Command;
use super::spec::Shared;
use super::task::Session;

/// How often a full queue is searched for messages that nobody waits for any more.
pub(super) const PRUNE: Duration = Duration::from_millis(100);

impl Session {
    /// Waits for it; it lasts until the permit is dropped. Cancel-safe.
    pub(super) async fn turn(&mut self, shared: &Shared) -> Result<OwnedSemaphorePermit, Ended> {
        let mut place = shared.gate.queue();
        if !(self.held.is_empty() && self.repeat.is_empty()) {
            place.hurry();
        }
        loop {
            let room = self.make_room();
            tokio::select! {
                biased;
                () = shared.shutdown.cancelled() => return Err(Ended::Shutdown),
                permit = place.turn() => return permit.ok_or(Ended::Shutdown),
                command = self.commands.recv(), if room => {
                    match command {
                        None => return Err(Ended::Shutdown),
                        Some(Command::Publish(entry)) => self.held.push_back(entry),
                        Some(Command::Connect | Command::Retry) => {}
                    }
                    place.hurry();
                }
                () = tokio::time::sleep(PRUNE), if !room => {}
            }
        }
    }

    /// Whether there is room for what waits in the queue: messages that nobody waits for any more must not fill it while
    /// there is no connection.
    pub(super) fn make_room(&mut self) -> bool {
        if self.held.len() >= self.spec.queue {
            self.held.retain(|entry| entry.is_wanted());
        }
        self.tell_held();
        self.held.len() < self.spec.queue
    }
}
