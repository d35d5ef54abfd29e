//! Idempotency keys: one request with a key is on its way at a time, and what it was answered is found again.

use std::time::SystemTime;

use bytes::Bytes;

use super::changes::Change;
use super::core::Core;
use super::names::StreamName;
use super::requests::Message;
use crate::device::DeviceId;
use crate::store::engine::StoreError;
use crate::store::format::{decode_answer, encode_answer};
use crate::store::records::{Begun, BodyHash, KeyedAnswer};

impl Core {
    /// What is kept for a key, if it is not too old.
    async fn kept(
        &self,
        device: &DeviceId,
        key: &str,
        body: &BodyHash,
    ) -> Result<Option<Begun>, StoreError> {
        let subject = self.link.names.key(device, key);
        let last = self.link.last(StreamName::Keys, &subject).await?;
        let stored = last.and_then(|message| decode_answer(&message.payload).ok());
        let age = self.limits.keys.age;
        Ok(stored.and_then(|stored| stored.known(body, age, SystemTime::now())))
    }

    pub(super) async fn begin(
        &self,
        device: &DeviceId,
        key: &str,
        body: BodyHash,
    ) -> Result<Begun, StoreError> {
        self.check()?;
        // Before the server, which may still have an earlier answer: that the uplink is queued.
        if let Some(known) = self.marks.answered(device, key, &body) {
            return Ok(known);
        }
        if let Some(known) = self.kept(device, key, &body).await? {
            return Ok(known);
        }
        let begun = self.marks.begin(device, key, body);
        if begun != Begun::New {
            return Ok(begun);
        }
        let mut mark = Marked {
            core: self,
            device,
            key,
            is_kept: false,
        };
        // Once more: the one who had the mark may have finished between the look and the mark.
        match self.kept(device, key, &body).await? {
            Some(known) => Ok(known),
            None => {
                mark.is_kept = true;
                Ok(Begun::New)
            }
        }
    }

    /// The uplink is in the stream, and the answer with it: what fails from here on only takes longer.
    pub(super) async fn keep_answer(&self, device: &DeviceId, answer: KeyedAnswer) {
        let key = answer.key.clone();
        if self
            .link
            .publish(self.answer(device, &answer))
            .await
            .is_ok()
        {
            self.marks.remove(device, &key);
            return;
        }
        self.marks.answer(device, &answer);
        self.change(Change::Finish {
            device: device.clone(),
            answer,
        });
    }

    /// The message that keeps an answer.
    pub(super) fn answer(&self, device: &DeviceId, answer: &KeyedAnswer) -> Message {
        let now = SystemTime::now();
        Message {
            subject: self.link.names.key(device, &answer.key),
            header: None,
            payload: Bytes::from(encode_answer(now, &answer.body, &answer.answer)),
            expected: None,
        }
    }
}

/// Frees a key that was marked for nothing, whatever becomes of the one who asks.
struct Marked<'a> {
    core: &'a Core,
    device: &'a DeviceId,
    key: &'a str,
    is_kept: bool,
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.core.marks.remove(self.device, self.key);
        }
    }
}
