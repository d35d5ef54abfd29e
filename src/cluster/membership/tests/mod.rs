//! Several members in one process, and a real nats-server.

mod asking;
mod ledger;
mod moving;
mod proxy;
mod three;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Cluster, ClusterSettings, Membership};
use crate::cluster::{Answerer, Partitions, Peers, Place};
use crate::store::{NatsServers, TestServer};
use crate::tally::ClusterTally;
use ledger::{Ledger, Recorded};

/// Whatever must come comes within this time, on a machine that is busy otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "no {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Answers with what it was asked, backwards.
struct Backwards;

impl Answerer for Backwards {
    fn answer(&self, request: Bytes) -> BoxFuture<'static, Bytes> {
        let answer: Vec<u8> = request.iter().rev().copied().collect();
        Box::pin(std::future::ready(answer.into()))
    }
}

struct TestMember {
    peers: Arc<dyn Peers>,
    tally: Arc<ClusterTally>,
    membership: Membership,
}

impl TestMember {
    async fn join(servers: NatsServers, name: &str, lease: Duration, ledger: &Ledger) -> Self {
        Self::join_answering(servers, name, lease, ledger, Arc::new(Backwards)).await
    }

    async fn join_answering(
        servers: NatsServers,
        name: &str,
        lease: Duration,
        ledger: &Ledger,
        answerer: Arc<dyn Answerer>,
    ) -> Self {
        let settings = ClusterSettings {
            servers,
            name: name.into(),
            lease,
            configuration: tokio::sync::watch::Sender::new("same".into()).subscribe(),
        };
        let tally: Arc<ClusterTally> = Arc::default();
        let cluster = Cluster::connect(settings, Arc::clone(&tally), DEADLINE).await;
        let cluster = cluster.unwrap();
        let peers = cluster.peers();
        let sessions = Recorded::new(ledger, name, Arc::clone(&peers));
        Self {
            peers,
            tally,
            membership: cluster.join(Arc::new(sessions), answerer),
        }
    }

    fn here(&self) -> Partitions {
        self.peers.table().here()
    }

    /// As a crash does it: nothing is given back.
    fn crash(self, ledger: &Ledger, name: &str) -> Arc<dyn Peers> {
        drop(self.membership);
        ledger.crashed(name);
        self.peers
    }
}

/// Everything is held once, and all see it alike.
async fn until_settled(members: &[&TestMember]) {
    until("settled cluster", || {
        let tables: Vec<_> = members.iter().map(|member| member.peers.table()).collect();
        let all = tables.iter().map(|table| table.here());
        let held = all.clone().fold(Partitions::NONE, Partitions::and);
        let count: usize = all.map(Partitions::len).sum();
        let agree = tables.iter().all(|table| {
            table.members().len() == members.len()
                && Partitions::ALL
                    .iter()
                    .all(|partition| match table.place(partition) {
                        Place::Here => true,
                        Place::There(owner) => tables
                            .iter()
                            .any(|other| *other.me() == owner && other.here().has(partition)),
                        Place::Vacant => false,
                    })
        });
        held == Partitions::ALL && count == 64 && agree && fair(members)
    })
    .await;
}

/// Nothing is still to be moved.
fn fair(members: &[&TestMember]) -> bool {
    members.len() == 1 || members.iter().all(|member| !member.here().is_empty())
}
