//! Idempotency keys: one request with a key is on its way at a time, and what it was answered is found again.

use std::time::SystemTime;

use super::answers;
use super::core::Core;
use crate::device::DeviceId;
use crate::store::engine::StoreError;
use crate::store::records::{Begun, BodyHash};

impl Core {
    /// What is kept for a key, if it is not too old. Blocks.
    fn kept(
        &self,
        device: &DeviceId,
        key: &str,
        body: &BodyHash,
    ) -> Result<Option<Begun>, StoreError> {
        let stored = self.read_now(|tx| answers::read(tx, device, key))?;
        let age = self.shared.limits.keys.age;
        Ok(stored.and_then(|stored| stored.known(body, age, SystemTime::now())))
    }

    /// Marks a key as in flight, unless something is known of it. Blocks.
    pub(super) fn begin(
        &self,
        device: &DeviceId,
        key: &str,
        body: BodyHash,
    ) -> Result<Begun, StoreError> {
        let marks = &self.shared.marks;
        // Before the file, which may still hold an earlier answer: that the uplink is queued.
        if let Some(known) = marks.answered(device, key, &body) {
            return Ok(known);
        }
        if let Some(known) = self.kept(device, key, &body)? {
            return Ok(known);
        }
        let begun = marks.begin(device, key, body);
        if begun != Begun::New {
            return Ok(begun);
        }
        // Once more: the one who had the mark may have finished between the look and the mark.
        let again = self.kept(device, key, &body);
        if !matches!(again, Ok(None)) {
            marks.remove(device, key);
        }
        Ok(again?.unwrap_or(Begun::New))
    }
}
