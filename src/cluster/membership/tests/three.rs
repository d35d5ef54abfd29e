//! Three nats-servers, one of which dies: the one that has the last word on who has what.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tempfile::TempDir;

use super::{DEADLINE, Ledger, TestMember, until, until_settled};
use crate::store::{NatsServers, dial_nats};

/// Longer than three servers need to choose another leader, which may be ten seconds.
const LEASE: Duration = Duration::from_secs(30);

struct Three {
    folder: TempDir,
    ports: [u16; 6],
    children: [Option<Child>; 3],
}

impl Three {
    fn start() -> Self {
        // Freed for the servers, which have to know each other's before they start.
        let free = [(); 6].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free
            .each_ref()
            .map(|free| free.local_addr().unwrap().port());
        drop(free);
        let mut three = Self {
            folder: TempDir::new().unwrap(),
            ports,
            children: [None, None, None],
        };
        (0..3).for_each(|number| three.run(number));
        three
    }

    fn run(&mut self, number: usize) {
        let [_, _, _, routes @ ..] = self.ports;
        let path = std::env::var("PATH").unwrap_or_default();
        let routes = routes.map(|port| format!("nats://127.0.0.1:{port}"));
        let child = Command::new("nats-server")
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .args(["-js", "-a", "127.0.0.1", "-p"])
            .arg(self.ports[number].to_string())
            .args(["--cluster_name", "test", "--name"])
            .arg(format!("n{number}"))
            .arg("--cluster")
            .arg(&routes[number])
            .arg("--routes")
            .arg(routes.join(","))
            .arg("-sd")
            .arg(self.folder.path().join(number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("install it with: apt-get install nats-server");
        self.children[number] = Some(child);
    }

    fn kill9(&mut self, number: usize) {
        if let Some(mut child) = self.children[number].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// With one of them first.
    fn servers(&self, first: usize) -> NatsServers {
        let urls = (0..3).map(|number| self.ports[(first + number) % 3]);
        NatsServers {
            urls: urls
                .map(|port| format!("nats://127.0.0.1:{port}"))
                .collect(),
            login: None,
            ca_file: None,
            replicas: 3,
            prefix: "causeway".to_owned(),
        }
    }

    /// Who leads the stream of the cluster.
    async fn leader(&self) -> usize {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            assert!(tokio::time::Instant::now() < deadline, "no leader");
            let (client, _) = dial_nats(&self.servers(0)).await.unwrap();
            let stream = async_nats::jetstream::new(client)
                .get_stream("causeway-cluster")
                .await;
            let leader = stream
                .ok()
                .and_then(|stream| stream.cached_info().cluster.clone()?.leader);
            if let Some(leader) = leader {
                return leader.trim_start_matches('n').parse().unwrap();
            }
        }
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        (0..3).for_each(|number| self.kill9(number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_of_three_servers_that_dies_moves_nothing() {
    let (mut three, ledger) = (Three::start(), Ledger::default());
    let join = |name, servers| TestMember::join(servers, name, LEASE, &ledger);
    let a = join("a", three.servers(0)).await;
    let b = join("b", three.servers(1)).await;
    let c = join("c", three.servers(2)).await;
    until_settled(&[&a, &b, &c]).await;
    let before = ledger.holders();
    let leader = three.leader().await;
    three.kill9(leader);
    let renewed = [&a, &b, &c].map(|member| member.tally.renewed.load(Relaxed));
    until("renewals", || {
        let members = [&a, &b, &c].into_iter().zip(renewed);
        members
            .into_iter()
            .all(|(member, renewed)| member.tally.renewed.load(Relaxed) > renewed)
    })
    .await;
    assert_eq!((ledger.lost(), ledger.holders()), (0, before.clone()));
    // Two of three are enough for members to come and go.
    let d = join("d", three.servers(0)).await;
    until_settled(&[&a, &b, &c, &d]).await;
    three.run(leader);
    d.membership.end().await;
    until_settled(&[&a, &b, &c]).await;
    assert_eq!(ledger.holders(), before);
    // Of all that was written, nothing was missed for good.
    until("records", || {
        let reports = [&a, &b, &c].map(|member| member.peers.report());
        reports.iter().all(|report| report.is_connected)
    })
    .await;
    ledger.assert_never_two();
}
