//! A message that makes the broker hang up: recognised, tried alone, and set aside, so that it does not block the others.
//!
//! Some brokers close the connection over a message that they do not take instead of saying so (MQTT 3.1.1 knows no
//! other answer). Sent again first on every connection, as the order demands, such a message would block its session for
//! ever. A broken link looks alike, so the message is only set aside after the broker has closed several connections
//! over it, the last of them opened for this message alone, and proven by a ping before it was sent.

use tracing::warn;

use super::ended::Ended;
use super::outcome::Outcome;
use super::task::Session;
use crate::mqtt::reason::Reason;

/// Connections closed over the same message before it is tried alone.
const SUSPICIOUS: u32 = 3;
/// Connections closed over the same message before it is set aside.
const PROVEN: u32 = 5;

/// The message that the broker seems to hang up over.
#[derive(Debug, Default)]
pub(super) struct Suspect(Option<Suspicion>);

#[derive(Debug)]
struct Suspicion {
    message: usize,
    closes: u32,
}

impl Suspect {
    /// The broker closed a connection while this message was the first in flight.
    pub(super) fn closed_over(&mut self, message: usize) {
        match &mut self.0 {
            Some(suspicion) if suspicion.message == message => suspicion.closes += 1,
            other => *other = Some(Suspicion { message, closes: 1 }),
        }
    }

    /// The message was settled after all.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether this message has to be tried alone.
    pub(super) fn on_probation(&self, message: usize) -> bool {
        self.closes(message) >= SUSPICIOUS
    }

    /// Whether this message has to be set aside.
    pub(super) fn is_proven(&self, message: usize) -> bool {
        self.closes(message) >= PROVEN
    }

    fn closes(&self, message: usize) -> u32 {
        self.0
            .as_ref()
            .filter(|s| s.message == message)
            .map_or(0, |s| s.closes)
    }
}

impl Session {
    /// Notes over which message the broker hung up, if it did, and sets that aside once it is proven.
    pub(super) fn suspect_first(&mut self, ended: &Ended) {
        let hung_up = ended.may_be_over_a_message();
        let Some(first) = self.ledger.first().filter(|_| hung_up) else {
            return;
        };
        self.suspect.closed_over(first);
        if self.suspect.is_proven(first)
            && let Some(entry) = self.ledger.take_first()
        {
            warn!(
                connector = %self.spec.connector, client_id = %self.shown_client_id,
                "the broker closes the connection whenever it receives a certain message: setting that aside"
            );
            self.status.count(1, |counters| &counters.refused);
            self.suspect.clear();
            entry.settle(Outcome::Refused {
                reason: Reason::UNSPECIFIED,
                text: Some(
                    "the broker closes the connection whenever it receives this message".into(),
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_message_again_and_again_is_suspected() {
        let mut suspect = Suspect::default();
        for _ in 0..10 {
            suspect.closed_over(1);
            suspect.closed_over(2);
        }
        assert!(!suspect.on_probation(1) && !suspect.on_probation(2));
        for _ in 0..2 {
            suspect.closed_over(2);
        }
        assert!(suspect.on_probation(2) && !suspect.is_proven(2));
        for _ in 0..2 {
            suspect.closed_over(2);
        }
        assert!(suspect.is_proven(2) && !suspect.is_proven(1));
        suspect.clear();
        assert!(!suspect.on_probation(2));
    }
}
