//! The two halves of one publish: the [`Ticket`] that a request waits on, and the [`Entry`] that the session sends and
//! settles.
//!
//! A request that gives up must know whether its message can still reach the broker. Both halves therefore share one
//! small state: a message that was not sent is withdrawn for good, one that was sent is unconfirmed and not repeated.
//! The message lies beside it, in the same allocation, and is not moved on its way through queue and ledger.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::budget::Share;
use super::outcome::{Outcome, Publish};
use super::tenure::Tenure;

/// The waiting half. Dropped unsettled, it withdraws its message.
#[derive(Debug)]
pub struct Ticket(Arc<Message>);

/// The session's half.
#[derive(Debug)]
pub(super) struct Entry(Arc<Message>);

/// What is known of a message whose request gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawn {
    /// It was not sent and will not be.
    NotSent,
    /// It was sent, the broker has not confirmed it, and it will not be sent again.
    Unconfirmed,
    /// It was settled in the same moment.
    Settled(Outcome),
}

#[derive(Debug)]
struct Message {
    publish: Publish,
    tenure: Arc<Tenure>,
    /// Its bytes in the budget, given back when both halves are gone.
    _share: Option<Share>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    state: State,
    /// How often it was written to a connection.
    attempts: u32,
    /// Whether it waits for as long as it takes, refused connections included.
    patient: bool,
}

#[derive(Debug)]
enum State {
    Queued(Option<Waker>),
    Sent(Option<Waker>),
    Settled(Option<Outcome>),
    Withdrawn,
}

/// Both halves of a new publish.
pub(super) fn ticket(
    publish: Publish,
    tenure: Arc<Tenure>,
    share: Option<Share>,
    patient: bool,
) -> (Ticket, Entry) {
    let message = Arc::new(Message {
        publish,
        tenure,
        _share: share,
        progress: Mutex::new(Progress {
            state: State::Queued(None),
            attempts: 0,
            patient,
        }),
    });
    (Ticket(Arc::clone(&message)), Entry(message))
}

impl Ticket {
    /// Gives up waiting.
    pub fn withdraw(self) -> Withdrawn {
        match std::mem::replace(&mut lock(&self.0).state, State::Withdrawn) {
            State::Queued(_) => Withdrawn::NotSent,
            State::Settled(Some(outcome)) => Withdrawn::Settled(outcome),
            State::Sent(_) | State::Settled(None) | State::Withdrawn => Withdrawn::Unconfirmed,
        }
    }

    /// The message is kept elsewhere as well from now on: a refused connection no longer settles it.
    pub fn make_patient(&self) {
        lock(&self.0).patient = true;
    }

    /// How often the message was written to a connection.
    pub fn attempts(&self) -> u32 {
        lock(&self.0).attempts
    }
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut lock(&self.0).state {
            State::Queued(waker) | State::Sent(waker) => {
                if !waker
                    .as_ref()
                    .is_some_and(|known| known.will_wake(cx.waker()))
                {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Settled(outcome) => outcome.take().map_or(Poll::Pending, Poll::Ready),
            State::Withdrawn => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        if matches!(shared.state, State::Queued(_) | State::Sent(_)) {
            shared.state = State::Withdrawn;
        }
    }
}

impl Entry {
    /// What is to be sent.
    pub(super) fn publish(&self) -> &Publish {
        &self.0.publish
    }

    /// Tells one message from another for as long as it lives.
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether somebody still waits. A message that nobody waits for is neither sent nor sent again.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(lock(&self.0).state, State::Withdrawn)
    }

    /// Whether it waits for as long as it takes.
    pub(super) fn is_patient(&self) -> bool {
        lock(&self.0).patient
    }

    /// Notes that the message is about to be written to the connection; `false` when nobody waits any more, or when its
    /// time in this session is over.
    pub(super) fn mark_sent(&self) -> bool {
        let mut shared = lock(&self.0);
        // With the lock: whoever has seen a message withdrawn because its time was over sees that of those behind it.
        if self.0.tenure.is_over() {
            return false;
        }
        match &mut shared.state {
            State::Queued(waker) => {
                let waker = waker.take();
                shared.state = State::Sent(waker);
            }
            State::Sent(_) => {}
            State::Settled(_) | State::Withdrawn => return false,
        }
        shared.attempts += 1;
        true
    }

    /// Tells the waiting half what became of the message.
    pub(super) fn settle(self, outcome: Outcome) {
        let waker = match &mut lock(&self.0).state {
            state @ (State::Queued(_) | State::Sent(_)) => {
                match std::mem::replace(state, State::Settled(Some(outcome))) {
                    State::Queued(waker) | State::Sent(waker) => waker,
                    State::Settled(_) | State::Withdrawn => None,
                }
            }
            State::Settled(_) | State::Withdrawn => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock(message: &Message) -> MutexGuard<'_, Progress> {
    message
        .progress
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Qos;
    use crate::mqtt::reason::Reason;
    use crate::topic::TopicName;

    const DELIVERED: Outcome = Outcome::Delivered {
        reason: Reason::SUCCESS,
    };

    fn halves() -> (Ticket, Entry) {
        let publish = Publish {
            topic: TopicName::parse("t").unwrap(),
            payload: "1".into(),
            content_type: None,
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at: None,
            traceparent: None,
        };
        ticket(publish, Arc::default(), None, false)
    }

    #[test]
    fn a_message_withdrawn_before_it_was_sent_is_never_sent() {
        let (ticket, entry) = halves();
        assert_eq!(ticket.withdraw(), Withdrawn::NotSent);
        assert!(!entry.mark_sent());
    }

    #[test]
    fn a_message_withdrawn_after_it_was_sent_is_unconfirmed_and_not_repeated() {
        let (ticket, entry) = halves();
        assert!(entry.mark_sent());
        assert!(entry.is_wanted() && entry.mark_sent());
        assert_eq!(ticket.withdraw(), Withdrawn::Unconfirmed);
        assert!(!entry.is_wanted());
    }

    #[test]
    fn a_message_whose_time_is_over_is_not_sent_and_not_sent_again() {
        let publish = halves().1.publish().clone();
        let tenure = Arc::new(Tenure::default());
        let halves = || ticket(publish.clone(), Arc::clone(&tenure), None, true);
        let (sent, unsent) = (halves(), halves());
        assert!(sent.1.mark_sent());
        tenure.end();
        assert!(!sent.1.mark_sent() && !unsent.1.mark_sent());
        assert_eq!((sent.0.attempts(), unsent.0.attempts()), (1, 0));
        sent.1.settle(DELIVERED);
        assert_eq!(sent.0.withdraw(), Withdrawn::Settled(DELIVERED));
    }

    #[test]
    fn an_outcome_that_came_first_is_not_lost() {
        let (ticket, entry) = halves();
        entry.settle(DELIVERED);
        assert_eq!(ticket.withdraw(), Withdrawn::Settled(DELIVERED));
    }

    #[test]
    fn a_dropped_request_withdraws_its_message() {
        let (ticket, entry) = halves();
        drop(ticket);
        assert!(!entry.mark_sent());
    }

    #[tokio::test]
    async fn settling_wakes_the_request() {
        let (ticket, entry) = halves();
        let waiting = tokio::spawn(ticket);
        tokio::task::yield_now().await;
        entry.settle(DELIVERED);
        assert_eq!(waiting.await.unwrap(), DELIVERED);
    }
}
