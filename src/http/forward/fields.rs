//! The fields of a message between members, behind its version and its kind.

use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::fields::{DecodeError, Decoder, Encoder};

/// The version of all messages. A member of another one says that it does not understand.
pub(super) const VERSION: u8 = 1;

/// A message of a kind, with room for this many bytes.
pub(super) fn message(kind: u8, room: usize) -> Encoder {
    let mut to = Encoder::new(VERSION, room);
    to.byte(kind);
    to
}

/// Reads fields in the order in which they were written. Parts of the message are not copied.
pub(super) struct Reader(Bytes);

impl Reader {
    /// The kind of a message, and its fields.
    pub(super) fn new(message: Bytes) -> Result<(u8, Self), DecodeError> {
        let mut fields = Decoder::new(&message, VERSION)?;
        let kind = fields.byte()?;
        let start = message.len() - fields.left();
        Ok((kind, Self(message.slice(start..))))
    }

    fn field<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut fields = Decoder::behind(&self.0);
        let field = read(&mut fields)?;
        let taken = self.0.len() - fields.left();
        self.0.advance(taken);
        Ok(field)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.field(|fields| fields.byte())
    }

    pub(super) fn flag(&mut self) -> Result<bool, DecodeError> {
        self.field(|fields| fields.flag())
    }

    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        self.field(|fields| fields.number())
    }

    pub(super) fn duration(&mut self) -> Result<Duration, DecodeError> {
        self.field(|fields| fields.duration())
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let message = self.0.clone();
        self.field(|fields| Ok(message.slice_ref(fields.bytes()?)))
    }

    /// A text that `parse` makes something of.
    pub(super) fn parsed<T>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, DecodeError> {
        self.field(|fields| {
            let text = std::str::from_utf8(fields.bytes()?).ok();
            text.and_then(parse).ok_or(DecodeError::Field(what))
        })
    }

    pub(super) fn text(&mut self) -> Result<String, DecodeError> {
        self.parsed("text", |text| Some(text.to_owned()))
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        self.flag()?.then(|| read(self)).transpose()
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        // Not as many as are said to come: each takes a byte at least, and is read first.
        let mut items = Vec::new();
        for _ in 0..self.number()? {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        Decoder::behind(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_not_there_take_no_memory() {
        let mut huge = message(0, 0);
        huge.number(u64::MAX);
        let huge = Bytes::from(huge.finish());
        let reader = || Reader::new(huge.clone()).unwrap().1;
        assert_eq!(reader().bytes(), Err(DecodeError::Short));
        assert_eq!(reader().list(|r| r.byte()), Err(DecodeError::Short));
    }

    #[test]
    fn a_number_has_64_bits() {
        let read = |bytes: &'static [u8]| Reader(Bytes::from_static(bytes)).number();
        assert_eq!(
            read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            Ok(u64::MAX)
        );
        for bad in [
            &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"[..],
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
        ] {
            assert_eq!(read(bad), Err(DecodeError::Field("number")));
        }
        assert_eq!(read(b"\x80"), Err(DecodeError::Short));
    }

    #[test]
    fn other_versions_are_not_read() {
        let of = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).map(|_| ());
        assert_eq!(of(b""), Err(DecodeError::Short));
        assert_eq!(of(b"\x01"), Err(DecodeError::Short));
        assert_eq!(of(b"\x02\x01"), Err(DecodeError::Version(2)));
        assert_eq!(of(b"{}"), Err(DecodeError::Version(b'{')));
    }
}
