//! Why something was not done, and whether that is certain.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{Error as ServerError, ErrorCode};

use crate::store::engine::StoreError;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is larger than what the server takes.
    TooLarge,
    /// The stream is full.
    Full,
    /// Somebody else was faster.
    Conflict,
    /// It was certainly not done.
    Not(Box<str>),
    /// It may have been done, or be done yet.
    Unclear(Box<str>),
}

impl Failure {
    pub(super) fn not(cause: impl ToString) -> Self {
        Self::Not(cause.to_string().into())
    }

    pub(super) fn unclear(cause: impl ToString) -> Self {
        Self::Unclear(cause.to_string().into())
    }

    /// What the server is blamed for, where it is.
    pub(super) fn outage(&self) -> Option<&str> {
        match self {
            Self::Not(cause) | Self::Unclear(cause) => Some(cause),
            Self::TooLarge | Self::Full | Self::Conflict => None,
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Self::TooLarge,
            PublishErrorKind::WrongLastSequence => Self::Conflict,
            // Nobody listens: JetStream is off or not up yet, or the stream is gone.
            PublishErrorKind::StreamNotFound => Self::not("no stream takes what is published"),
            PublishErrorKind::TimedOut => Self::unclear("no confirmation came in time"),
            PublishErrorKind::BrokenPipe => Self::unclear("the connection was lost"),
            _ => match source(&error) {
                Some(error) if error.error_code() == ErrorCode::STREAM_STORE_FAILED => Self::Full,
                Some(error) => Self::not(error),
                None => Self::unclear(error),
            },
        }
    }
}

/// The server's own error, which is a certain no.
fn source(error: &PublishError) -> Option<&ServerError> {
    std::error::Error::source(error)?.downcast_ref()
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooLarge => Self::Full {
                limit: "it is larger than nats-server's max_payload",
            },
            Failure::Full => Self::Full {
                limit: "the stream is full",
            },
            Failure::Conflict => Self::Unavailable {
                cause: "another process writes to this store".into(),
            },
            Failure::Not(cause) | Failure::Unclear(cause) => Self::Unavailable { cause },
        }
    }
}
