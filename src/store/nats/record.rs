//! Records: the last message of each one's subject is what it says.

use super::core::Core;
use super::names::StreamName;
use super::requests::{Message, header};
use crate::store::engine::StoreError;
use crate::store::records::RecordKind;

/// The header of a record that was removed.
const REMOVED: &str = "removed";

/// Whether a record's last message, with this header, says that it was removed.
pub(super) fn is_removed(header: Option<&str>) -> bool {
    header == Some(REMOVED)
}

impl Core {
    pub(super) async fn record(
        &self,
        kind: RecordKind,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.check()?;
        if !self.records().has(&(kind as u8, key.to_owned())) {
            return Ok(None);
        }
        let subject = self.link.names.record(kind, key);
        let last = self.link.last(StreamName::Records, &subject).await?;
        let present = last.filter(|message| !is_removed(header(&message.headers)));
        Ok(present.map(|message| message.payload.to_vec()))
    }

    pub(super) async fn put_record(
        &self,
        kind: RecordKind,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.check()?;
        let is_there = value.is_some();
        let published = self.link.publish(Message {
            subject: self.link.names.record(kind, key),
            header: (!is_there).then(|| REMOVED.to_owned()),
            payload: value.unwrap_or_default().into(),
            expected: None,
        });
        let place = published.await?;
        let record = (kind as u8, key.to_owned());
        self.records().apply(record, place, is_there);
        Ok(())
    }
}
