//! Requests with an idempotency key: those that are in flight, or whose answer is not yet durable, and what is known by the
//! answers of earlier ones.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::device::DeviceId;
use crate::store::format::StoredAnswer;
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
        Some(self::answered(&mark.body, body, answer.clone()))
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

impl StoredAnswer {
    /// What is known of a request with this body; `None` when the answer was given longer ago than `age`.
    pub(super) fn known(self, body: &BodyHash, age: Duration, now: SystemTime) -> Option<Begun> {
        let old = now.duration_since(self.finished_at).unwrap_or_default();
        (old <= age).then(|| answered(&self.body, body, self.answer))
    }
}

/// A key that was answered for one body is of no use for another one.
fn answered(first: &BodyHash, body: &BodyHash, answer: Bytes) -> Begun {
    if first == body {
        Begun::Finished(answer)
    } else {
        Begun::OtherBody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_for_its_body_and_for_a_time() {
        let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
        let known = |finished_at, body| {
            let stored = StoredAnswer {
                finished_at,
                body: [1; 32],
                answer: Bytes::from_static(b"200"),
            };
            stored.known(&body, day, now)
        };
        let finished = Some(Begun::Finished(Bytes::from_static(b"200")));
        assert_eq!(known(now - day, [1; 32]), finished);
        assert_eq!(known(now - day, [2; 32]), Some(Begun::OtherBody));
        assert_eq!(known(now - day - Duration::from_secs(1), [1; 32]), None);
        // A clock that was set back.
        assert_eq!(known(now + day, [1; 32]), finished);
    }
}
