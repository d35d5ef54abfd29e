//! Fields one after the other, numbers in LEB128, texts and bytes behind their length: what is stored, and what replicas say to
//! each other.
//!
//! Reading takes no more memory than there are bytes, whatever they say of their lengths.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it has version {0}, which this program does not know")]
    Version(u8),
    #[error("it ends too early")]
    Short,
    #[error("it is followed by something")]
    Long,
    #[error("its {0} is not one")]
    Field(&'static str),
}

/// Writes fields.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Fields behind their version, with room for this many bytes.
    pub(crate) fn new(version: u8, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(room);
        bytes.push(version);
        Self(bytes)
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.byte(flag.into());
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.fixed(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn time(&mut self, time: SystemTime) {
        self.number(micros(time));
    }

    /// In whole milliseconds.
    pub(crate) fn duration(&mut self, duration: Duration) {
        self.number(duration.as_millis().try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn option<T>(&mut self, option: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(option.is_some());
        if let Some(value) = option {
            write(self, value);
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields in the order in which they were written.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Fields that must have this version.
    pub(crate) fn new(bytes: &'a [u8], version: u8) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            None => Err(DecodeError::Short),
            Some((found, rest)) if *found == version => Ok(Self(rest)),
            Some((found, _)) => Err(DecodeError::Version(*found)),
        }
    }

    /// What is left of others.
    pub(crate) fn behind(rest: &'a [u8]) -> Self {
        Self(rest)
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.0.split_first().ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Field("flag")),
        }
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift > 63 || part << shift >> shift != part {
                return Err(DecodeError::Field("number"));
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(number)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| DecodeError::Short)?;
        let (first, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(first)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Field("text"))
    }

    pub(crate) fn duration(&mut self) -> Result<Duration, DecodeError> {
        self.number().map(Duration::from_millis)
    }

    pub(crate) fn time(&mut self) -> Result<SystemTime, DecodeError> {
        self.number().map(from_micros)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeError::Field("option")),
        }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Long)
        }
    }
}

/// Microseconds since the epoch; 0 for what lies before it.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The other way round, ending where the platform's time ends.
pub(crate) fn from_micros(micros: u64) -> SystemTime {
    let since = Duration::from_micros(micros);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_are_read_as_they_were_written(
            number: u64, text: String, bytes: Vec<u8>, option: Option<u64>, since in 0..1u64 << 52,
        ) {
            let time = from_micros(since);
            let mut out = Encoder::new(7, 0);
            out.number(number);
            out.text(&text);
            out.bytes(&bytes);
            out.option(option, Encoder::number);
            out.time(time);
            let out = out.finish();
            let mut read = Decoder::new(&out, 7).unwrap();
            prop_assert_eq!(read.number(), Ok(number));
            prop_assert_eq!(read.text(), Ok(&*text));
            prop_assert_eq!(read.bytes(), Ok(&*bytes));
            prop_assert_eq!(read.option(Decoder::number), Ok(option));
            prop_assert_eq!(read.time(), Ok(time));
            prop_assert_eq!(read.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            if let Ok(mut read) = Decoder::new(&bytes, 0) {
                let _ = read.number();
                let _ = read.text();
                let _ = read.option(Decoder::time);
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut most = [0xff; 11];
        most[0] = 7;
        most[10] = 0x01;
        assert_eq!(Decoder::new(&most, 7).unwrap().number(), Ok(u64::MAX));
        most[10] = 0x02;
        let refused = Err(DecodeError::Field("number"));
        assert_eq!(Decoder::new(&most, 7).unwrap().number(), refused);
    }
}
