//! A cluster of three servers, each message on all of them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::TestServer;
use crate::store::nats::names::StreamName;
use crate::store::records::QueuedUplink;
use crate::store::testing::{ALL, delivered, device, downlink, uplink};
use crate::store::{
    DownlinkHistory, Engine, Health, HoldsAll, Limits, Nats, NatsServers, StoreError, UplinkQueue,
};

/// Three servers that know each other.
struct Cluster([TestServer; 3]);

impl Cluster {
    async fn start() -> Self {
        // Theirs as soon as these are let go.
        let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let routes = ports.each_ref().map(|port| {
            let addr = port.local_addr().unwrap();
            format!("nats://{addr}")
        });
        drop(ports);
        let start = |number: usize| {
            let args = [
                ("--server_name", format!("s{number}")),
                ("--cluster_name", "c".to_owned()),
                ("--cluster", routes[number].clone()),
                ("--routes", routes.join(",")),
            ];
            let args = args.map(|(name, value)| [name.to_owned(), value]);
            TestServer::start_with(args.concat())
        };
        let (a, b, c) = tokio::join!(start(0), start(1), start(2));
        Self([a, b, c])
    }

    fn servers(&self) -> NatsServers {
        NatsServers {
            urls: self
                .0
                .iter()
                .map(|server| server.url().to_owned())
                .collect(),
            replicas: 3,
            ..self.0[0].servers()
        }
    }

    async fn open(&self) -> Arc<Nats> {
        let patience = PATIENCE;
        let holding = Arc::new(HoldsAll);
        let store = Nats::open(&self.servers(), Limits::default(), patience, holding).await;
        Arc::new(store.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_loses_nothing_when_the_one_that_leads_is_killed() {
    let mut cluster = Cluster::start().await;
    let store = cluster.open().await;
    let (mut waiting, mut cursors) = (BTreeSet::new(), Vec::new());
    for _ in 0..20 {
        waiting.insert(insist(&store).await.seq);
        let settle = insist(&store).await;
        // An unavailable answer is made good later.
        drop(store.settle(&device(1), settle.seq, delivered(&settle)));
        // One that was not taken may be there all the same.
        let stored = store.append(vec![downlink(&device(1), b"x")]).await;
        cursors.extend(stored.into_iter().flatten());
    }
    tokio::time::timeout(PATIENCE, caught_up(&store))
        .await
        .unwrap();
    let info = store.core.link.info(StreamName::Uplinks).await.unwrap();
    let leader = info.cluster.and_then(|cluster| cluster.leader).unwrap();
    let number: usize = leader.trim_start_matches('s').parse().unwrap();
    cluster.0[number].kill9();
    // Two are left, and can be used.
    waiting.insert(insist(&store).await.seq);
    cluster.0[number].restart().await;
    waiting.insert(insist(&store).await.seq);
    let waiting: Vec<u64> = waiting.into_iter().collect();
    let only_those = async |store: &Nats| {
        let all = async {
            while store.health() != Health::Writable
                || queued_now(store).await.as_ref() != Some(&waiting)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap();
    };
    only_those(&store).await;
    let first = cursors[0];
    let page = store.history([device(1)].into(), first - 1, ALL).await;
    let page = page.unwrap();
    let read: Vec<u64> = page.events.iter().map(|event| event.cursor).collect();
    assert!(cursors.iter().all(|cursor| read.contains(cursor)));
    store.close().await.unwrap();
    only_those(&*cluster.open().await).await;
}

/// For elections on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Offers an uplink until one is taken.
async fn insist(store: &Nats) -> QueuedUplink {
    let taken = async {
        loop {
            let offered = uplink(&device(1), store.next_seq(), b"x");
            match store.enqueue(offered.clone(), None).await {
                Ok(()) => return offered,
                Err(StoreError::Unavailable { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let taken = tokio::time::timeout(PATIENCE, taken).await;
    taken.expect("two of three can be used")
}

async fn queued_now(store: &Nats) -> Option<Vec<u64>> {
    let read = store.read(&device(1), None, ALL).await.ok()?;
    Some(read.into_iter().map(|uplink| uplink.seq).collect())
}

/// Until every stream has three replicas that are up to date.
async fn caught_up(store: &Nats) {
    loop {
        let mut current = 0;
        for stream in StreamName::ALL {
            let info = store.core.link.info(stream).await;
            let cluster = info.ok().and_then(|info| info.cluster);
            let replicas = cluster.map(|cluster| cluster.replicas).unwrap_or_default();
            current += replicas
                .iter()
                .filter(|replica| replica.current && !replica.offline)
                .count();
        }
        if current == 2 * StreamName::ALL.len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
