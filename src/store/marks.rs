//! Requests with an idempotency key that are in flight, or whose answer is not yet durable.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::device::DeviceId;
use crate::store::records::{Begun, BodyHash, KeyedAnswer};

type Key = (DeviceId, Box<str>);

/// The marks of all devices.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<HashMap<Key, Mark>>);

#[derive(Debug)]
struct Mark {
    body: BodyHash,
    /// Known, and waiting to be written.
    answer: Option<Bytes>,
}

impl Marks {
    /// Marks a key as in flight if it is free.
    pub(super) fn begin(&self, device: &DeviceId, key: &str, body: BodyHash) -> Begun {
        let mut marks = self.lock();
        let key = (device.clone(), key.into());
        match marks.get(&key) {
            Some(mark) if mark.body != body => Begun::OtherBody,
            Some(mark) => match &mark.answer {
                Some(answer) => Begun::Finished(answer.clone()),
                None => Begun::InFlight,
            },
            None => {
                marks.insert(key, Mark { body, answer: None });
                Begun::New
            }
        }
    }

    /// What is known of a key whose answer is not yet durable.
    pub(super) fn answered(&self, device: &DeviceId, key: &str, body: &BodyHash) -> Option<Begun> {
        let marks = self.lock();
        let mark = marks.get(&(device.clone(), key.into()))?;
        let answer = mark.answer.as_ref()?;
        Some(if mark.body == *body {
            Begun::Finished(answer.clone())
        } else {
            Begun::OtherBody
        })
    }

    /// Remembers an answer until it is durable.
    pub(super) fn answer(&self, device: &DeviceId, answer: &KeyedAnswer) {
        let mark = Mark {
            body: answer.body,
            answer: Some(answer.answer.clone()),
        };
        let key = (device.clone(), answer.key.clone());
        self.lock().insert(key, mark);
    }

    /// Forgets a key: its answer is durable, or there will be none.
    pub(super) fn remove(&self, device: &DeviceId, key: &str) {
        self.lock().remove(&(device.clone(), key.into()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
