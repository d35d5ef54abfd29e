//! A pretended akenza with one RSA device, one EC device and one connector, on a port of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Map;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::Client;
use crate::broker::MqttVersion;
use crate::demo::akenza::{Akenza, Registry};
use crate::demo::broker::{Broker, Faults};
use crate::demo::platform::Records;
use crate::device::DeviceId;
use crate::identity::{Algorithm, SigningKey, TokenSpec, VerifyingKey, issue};
use crate::mqtt::packet::Connect;
use crate::secret::Secret;

pub(super) const BOTH: [MqttVersion; 2] = [MqttVersion::V5, MqttVersion::V311];
pub(super) const SECRET: &str = "c0ffee";

pub(super) struct Setup {
    pub(super) broker: Broker,
    pub(super) records: Records,
    pub(super) registry: Arc<Registry>,
    pub(super) rsa: SigningKey,
    pub(super) ec: SigningKey,
    pub(super) address: SocketAddr,
    _shutdown: DropGuard,
}

pub(super) fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

pub(super) fn public(key: &SigningKey) -> VerifyingKey {
    VerifyingKey::from_pem(Path::new("key.pem"), key.public_pem().as_bytes()).unwrap()
}

pub(super) fn generate(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap().0
}

/// akenza's documented claims; a test changes one of them.
pub(super) fn spec(device: &str) -> TokenSpec {
    TokenSpec {
        audience: format!("https://akenza.io/devices/{device}"),
        lifetime: Duration::from_secs(600),
        kid: None,
        claims: Map::new(),
    }
}

pub(super) fn token(key: &SigningKey, spec: &TokenSpec) -> Secret {
    issue(key, spec, SystemTime::now()).unwrap().jwt
}

/// A clean CONNECT; a test changes what it is about.
pub(super) fn connect(client_id: &str, username: &str, password: Secret) -> Connect {
    Connect {
        client_id: client_id.to_owned(),
        username: Some(username.to_owned()),
        password: Some(password),
        clean_start: true,
        session_expiry: 0,
        keep_alive: 0,
        receive_maximum: u16::MAX,
        max_packet_size: u32::MAX,
    }
}

impl Setup {
    pub(super) async fn start() -> Self {
        let rsa = generate(Algorithm::Rs256);
        let ec = generate(Algorithm::Es256);
        let mut registry = Registry::default();
        registry.add_key(device("rsa"), public(&rsa));
        registry.add_key(device("ec"), public(&ec));
        let of_connector = vec![device("s1"), device("s2")];
        registry.add_connector("connector", Secret::new(SECRET), of_connector);
        let registry = Arc::new(registry);
        let records = Records::default();
        let shutdown = CancellationToken::new();
        let gate = Akenza::new(Arc::clone(&registry), records.clone());
        let broker = Broker::new(gate, Faults::default(), shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        broker.listen(listener, None);
        Self {
            broker,
            records,
            registry,
            rsa,
            ec,
            address,
            _shutdown: shutdown.drop_guard(),
        }
    }

    pub(super) async fn client(&self, version: MqttVersion) -> Client {
        Client::open(self.address, version).await
    }

    /// The EC device's CONNECT with a good token.
    pub(super) fn ec_connect(&self) -> Connect {
        connect("ec", "unused", token(&self.ec, &spec("ec")))
    }

    /// The EC device, connected.
    pub(super) async fn ec_client(&self, version: MqttVersion) -> Client {
        let mut client = self.client(version).await;
        client.connected(self.ec_connect()).await;
        client
    }

    /// Somebody with the connector's secret, connected.
    pub(super) async fn connector_client(&self, version: MqttVersion) -> Client {
        let mut client = self.client(version).await;
        let secret = Secret::new(SECRET);
        client.connected(connect("any", "connector", secret)).await;
        client
    }

    /// Device, topic, content type and payload of all that was taken.
    pub(super) fn taken(&self) -> Vec<serde_json::Value> {
        let uplinks = self.records.uplinks(None, 0, usize::MAX);
        uplinks
            .iter()
            .map(|uplink| serde_json::to_value(&**uplink).unwrap())
            .collect()
    }
}
