//! What a session does after a connection has ended: a pure decision over how it ended and what came before.

use std::time::Duration;

use super::ended::{Close, Ended, is_final};
use super::snapshot::State;
use crate::mqtt::reason::Reason;

/// A connection that held this long was a good one: the next trouble starts from the shortest delay again.
pub(super) const STABLE: Duration = Duration::from_secs(60);

/// Shortest and longest delay after a lost or impossible connection.
const LOST: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// After a refusal of the credentials. An uplink may ask for an earlier attempt.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// After a takeover: the other client is left alone for a while.
const TAKEN_OVER: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// What a connection was good for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lived {
    /// How long it was up; zero when it did not come about.
    pub(super) up: Duration,
    /// Whether the broker settled something on it.
    pub(super) useful: bool,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// The state until the next attempt.
    pub(super) state: State,
    /// How long to wait, before jitter.
    pub(super) delay: Duration,
    /// What to do about it.
    pub(super) hint: &'static str,
}

/// How many times in a row it went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    /// Connections in a row that the broker closed while they were idle.
    closed_idle: u32,
}

/// So many idle connections closed in a row are taken for a takeover.
const SUSPICIOUS: u32 = 3;

impl Backoff {
    /// Decides what follows an end that was not our wish.
    pub(super) fn after(&mut self, ended: &Ended, lived: Lived) -> Next {
        if lived.up >= STABLE {
            *self = Self::default();
        }
        if lived.useful {
            self.failures = 0;
        }
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        self.closed_idle = match ended {
            Ended::Lost {
                close: Close::WhileIdle,
                ..
            } => self.closed_idle.saturating_add(1),
            _ => 0,
        };
        let next = |state, (shortest, longest): (Duration, Duration), hint| Next {
            state,
            delay: shortest.saturating_mul(1 << failures.min(16)).min(longest),
            hint,
        };
        match ended {
            Ended::Refused { reason, .. } if is_final(*reason) => {
                next(State::Refused, REFUSED, refusal_hint(*reason))
            }
            Ended::Unusable(_) => next(
                State::Refused,
                REFUSED,
                "correct the device's configuration",
            ),
            Ended::Dismissed {
                reason: Reason::SESSION_TAKEN_OVER,
                ..
            } => next(State::TakenOver, TAKEN_OVER, TAKEOVER_HINT),
            Ended::Lost {
                close: Close::WhileIdle,
                ..
            } if self.closed_idle >= SUSPICIOUS => {
                next(State::TakenOver, TAKEN_OVER, TAKEOVER_SUSPECTED_HINT)
            }
            Ended::Lost {
                close: Close::WithMessages,
                ..
            } if failures >= SUSPICIOUS => next(State::BackingOff, LOST, MESSAGE_HINT),
            Ended::Lost { hint, .. } => next(State::BackingOff, LOST, hint),
            Ended::Refused { reason, .. } | Ended::Dismissed { reason, .. } => {
                next(State::BackingOff, LOST, refusal_hint(*reason))
            }
            Ended::NoKey | Ended::Renewal | Ended::Replaced | Ended::Shutdown => Next {
                state: State::Connecting,
                delay: Duration::ZERO,
                hint: "",
            },
        }
    }
}

/// Spreads a delay over its upper half, so that many sessions do not come back in the same moment.
pub(super) fn jitter(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.5 + random / 2.0)
}

/// When to renew a token: between 75 and 90 % of its lifetime, spread so that many sessions do not renew at once.
pub(super) fn renewal(lifetime: Duration, random: f64) -> Duration {
    lifetime.mul_f64(0.75 + 0.15 * random)
}

const TAKEOVER_HINT: &str = "another program is connected with the same MQTT client id; stop it, or give one of the two another id";
const TAKEOVER_SUSPECTED_HINT: &str = "the broker closes the connection again and again although it is idle: most likely another program is \
     connected with the same MQTT client id; stop it, or give one of the two another id";
const MESSAGE_HINT: &str = "the broker closes the connection again and again while messages are in flight: \
     often a topic that is not allowed, or a payload that it does not take";

fn refusal_hint(reason: Reason) -> &'static str {
    match reason {
        Reason::UNSUPPORTED_PROTOCOL_VERSION => {
            "set the connector's mqtt_version to the one that the broker speaks"
        }
        Reason::CLIENT_ID_NOT_VALID => {
            "the broker does not know the MQTT client id; check the device's id on the platform"
        }
        Reason::BAD_USER_NAME_OR_PASSWORD => {
            "check the secret, or that the platform has this device's public key; a token also needs the right clock"
        }
        Reason::NOT_AUTHORIZED => {
            "check that the platform has this device with this key or secret, and this machine's clock"
        }
        Reason::BANNED => "the broker has shut this client out; ask its operator",
        Reason::MAXIMUM_CONNECT_TIME => {
            "the token expired on the connection; check this machine's clock"
        }
        _ => "the bridge tries again by itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Cause;

    fn up(up: Duration) -> Lived {
        Lived { up, useful: false }
    }

    fn lost() -> Ended {
        Ended::Lost {
            what: "gone".to_owned(),
            hint: "wait",
            close: Close::Failed,
            cause: Cause::Lost,
        }
    }

    #[test]
    fn delays_double_up_to_a_limit_and_start_again_after_a_stable_connection() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..9)
            .map(|_| backoff.after(&lost(), Lived::default()).delay.as_millis())
            .collect();
        assert_eq!(
            delays,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        );
        assert_eq!(backoff.after(&lost(), up(STABLE)).delay.as_millis(), 500);
    }

    #[test]
    fn a_takeover_is_recognised_and_left_alone() {
        let ended = Ended::Dismissed {
            reason: Reason::SESSION_TAKEN_OVER,
            text: None,
        };
        let next = Backoff::default().after(&ended, up(Duration::from_secs(3600)));
        assert_eq!((next.state, next.delay.as_secs()), (State::TakenOver, 10));
    }

    #[test]
    fn idle_connections_closed_again_and_again_are_taken_for_a_takeover() {
        let closed = |close| Ended::Lost {
            what: String::new(),
            hint: "wait",
            close,
            cause: Cause::Lost,
        };
        let mut backoff = Backoff::default();
        let mut after = |close| {
            backoff
                .after(&closed(close), up(Duration::from_secs(1)))
                .state
        };
        let states = [
            Close::WhileIdle,
            Close::WhileIdle,
            Close::Failed,
            Close::WhileIdle,
            Close::WhileIdle,
        ]
        .map(&mut after);
        assert_eq!(
            states,
            [State::BackingOff; 5],
            "a failed connect in between is an outage"
        );
        assert_eq!(after(Close::WhileIdle), State::TakenOver);
        assert_eq!(after(Close::WithMessages), State::BackingOff);
    }

    #[test]
    fn refused_credentials_are_no_outage() {
        let refused = |reason| {
            Backoff::default()
                .after(&Ended::Refused { reason, text: None }, Lived::default())
                .state
        };
        assert_eq!(refused(Reason::NOT_AUTHORIZED), State::Refused);
        assert_eq!(refused(Reason::SERVER_UNAVAILABLE), State::BackingOff);
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        let delay = Duration::from_secs(10);
        assert_eq!(
            (jitter(delay, 0.0).as_secs(), jitter(delay, 1.0).as_secs()),
            (5, 10)
        );
        assert_eq!(
            (
                renewal(delay, 0.0).as_millis(),
                renewal(delay, 1.0).as_millis()
            ),
            (7500, 9000)
        );
    }
}
