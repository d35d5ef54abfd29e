//! `causeway demo` as a user starts it, on free ports.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::Value;

use super::DEADLINE;
use super::causeway::causeway;
use super::eventually::eventually;
use super::http::Http;
use super::program::Program;

/// The options that name the ports of `causeway demo`.
pub const PORTS: [&str; 6] = [
    "--http",
    "--mqtt",
    "--mqtts",
    "--sap",
    "--console",
    "--management",
];

/// A running demo. Dropping it kills it.
#[derive(Debug)]
pub struct Demo {
    /// A client of the bridge.
    pub http: Http,
    /// A client of the pretended platform's console.
    pub console: Http,
    /// `demo.json`.
    pub summary: Value,
    program: Program,
    file: PathBuf,
}

/// What the platform took from one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Counts what came from all devices.
    pub number: u64,
    /// The platform's topic.
    pub topic: String,
    /// The payload, where it was JSON.
    pub payload: Value,
}

impl Demo {
    /// Starts it on `dir`; returns once it says by `demo.json` that everything answers.
    pub async fn start(dir: &Path) -> Self {
        let mut args = vec!["demo", "--dir", dir.to_str().unwrap()];
        for option in PORTS {
            args.extend([option, "0"]);
        }
        // Nothing of what is around the test shall reach it.
        let around = tempfile::tempdir().unwrap();
        let mut program = causeway(around.path(), &args, &[]);
        let file = dir.join("demo.json");
        eventually("demo.json", DEADLINE, || {
            assert!(program.is_running(), "{:?}", program.stderr().all());
            std::future::ready(file.exists())
        })
        .await;
        let summary: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        Self {
            http: Http::new(addr(&summary, "http")),
            console: Http::new(addr(&summary, "console")),
            summary,
            program,
            file,
        }
    }

    /// Where it listens for `what`, a key of `demo.json`.
    pub fn addr(&self, what: &str) -> SocketAddr {
        addr(&self.summary, what)
    }

    /// A file or another text of `demo.json`.
    pub fn text(&self, what: &str) -> &str {
        self.summary[what].as_str().unwrap()
    }

    /// What `demo.json` says of a device.
    pub fn device(&self, id: &str) -> &Value {
        let devices = self.summary["devices"].as_array().unwrap();
        devices.iter().find(|device| device["id"] == id).unwrap()
    }

    /// What it printed, once it has said everything.
    pub async fn printed(&self) -> Vec<String> {
        self.program.stdout().wait_for("Ctrl-C").await;
        self.program.stdout().all()
    }

    /// What it complained of.
    pub fn complaints(&self) -> Vec<String> {
        self.program.stderr().all()
    }

    /// What the platform took from a device behind the uplink `after`, oldest first.
    pub async fn taken(&self, device: &str, after: u64) -> Vec<Taken> {
        let path = format!("/uplinks?device={device}&after={after}");
        let reply = self.console.get(&path).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let taken = |uplink: &Value| Taken {
            number: uplink["number"].as_u64().unwrap(),
            topic: uplink["topic"].as_str().unwrap().to_owned(),
            payload: uplink["payload"].clone(),
        };
        reply.json().as_array().unwrap().iter().map(taken).collect()
    }

    /// What the platform refused, oldest first.
    pub async fn refused(&self) -> Vec<Value> {
        let refused = self.console.get("/refused").await.json();
        refused.as_array().unwrap().clone()
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) -> ExitStatus {
        let status = self.program.terminate().await;
        assert!(!self.file.exists(), "demo.json after the end");
        status
    }
}

fn addr(summary: &Value, what: &str) -> SocketAddr {
    let url = summary[what].as_str().unwrap();
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    (Ipv4Addr::LOCALHOST, port).into()
}
