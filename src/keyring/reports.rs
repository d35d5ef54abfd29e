//! What the broker says of a key: told by the session, asked for by whoever has activated it.

use std::sync::Arc;
use std::time::SystemTime;

use super::device_keys::DeviceKeys;
use super::pair::{KeyPair, KeyState, Refusal};
use super::ring::Ring;
use crate::session::KeyReports;

/// What became of a key that was activated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The broker accepts it.
    Accepted,
    /// The broker refused it, and another key signs again, if there is one.
    WentBack {
        /// Why, in words.
        why: Box<str>,
        /// The key that signs again.
        to: Option<Arc<str>>,
    },
    /// The broker refuses it, and there is no other one: it stays active, and the session tries again.
    Refused {
        /// Why, in words.
        why: Box<str>,
    },
    /// The broker has not been asked so far.
    Open,
}

impl Verdict {
    pub(super) fn of(ring: &Ring, kid: &str) -> Self {
        let why = |key: &KeyPair| key.refusal.as_ref().map(|refusal| refusal.why.clone());
        match ring.get(kid) {
            Ok(key) if key.state == KeyState::Active => match why(key) {
                _ if !ring.on_trial() => Verdict::Accepted,
                Some(why) => Verdict::Refused { why },
                None => Verdict::Open,
            },
            found => Verdict::WentBack {
                why: found
                    .ok()
                    .and_then(why)
                    .unwrap_or_else(|| "another key was activated in the meantime".into()),
                to: ring.active().map(|key| Arc::clone(&key.kid)),
            },
        }
    }
}

/// How a session reaches the keys that it signs with.
#[derive(Debug)]
pub(super) struct Reports(pub(super) Arc<DeviceKeys>);

impl KeyReports for Reports {
    fn accepted(&self, key: &str) {
        self.0
            .hear(true, |ring| ring.accepted(key, SystemTime::now()));
    }

    fn refused(&self, key: &str, why: &str) {
        // A key that is refused again and again is not written down each time.
        self.0.hear(false, |ring| {
            let (at, why) = (SystemTime::now(), why.into());
            ring.refused(key, Refusal { at, why })
        });
    }
}
