//! What a cluster is made of.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use causeway::cluster::Partition;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::replica::Replica;
use super::settings::{RECOVERY, lease};
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::nats::NatsServer;

/// Three replicas, the broker, and the store that they share.
pub(super) struct Stage<B = Mosquitto> {
    pub(super) broker: B,
    /// One server, or three.
    pub(super) nats: Vec<NatsServer>,
    pub(super) replicas: Vec<Replica>,
}

impl Stage {
    /// A cluster that is whole, with so many devices, each on a session of its own.
    pub(super) async fn set(devices: usize) -> Self {
        Self::set_on(vec![NatsServer::start().await], lease(), devices).await
    }

    /// The same on other servers, and with another lease.
    pub(super) async fn set_on(nats: Vec<NatsServer>, lease: Duration, devices: usize) -> Self {
        let broker = Mosquitto::builder()
            .config("log_type all")
            .config("max_queued_messages 0")
            .start()
            .await;
        let connectors = own_sessions(broker.addr(), devices);
        Self::of(broker, nats, lease, &connectors).await
    }

    /// Prints what everybody logged, for a test that fails. Of the broker's log, the lines with this text.
    pub(super) fn tell(&self, text: &str) {
        for replica in &self.replicas {
            println!("{}:\n{}", replica.addr(), replica.log().join("\n"));
        }
        let lines = self.broker.log().all();
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| line.contains(text))
            .collect();
        println!("broker:\n{}", lines.join("\n"));
    }
}

impl<B> Stage<B> {
    /// A cluster that is whole, with these connectors and devices.
    pub(super) async fn of(
        broker: B,
        nats: Vec<NatsServer>,
        lease: Duration,
        connectors: &str,
    ) -> Self {
        let replicas = ["a", "b", "c"]
            .map(|name| Replica::start(name, &nats, lease, connectors))
            .into();
        let stage = Self {
            broker,
            nats,
            replicas,
        };
        stage.whole().await;
        stage
    }

    /// Where clients may go.
    pub(super) fn doors(&self) -> Vec<Http> {
        self.replicas.iter().map(Replica::http).collect()
    }

    /// Waits until every partition has an owner, by the word of every replica, and each of them has some.
    pub(super) async fn whole(&self) {
        let whole = async {
            for replica in &self.replicas {
                while !replica
                    .cluster()
                    .await
                    .is_some_and(|told| self.is_whole(&told))
                {
                    sleep(Duration::from_millis(10)).await;
                }
            }
        };
        if timeout(RECOVERY, whole).await.is_err() {
            self.tell_of_replicas().await;
            panic!("the cluster is not whole after {RECOVERY:?}");
        }
    }

    fn is_whole(&self, cluster: &Value) -> bool {
        let members = cluster["members"].as_array().unwrap();
        let held = |member: &Value| member["partitions"].as_array().map_or(0, Vec::len);
        members.len() == self.replicas.len()
            && members.iter().all(|member| held(member) > 0)
            && members.iter().map(held).sum::<usize>() == usize::from(Partition::COUNT)
    }

    /// Prints what they logged, and say of the cluster, for a test that fails.
    async fn tell_of_replicas(&self) {
        for replica in &self.replicas {
            let (told, log) = (replica.cluster().await, replica.log());
            println!("{}: {told:?}\n{}", replica.addr(), log.join("\n"));
        }
    }

    /// The partitions of a replica, by its own word.
    pub(super) async fn partitions_of(&self, replica: usize) -> Vec<Partition> {
        let cluster = self.replicas[replica].cluster().await.unwrap();
        let members = cluster["members"].as_array().unwrap().iter();
        let own = members.filter(|member| member["id"] == cluster["me"]);
        let own = own.flat_map(|member| member["partitions"].as_array().unwrap());
        own.map(|number| Partition::new(u8::try_from(number.as_u64().unwrap()).unwrap()).unwrap())
            .collect()
    }
}

/// The client id of a device's session.
pub(super) fn client_id(device: usize) -> String {
    format!("own-d{device}")
}

/// Devices `d0`, `d1` and so on, each with a session of its own.
fn own_sessions(broker: SocketAddr, devices: usize) -> String {
    let mut config = format!(
        "[connectors.own]\nprofile = \"plain\"\nurl = \"mqtt://{broker}\"\nconnect = \"eager\"\n\
         override.session = \"device\"\noverride.connect.client_id = \"own-{{device}}\"\n"
    );
    for device in 0..devices {
        writeln!(config, "[devices.d{device}]\nconnector = \"own\"").unwrap();
    }
    config
}
