//! Where a session stands at one moment, and what happened to it last: plain data.

use std::sync::Arc;
use std::time::SystemTime;

use crate::broker::MqttVersion;
use crate::mqtt::packet::ConnAck;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has needed it yet (`connect = "lazy"`).
    Idle,
    /// A connection is being made.
    Connecting,
    /// Connected.
    Connected,
    /// The connection is lost or could not be made; the next attempt comes by itself.
    BackingOff,
    /// The broker refuses the credentials; tried again, but seldom.
    Refused,
    /// Another client connected with the same client id; tried again, but seldom.
    TakenOver,
    /// No key signs the device's tokens; it connects as soon as one is activated.
    NoKey,
    /// At its end.
    Closed,
}

impl State {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Connecting,
        Self::Connected,
        Self::BackingOff,
        Self::Refused,
        Self::TakenOver,
        Self::NoKey,
        Self::Closed,
    ];

    /// The name in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::BackingOff => "backing_off",
            Self::Refused => "refused",
            Self::TakenOver => "taken_over",
            Self::NoKey => "no_key",
            Self::Closed => "closed",
        }
    }

    /// Whether a session that somebody has just asked to connect has done so and has its subscriptions, or has failed to.
    pub(super) fn has_begun(self, is_subscribing: bool) -> bool {
        match self {
            Self::Idle | Self::Connecting => false,
            Self::Connected => !is_subscribing,
            Self::BackingOff | Self::Refused | Self::TakenOver | Self::NoKey | Self::Closed => true,
        }
    }
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, without secrets.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
    /// When.
    pub at: SystemTime,
}

/// What a broker answered to a CONNECT.
#[derive(Debug, Clone)]
pub struct Answer {
    /// When.
    pub at: SystemTime,
    /// The protocol version of the CONNECT.
    pub version: MqttVersion,
    /// The answer, without secrets.
    pub ack: ConnAck,
}

/// A session's state at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: SystemTime,
    /// The protocol version in use, once connected.
    pub version: Option<MqttVersion>,
    /// When the token of the current connection expires.
    pub token_expires_at: Option<SystemTime>,
    /// The last thing that went wrong; kept after it is over.
    pub last_trouble: Option<Trouble>,
    /// The last answer to a CONNECT; kept after the connection is over.
    pub last_answer: Option<Arc<Answer>>,
    /// When another client last took the connection over.
    pub taken_over_at: Option<SystemTime>,
    /// How many attempts to connect have come to something so far, good or bad.
    pub attempts: u64,
}

impl Snapshot {
    /// Of a session that nobody has needed yet.
    pub(super) fn idle() -> Self {
        Self {
            state: State::Idle,
            since: SystemTime::now(),
            version: None,
            token_expires_at: None,
            last_trouble: None,
            last_answer: None,
            taken_over_at: None,
            attempts: 0,
        }
    }

    /// Changes the state; `since` only when it is another one.
    pub(super) fn enter(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.since = SystemTime::now();
        }
    }

    /// Notes what went wrong.
    pub(super) fn note(&mut self, what: String, hint: &'static str) {
        self.last_trouble = Some(Trouble {
            what,
            hint,
            at: SystemTime::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_place_of_its_own() {
        for (at, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, at, "{state:?}");
        }
    }

    #[test]
    fn the_same_state_again_is_as_old_as_before() {
        let long_ago = SystemTime::UNIX_EPOCH;
        let mut snapshot = Snapshot {
            since: long_ago,
            ..Snapshot::idle()
        };
        snapshot.enter(State::Idle);
        assert_eq!(snapshot.since, long_ago);
        snapshot.enter(State::Connecting);
        assert!(snapshot.since > long_ago);
    }

    #[test]
    fn a_session_has_begun_once_it_has_its_subscriptions_or_is_in_trouble() {
        let begun = |is_subscribing| State::ALL.map(|state| state.has_begun(is_subscribing));
        let [t, f] = [true, false];
        assert_eq!(begun(true), [f, f, f, t, t, t, t, t]);
        assert_eq!(begun(false), [f, f, t, t, t, t, t, t]);
    }
}
