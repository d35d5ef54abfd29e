//! Another configuration while the bridge runs: on SIGHUP, and when a file changes.

mod devices;
mod refused;
mod settings;

use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::DEADLINE;
use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::program::Program;

/// The program with a configuration file that the test writes.
struct Plant {
    folder: TempDir,
    port: Port,
    management: Port,
    program: Program,
}

impl Plant {
    async fn start(files: &[(&str, &str)], config: &str) -> Self {
        let (folder, port, management) = (
            tempfile::tempdir().unwrap(),
            Port::reserve(),
            Port::reserve(),
        );
        for (name, content) in files {
            write(folder.path(), name, content);
        }
        let text = with_listeners(&port, &management, config);
        write(folder.path(), "causeway.toml", &text);
        let env = [("NO_COLOR", "1"), ("CAUSEWAY__HTTP__WAIT", "7s")];
        let program = causeway(folder.path(), &["serve"], &env);
        program.stderr().wait_for("serving http").await;
        Self {
            folder,
            port,
            management,
            program,
        }
    }

    fn http(&self) -> Http {
        Http::new(self.port.addr())
    }

    /// Puts another configuration in the place of the one that there is, in one step, as careful programs do.
    fn change(&self, config: &str) {
        let text = with_listeners(&self.port, &self.management, config);
        write(self.folder.path(), "new", &text);
        let file = self.folder.path().join("causeway.toml");
        std::fs::rename(self.folder.path().join("new"), file).unwrap();
    }

    /// The same, and does not wait until it is noticed.
    async fn change_now(&self, config: &str) {
        let before = self.reloads().await;
        self.change(config);
        self.program.signal("HUP");
        self.until_reloaded(before).await;
    }

    /// Configurations that were taken over, and those that were refused.
    async fn reloads(&self) -> (u64, u64) {
        let figures = Http::new(self.management.addr()).get("/metrics").await;
        let of = |outcome: &str| {
            let series = format!("causeway_config_reloads_total{{outcome=\"{outcome}\"}} ");
            let value = figures
                .text()
                .lines()
                .find_map(|line| line.strip_prefix(&series));
            value.unwrap().parse().unwrap()
        };
        (of("applied"), of("refused"))
    }

    async fn until_reloaded(&self, before: (u64, u64)) {
        eventually("the configuration to be looked at", DEADLINE, async || {
            self.reloads().await != before
        })
        .await;
    }

    async fn connects(&self, device: &str) -> Value {
        self.connects_over(&self.http(), device).await
    }

    async fn connects_over(&self, http: &Http, device: &str) -> Value {
        let session = http.get(&format!("/v1/devices/{device}/session")).await;
        session.json()["counters"]["connects"].clone()
    }

    async fn delivered(&self, device: &str, payload: &str) {
        let reply = self.post(device, payload).await;
        assert_eq!(reply.status, 200, "{device}: {}", reply.text());
    }

    async fn post(&self, device: &str, payload: &str) -> Reply {
        let path = format!("/v1/devices/{device}/uplinks");
        let request = self.http().request(Method::POST, &path);
        Reply::to(request.header("prefer", "wait=30").body(payload.to_owned())).await
    }
}

/// A configuration that begins with `[http]` has more lines for that section.
fn with_listeners(port: &Port, management: &Port, config: &str) -> String {
    format!(
        "[management]\nlisten = \"{}\"\n[http]\nlisten = \"{}\"\n{}",
        management.addr(),
        port.addr(),
        config.strip_prefix("[http]\n").unwrap_or(config)
    )
}

fn write(folder: &Path, name: &str, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Three devices with connections of their own, which log in with secrets in files; one on a shared connection.
fn config(broker: &Mosquitto) -> String {
    let addr = broker.addr();
    format!(
        r#"
[connectors.own]
profile = "plain"
url = "mqtt://{addr}"
override.session = "device"
override.connect.client_id = "own-{{device}}"
variables.username = "plant"
secret_file = "secret"
[connectors.local]
profile = "plain"
url = "mqtt://{addr}"
variables.username = "plant"
secret_file = "secret"
[devices]
pump = {{ connector = "own" }}
valve = {{ connector = "own", secret_file = "valve.secret" }}
gauge = {{ connector = "own" }}
shared = {{ connector = "local" }}
"#
    )
}

const FILES: [(&str, &str); 2] = [("secret", "right\n"), ("valve.secret", "right\n")];

async fn broker() -> Mosquitto {
    Mosquitto::builder()
        .config("log_type all")
        .user("plant", "right")
        .user("other", "newer")
        .start()
        .await
}

/// How often a client has connected, as the broker tells it.
fn accepted(broker: &Mosquitto, client_id: &str) -> usize {
    let of_client = format!(" as {client_id} (");
    let log = broker.log().all();
    log.iter()
        .filter(|line| line.contains("New client connected") && line.contains(&of_client))
        .count()
}
