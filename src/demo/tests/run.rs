//! The demo as a whole, with a bridge that does nothing.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::setup::{connect, spec};
use crate::broker::MqttVersion;
use crate::demo::{BridgeParts, DemoError, DemoOptions, RunningBridge, run};
use crate::identity::{SigningKey, issue};
use crate::secret::Secret;

/// Where the bridge that does nothing says that it listens.
const HTTP: &str = "127.0.0.1:11111";
const MANAGEMENT: &str = "127.0.0.1:22222";

struct Demo {
    summary: Value,
    config_at_start: String,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), DemoError>>,
}

fn any_ports(dir: &Path) -> DemoOptions {
    DemoOptions {
        dir: dir.to_owned(),
        http: 0,
        management: 0,
        mqtt: 0,
        mqtts: 0,
        sap: 0,
        console: 0,
    }
}

impl Demo {
    async fn start(dir: &Path) -> Self {
        let shutdown = CancellationToken::new();
        let (started, config_at_start) = oneshot::channel();
        let bridge = |parts: BridgeParts| async move {
            started
                .send(fs::read_to_string(&parts.config_file).unwrap())
                .unwrap();
            let run = async move {
                parts.shutdown.cancelled().await;
                Ok(())
            };
            Ok(RunningBridge {
                http: HTTP.parse().unwrap(),
                management: MANAGEMENT.parse().unwrap(),
                run: Box::pin(run),
            })
        };
        let ended = tokio::spawn(run(any_ports(dir), bridge, shutdown.clone()));
        let config_at_start = config_at_start.await.unwrap();
        // Written right after the bridge has started.
        let file = dir.join("demo.json");
        while !file.exists() {
            assert!(!ended.is_finished(), "the demo has ended");
            tokio::task::yield_now().await;
        }
        Self {
            summary: serde_json::from_slice(&fs::read(&file).unwrap()).unwrap(),
            config_at_start,
            shutdown,
            ended,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.ended.await.unwrap().unwrap();
    }

    fn address(&self, what: &str) -> &str {
        let url = self.summary[what].as_str().unwrap();
        url.split_once("://").unwrap().1
    }

    fn device(&self, id: &str) -> &Value {
        let devices = self.summary["devices"].as_array().unwrap();
        devices.iter().find(|device| device["id"] == id).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_devices_are_let_in_with_what_the_folder_holds() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let mqtt = demo.address("mqtt").parse().unwrap();
    for id in ["demo-rsa", "demo-ec"] {
        let file = Path::new(demo.device(id)["private_key_file"].as_str().unwrap());
        let pem = fs::read(file).unwrap();
        let key = SigningKey::from_pem(file, &pem, None).unwrap();
        let token = issue(&key, &spec(id), SystemTime::now()).unwrap().jwt;
        let mut client = Client::open(mqtt, MqttVersion::V5).await;
        client.connected(connect(id, "unused", token)).await;
    }
    let of_connector = demo.device("demo-secret-2");
    let secret = Secret::new(of_connector["secret"].as_str().unwrap());
    let connector = of_connector["connector_id"].as_str().unwrap();
    let mut client = Client::open(mqtt, MqttVersion::V311).await;
    client.connected(connect("any", connector, secret)).await;
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tls_listener_shows_a_certificate_of_the_folders_ca() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let ca = fs::read(demo.summary["ca_file"].as_str().unwrap()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&ca).unwrap())
        .unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let port = demo
        .address("mqtts")
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        connector.connect(name, stream).await.unwrap();
    }
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_uses_what_the_first_one_made() {
    let dir = TempDir::new().unwrap();
    let kept = [
        "demo-rsa.key.pem",
        "demo-ec.key.pem",
        "connector.secret",
        "ca.pem",
        "server.pem",
    ];
    let read = || kept.map(|name| fs::read_to_string(dir.path().join(name)).unwrap());
    Demo::start(dir.path()).await.stop().await;
    let first = read();
    assert!(!dir.path().join("demo.json").exists());
    assert!(first[0].starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(first[1].starts_with("-----BEGIN EC PRIVATE KEY-----"));

    // A deleted key is made anew, alone.
    fs::remove_file(dir.path().join(kept[1])).unwrap();
    let demo = Demo::start(dir.path()).await;
    let second = read();
    assert_ne!(first[1], second[1]);
    for index in [0, 2, 3, 4] {
        assert_eq!(first[index], second[index], "{}", kept[index]);
    }
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_names_the_ports_that_were_found() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    assert!(demo.config_at_start.contains("listen = \"127.0.0.1:0\""));
    let config = fs::read_to_string(dir.path().join("causeway.toml")).unwrap();
    for (what, address) in [("http", HTTP), ("management", MANAGEMENT)] {
        assert_eq!(demo.address(what), address);
        assert!(config.contains(&format!("listen = \"{address}\"")));
    }
    assert!(config.contains(demo.summary["mqtt"].as_str().unwrap()));
    assert!(config.contains(demo.summary["mqtts"].as_str().unwrap()));
    demo.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let mut private = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let text = fs::read_to_string(entry.path()).unwrap();
        let secret = demo.device("demo-secret-1")["secret"].as_str().unwrap();
        let is_passphrase = entry.path().extension().is_some_and(|e| e == "passphrase");
        if is_passphrase || text.contains("PRIVATE KEY-----") || text.contains(secret) {
            assert_eq!(mode, 0o600, "{:?}", entry.path());
            private += 1;
        }
    }
    assert_eq!(private, 8, "five keys, a passphrase, the secret, demo.json");
    demo.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_option() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = DemoOptions {
        mqtts: port,
        dir: dir.path().join("not-made"),
        ..any_ports(dir.path())
    };
    let bridge = |_: BridgeParts| async { Err("not reached".into()) };
    let error = run(options, bridge, CancellationToken::new())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&port.to_string()) && text.contains("--mqtts 0"),
        "{text}"
    );
    assert!(!dir.path().join("not-made").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_does_not_start_ends_the_demo() {
    let dir = TempDir::new().unwrap();
    let bridge = |_: BridgeParts| async { Err("no bridge today".into()) };
    let error = run(any_ports(dir.path()), bridge, CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the bridge: no bridge today");
    assert!(!dir.path().join("demo.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("demo-rsa.key.pem"), "not a key").unwrap();
    let bridge = |_: BridgeParts| async { Err("not reached".into()) };
    let error = run(any_ports(dir.path()), bridge, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("demo-rsa.key.pem"), "{error}");
}
