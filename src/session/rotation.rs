//! What a session does about its key: waiting for the first one, and going back from one that the broker does not take.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::ended::{Close, Ended, is_about_credentials, with_text};
use super::outcome::NotSent;
use super::password::Answer;
use super::snapshot::State;
use super::task::Session;
use super::wait::Wait;
use crate::tally::Cause;

/// How long a session without a key waits for one before it looks again.
const FOR_A_KEY: Duration = Duration::from_secs(3600);

const NO_KEY_HINT: &str = "make a key with POST /v1/devices/{device}/keys, register its public half with the platform, and \
     activate it with POST /v1/devices/{device}/keys/{kid}/activate; `causeway keys` does the same while the bridge is \
     stopped";
const WENT_BACK_HINT: &str = "check that the platform has the public half of the new key (GET /v1/devices/{device}/keys/{kid} \
     shows it), and activate it again";

impl Session {
    /// No key signs tokens: waits for one.
    pub(super) fn lack_key(&mut self, began: Instant) -> Wait {
        const WHAT: &str = "the device has no active key";
        info!(connector = %self.spec.connector, client_id = %self.shown_client_id, hint = NO_KEY_HINT, "{WHAT}");
        self.status
            .trouble(State::NoKey, WHAT.to_owned(), NO_KEY_HINT);
        Wait {
            until: began + FOR_A_KEY,
            began,
            refuse: Some(NotSent::NoKey),
        }
    }

    /// Whether the broker refused a key that was newly activated, and the one before it is used again.
    pub(super) fn goes_back(&mut self, ended: &Ended) -> bool {
        let words;
        let answer = match ended {
            Ended::Refused { reason, text } if is_about_credentials(*reason) => {
                words = with_text(*reason, text);
                Answer::Refused(&words)
            }
            Ended::Lost {
                close: Close::Unanswered,
                ..
            } => Answer::None,
            _ => return false,
        };
        let Some(replaced) = self.password.answered(answer) else {
            return false;
        };
        let what = format!(
            "{}; the token was signed with the newly activated key {}: the key {} is used again",
            ended.in_words(),
            replaced.refused,
            replaced.by
        );
        warn!(
            connector = %self.spec.connector, client_id = %self.shown_client_id, hint = WENT_BACK_HINT, "{what}"
        );
        self.spec.tally.reconnects(Cause::Refused);
        self.status.note(what, WENT_BACK_HINT);
        true
    }
}
