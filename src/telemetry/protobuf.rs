//! Protocol Buffers on the wire, as far as they are written here: <https://protobuf.dev/programming-guides/encoding/>.

/// A message that is being written. Fields without their default value are left out, as the format has it.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field's length is known.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    pub(super) fn varint(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.number(field << 3 | VARINT);
            self.number(value);
        }
    }

    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.number(field << 3 | FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn fixed32(&mut self, field: u64, value: u32) {
        if value != 0 {
            self.number(field << 3 | FIXED32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always(field, bytes);
        }
    }

    /// A message within this one, also when nothing is in it.
    pub(super) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.always(field, &inner.0);
    }

    /// Bytes of a field that says something by being there.
    pub(super) fn always(&mut self, field: u64, bytes: &[u8]) {
        self.number(field << 3 | LENGTH);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A number that says something by being there.
    pub(super) fn always_varint(&mut self, field: u64, value: u64) {
        self.number(field << 3 | VARINT);
        self.number(value);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's own description.
    #[test]
    fn the_examples_of_the_specification() {
        let mut message = Message::default();
        message.varint(1, 150);
        message.bytes(2, b"testing");
        message.message(3, |inner| inner.varint(1, 150));
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01";
        assert_eq!(message.finish(), expected);
    }

    #[test]
    fn fixed_numbers_and_what_is_left_out() {
        let mut message = Message::default();
        message.fixed64(7, 1);
        message.fixed32(16, 0x0301);
        message.varint(1, 0);
        message.fixed64(2, 0);
        message.bytes(3, b"");
        message.always_varint(3, u64::MAX);
        message.always(1, b"");
        let expected = [
            &b"\x39\x01\0\0\0\0\0\0\0"[..],
            b"\x85\x01\x01\x03\0\0",
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\x00",
        ];
        assert_eq!(message.finish(), expected.concat());
    }
}
