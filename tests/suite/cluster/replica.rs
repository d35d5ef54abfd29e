//! One replica: the program, with a way to the store that can be cut.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::causeway::causeway;
use crate::harness::http::Http;
use crate::harness::nats::NatsServer;
use crate::harness::port::Port;
use crate::harness::program::Program;
use crate::harness::proxy::{Cut, Proxy};

/// A running (or killed, and to be restarted) replica. Its port stays its own.
pub(super) struct Replica {
    program: Program,
    port: Port,
    /// One to each server.
    links: Vec<Proxy>,
    folder: TempDir,
}

impl Replica {
    /// With a name for people, and with these connectors and devices.
    pub(super) fn start(
        name: &str,
        nats: &[NatsServer],
        lease: Duration,
        connectors: &str,
    ) -> Self {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let links: Vec<_> = nats.iter().map(|nats| Proxy::start(nats.addr())).collect();
        let urls: Vec<_> = links
            .iter()
            .map(|link| format!("nats://{}", link.addr()))
            .collect();
        let config = format!(
            "[http]\nlisten = \"{}\"\n[management]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nurl = {urls:?}\nreplicas = {}\n\
             [cluster]\nname = \"{name}\"\nlease = \"{}s\"\n{connectors}",
            port.addr(),
            links.len(),
            lease.as_secs(),
        );
        std::fs::write(folder.path().join("causeway.toml"), config).unwrap();
        Self {
            program: run(&folder),
            port,
            links,
            folder,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.port.addr()
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

    /// Writes more into its file, and tells it to look.
    pub(super) fn configure(&self, more: &str) {
        let path = self.folder.path().join("causeway.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, config + more).unwrap();
        self.program.signal("HUP");
    }

    /// It stands still until it [goes on](Self::go_on), and does not know that it did.
    pub(super) fn freeze(&self) {
        self.program.signal("STOP");
    }

    pub(super) fn go_on(&self) {
        self.program.signal("CONT");
    }

    /// It cannot reach the store until it is [connected](Self::connect) again.
    pub(super) async fn cut(&self) {
        for link in &self.links {
            link.refuse().await;
            link.cut(Cut::Reset);
        }
    }

    pub(super) fn connect(&self) {
        self.links.iter().for_each(Proxy::admit);
    }
}

fn run(folder: &TempDir) -> Program {
    causeway(
        folder.path(),
        &["serve", "--config", "causeway.toml"],
        &[("RUST_LOG", "causeway=debug"), ("NO_COLOR", "1")],
    )
}
