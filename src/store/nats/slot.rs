//! What the index knows of one uplink, and the header that says it: a look through the stream reads nothing else.

use crate::fields::micros;
use crate::message::{Qos, UplinkId};
use crate::store::records::QueuedUplink;

/// One uplink in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its place in the stream.
    pub(super) place: u64,
    /// The number of the connection on which the place was learned.
    pub(super) conn: u64,
    pub(super) id: UplinkId,
    /// Its size as stored.
    pub(super) bytes: u64,
    /// In microseconds since the epoch.
    pub(super) accepted_at: u64,
    pub(super) qos: Qos,
    /// Whether the answer to a request with an idempotency key is stored with it.
    pub(super) keyed: bool,
}

impl Slot {
    /// Of an uplink that is about to be published.
    pub(super) fn new(uplink: &QueuedUplink, bytes: u64, keyed: bool) -> Self {
        Self {
            place: 0,
            conn: 0,
            id: uplink.id,
            bytes,
            accepted_at: micros(uplink.accepted_at),
            qos: uplink.qos,
            keyed,
        }
    }

    /// What stands in the message's header.
    pub(super) fn header(&self, seq: u64) -> String {
        let (id, at, keyed) = (self.id, self.accepted_at, u8::from(self.keyed));
        format!(
            "{seq} {id} {at} {} {} {keyed}",
            self.bytes,
            self.qos.level()
        )
    }

    /// The other way round: the uplink's number, and where it is.
    pub(super) fn read(conn: u64, place: u64, header: &str) -> Option<(u64, Self)> {
        let mut fields = header.split(' ');
        let seq = fields.next()?.parse().ok()?;
        let id = UplinkId::parse(fields.next()?)?;
        let mut number = || fields.next()?.parse::<u64>().ok();
        let slot = Self {
            place,
            conn,
            id,
            accepted_at: number()?,
            bytes: number()?,
            qos: Qos::from_level(u8::try_from(number()?).ok()?)?,
            keyed: number()? != 0,
        };
        Some((seq, slot))
    }
}

#[cfg(test)]
impl Slot {
    /// At place 9, known from connection 3.
    pub(super) fn sample() -> Self {
        Self {
            place: 9,
            conn: 3,
            id: UplinkId::new(),
            bytes: 123,
            accepted_at: 1_700_000_000_000_001,
            qos: Qos::AtLeastOnce,
            keyed: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let slot = Slot::sample();
        assert_eq!(Slot::read(3, 9, &slot.header(7)), Some((7, slot)));
        for bad in ["", "1", "1 2 3 4 5 6", "x y z"] {
            assert_eq!(Slot::read(3, 9, bad), None, "{bad:?}");
        }
    }
}
