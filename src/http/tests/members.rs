//! What `/v1/cluster` and the metrics say of several replicas, and of one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::watch;

use super::bridge::Bridge;
use super::client::get;
use crate::access::Access;
use crate::cluster::{
    AskError, Member, MemberId, MemberReport, MemberState, Partition, Partitions, Peers, Place,
    Places, Report, Table,
};
use crate::device::DeviceId;
use crate::http::Members;
use crate::message::Uplink;
use crate::tally::Asked;
use crate::uplink::{Accepted, Fallback, UplinkError, Wishes};

/// A cluster that stands still.
#[derive(Debug)]
struct Still(Report);

impl Peers for Still {
    fn changed(&self) -> watch::Receiver<Arc<Table>> {
        let me = self.0.members[0].member.clone();
        watch::channel(Arc::new(Table::alone(me))).1
    }

    fn ask(
        &self,
        _: &MemberId,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, AskError>> {
        Box::pin(std::future::ready(Err(AskError::Nobody)))
    }

    fn owner(&self, _: Partition) -> BoxFuture<'static, Result<Option<MemberId>, Box<str>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn report(&self) -> Report {
        self.0.clone()
    }
}

impl Places for Still {
    fn place(&self, _: &DeviceId) -> Place {
        Place::Vacant
    }

    fn partition(&self, device: &DeviceId) -> Partition {
        Partition::of(device.as_str())
    }

    fn knows(&self, _: &DeviceId) -> bool {
        false
    }
}

impl Fallback for Still {
    fn store(
        &self,
        uplink: Uplink,
        _: Wishes,
    ) -> BoxFuture<'static, Result<Accepted, UplinkError>> {
        let unknown = UplinkError::UnknownDevice(uplink.device);
        Box::pin(std::future::ready(Err(unknown)))
    }
}

fn cluster() -> Arc<Still> {
    let partition = |number| Partitions::from(Partition::new(number).unwrap());
    let member = |id: &str, state, partitions, lease_left| MemberReport {
        member: Member {
            id: MemberId::parse(id).unwrap(),
            name: format!("replica {id}").into(),
        },
        state,
        partitions,
        configuration: Some(format!("of {id}").into()),
        lease: Duration::from_secs(6),
        lease_left: Duration::from_millis(lease_left),
    };
    let rest = Partitions::ALL.without(partition(1).and(partition(2)));
    Arc::new(Still(Report {
        me: MemberId::parse("a").unwrap(),
        is_member: true,
        members: vec![
            member("a", MemberState::Alive, partition(1), 4500),
            member("b", MemberState::Late, rest, 100),
        ],
        running: Partitions::NONE,
        moving: partition(1),
        vacant: partition(2),
        is_connected: true,
        renewal: Some(Duration::from_micros(2500)),
        behind: 3,
    }))
}

#[tokio::test]
async fn a_cluster_says_who_has_what() {
    let members = Members {
        peers: cluster(),
        places: cluster(),
        fallback: cluster(),
        lease: Duration::from_secs(6),
    };
    let bridge = Bridge::start_member(Access::open(), members).await;
    let mut told = get(bridge.address, "/v1/cluster").await.json();
    let members = told["members"].take();
    assert_eq!(
        told,
        json!({
            "clustered": true, "me": "a", "members": null, "moving": [1], "vacant": [2], "partitions": 64,
            "nats": {"connected": true, "renewal_seconds": 0.002, "behind": 3},
        })
    );
    assert_eq!(
        members[0],
        json!({
            "id": "a", "name": "replica a", "state": "alive", "partitions": [1], "configuration": "of a",
            "lease_seconds": 6.0, "lease_left_seconds": 4.5,
        })
    );
    assert_eq!(members[1]["state"], "late");
    assert_eq!(members[1]["partitions"].as_array().unwrap().len(), 62);
    let refused = get(bridge.address, "/v1/cluster?all=1").await;
    refused.problem(400, "malformed");
}

#[tokio::test]
async fn a_bridge_that_is_alone_is_its_whole_cluster() {
    let bridge = Bridge::start().await;
    let told = get(bridge.address, "/v1/cluster").await.json();
    assert_eq!(told["clustered"], false);
    assert_eq!(told.get("nats"), None);
    let [member] = &told["members"].as_array().unwrap()[..] else {
        panic!("{told}");
    };
    assert_eq!(
        (&member["id"], &member["name"]),
        (&told["me"], &json!("alone"))
    );
    assert_eq!(member["partitions"].as_array().unwrap().len(), 64);
    assert_eq!(member.get("lease_seconds"), None);
    assert_eq!(member.get("configuration"), None);
    assert_eq!((&told["moving"], &told["vacant"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn metrics_tell_of_a_cluster_only_where_there_is_one() {
    let bridge = Bridge::start().await;
    let (metrics, tally) = super::devices::metrics_among(&bridge, Some(cluster()));
    tally.cluster.asked(Asked::TimedOut);
    tally.cluster.lost.fetch_add(7, Ordering::Relaxed);
    let text = metrics.render();
    for line in [
        "causeway_cluster_members{state=\"alive\"} 1",
        "causeway_cluster_members{state=\"leaving\"} 0",
        "causeway_cluster_members{state=\"late\"} 1",
        "causeway_cluster_partitions{state=\"running\"} 0",
        "causeway_cluster_partitions{state=\"moving\"} 1",
        "causeway_cluster_vacant_partitions 1",
        "causeway_cluster_partition_moves_total{how=\"lost\"} 7",
        "causeway_cluster_lease_remaining_seconds 4.5",
        "causeway_cluster_lease_renewal_duration_seconds 0.0025",
        "causeway_cluster_connected 1",
        "causeway_cluster_records_behind 3",
        "causeway_cluster_requests_total{outcome=\"timed_out\"} 1",
        "causeway_cluster_requests_total{outcome=\"answered\"} 0",
        "causeway_cluster_requests_served_total{outcome=\"turned_away\"} 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    let (alone, _) = super::devices::metrics_among(&bridge, None);
    assert!(!alone.render().contains("causeway_cluster"));
}
