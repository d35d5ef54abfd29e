//! A device that is registered anew on another connection, whose session belongs to another replica.

use std::time::Duration;

use causeway::cluster::Partition;

use super::*;
use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::eventually::eventually;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::nats::NatsServer;
use crate::harness::subscriber::Subscriber;

/// Every 30 s a replica looks into the store by itself.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Two replicas, of which the second has the session of the connector `local`.
struct Two {
    bridges: [TestBridge; 2],
    broker: Mosquitto,
    /// A device's id: on a session of its own, it would belong to the first.
    device: String,
    // Ends last.
    _nats: NatsServer,
}

impl Two {
    /// Nobody is reached by the connector `nowhere`, on which each device has a session of its own.
    async fn start() -> Self {
        let (broker, nats) = (Mosquitto::start().await, NatsServer::start().await);
        let text = format!(
            "{}[cluster]\nlease = \"3s\"\n{}[connectors.nowhere]\nprofile = \"plain\"\nurl = \"mqtt://127.0.0.1:1\"\n\
             override.session = \"device\"\noverride.connect.client_id = \"nowhere-{{device}}\"\n",
            nats.store(),
            config(broker.addr())
        );
        let mut bridges = [
            TestBridge::start(&text).await,
            TestBridge::start(&text).await,
        ];
        let shared = Partition::of("local").number();
        eventually("both replicas to have their share", DEADLINE, async || {
            let partitions = [held(&bridges[0]).await, held(&bridges[1]).await];
            partitions.iter().all(|held| !held.is_empty())
                && partitions.iter().map(Vec::len).sum::<usize>() == 64
        })
        .await;
        if held(&bridges[0]).await.contains(&shared) {
            bridges.reverse();
        }
        let first = held(&bridges[0]).await;
        let ids = (0..).map(|number| format!("pump-{number}"));
        let mut ids = ids.filter(|id| first.contains(&Partition::of(id).number()));
        Self {
            device: ids.next().unwrap(),
            bridges,
            broker,
            _nats: nats,
        }
    }

    async fn moves(&self) {
        let moved = put(
            &self.bridges[0].http,
            &self.device,
            &json!({"connector": "local"}),
        )
        .await;
        assert_eq!(moved.status, 200, "{}", moved.text());
    }

    async fn arrived(&self, observer: &Subscriber, payloads: &[&str]) {
        let seen = observer.wait_count(payloads.len());
        let seen = tokio::time::timeout(AT_ONCE, seen).await;
        let seen = seen.expect("they were not found at once");
        let seen: Vec<_> = seen.iter().map(Message::text).collect();
        assert_eq!(seen, payloads);
        // It is the other's business now, and nobody is told of uplinks without a device.
        let is_figure =
            |line: &&str| line.starts_with("causeway_backlog_") && line.contains("_uplinks");
        for bridge in &self.bridges {
            eventually("nothing to wait any more", AT_ONCE, async || {
                let figures = bridge.management.get("/metrics").await;
                let backlogs = figures.text().lines().filter(is_figure);
                let mut backlogs = backlogs.map(|line| line.rsplit(' ').next() == Some("0"));
                backlogs.all(|is_empty| is_empty)
            })
            .await;
        }
    }
}

/// The partitions of a replica, by its own word.
async fn held(bridge: &TestBridge) -> Vec<u8> {
    let cluster = bridge.http.get("/v1/cluster").await.json();
    let members = cluster["members"].as_array().unwrap();
    let me = members.iter().find(|member| member["id"] == cluster["me"]);
    let partitions = me.and_then(|me| me["partitions"].as_array());
    let numbers = partitions.into_iter().flatten();
    numbers
        .map(|number| u8::try_from(number.as_u64().unwrap()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_of_a_device_is_sent_by_the_replica_that_it_goes_to() {
    let two = Two::start().await;
    let observer = Subscriber::start(&two.broker.access(), &["devices/#"]).await;
    let http = &two.bridges[0].http;
    created(http, &two.device, "nowhere").await;
    for payload in ["0", "1", "2"] {
        let stored = post(http, &two.device, "respond-async", payload).await;
        assert_eq!(stored.status, 202, "{}", stored.text());
    }
    two.moves().await;
    two.arrived(&observer, &["0", "1", "2"]).await;
}
