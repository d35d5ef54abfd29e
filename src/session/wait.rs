//! The time between two connections: how long it lasts, what ends it early, and what uplinks are told meanwhile.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::handle::Command;
use super::obey::Demand;
use super::outcome::{NotSent, Outcome};
use super::snapshot::State;
use super::spec::Shared;
use super::task::Session;
use super::turn::PRUNE;

/// An uplink, while the broker refuses the credentials, and somebody who looks may ask for a new attempt this long after
/// the last.
const RETRY_ON_DEMAND: Duration = Duration::from_secs(3);

/// The time until the next attempt.
pub(super) struct Wait {
    pub(super) until: Instant,
    /// When the last attempt began.
    pub(super) began: Instant,
    /// What uplinks are told meanwhile; without it they wait for the next connection.
    pub(super) refuse: Option<NotSent>,
}

/// What becomes of an uplink that comes meanwhile.
#[derive(Debug, PartialEq, Eq)]
enum Meanwhile<'a> {
    /// It waits for the next attempt.
    Waits,
    /// It asks for an attempt now.
    Asks,
    /// It is told this.
    Refused(&'a NotSent),
}

impl Wait {
    /// The next attempt follows at once.
    pub(super) fn none(began: Instant) -> Self {
        Self {
            until: Instant::now(),
            began,
            refuse: None,
        }
    }

    /// Somebody waits for the answer to an uplink, or nobody does: then it is patient.
    fn uplink(&self, is_patient: bool, now: Instant) -> Meanwhile<'_> {
        match &self.refuse {
            Some(why) if !is_patient => {
                // A session without a key is told when there is one.
                if *why != NotSent::NoKey && self.is_long_ago(now) {
                    Meanwhile::Asks
                } else {
                    Meanwhile::Refused(why)
                }
            }
            _ => Meanwhile::Waits,
        }
    }

    /// Whether somebody who looks after the session gets an attempt. One that was taken over leaves the other alone.
    fn looked_at(&self, state: State, now: Instant) -> bool {
        state != State::TakenOver && self.is_long_ago(now)
    }

    fn is_long_ago(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= RETRY_ON_DEMAND
    }
}

impl Session {
    /// Waits for the next attempt; `false` when the session ends.
    pub(super) async fn wait(&mut self, wait: Wait, shared: &Shared) -> bool {
        if let Some(why) = &wait.refuse {
            self.refuse_held(why);
        }
        let sleep = tokio::time::sleep_until(wait.until.into());
        tokio::pin!(sleep);
        let mut swaps = self.password.swaps();
        loop {
            let room = self.make_room();
            tokio::select! {
                () = shared.shutdown.cancelled() => return false,
                () = &mut sleep => return true,
                () = swaps.next() => {
                    // What was wrong with the old key says nothing of the new one.
                    self.backoff = Backoff::default();
                    return true;
                }
                () = tokio::time::sleep(PRUNE), if !room => {}
                order = self.orders.next() => match self.obey(order) {
                    Demand::Close => return false,
                    Demand::Reconnect => {
                        self.backoff = Backoff::default();
                        return true;
                    }
                    Demand::Routes(_) => {}
                },
                command = self.commands.recv(), if room => match command {
                    None => return false,
                    Some(Command::Connect) => {}
                    Some(Command::Retry) => {
                        if wait.looked_at(self.status.state(), Instant::now()) {
                            return true;
                        }
                    }
                    Some(Command::Publish(entry)) => {
                        match wait.uplink(entry.is_patient(), Instant::now()) {
                            Meanwhile::Waits => self.held.push_back(entry),
                            Meanwhile::Asks => {
                                self.held.push_back(entry);
                                return true;
                            }
                            Meanwhile::Refused(why) => entry.settle(Outcome::NotSent(why.clone())),
                        }
                    }
                },
            }
        }
    }

    /// Nothing is tried for now: those that somebody waits for are told why.
    fn refuse_held(&mut self, why: &NotSent) {
        let (patient, refused) = self.held.drain(..).partition(|entry| entry.is_patient());
        self.held = patient;
        for entry in Vec::from(refused) {
            entry.settle(Outcome::NotSent(why.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::reason::Reason;

    const SOON: Duration = Duration::from_secs(2);

    fn wait(refuse: Option<NotSent>) -> Wait {
        Wait {
            refuse,
            ..Wait::none(Instant::now())
        }
    }

    fn refused() -> NotSent {
        NotSent::ConnectionRefused {
            reason: Reason::NOT_AUTHORIZED,
            text: None,
        }
    }

    #[test]
    fn an_uplink_waits_for_a_broker_that_is_away() {
        let wait = wait(None);
        for is_patient in [true, false] {
            let later = wait.began + RETRY_ON_DEMAND;
            assert_eq!(wait.uplink(is_patient, later), Meanwhile::Waits);
        }
    }

    #[test]
    fn where_the_broker_refuses_the_credentials_an_uplink_is_told_so_and_asks_again_after_a_while()
    {
        let wait = wait(Some(refused()));
        let (soon, later) = (wait.began + SOON, wait.began + RETRY_ON_DEMAND);
        assert_eq!(wait.uplink(false, soon), Meanwhile::Refused(&refused()));
        assert_eq!(wait.uplink(false, later), Meanwhile::Asks);
        assert_eq!(wait.uplink(true, soon), Meanwhile::Waits);
        assert_eq!(wait.uplink(true, later), Meanwhile::Waits);
    }

    #[test]
    fn without_a_key_no_uplink_asks_for_an_attempt() {
        let wait = wait(Some(NotSent::NoKey));
        let later = wait.began + RETRY_ON_DEMAND;
        let told = Meanwhile::Refused(&NotSent::NoKey);
        assert_eq!(wait.uplink(false, later), told);
    }

    #[test]
    fn who_took_the_connection_over_is_left_alone_whoever_looks() {
        let wait = wait(None);
        let (soon, later) = (wait.began + SOON, wait.began + RETRY_ON_DEMAND);
        assert!(wait.looked_at(State::BackingOff, later));
        assert!(!wait.looked_at(State::BackingOff, soon));
        assert!(!wait.looked_at(State::TakenOver, later));
    }
}
