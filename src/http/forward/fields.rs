//! Fields of a message between members: one after the other, numbers in LEB128, texts and bytes behind their length.
//!
//! Reading takes no more memory than the message has bytes, whatever it says of its lengths.

use std::time::Duration;

use bytes::{Buf, Bytes};

/// The version of all messages. A member of another one says that it does not understand.
pub(super) const VERSION: u8 = 1;

/// A message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the message has version {0}, which this program does not know")]
    Version(u8),
    #[error("the message ends too early")]
    Short,
    #[error("the message is followed by something")]
    Long,
    #[error("the message's {0} is not one")]
    Field(&'static str),
}

/// Writes fields.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A message of a kind, with room for this many bytes.
    pub(super) fn new(kind: u8, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(&[VERSION, kind]);
        Self(bytes)
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.byte(flag.into());
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// In whole milliseconds.
    pub(super) fn duration(&mut self, duration: Duration) {
        self.number(duration.as_millis().try_into().unwrap_or(u64::MAX));
    }

    pub(super) fn option<T>(&mut self, option: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(option.is_some());
        if let Some(value) = option {
            write(self, value);
        }
    }

    pub(super) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Reads fields in the order in which they were written.
pub(super) struct Reader(Bytes);

impl Reader {
    /// The kind of a message, and its fields.
    pub(super) fn new(mut message: Bytes) -> Result<(u8, Self), Unreadable> {
        match *message {
            [VERSION, kind, ..] => {
                message.advance(2);
                Ok((kind, Self(message)))
            }
            [VERSION] | [] => Err(Unreadable::Short),
            [version, ..] => Err(Unreadable::Version(version)),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        self.0.try_get_u8().map_err(|_| Unreadable::Short)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable::Field("flag")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift > 63 || part << shift >> shift != part {
                return Err(Unreadable::Field("number"));
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(number)
    }

    /// A part of the message, which is not copied.
    pub(super) fn bytes(&mut self) -> Result<Bytes, Unreadable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unreadable::Short)?;
        match length <= self.0.len() {
            true => Ok(self.0.split_to(length)),
            false => Err(Unreadable::Short),
        }
    }

    /// A text that `parse` makes something of.
    pub(super) fn parsed<T>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Unreadable> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(parse).ok_or(Unreadable::Field(what))
    }

    pub(super) fn text(&mut self) -> Result<String, Unreadable> {
        self.parsed("text", |text| Some(text.to_owned()))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, Unreadable> {
        self.number().map(Duration::from_millis)
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        self.flag()?.then(|| read(self)).transpose()
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        // Not as many as are said to come: each takes a byte at least, and is read first.
        let mut items = Vec::new();
        for _ in 0..self.number()? {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(super) fn finish(self) -> Result<(), Unreadable> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Unreadable::Long),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_not_there_take_no_memory() {
        let mut huge = Writer::new(0, 0);
        huge.number(u64::MAX);
        let message = huge.finish();
        let reader = || Reader::new(message.clone()).unwrap().1;
        assert_eq!(reader().bytes(), Err(Unreadable::Short));
        assert_eq!(reader().list(|r| r.byte()), Err(Unreadable::Short));
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
            assert_eq!(read(bad), Err(Unreadable::Field("number")));
        }
        assert_eq!(read(b"\x80"), Err(Unreadable::Short));
    }

    #[test]
    fn other_versions_are_not_read() {
        let of = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes)).map(|_| ());
        assert_eq!(of(b""), Err(Unreadable::Short));
        assert_eq!(of(b"\x01"), Err(Unreadable::Short));
        assert_eq!(of(b"\x02\x01"), Err(Unreadable::Version(2)));
        assert_eq!(of(b"{}"), Err(Unreadable::Version(b'{')));
    }
}
