//! Why an uplink was not taken, or not confirmed.

use super::check::CheckError;
use super::platform::PlatformOutcome;
use crate::device::DeviceId;
use crate::message::UplinkId;
use crate::mqtt::reason::Reason;
use crate::profile::{AckError, EnvelopeError};
use crate::session::{NotSent, Outcome, Trouble};
use crate::store::StoreError;
use crate::tally::Answered;

/// Why an uplink was not confirmed. In every case but [`Unconfirmed`](Self::Unconfirmed) and
/// [`PlatformRefused`](Self::PlatformRefused) the broker has not taken it, and it will not be delivered later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UplinkError {
    /// No such device.
    #[error("there is no device {0:?}")]
    UnknownDevice(DeviceId),
    /// The connector does not carry such a message.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A query parameter that the profile does not have.
    #[error("there is no query parameter {parameter:?} here")]
    NoSuchParameter {
        /// The parameter.
        parameter: String,
        /// Those of the profile.
        known: Vec<String>,
    },
    /// The body is not, and does not become, what the platform expects.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The platform does not answer uplinks.
    #[error("the profile {profile} has no answers of the platform to wait for ([ack])")]
    NoPlatformAck {
        /// The connector's profile.
        profile: String,
    },
    /// The body cannot carry the id by which the platform's answer is known.
    #[error(transparent)]
    AckId(#[from] AckError),
    /// Another request waits for the platform's answer to the same id.
    #[error(
        "another request waits for the platform's answer to an uplink with the same id; leave it out and one is made"
    )]
    AckIdInUse,
    /// The broker confirmed the uplink, and the platform refused it.
    #[error("the platform refused the uplink: {}", refusal(.outcome))]
    PlatformRefused {
        /// The uplink.
        uplink: UplinkId,
        /// What the platform says.
        outcome: PlatformOutcome,
    },
    /// Too much is waiting for the broker already, and there is no store.
    #[error("too many uplinks wait for the broker; this one was not taken")]
    Full,
    /// The store takes no more, or cannot write.
    #[error("the uplink could not be sent in time, and it was not taken: {0}")]
    Store(#[from] StoreError),
    /// What was asked for needs a store, and there is none.
    #[error("this needs a store, and the configuration has none; the uplink was not taken")]
    NoStore,
    /// The same request is being worked on.
    #[error("a request with the same Idempotency-Key is in flight")]
    KeyInFlight,
    /// The key was used for something else.
    #[error("the Idempotency-Key was used for another uplink of this device")]
    KeyOtherBody,
    /// The broker refused the message.
    #[error("the broker refused the uplink: {reason}{}", words(.text))]
    Refused {
        /// The broker's reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// The broker refuses the connection.
    #[error("the broker refuses the connection: {reason}{}; the uplink was not sent", words(.text))]
    ConnectionRefused {
        /// The broker's reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// No key signs the device's tokens.
    #[error("the device has no active key to sign its tokens with; the uplink was not sent")]
    NoKey,
    /// The device cannot connect for a reason of its own.
    #[error("the device cannot connect: {0}; the uplink was not sent")]
    Unusable(Box<str>),
    /// No connection came about in time.
    #[error(
        "there was no connection to the broker within the wait; the uplink was not sent and will not be"
    )]
    NotSent {
        /// What was last wrong with the connection.
        trouble: Option<Trouble>,
    },
    /// Its own expiry was over first.
    #[error("the uplink expired before it could be sent")]
    Expired,
    /// Sent, but not confirmed in time. Whether the broker took it is not known.
    #[error(
        "the uplink was sent, but the broker did not confirm it within the wait; it may have arrived, and it will not be \
         sent again"
    )]
    Unconfirmed,
    /// The device is going on to another connection.
    #[error("the device's connection is being changed; the uplink was not sent")]
    Changing,
    /// The device is being deleted.
    #[error("the device is being deleted and takes no more uplinks; this one was not taken")]
    Leaving,
    /// The program ends.
    #[error("the bridge is shutting down; the uplink was not sent")]
    Closing,
}

impl UplinkError {
    /// What it is counted as.
    pub(super) fn answered(&self) -> Answered {
        match self {
            Self::Refused { .. }
            | Self::ConnectionRefused { .. }
            | Self::PlatformRefused { .. } => Answered::Refused,
            Self::UnknownDevice(_)
            | Self::Check(_)
            | Self::NoSuchParameter { .. }
            | Self::Envelope(_)
            | Self::NoPlatformAck { .. }
            | Self::AckId(_)
            | Self::AckIdInUse
            | Self::KeyInFlight
            | Self::KeyOtherBody => Answered::Invalid,
            Self::Full
            | Self::Store(_)
            | Self::NoStore
            | Self::NoKey
            | Self::Unusable(_)
            | Self::NotSent { .. }
            | Self::Expired
            | Self::Changing
            | Self::Leaving
            | Self::Closing => Answered::NotTaken,
            Self::Unconfirmed => Answered::Unconfirmed,
        }
    }
}

fn refusal(outcome: &PlatformOutcome) -> String {
    let code = outcome.code.map(|code| format!("code {code}"));
    let words = outcome.messages.iter().map(|text| text.to_string());
    code.into_iter().chain(words).collect::<Vec<_>>().join("; ")
}

fn words(text: &Option<Box<str>>) -> String {
    text.as_ref()
        .map(|text| format!(" ({text})"))
        .unwrap_or_default()
}

/// What a session says of an uplink that it did not deliver.
impl From<Outcome> for UplinkError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Refused { reason, text } => Self::Refused { reason, text },
            Outcome::Expired => Self::Expired,
            Outcome::Unconfirmed | Outcome::Delivered { .. } | Outcome::Sent => Self::Unconfirmed,
            Outcome::NotSent(why) => match why {
                NotSent::ConnectionRefused { reason, text } => {
                    Self::ConnectionRefused { reason, text }
                }
                NotSent::NoKey => Self::NoKey,
                NotSent::Unusable(what) => Self::Unusable(what),
                NotSent::ContentType => CheckError::ContentTypeV3.into(),
                NotSent::TooLarge { limit } => CheckError::TooLarge { limit }.into(),
                NotSent::Qos { highest } => CheckError::Qos { highest }.into(),
                NotSent::Retain => CheckError::Retain.into(),
                NotSent::Closing => Self::Closing,
            },
        }
    }
}
