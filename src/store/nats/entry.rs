//! What lies in the stream of downlinks: downlinks, and marks that say that what was before them is gone.

use std::time::SystemTime;

use bytes::Bytes;

use super::histories::Histories;
use super::names::{Names, device_of};
use super::reader::Seen;
use super::requests::Message;
use crate::device::DeviceId;
use crate::fields::micros;

/// The header of a message that says: everything of this device up to here is gone.
const MARK: &str = "mark";

pub(super) fn mark(names: &Names, device: &DeviceId) -> Message {
    Message {
        subject: names.downlinks(device),
        header: Some(MARK.to_owned()),
        payload: Bytes::new(),
        expected: None,
    }
}

/// The header of a downlink of this size as stored, in bytes.
pub(super) fn header(received_at: SystemTime, size: usize) -> String {
    format!("{} {size}", micros(received_at))
}

/// When it was received, in microseconds since the epoch, and its size.
fn read_header(header: &str) -> Option<(u64, usize)> {
    let (received_at, size) = header.split_once(' ')?;
    Some((received_at.parse().ok()?, size.parse().ok()?))
}

impl Histories {
    /// Takes in what lies in the stream at a cursor, and gives its device if it is a downlink.
    pub(super) fn take(&mut self, cursor: u64, seen: &Seen<'_>) -> Option<DeviceId> {
        if seen.milestone().is_some() {
            return None;
        }
        if let Some((device, header)) = device_of(seen.subject).zip(seen.header) {
            if header == MARK {
                self.mark(&device, cursor);
                return None;
            }
            if let Some((received_at, size)) = read_header(header) {
                self.push(&device, cursor, size, received_at);
                return Some(device);
            }
        }
        tracing::error!(cursor, "what is in the history here is no downlink");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::limits::Limits;
    use crate::store::nats::names::StreamName;
    use crate::store::testing::device;

    #[test]
    fn a_history_is_made_of_downlinks_and_marks_and_nothing_else() {
        let names = Names::new("causeway");
        let subject = names.downlinks(&device(1));
        let downlink = header(SystemTime::now(), 7);
        let payload = Bytes::new();
        let mut histories = Histories::new(Limits::default().downlinks, 0);
        let mut take = |place, subject: &str, header: Option<&str>| {
            let seen = Seen {
                place,
                subject,
                header,
                payload: &payload,
            };
            let device = histories.take(place, &seen);
            (device, histories.total().count)
        };
        let is_one = (Some(device(1)), 1);
        assert_eq!(take(1, &subject, Some(&downlink)), is_one);
        // Neither counts: somebody else's message, and the end of a list.
        let end = names.milestone(StreamName::Downlinks);
        assert_eq!(take(2, &subject, None), (None, 1));
        assert_eq!(take(3, &subject, Some("7")), (None, 1));
        assert_eq!(take(4, &end, Some("end 1700000000000000")), (None, 1));
        assert_eq!(take(5, &end, Some(&downlink)), (None, 1));
        let mark = mark(&names, &device(1));
        let gone = take(6, &mark.subject, mark.header.as_deref());
        assert_eq!(gone, (None, 0));
    }
}
