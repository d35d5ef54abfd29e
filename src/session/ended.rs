//! How an attempt to connect, or a connection, ended: what it is counted as, what it is called, and what it means for the
//! messages. What to do next is decided in `backoff`.

use super::outcome::NotSent;
use super::snapshot::State;
use crate::mqtt::reason::Reason;
use crate::tally::Cause;

/// How an attempt to connect, or a connection, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// No connection came about, or it broke.
    Lost {
        /// In words.
        what: String,
        /// What to do about it.
        hint: &'static str,
        /// Whether the broker closed a working connection, and over what.
        close: Close,
        /// What it is counted as.
        cause: Cause,
    },
    /// CONNACK with a refusal.
    Refused {
        /// The reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// The broker said goodbye with a reason (MQTT 5).
    Dismissed {
        /// The reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// The device itself cannot connect.
    Unusable(Box<str>),
    /// The device has no key to connect with.
    NoKey,
    /// The token was about to expire, or there is another key for the next; the old connection is drained and closed.
    Renewal,
    /// The session was told to be another one; the old connection is drained and closed.
    Replaced,
    /// The session ends.
    Shutdown,
}

/// How a connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// It did not come about, or the link failed.
    Failed,
    /// The broker closed it instead of answering CONNECT.
    Unanswered,
    /// The broker closed it without a word while nothing was in flight: a broker that does not announce a takeover
    /// (with MQTT 3.1.1 none does, and Mosquitto 2.0.11 not even with MQTT 5) looks like this.
    WhileIdle,
    /// The broker closed it without a word while messages were in flight.
    WithMessages,
}

impl Ended {
    /// What it is counted as; `None` for the end of the program. A takeover is recognised by where it leaves the session.
    pub(super) fn cause(&self, next: State) -> Option<Cause> {
        Some(match self {
            _ if next == State::TakenOver => Cause::TakenOver,
            Self::Lost { cause, .. } => *cause,
            Self::Refused { .. } => Cause::Refused,
            Self::Dismissed { .. } => Cause::Dismissed,
            Self::Unusable(_) => Cause::Unusable,
            Self::Renewal => Cause::Renewal,
            Self::Replaced => Cause::Replaced,
            Self::NoKey | Self::Shutdown => return None,
        })
    }

    /// What happened, for logs and answers.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Lost { what, .. } => what.clone(),
            Self::Refused { reason, text } => {
                format!(
                    "the broker refuses the connection: {}",
                    with_text(*reason, text)
                )
            }
            Self::Dismissed { reason, text } => {
                format!(
                    "the broker ended the connection: {}",
                    with_text(*reason, text)
                )
            }
            Self::Unusable(what) => what.to_string(),
            Self::NoKey | Self::Renewal | Self::Replaced | Self::Shutdown => String::new(),
        }
    }

    /// What uplinks are told until the next attempt; `None` where they wait for it.
    pub(super) fn refusal(&self) -> Option<NotSent> {
        match self {
            Self::Refused { reason, text } if is_final(*reason) => {
                Some(NotSent::ConnectionRefused {
                    reason: *reason,
                    text: text.clone(),
                })
            }
            Self::Unusable(what) => Some(NotSent::Unusable(what.clone())),
            _ => None,
        }
    }

    /// Whether the broker may have hung up over what it was just sent.
    pub(super) fn may_be_over_a_message(&self) -> bool {
        match self {
            Self::Lost { close, .. } => *close == Close::WithMessages,
            Self::Dismissed { reason, .. } => is_about_a_message(*reason),
            _ => false,
        }
    }
}

/// A broker's reason, with its own words if it gave any.
pub(super) fn with_text(reason: Reason, text: &Option<Box<str>>) -> String {
    match text {
        Some(text) => format!("{reason} ({text})"),
        None => reason.to_string(),
    }
}

/// Whether the same credentials will most likely be refused again.
pub(super) fn is_final(reason: Reason) -> bool {
    matches!(reason.0, 0x81 | 0x82 | 0x84..=0x87 | 0x8A | 0x8C)
}

/// Whether a broker's refusal may be about the key that signed the token. Brokers differ: some call a device whose token
/// they do not accept an unknown client.
pub(super) fn is_about_credentials(reason: Reason) -> bool {
    matches!(reason.0, 0x85..=0x87 | 0x8A | 0x8C)
}

/// Whether a broker's goodbye may be about what was just sent (MQTT 5 §3.14.2.1).
fn is_about_a_message(reason: Reason) -> bool {
    matches!(reason.0, 0x80..=0x83 | 0x87 | 0x90 | 0x94 | 0x95 | 0x97..=0x9B)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Reason) -> Ended {
        let text = Some("no such key".into());
        Ended::Refused { reason, text }
    }

    fn lost(close: Close) -> Ended {
        Ended::Lost {
            what: "gone".to_owned(),
            hint: "wait",
            close,
            cause: Cause::Lost,
        }
    }

    #[test]
    fn uplinks_are_refused_only_while_trying_again_is_of_no_use() {
        let reason = Reason::NOT_AUTHORIZED;
        let text = Some("no such key".into());
        let why = NotSent::ConnectionRefused { reason, text };
        assert_eq!(refused(reason).refusal(), Some(why));
        assert_eq!(refused(Reason::SERVER_UNAVAILABLE).refusal(), None);
        let unusable = Ended::Unusable("it cannot sign".into());
        let why = NotSent::Unusable("it cannot sign".into());
        assert_eq!(unusable.refusal(), Some(why));
        assert_eq!(lost(Close::Unanswered).refusal(), None);
        assert_eq!(Ended::Renewal.refusal(), None);
    }

    #[test]
    fn a_message_is_only_suspected_where_one_was_on_its_way() {
        let goodbye = |reason| Ended::Dismissed { reason, text: None };
        assert!(lost(Close::WithMessages).may_be_over_a_message());
        assert!(!lost(Close::WhileIdle).may_be_over_a_message());
        assert!(!lost(Close::Failed).may_be_over_a_message());
        // Topic name invalid and packet too large; not a takeover, nor a broker that shuts down.
        for (reason, suspicious) in [(0x90, true), (0x95, true), (0x8E, false), (0x8B, false)] {
            let ended = goodbye(Reason(reason));
            assert_eq!(ended.may_be_over_a_message(), suspicious, "{reason:#x}");
        }
        assert!(!refused(Reason::NOT_AUTHORIZED).may_be_over_a_message());
    }

    #[test]
    fn a_takeover_is_counted_as_one_however_it_showed() {
        let idle = lost(Close::WhileIdle);
        assert_eq!(idle.cause(State::TakenOver), Some(Cause::TakenOver));
        assert_eq!(idle.cause(State::BackingOff), Some(Cause::Lost));
        assert_eq!(Ended::Shutdown.cause(State::Connecting), None);
    }

    #[test]
    fn the_brokers_own_words_are_told() {
        let words = refused(Reason::NOT_AUTHORIZED).in_words();
        assert_eq!(
            words,
            "the broker refuses the connection: not authorized (0x87) (no such key)"
        );
    }
}
