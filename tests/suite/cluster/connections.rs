//! The devices' connections, by the word of the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway::cluster::Partition;
use tokio::time::Instant;

use super::settings::RECOVERY;
use super::stage::{Stage, client_id};
use crate::harness::eventually::eventually;
use crate::harness::lines::Lines;
use crate::harness::mosquitto::clients::Clients;

/// Reads the broker's log as it grows. No client id has two connections at any time, or whoever looks here panics.
pub(super) struct Connections {
    log: Lines,
    read: usize,
    clients: Clients,
    devices: usize,
}

/// Devices whose replica is about to be lost, and what was known of them before.
pub(super) struct Moving {
    clients: BTreeSet<String>,
    connects: BTreeMap<String, usize>,
    began: Instant,
}

impl Connections {
    /// Those of so many devices, all of which are connected when this resolves.
    pub(super) async fn of(stage: &Stage, devices: usize) -> Self {
        let mut connections = Self {
            log: stage.broker.log().clone(),
            read: 0,
            clients: Clients::default(),
            devices,
        };
        connections.all().await;
        connections
    }

    /// Waits until every device is connected.
    pub(super) async fn all(&mut self) {
        let devices: Vec<_> = (0..self.devices).map(client_id).collect();
        self.until("every device to be connected", |clients| {
            devices.iter().all(|id| clients.connected.contains(id))
        })
        .await;
    }

    /// Waits until no device is connected.
    pub(super) async fn none(&mut self) {
        let devices: Vec<_> = (0..self.devices).map(client_id).collect();
        self.until("no device to be connected", |clients| {
            !devices.iter().any(|id| clients.connected.contains(id))
        })
        .await;
    }

    /// The devices of a replica, which is lost in the next moment.
    pub(super) async fn moving(&mut self, stage: &Stage, replica: usize) -> Moving {
        let partitions = stage.partitions_of(replica).await;
        let ids = (0..self.devices).filter(|device| {
            let partition = Partition::of(&format!("d{device}"));
            partitions.contains(&partition)
        });
        let clients = ids.map(client_id).collect::<BTreeSet<_>>();
        assert!(!clients.is_empty(), "a replica has no device");
        Moving {
            clients,
            connects: self.look().connects.clone(),
            began: Instant::now(),
        }
    }

    /// Waits until all of them have connected again, and says how long that took since the replica was lost.
    pub(super) async fn again(&mut self, moving: &Moving) {
        self.until("the moved devices to be connected again", |clients| {
            let connected = |id| clients.connects.get(id) > moving.connects.get(id);
            moving.clients.iter().all(connected)
        })
        .await;
        println!(
            "{} devices: moved ones ({}) were all connected again after {:.1} s",
            self.devices,
            moving.clients.len(),
            moving.began.elapsed().as_secs_f64(),
        );
    }

    /// How often each client's connection was taken over since the last time that this was asked.
    pub(super) fn takeovers(&mut self) -> BTreeMap<String, usize> {
        self.look();
        std::mem::take(&mut self.clients.takeovers)
    }

    /// Whether each of these was taken over once since the last time that it was asked, and nobody else.
    pub(super) fn assert_taken_over_once(&mut self, moving: &Moving) {
        let once = moving.clients.iter().map(|id| (id.clone(), 1));
        assert_eq!(self.takeovers(), once.collect());
    }

    pub(super) fn assert_no_takeover(&mut self) {
        assert_eq!(self.takeovers(), BTreeMap::new());
    }

    async fn until(&mut self, what: &str, mut condition: impl FnMut(&Clients) -> bool) {
        let deadline = RECOVERY + Duration::from_millis(100) * u32::try_from(self.devices).unwrap();
        eventually(what, deadline, || {
            std::future::ready(condition(self.look()))
        })
        .await;
    }

    fn look(&mut self) -> &Clients {
        let lines = self.log.since(self.read);
        self.read += lines.len();
        let lines = lines.iter().map(String::as_str);
        if let Err(contradiction) = self.clients.read(lines) {
            panic!("one client id, two connections: {}", contradiction.line);
        }
        &self.clients
    }
}
