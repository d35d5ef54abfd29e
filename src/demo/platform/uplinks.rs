//! The newest uplinks of every device, within bounds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use super::NewUplink;
use super::record::Uplink;
use crate::device::DeviceId;

/// How many uplinks of one device are kept.
const MAX_COUNT: usize = 10_000;

/// How many bytes of payload of one device are kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Uplinks {
    last_number: u64,
    devices: BTreeMap<DeviceId, Ring>,
}

#[derive(Default)]
struct Ring {
    uplinks: VecDeque<Arc<Uplink>>,
    bytes: usize,
}

impl Uplinks {
    pub(super) fn push(&mut self, uplink: NewUplink, now: SystemTime) {
        self.last_number += 1;
        let ring = self.devices.entry(uplink.device.clone()).or_default();
        ring.bytes += uplink.payload.size();
        ring.uplinks.push_back(Arc::new(Uplink {
            number: self.last_number,
            uplink,
            received_at: now,
        }));
        while ring.uplinks.len() > MAX_COUNT || ring.bytes > MAX_BYTES {
            let Some(oldest) = ring.uplinks.pop_front() else {
                break;
            };
            ring.bytes -= oldest.uplink.payload.size();
        }
    }

    pub(super) fn list(&self, device: Option<&str>, after: u64, limit: usize) -> Vec<Arc<Uplink>> {
        let mut found: Vec<_> = match device {
            Some(device) => self
                .devices
                .get(device)
                .into_iter()
                .flat_map(|ring| ring.after(after).take(limit))
                .collect(),
            None => self
                .devices
                .values()
                .flat_map(|ring| ring.after(after))
                .collect(),
        };
        found.sort_unstable_by_key(|uplink| uplink.number);
        found.truncate(limit);
        found
    }
}

impl Ring {
    fn after(&self, number: u64) -> impl Iterator<Item = Arc<Uplink>> {
        let first = self
            .uplinks
            .partition_point(|uplink| uplink.number <= number);
        self.uplinks.range(first..).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::platform::Payload;
    use bytes::Bytes;

    fn uplink(device: &str, payload: usize) -> NewUplink {
        NewUplink {
            device: DeviceId::parse(device).unwrap(),
            topic: "default".to_owned(),
            content_type: "text/plain".to_owned(),
            payload: Payload::Bytes(Bytes::from(vec![0; payload])),
            dup: false,
        }
    }

    fn numbers(uplinks: &Uplinks, device: Option<&str>, after: u64, limit: usize) -> Vec<u64> {
        let list = uplinks.list(device, after, limit);
        list.iter().map(|uplink| uplink.number).collect()
    }

    #[test]
    fn uplinks_are_listed_in_the_order_in_which_they_came() {
        let mut uplinks = Uplinks::default();
        for device in ["b", "a", "b", "a"] {
            uplinks.push(uplink(device, 1), SystemTime::now());
        }
        assert_eq!(numbers(&uplinks, Some("a"), 0, 9), [2, 4]);
        assert_eq!(numbers(&uplinks, None, 0, 9), [1, 2, 3, 4]);
        assert_eq!(numbers(&uplinks, None, 1, 2), [2, 3]);
        assert!(numbers(&uplinks, Some("c"), 0, 9).is_empty());
    }

    #[test]
    fn old_uplinks_make_room_by_count_and_by_bytes() {
        let mut uplinks = Uplinks::default();
        for _ in 0..=MAX_COUNT {
            uplinks.push(uplink("a", 1), SystemTime::now());
        }
        assert_eq!(numbers(&uplinks, Some("a"), 0, 1), [2]);
        uplinks.push(uplink("a", MAX_BYTES), SystemTime::now());
        assert_eq!(numbers(&uplinks, Some("a"), 0, 9).len(), 1);
    }
}
