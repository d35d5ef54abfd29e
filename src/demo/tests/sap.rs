//! The pretended SAP gateway, over TLS with the file that the folder hands out.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rustls::client::ResolvesClientCert;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::{Client, puback, publish};
use super::setup::{BOTH, device};
use crate::broker::MqttVersion;
use crate::demo::broker::{Broker, Faults, NoDownlink};
use crate::demo::folder::{Folder, SAP_DEVICE};
use crate::demo::platform::Records;
use crate::demo::sap::Sap;
use crate::identity::ClientIdentity;
use crate::mqtt::packet::{ConnAck, Connect, Packet};
use crate::mqtt::reason::Reason;
use crate::secret::Secret;

const MEASURES: &str = "measures/demo-sap";
const GOOD: &str = r#"{"capabilityAlternateId": "climate", "sensorAlternateId": "s1",
    "measures": [{"temperature": 21.5}], "measureMessageId": "42"}"#;

struct Gateway {
    dir: TempDir,
    broker: Broker,
    records: Records,
    address: SocketAddr,
    _shutdown: DropGuard,
}

impl Gateway {
    async fn start(registered: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let records = Records::default();
        let shutdown = CancellationToken::new();
        let sap = Sap::new([device(registered)], records.clone());
        let broker = Broker::new(sap, Faults::default(), shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        broker.listen(listener, Some(folder.servers.for_certificates));
        Self {
            dir,
            broker,
            records,
            address,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// What the folder hands out, read as the bridge reads it.
    fn identity(&self) -> Arc<dyn ResolvesClientCert> {
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap();
        let pem = read("demo-sap.pem");
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let passphrase = Secret::new(read("demo-sap.passphrase").trim());
        let (file, now) = (Path::new("demo-sap.pem"), SystemTime::now());
        let identity = ClientIdentity::read(file, pem.as_bytes(), None, Some(&passphrase), now);
        let (identity, warnings) = identity.unwrap();
        assert_eq!(warnings, []);
        identity.resolver()
    }

    async fn open(
        &self,
        identity: Option<Arc<dyn ResolvesClientCert>>,
        version: MqttVersion,
    ) -> Client {
        let ca = fs::read(self.dir.path().join("ca.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&ca).unwrap())
            .unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(identity) => config.with_client_cert_resolver(identity),
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        Client::over(stream.unwrap(), version)
    }

    async fn connect(&self, client_id: &str, version: MqttVersion) -> (Client, ConnAck) {
        let mut client = self.open(Some(self.identity()), version).await;
        let ack = client.connect(hello(client_id)).await;
        (client, ack)
    }

    /// The sample device, connected and with its subscriptions.
    async fn device(&self, version: MqttVersion) -> Client {
        let (mut client, ack) = self.connect(SAP_DEVICE, version).await;
        assert_eq!(ack.reason, Reason::SUCCESS, "{:?}", ack.text);
        for filter in ["ack/demo-sap", "commands/demo-sap"] {
            assert_eq!(client.subscribe(filter).await, Reason(1));
        }
        client
    }
}

fn hello(client_id: &str) -> Connect {
    Connect {
        client_id: client_id.to_owned(),
        username: None,
        password: None,
        clean_start: true,
        session_expiry: 0,
        keep_alive: 0,
        receive_maximum: u16::MAX,
        max_packet_size: u32::MAX,
    }
}

/// Publishes a measure, and gives what comes on the ack topic; MQTT's own confirmation is a success in any case.
async fn measure(client: &mut Client, payload: &'static str) -> Value {
    client
        .send(&Packet::Publish(publish(MEASURES, 1, payload)))
        .await;
    let (mut confirmed, mut answer) = (false, None);
    while !confirmed || answer.is_none() {
        match client.receive().await {
            Some(Packet::Publish(ack)) => {
                assert_eq!(ack.topic, "ack/demo-sap");
                answer = Some(serde_json::from_slice(&ack.payload).unwrap());
            }
            Some(packet) => {
                assert_eq!(packet, puback(1, Reason::SUCCESS));
                confirmed = true;
            }
            None => panic!("the connection has ended"),
        }
    }
    answer.unwrap()
}

#[tokio::test]
async fn a_measure_is_taken_and_answered() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    for version in BOTH {
        let mut client = gateway.device(version).await;
        let expected = json!([{"code": 202, "id": "42", "sensorAlternateId": "s1"}]);
        assert_eq!(measure(&mut client, GOOD).await, expected);
    }
    let taken = gateway.records.uplinks(Some(SAP_DEVICE), 0, 9);
    assert_eq!(taken.len(), 2);
    let shown = serde_json::to_value(&*taken[0]).unwrap();
    assert_eq!(shown["payload"]["measures"], json!([{"temperature": 21.5}]));
    assert_eq!(gateway.records.refused().len(), 0);
}

#[tokio::test]
async fn a_malformed_measure_is_refused_in_the_answer() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    let mut client = gateway.device(MqttVersion::V311).await;
    let answer = measure(&mut client, r#"{"measureMessageId": "7", "measures": []}"#).await;
    assert_eq!(
        (&answer[0]["code"], &answer[0]["id"]),
        (&json!(400), &json!("7"))
    );
    assert_eq!(answer[0]["messages"].as_array().unwrap().len(), 3);
    assert!(gateway.records.uplinks(None, 0, 9).is_empty());
    assert_eq!(gateway.records.refused().len(), 1);
}

#[tokio::test]
async fn a_gateway_that_never_answers_still_takes_measures() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    gateway.broker.faults().replies(false);
    let mut client = gateway.device(MqttVersion::V311).await;
    let confirmed = client.publish(publish(MEASURES, 1, GOOD)).await;
    assert_eq!(confirmed, Some(puback(1, Reason::SUCCESS)));
    // An answer would have come first.
    client.ping().await;
    assert_eq!(gateway.records.uplinks(None, 0, 9).len(), 1);
}

#[tokio::test]
async fn commands_reach_the_device() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    let mut client = gateway.device(MqttVersion::V311).await;
    let send = |id: &str, topic: &str| {
        let payload = Bytes::from_static(b"{}");
        gateway
            .broker
            .send_downlink(&device(id), topic, payload, None)
    };
    for topic in ["", "commands"] {
        assert_eq!(send(SAP_DEVICE, topic).unwrap().connected, 1);
        assert_eq!(client.message().await.topic, "commands/demo-sap");
    }
    let only = "commands";
    let no_such_topic = Err(NoDownlink::NoSuchTopic { only });
    assert_eq!(send(SAP_DEVICE, "settings"), no_such_topic);
    assert_eq!(send("other", ""), Err(NoDownlink::UnknownDevice));
}

#[tokio::test]
async fn foreign_topics_are_refused() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    for topic in [
        "measures/other",
        "measures",
        "commands/demo-sap",
        "measures/x/demo-sap",
        "demo-sap",
    ] {
        let mut client = gateway.device(MqttVersion::V5).await;
        let answer = client.publish(publish(topic, 1, GOOD)).await;
        assert_eq!(answer, Some(puback(1, Reason::NOT_AUTHORIZED)), "{topic}");
        let mut client = gateway.device(MqttVersion::V311).await;
        assert_eq!(
            client.publish(publish(topic, 1, GOOD)).await,
            None,
            "{topic}"
        );
    }
    let mut client = gateway.device(MqttVersion::V5).await;
    for filter in ["ack/other", "commands/#", "+/demo-sap", "#", MEASURES] {
        let reason = client.subscribe(filter).await;
        assert_eq!(reason, Reason::NOT_AUTHORIZED, "{filter}");
    }
    assert!(gateway.records.uplinks(None, 0, 9).is_empty());
}

#[tokio::test]
async fn only_the_certificates_own_device_is_let_in() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    for version in BOTH {
        let (_, ack) = gateway.connect("other", version).await;
        assert_eq!(ack.reason, Reason::CLIENT_ID_NOT_VALID);
    }
    let stranger = Gateway::start("another-device").await;
    let (_, ack) = stranger.connect(SAP_DEVICE, MqttVersion::V5).await;
    assert_eq!(ack.reason, Reason::NOT_AUTHORIZED);
    assert!(ack.text.unwrap().contains("not a registered device"));
}

#[tokio::test]
async fn without_a_certificate_of_the_ca_there_is_no_connection() {
    let gateway = Gateway::start(SAP_DEVICE).await;
    let other = Gateway::start(SAP_DEVICE).await;
    for identity in [None, Some(other.identity())] {
        // With TLS 1.3 the client learns of it when it reads.
        let mut client = gateway.open(identity, MqttVersion::V5).await;
        assert_eq!(client.receive().await, None);
    }
    assert_eq!(gateway.broker.faults().connects().len(), 0);
}
