//! The bridge under test, run inside the test's own process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway::access::Access;
use causeway::bridge::Bridge;
use causeway::config::Config;
use causeway::http::ListenerHandle;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::DEADLINE;
use super::causeway::LISTENERS;
use super::eventually::eventually;
use super::http::Http;

/// A running bridge. Dropping it ends it without waiting.
pub struct TestBridge {
    /// A client of the main listener.
    pub http: Http,
    /// A client of the management listener.
    pub management: Http,
    /// Changes the main listener.
    pub listener: ListenerHandle,
    access: Arc<Access>,
    addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    /// Where relative paths in its configuration start, the store's among them.
    folder: Option<TempDir>,
}

/// The device `pump-1` on a connector `local`, which has the profile `plain`.
pub fn pump(broker: SocketAddr) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{broker}\"\n[devices.pump-1]\nconnector = \"local\"\n"
    )
}

impl TestBridge {
    /// A bridge with these connectors and devices.
    pub async fn start(connectors: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), connectors).await
    }

    /// The same, without a store: what cannot be confirmed in time is not taken.
    pub async fn without_store(connectors: &str) -> Self {
        Self::start(&format!("[store]\nenabled = false\n{connectors}")).await
    }

    /// The same, with more lines under `[http]`.
    pub async fn with_http(lines: &str, connectors: &str) -> Self {
        Self::start(&format!("{lines}\n{connectors}")).await
    }

    /// The same, with files that its configuration names in `folder`.
    pub async fn start_in(folder: TempDir, connectors: &str) -> Self {
        let text = format!("{LISTENERS}{connectors}");
        let config = config(&text, folder.path());
        let bridge = Bridge::bind(&config)
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let (addr, management) = (
            bridge.address().unwrap(),
            bridge.management_address().unwrap(),
        );
        let listener = bridge.listener();
        let access = bridge.access();
        let shutdown = CancellationToken::new();
        let running = bridge.run(shutdown.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        Self {
            http: Http::new(addr),
            management: Http::new(management),
            listener,
            access,
            addr,
            shutdown,
            task,
            folder: Some(folder),
        }
    }

    /// The main listener's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Puts the tokens of another configuration in force.
    pub fn replace_access(&self, text: &str) {
        let folder = self.folder.as_ref().unwrap().path();
        self.access.replace(config(text, folder).access);
    }

    /// The session of a device, as the bridge tells it.
    pub async fn session(&self, device: &str) -> Value {
        let reply = self
            .http
            .get(&format!("/v1/devices/{device}/session"))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Waits until a device's session is in this state.
    pub async fn until(&self, device: &str, state: &str) {
        let what = format!("the session of {device} to be {state}");
        eventually(&what, DEADLINE, async || {
            self.session(device).await["state"] == state
        })
        .await;
    }

    /// Begins the shutdown and waits for its end. A bridge that is [started](Self::start_in) in the folder goes on where
    /// this one ended.
    pub async fn stop(mut self) -> TempDir {
        self.shutdown.cancel();
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, &mut self.task)
            .await
            .expect("the bridge to stop")
            .unwrap();
        self.folder.take().unwrap()
    }
}

impl Drop for TestBridge {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// A valid configuration.
pub fn config(text: &str, folder: &Path) -> Config {
    Config::from_text(text, "test.toml", folder, []).unwrap_or_else(|error| panic!("{error}"))
}
