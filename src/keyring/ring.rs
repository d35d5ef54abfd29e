//! One device's keys: which signs, which comes next, and what may be done with them.

use std::sync::Arc;
use std::time::SystemTime;

use super::pair::{KeyPair, KeyState, Refusal};

/// Keys that a device may have.
pub const MAX_KEYS: usize = 8;

/// The active key has not been accepted by the broker yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    /// The key to go back to, if there was one.
    pub(super) before: Option<Arc<str>>,
}

/// Why something is not possible with a device's keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// There is no such key.
    #[error("the device has no key {0:?}")]
    Unknown(Box<str>),
    /// There are as many as there may be.
    #[error("the device has {MAX_KEYS} keys, which is the most it may have")]
    Full,
    /// The same key is there.
    #[error("the device has this key already: {0}")]
    Exists(Arc<str>),
    /// The active key is not deleted.
    #[error("the key is the active one: it signs the device's tokens")]
    Active,
    /// Nor is the one to go back to.
    #[error(
        "the key is the one to go back to if the broker refuses the active one, which it has not accepted yet"
    )]
    Needed,
}

/// One device's keys.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    keys: Vec<KeyPair>,
    trial: Option<Trial>,
}

impl Ring {
    pub(super) fn restored(keys: Vec<KeyPair>, trial: Option<Trial>) -> Self {
        Self { keys, trial }
    }

    /// All keys, the oldest first.
    pub fn keys(&self) -> &[KeyPair] {
        &self.keys
    }

    /// One key.
    pub fn get(&self, kid: &str) -> Result<&KeyPair, RingError> {
        let found = self.keys.iter().find(|key| &*key.kid == kid);
        found.ok_or_else(|| RingError::Unknown(kid.into()))
    }

