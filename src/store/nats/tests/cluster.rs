//! A cluster of three servers, each message on all of them.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::TestServer;
use crate::store::testing::{ALL, delivered, device, downlink, queued, until, uplink};
use crate::store::{
    DownlinkHistory, Engine, Health, HoldsAll, Limits, Nats, NatsServers, UplinkQueue,
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
        let patience = Duration::from_secs(60);
        let holding = Arc::new(HoldsAll);
        let store = Nats::open(&self.servers(), Limits::default(), patience, holding).await;
        Arc::new(store.unwrap())
    }
}

async fn until_writable(store: &Nats) {
    until("writable", || store.health() == Health::Writable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_loses_nothing_when_one_of_them_is_killed() {
    let mut cluster = Cluster::start().await;
    let store = cluster.open().await;
    let (mut waiting, mut cursors) = (BTreeSet::new(), Vec::new());
    for number in 0..3 {
        for _ in 0..20 {
            let (keep, settle) = (
                uplink(&device(1), store.next_seq(), b"keep"),
                uplink(&device(1), store.next_seq(), b"settle"),
            );
            store.enqueue(keep.clone(), None).await.unwrap();
            waiting.insert(keep.seq);
            store.enqueue(settle.clone(), None).await.unwrap();
            // An unavailable answer is made good later.
            drop(store.settle(&device(1), settle.seq, delivered(&settle)));
            let stored = store.append(vec![downlink(&device(1), b"x")]).await;
            cursors.extend(stored.unwrap());
        }
        cluster.0[number].kill9();
        // Whether or not it was the one that leads or is asked: two are left, and can be used.
        let taken = async {
            loop {
                let offered = uplink(&device(1), store.next_seq(), b"during");
                if store.enqueue(offered.clone(), None).await.is_ok() {
                    return offered.seq;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let taken = tokio::time::timeout(Duration::from_secs(60), taken).await;
        waiting.insert(taken.expect("two of three can be used"));
        cluster.0[number].restart().await;
        until_writable(&store).await;
        // The next one is killed when this one has caught up: asked for by a write that needs both of the others.
        tokio::time::timeout(Duration::from_secs(60), caught_up(&store))
            .await
            .unwrap();
    }
    let left = queued(&*store, &device(1)).await;
    assert_eq!(left, waiting.iter().copied().collect::<Vec<_>>());
    let page = store.history([device(1)].into(), cursors[0] - 1, ALL).await;
    let read: Vec<u64> = page
        .unwrap()
        .events
        .iter()
        .map(|event| event.cursor)
        .collect();
    assert!(cursors.iter().all(|cursor| read.contains(cursor)));
    store.close().await.unwrap();
    let store = cluster.open().await;
    assert_eq!(queued(&*store, &device(1)).await, left);
}

/// Until every stream has three replicas that are up to date.
async fn caught_up(store: &Nats) {
    use crate::store::nats::names::StreamName;
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
