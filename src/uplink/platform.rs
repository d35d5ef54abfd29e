//! What a platform itself says of an uplink, beyond its broker's confirmation.

use serde::{Deserialize, Serialize};

use crate::profile::PlatformAnswer;

/// The most that is kept of one answer's reasons together, in bytes: receipts are many.
pub const MAX_KEPT_BYTES: usize = 2048;

/// What the platform says of an uplink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformOutcome {
    /// Whether it took it.
    pub verdict: Verdict,
    /// Its code, where it gave one.
    pub code: Option<i64>,
    /// Its reasons: together at most [`MAX_KEPT_BYTES`].
    pub messages: Vec<Box<str>>,
}

/// Whether a platform took an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It did.
    Accepted,
    /// It did not, and will not.
    Refused,
    /// No answer has come, or one without a code. Not a failure: it may well have taken it.
    Unknown,
}

impl PlatformOutcome {
    /// Nothing has been heard.
    pub const UNKNOWN: Self = Self {
        verdict: Verdict::Unknown,
        code: None,
        messages: Vec::new(),
    };

    /// From the text that [`to_text`](Self::to_text) made.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The form in which it is stored.
    pub(super) fn to_text(&self) -> Box<str> {
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

impl From<PlatformAnswer> for PlatformOutcome {
    fn from(answer: PlatformAnswer) -> Self {
        let verdict = match (answer.accepted, answer.is_refused()) {
            (true, _) => Verdict::Accepted,
            (false, true) => Verdict::Refused,
            (false, false) => Verdict::Unknown,
        };
        let mut room = MAX_KEPT_BYTES;
        let fits = |text: &String| {
            let fits = text.len() <= room;
            room = room.saturating_sub(text.len());
            fits
        };
        Self {
            verdict,
            code: answer.code,
            messages: answer
                .messages
                .into_iter()
                .take_while(fits)
                .map(Into::into)
                .collect(),
        }
    }
}

impl Verdict {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: Option<i64>, accepted: bool, messages: &[String]) -> PlatformOutcome {
        let messages = messages.to_vec();
        let id = None;
        PlatformAnswer {
            id,
            code,
            accepted,
            messages,
        }
        .into()
    }

    #[test]
    fn an_answer_without_a_code_decides_nothing() {
        assert_eq!(answer(Some(202), true, &[]).verdict, Verdict::Accepted);
        assert_eq!(answer(Some(400), false, &[]).verdict, Verdict::Refused);
        assert_eq!(answer(None, false, &[]).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_is_kept_is_bounded_and_read_as_it_was_written() {
        let outcome = answer(Some(400), false, &vec!["x".repeat(1000); 16]);
        assert_eq!(outcome.messages.len(), 2);
        assert_eq!(
            PlatformOutcome::from_text(&outcome.to_text()),
            Some(outcome)
        );
    }
}
