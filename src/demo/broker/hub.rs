//! What all connections of one broker share.

use tokio_util::sync::CancellationToken;

use super::faults::Faults;
use super::gate::{Action, Attempt, Gate, Refusal};
use super::sessions::Sessions;

pub(super) struct Hub {
    pub(super) gate: Box<dyn Gate>,
    pub(super) sessions: Sessions,
    pub(super) faults: Faults,
    pub(super) shutdown: CancellationToken,
}

impl Hub {
    pub(super) fn note(&self, client_id: &str, action: Action, refusal: Refusal) {
        self.gate.note(Attempt {
            client_id: client_id.to_owned(),
            action,
            refusal,
        });
    }
}