    /// The key that signs.
    pub fn active(&self) -> Option<&KeyPair> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    /// Whether the broker has not accepted the active key yet.
    pub fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    pub(super) fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Adds a key, which signs nothing yet.
    pub fn add(&mut self, key: KeyPair) -> Result<(), RingError> {
        if self.get(&key.kid).is_ok() {
            return Err(RingError::Exists(key.kid));
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(RingError::Full);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Lets a key sign from now on. Until the broker has accepted it, the last one that it had accepted is kept to go back
    /// to. Nothing happens to a key that is active.
    pub fn activate(&mut self, kid: &str) -> Result<(), RingError> {
        if self.get(kid)?.state == KeyState::Active {
            return Ok(());
        }
        let before = match self.trial.take() {
            // The one that was on trial was never of use.
            Some(trial) => {
                self.put_active_in(KeyState::New);
                trial.before
            }
            None => {
                let active = self.active().map(|key| Arc::clone(&key.kid));
                self.put_active_in(KeyState::Previous);
                active
            }
        };
        // Whoever goes back by hand goes back to what the broker has accepted.
        if before.as_deref() != Some(kid) {
            self.trial = Some(Trial { before });
        }
        self.change(kid, |key| {
            key.state = KeyState::Active;
            key.refusal = None;
        });
        Ok(())
    }

    /// Deletes a key that nothing needs.
    pub fn delete(&mut self, kid: &str) -> Result<(), RingError> {
        if self.get(kid)?.state == KeyState::Active {
            return Err(RingError::Active);
        }
        if self.is_before(kid) {
            return Err(RingError::Needed);
        }
        self.keys.retain(|key| &*key.kid != kid);
        Ok(())
    }

    /// The broker accepted a token of this key; `true` when that ends its trial, or what is known of a refusal.
    pub fn accepted(&mut self, kid: &str, now: SystemTime) -> bool {
        let ends_trial = self.is_active(kid) && self.trial.take().is_some();
        let mut was_refused = false;
        self.change(kid, |key| {
            key.last_used_at = Some(now);
            was_refused = key.refusal.take().is_some();
        });
        ends_trial || was_refused
    }

    /// The broker refused a token of this key; `true` when it was on trial, and another one signs again.
    pub fn refused(&mut self, kid: &str, refusal: Refusal) -> bool {
        self.change(kid, |key| key.refusal = Some(refusal));
        let before = match &self.trial {
            Some(Trial {
                before: Some(before),
            }) if self.is_active(kid) => Arc::clone(before),
            _ => return false,
        };
        self.trial = None;
        self.put_active_in(KeyState::New);
        self.change(&before, |key| key.state = KeyState::Active);
        true
    }

    fn is_active(&self, kid: &str) -> bool {
        self.active().is_some_and(|key| &*key.kid == kid)
    }

    fn is_before(&self, kid: &str) -> bool {
        let before = self
            .trial
            .as_ref()
            .and_then(|trial| trial.before.as_deref());
        before == Some(kid)
    }

    fn put_active_in(&mut self, state: KeyState) {
        if let Some(key) = self.keys.iter_mut().find(|k| k.state == KeyState::Active) {
            key.state = state;
        }
    }

    fn change(&mut self, kid: &str, change: impl FnOnce(&mut KeyPair)) {
        if let Some(key) = self.keys.iter_mut().find(|key| &*key.kid == kid) {
            change(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Algorithm, SigningKey};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn key() -> KeyPair {
        KeyPair::new(SigningKey::new(Algorithm::Es256).unwrap(), NOW).unwrap()
    }

    /// A ring of so many keys, and their ids.
    fn ring(keys: usize) -> (Ring, Vec<Arc<str>>) {
        let mut ring = Ring::default();
        for _ in 0..keys {
            ring.add(key()).unwrap();
        }
        let ids = ring.keys().iter().map(|key| Arc::clone(&key.kid)).collect();
        (ring, ids)
    }

    fn states(ring: &Ring) -> Vec<&'static str> {
        ring.keys().iter().map(|key| key.state.name()).collect()
    }

    fn refusal() -> Refusal {
        Refusal {
            at: NOW,
            why: "not authorized".into(),
        }
    }

    #[test]
    fn a_rotation_from_the_first_key_to_the_second() {
        let (mut ring, ids) = ring(2);
        assert_eq!(
            (states(&ring), ring.on_trial()),
            (vec!["new", "new"], false)
        );
        ring.activate(&ids[0]).unwrap();
        assert_eq!(
            (states(&ring), ring.on_trial()),
            (vec!["active", "new"], true)
        );
        assert!(ring.accepted(&ids[0], NOW) && !ring.on_trial());
        assert!(!ring.accepted(&ids[0], NOW), "nothing new");
        ring.activate(&ids[1]).unwrap();
        assert_eq!(states(&ring), ["previous", "active"]);
        assert_eq!(ring.delete(&ids[0]), Err(RingError::Needed));
        ring.accepted(&ids[1], NOW);
        assert_eq!(ring.delete(&ids[1]), Err(RingError::Active));
        ring.delete(&ids[0]).unwrap();
        assert_eq!(ring.keys().len(), 1);
        assert_eq!(ring.keys()[0].last_used_at, Some(NOW));
    }

    #[test]
    fn a_key_on_trial_that_is_refused_gives_way_to_the_one_before() {
        let (mut ring, ids) = ring(2);
        ring.activate(&ids[0]).unwrap();
        ring.accepted(&ids[0], NOW);
        ring.activate(&ids[1]).unwrap();
        assert!(ring.refused(&ids[1], refusal()));
        assert_eq!(
            (states(&ring), ring.on_trial()),
            (vec!["active", "new"], false)
        );
        assert_eq!(ring.get(&ids[1]).unwrap().refusal, Some(refusal()));
        // Refusals of a key that was accepted before change nothing but what is known of it.
        assert!(!ring.refused(&ids[0], refusal()));
        assert_eq!(states(&ring), ["active", "new"]);
        assert!(ring.accepted(&ids[0], NOW));
        assert_eq!(ring.get(&ids[0]).unwrap().refusal, None);
        ring.activate(&ids[1]).unwrap();
        assert_eq!(ring.get(&ids[1]).unwrap().refusal, None);
    }

    #[test]
    fn the_first_key_has_none_to_give_way_to() {
        let (mut ring, ids) = ring(1);
        ring.activate(&ids[0]).unwrap();
        assert!(!ring.refused(&ids[0], refusal()));
        assert_eq!((states(&ring), ring.on_trial()), (vec!["active"], true));
    }

    #[test]
    fn the_way_back_leads_to_a_key_that_was_accepted() {
        let (mut ring, ids) = ring(3);
        ring.activate(&ids[0]).unwrap();
        ring.accepted(&ids[0], NOW);
        ring.activate(&ids[1]).unwrap();
        ring.activate(&ids[2]).unwrap();
        assert_eq!(states(&ring), ["previous", "new", "active"]);
        ring.delete(&ids[1]).unwrap();
        assert!(ring.refused(&ids[2], refusal()));
        assert_eq!(states(&ring), ["active", "new"]);

        ring.activate(&ids[2]).unwrap();
        ring.activate(&ids[0]).unwrap();
        assert_eq!(
            (states(&ring), ring.on_trial()),
            (vec!["active", "new"], false)
        );
        ring.activate(&ids[0]).unwrap();
        assert!(!ring.on_trial(), "it is active already");
    }

    #[test]
    fn what_is_said_of_another_key_than_the_active_one_ends_no_trial() {
        let (mut ring, ids) = ring(2);
        ring.activate(&ids[0]).unwrap();
        ring.accepted(&ids[0], NOW);
        ring.activate(&ids[1]).unwrap();
        // The old connection was still being made.
        assert!(!ring.accepted(&ids[0], NOW) && ring.on_trial());
        assert!(!ring.refused(&ids[0], refusal()) && ring.on_trial());
        assert_eq!(states(&ring), ["previous", "active"]);
    }

    #[test]
    fn there_are_limits() {
        let (mut full, ids) = ring(MAX_KEYS);
        assert_eq!(full.add(key()), Err(RingError::Full));
        let (mut one, _) = ring(1);
        let again = one.keys()[0].clone();
        assert_eq!(
            one.add(again.clone()),
            Err(RingError::Exists(again.kid.clone()))
        );
        let unknown = RingError::Unknown(ids[0].as_ref().into());
        assert_eq!(one.activate(&ids[0]), Err(unknown.clone()));
        assert_eq!(one.delete(&ids[0]), Err(unknown));
    }
}
