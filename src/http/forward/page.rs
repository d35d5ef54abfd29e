//! The list of devices: each member's part of it, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;

use super::Forward;
use super::answer::{Answer, Page};
use super::ask::{Ask, PageWanted};
use super::reach::{LOOK_AGAIN, READ, Unreached, wait_for_change};
use crate::cluster::{Partitions, Table};
use crate::device::DeviceId;
use crate::http::device_form::DeviceBody;
use crate::registry::{Device, Registry};

/// What one member's page may have, in bytes; the rest comes with the next one.
const FULL: usize = 512 * 1024;

/// Devices as JSON, in the order of their ids, and where to go on.
pub(in crate::http) struct WholePage {
    pub(in crate::http) devices: Vec<Bytes>,
    pub(in crate::http) next: Option<DeviceId>,
}

impl PageWanted {
    /// Whether a device is wanted.
    pub(in crate::http) fn includes(&self, device: &Device) -> bool {
        let connector = self.connector.as_ref();
        self.devices.contains(&device.id)
            && connector.is_none_or(|connector| device.connector.name == *connector)
            && (self.state).is_none_or(|state| device.session.status().state() == state)
    }
}

impl Forward {
    /// The devices of all members. A part is no list: where some devices are with nobody, or with somebody who does not
    /// answer, there is none.
    pub(in crate::http) async fn page(
        &self,
        registry: &Registry,
        wanted: &PageWanted,
    ) -> Result<WholePage, Unreached> {
        let until = Instant::now() + self.limits.wait;
        let mut changed = self.members.peers.changed();
        loop {
            let table = Arc::clone(&changed.borrow_and_update());
            let mut pages = self.pages_of_others(&table, wanted).await;
            pages.push(self.own_page(registry, wanted));
            if let Some(whole) = merge(pages, wanted.limit) {
                return Ok(whole);
            }
            let now = Instant::now();
            if now >= until {
                return Err(Unreached::Incomplete);
            }
            wait_for_change(&mut changed, until.min(now + LOOK_AGAIN)).await;
        }
    }

    async fn pages_of_others(&self, table: &Table, wanted: &PageWanted) -> Vec<Page> {
        let question = Ask::page(wanted);
        let asked = table.others().map(|member| {
            let answer = self.ask(&member.id, question.clone(), READ);
            async move {
                match answer.await {
                    // One that goes on behind nothing would have no end.
                    Ok(Answer::Page(page)) if !(page.more && page.devices.is_empty()) => {
                        Some(*page)
                    }
                    _ => None,
                }
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// This member's own part.
    pub(super) fn own_page(&self, registry: &Registry, wanted: &PageWanted) -> Page {
        let held = || self.members.peers.table().here();
        let before = held();
        let after = wanted.after.as_ref();
        let found = registry.page(after, wanted.limit.saturating_add(1), |device| {
            wanted.includes(device)
        });
        let mut page = Page {
            of: Partitions::NONE,
            more: found.len() > wanted.limit,
            devices: Vec::new(),
        };
        let mut size = 0;
        for device in found.iter().take(wanted.limit) {
            if size >= FULL {
                page.more = true;
                break;
            }
            // Writing it to memory cannot fail.
            let json = serde_json::to_vec(&DeviceBody::of(device)).unwrap_or_default();
            size += json.len();
            page.devices.push((device.id.clone(), json.into()));
        }
        // What has come or gone meanwhile may be missing.
        page.of = before.common(held());
        page
    }
}

/// The pages as one, unless some devices are on none of them.
fn merge(pages: Vec<Page>, limit: usize) -> Option<WholePage> {
    let of = pages
        .iter()
        .fold(Partitions::NONE, |all, page| all.and(page.of));
    if of != Partitions::ALL {
        return None;
    }
    // Behind the last one of a page that goes on, something of it may be missing.
    let end = |page: &Page| page.devices.last().map(|(id, _)| id.clone());
    let ends: BTreeSet<_> = pages.iter().filter(|page| page.more).map(end).collect();
    let end = ends.into_iter().next();
    // One that moved meanwhile may be on two.
    let all: BTreeMap<_, _> = pages.into_iter().flat_map(|page| page.devices).collect();
    let within = |id: &DeviceId| (end.as_ref()).is_none_or(|end| Some(id) <= end.as_ref());
    let mut devices: Vec<_> = all.into_iter().filter(|(id, _)| within(id)).collect();
    let more = devices.len() > limit || end.is_some();
    devices.truncate(limit);
    let next = devices.last().filter(|_| more).map(|(id, _)| id.clone());
    Some(WholePage {
        devices: devices.into_iter().map(|(_, json)| json).collect(),
        next,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::Partition;

    fn id(number: usize) -> DeviceId {
        DeviceId::parse(&format!("d{number:03}")).unwrap()
    }

    /// What a member with these devices answers who has room for `room` of them.
    fn page_of(devices: &BTreeSet<usize>, after: Option<&DeviceId>, room: usize) -> Page {
        let behind = |device: &usize| after.is_none_or(|after| id(*device) > *after);
        let wanted: Vec<_> = devices.iter().filter(|device| behind(device)).collect();
        let json = |device: &usize| (id(*device), Bytes::from(format!("{device}")));
        Page {
            of: Partitions::ALL,
            more: wanted.len() > room,
            devices: wanted.into_iter().take(room).map(json).collect(),
        }
    }

    proptest! {
        #[test]
        fn all_devices_are_listed_once_and_in_order(
            owners in prop::collection::btree_map(0..200_usize, prop::collection::btree_set(0..3_usize, 1..=2), 0..60),
            limit in 1..9_usize,
            rooms in prop::collection::vec(1..9_usize, 3),
        ) {
            let of_member = |member| -> BTreeSet<usize> {
                let has = |(_, owners): &(_, &BTreeSet<usize>)| owners.contains(&member);
                owners.iter().filter(has).map(|(device, _)| *device).collect()
            };
            let members: Vec<_> = (0..3).map(of_member).collect();
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let pages = members.iter().zip(&rooms);
                let pages = pages.map(|(devices, room)| page_of(devices, after.as_ref(), limit.min(*room)));
                let page = merge(pages.collect(), limit).unwrap();
                prop_assert!(page.devices.len() <= limit);
                listed.extend(page.devices);
                if page.next.is_none() {
                    break;
                }
                prop_assert!(page.next > after);
                after = page.next;
            }
            let all: Vec<_> = owners.keys().map(|device| Bytes::from(format!("{device}"))).collect();
            prop_assert_eq!(listed, all);
        }
    }

    #[test]
    fn a_part_is_no_list() {
        let seven = Partition::new(7).unwrap();
        let page = |of| Page {
            of,
            more: false,
            devices: Vec::new(),
        };
        let rest = Partitions::ALL.without(seven.into());
        assert!(merge(vec![page(rest)], 9).is_none());
        let whole = merge(vec![page(rest), page(seven.into())], 9).unwrap();
        assert_eq!((whole.devices.len(), whole.next), (0, None));
    }
}
