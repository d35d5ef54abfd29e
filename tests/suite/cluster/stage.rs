//! What a cluster is made of.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::nats::NatsServer;
use crate::harness::port::Port;
use crate::harness::program::Program;
use crate::harness::proxy::Proxy;

/// How long a cluster may take until it is whole again, on a busy machine.
pub(super) const RECOVERY: Duration = Duration::from_secs(90);

/// `cluster.lease`, in seconds.
pub(super) const LEASE: u64 = 3;

/// Partitions of all sessions.
const PARTITIONS: usize = 64;

/// Three replicas, the broker, and the store that they share.
pub(super) struct Stage {
    pub(super) broker: Mosquitto,
    pub(super) nats: NatsServer,
    pub(super) replicas: Vec<Replica>,
}

/// One of them. Its way to the store can be cut.
pub(super) struct Replica {
    program: Program,
    port: Port,
    pub(super) link: Proxy,
    folder: TempDir,
}

impl Stage {
    /// A cluster that is whole, with so many devices, each on a session of its own.
    pub(super) async fn set(devices: usize) -> Self {
        let broker = Mosquitto::builder()
            .config("log_type all")
            .config("max_queued_messages 0")
            .start()
            .await;
        let nats = NatsServer::start().await;
        let replicas = ["a", "b", "c"]
            .map(|name| Replica::start(name, broker.addr(), nats.addr(), devices))
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

    /// Prints what everybody logged, for a test that fails. Of the broker's log, the lines with this text.
    pub(super) fn tell(&self, text: &str) {
        for replica in &self.replicas {
            println!("{}:\n{}", replica.port.addr(), replica.log().join("\n"));
        }
        let lines = self.broker.log().all();
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| line.contains(text))
            .collect();
        println!("broker:\n{}", lines.join("\n"));
    }

    /// Waits until every partition has an owner, by the word of every replica, and each of them has some.
    pub(super) async fn whole(&self) {
        for replica in &self.replicas {
            eventually("the cluster to be whole", RECOVERY, async || {
                replica.cluster().await.is_some_and(|cluster| {
                    let members = cluster["members"].as_array().unwrap();
                    let held = |member: &Value| member["partitions"].as_array().map_or(0, Vec::len);
                    members.len() == self.replicas.len()
                        && members.iter().all(|member| held(member) > 0)
                        && members.iter().map(held).sum::<usize>() == PARTITIONS
                })
            })
            .await;
        }
    }
}

impl Replica {
    fn start(name: &str, broker: SocketAddr, nats: SocketAddr, devices: usize) -> Self {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let link = Proxy::start(nats);
        let mut config = format!(
            r#"
[http]
listen = "{}"
[management]
listen = "127.0.0.1:0"
[store]
url = "nats://{}"
[cluster]
name = "{name}"
lease = "{LEASE}s"
[connectors.own]
profile = "plain"
url = "mqtt://{broker}"
connect = "eager"
override.session = "device"
override.connect.client_id = "own-{{device}}"
"#,
            port.addr(),
            link.addr(),
        );
        for device in 0..devices {
            writeln!(config, "[devices.d{device}]\nconnector = \"own\"").unwrap();
        }
        std::fs::write(folder.path().join("causeway.toml"), config).unwrap();
        Self {
            program: run(&folder),
            port,
            link,
            folder,
        }
    }

    pub(super) fn http(&self) -> Http {
        Http::new(self.port.addr())
    }

    /// `GET /v1/cluster`; `None` while it does not answer.
    pub(super) async fn cluster(&self) -> Option<Value> {
        let request = self.http().request(Method::GET, "/v1/cluster");
        let answer = request.timeout(Duration::from_secs(2)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// What it logged.
    pub(super) fn log(&self) -> Vec<String> {
        self.program.stderr().all()
    }

    pub(super) fn kill9(&mut self) {
        self.program.kill9();
    }

    pub(super) async fn terminate(&mut self) {
        let status = self.program.terminate().await;
        assert!(status.success(), "{status}");
    }

    pub(super) fn restart(&mut self) {
        self.program = run(&self.folder);
    }

    /// SIGSTOP for so long, then SIGCONT.
    pub(super) async fn freeze(&self, time: Duration) {
        self.program.signal("STOP");
        tokio::time::sleep(time).await;
        self.program.signal("CONT");
    }
}

fn run(folder: &TempDir) -> Program {
    causeway(
        folder.path(),
        &["serve", "--config", "causeway.toml"],
        &[("RUST_LOG", "causeway=debug"), ("NO_COLOR", "1")],
    )
}
