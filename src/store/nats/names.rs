//! Names of streams and subjects. What a subject cannot carry is encoded, reversibly.

use crate::device::DeviceId;
use crate::message::UplinkId;
use crate::store::records::RecordKind;

/// The streams of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StreamName {
    Uplinks,
    Downlinks,
    Receipts,
    Keys,
    Records,
}

impl StreamName {
    pub(super) const ALL: [Self; 5] = [
        Self::Uplinks,
        Self::Downlinks,
        Self::Receipts,
        Self::Keys,
        Self::Records,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Uplinks => "uplinks",
            Self::Downlinks => "downlinks",
            Self::Receipts => "receipts",
            Self::Keys => "keys",
            Self::Records => "records",
        }
    }
}

/// Names under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn stream(&self, stream: StreamName) -> String {
        format!("{}-{}", self.prefix, stream.word())
    }

    /// All subjects of a stream.
    pub(super) fn subjects(&self, stream: StreamName) -> String {
        format!("{}.{}.>", self.prefix, stream.word())
    }

    pub(super) fn uplinks(&self, device: &DeviceId) -> String {
        format!("{}.uplinks.{}", self.prefix, encode(device.as_str()))
    }

    pub(super) fn downlinks(&self, device: &DeviceId) -> String {
        format!("{}.downlinks.{}", self.prefix, encode(device.as_str()))
    }

    pub(super) fn receipt(&self, id: UplinkId) -> String {
        format!("{}.receipts.{id}", self.prefix)
    }

    pub(super) fn key(&self, device: &DeviceId, key: &str) -> String {
        let device = encode(device.as_str());
        format!("{}.keys.{device}.{}", self.prefix, encode(key))
    }

    /// All keys of a device.
    pub(super) fn keys_of(&self, device: &DeviceId) -> String {
        format!("{}.keys.{}.*", self.prefix, encode(device.as_str()))
    }

    pub(super) fn record(&self, kind: RecordKind, key: &str) -> String {
        format!("{}.records.{}.{}", self.prefix, kind as u8, encode(key))
    }

    /// How often the store was opened.
    pub(super) fn term(&self) -> String {
        format!("{}.records.term", self.prefix)
    }

    /// Where cursors start.
    pub(super) fn origin(&self) -> String {
        format!("{}.records.origin", self.prefix)
    }

    /// Marks the end of what a stream held at a moment. No token of a text looks like this one.
    pub(super) fn milestone(&self, stream: StreamName) -> String {
        format!("{}.{}.=end", self.prefix, stream.word())
    }

    /// Where processes tell each other of uplinks that they have stored for devices which they do not hold. No stream takes it.
    pub(super) fn enqueued(&self) -> String {
        format!("{}.enqueued", self.prefix)
    }
}

/// The device in the last token of a subject.
pub(super) fn device_of(subject: &str) -> Option<DeviceId> {
    DeviceId::parse(&decode(subject.rsplit('.').next()?)?).ok()
}

/// The kind and the key of a record's subject.
pub(super) fn record_of(subject: &str) -> Option<(u8, String)> {
    let mut tokens = subject.rsplit('.');
    let key = decode(tokens.next()?)?;
    Some((tokens.next()?.parse().ok()?, key))
}

/// A text as one token: letters, digits, `-` and `_` stand for themselves, every other byte is `=` and two digits; `=` alone
/// is the empty text. At the most three times as long.
pub(super) fn encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(byte.into());
        } else {
            token.push('=');
            token.push(DIGITS[usize::from(byte >> 4)].into());
            token.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
    token
}

/// The text of a token; `None` where it is not one.
pub(super) fn decode(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'=' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>()?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_is_one_and_reads_as_it_was_written(text: String) {
            let token = encode(&text);
            prop_assert!(!token.is_empty() && token.len() <= (3 * text.len()).max(1));
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)));
            prop_assert_eq!(decode(&token), Some(text));
        }

        #[test]
        fn two_texts_have_two_tokens(one: String, other: String) {
            prop_assert_eq!(encode(&one) == encode(&other), one == other);
        }
    }

    #[test]
    fn the_longest_device_fits_into_a_control_line() {
        let device = DeviceId::parse(&"\u{20ac}".repeat(85)).unwrap();
        let subject = Names::new(&"p".repeat(64)).uplinks(&device);
        assert!(subject.len() < 1000, "{}", subject.len());
        assert_eq!(device_of(&subject), Some(device));
    }

    #[test]
    fn no_device_and_no_record_is_taken_for_a_milestone() {
        let names = Names::new("causeway");
        for stream in StreamName::ALL {
            let subject = names.milestone(stream);
            assert_eq!(device_of(&subject), None);
            assert_eq!(record_of(&subject), None);
        }
    }
}
