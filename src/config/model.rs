//! The configuration as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{ClientIds, Observed, Warning};
use crate::access;
use crate::broker::{BrokerUrl, Host, MqttVersion, Proxy};
use crate::device::{ConnectorName, DeviceId};
use crate::identity::SealingKey;
use crate::profile::{Profile, ScopeValues};
use crate::secret::Secret;
use crate::telemetry::CollectorUrl;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[http]`: the main listener.
    pub http: Http,
    /// `[access.tokens.NAME]` and `[access.certificates.NAME]`: who may use the main listener for what. Without any,
    /// everybody who reaches it may do everything; see `http.allow_anonymous`.
    pub access: Vec<access::Rule>,
    /// `[management]`: health and metrics.
    pub management: Management,
    /// `[log]`.
    pub log: Log,
    /// `[limits]`: what bounds memory and the load on brokers.
    pub limits: Limits,
    /// `[downlinks]`: what is kept for replay.
    pub downlinks: Downlinks,
    /// `[store]`: what survives a restart.
    pub store: Store,
    /// Several replicas on one store.
    pub cluster: Cluster,
    /// `[telemetry]`: where traces go. Default: nowhere.
    pub telemetry: Option<Telemetry>,
    /// `[connectors.NAME]`.
    pub connectors: BTreeMap<ConnectorName, Connector>,
    /// `[devices."ID"]`; each one's connector is in `connectors`.
    pub devices: BTreeMap<DeviceId, Arc<Device>>,
    /// The client ids of all their connections, no two of them the same on one broker.
    pub client_ids: Arc<ClientIds>,
    /// What works, but should be seen to.
    pub warnings: Vec<Warning>,
    /// The files that it was read from, to be watched.
    pub files: Vec<Observed>,
}

/// The main listener.
#[derive(Debug, Clone)]
pub struct Http {
    /// The address it binds; port 0 is any free one. Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// TLS. Default: none, and the listener is plain HTTP.
    pub https: Option<Https>,
    /// What bounds its connections.
    pub connections: Connections,
    /// Web pages of these origins may use the listener from a browser (CORS); `*` is any. Default: none.
    pub cors_origins: Vec<String>,
    /// Whether anybody who reaches the listener may use it. Without it, only a loopback address is taken, unless there are
    /// tokens or certificates under `[access]`, or clients must show certificates. With `[access]` it is an error. Default no.
    pub allow_anonymous: bool,
    /// The longest body of one uplink, in bytes, 1 B to 255 MiB; the largest MQTT packet that is sent is this and
    /// its topic and properties. Default 1 MiB.
    pub max_body: usize,
    /// How long an uplink waits for the broker's confirmation where the request does not say. At most `max_wait`.
    /// Default 5 s.
    pub wait: Duration,
    /// The longest that a request may ask for with `Prefer: wait=N`, 1 s to 1 h. Default 60 s.
    pub max_wait: Duration,
}

impl Http {
    /// Whether whoever reaches the listener may use it: neither a token nor a certificate is asked for. `guarded`: there is
    /// something under `[access]`.
    pub fn lets_anybody_in(&self, guarded: bool) -> bool {
        let clients = self.https.as_ref().and_then(|https| https.clients.as_ref());
        !guarded && !clients.is_some_and(|clients| clients.required)
    }
}

/// TLS on the main listener. Clients are offered TLS 1.2 and 1.3, and HTTP/2 before HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Https {
    /// What the listener goes by. `tls_certificate_file`: the certificate, its issuers, and the private key, PEM in any
    /// order or a PKCS#12 store (`.p12`, `.pfx`). `tls_key_file`: the private key, where it is in a file of its own.
    /// `tls_key_passphrase` or `tls_key_passphrase_file`: decrypts the private key.
    pub identity: IdentityFiles,
    /// `client_ca_file`: there where clients show certificates, too. Default: they do not.
    pub clients: Option<ClientCertificates>,
}

/// Whose certificates clients show.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// `client_ca_file`: the authorities that issued them, PEM as it was read.
    pub authorities: FileBytes,
    /// `client_certificates`: with `required` a client without a certificate is turned away in the handshake; with
    /// `optional` it is taken for one that has shown none. A certificate of another authority is turned away by both.
    /// Default `required`.
    pub required: bool,
}

/// What bounds the connections of the main listener, and what a client may take its time for. Keys of `[http]`.
#[derive(Debug, Clone)]
pub struct Connections {
    /// `max_connections`: at one time, 1 to 1,000,000. When all are there, those without a request under way are closed
    /// for new ones; when all are busy, the newest is refused. Default 10,000.
    pub max: usize,
    /// `max_connections_per_address`: the same for one address (of IPv6, one /64 network), 1 to 1,000,000. Default: a
    /// quarter of `max_connections`, and no limit of its own for loopback addresses.
    pub per_address: Option<usize>,
    /// `max_head`: the largest head of a request, in bytes, 1 KiB to 64 KiB. A larger one is answered with 431.
    /// Default 32 KiB.
    pub max_head: usize,
    /// `max_headers`: header fields of a request, 8 to 1000. More are answered with 431. Default 100.
    pub max_headers: usize,
    /// `head_timeout`: how long a client may take for the TLS handshake and its first request's head together, and for
    /// each further head, 1 s to 10 min. Default 20 s.
    pub head_timeout: Duration,
    /// `idle_timeout`: how long a connection may be open without a request, 1 s to 1 day. Default 75 s.
    pub idle_timeout: Duration,
    /// `body_timeout`: how long a body may take at least, however slow it comes, 1 s to 1 h. Then it must have come at
    /// `min_body_rate` on the whole, or is answered with 408. Default 20 s.
    pub body_timeout: Duration,
    /// `min_body_rate`: bytes in a second, 1 B to 1 GiB. Default 500 B.
    pub min_body_rate: usize,
}

/// The listener for health and metrics.
#[derive(Debug, Clone)]
pub struct Management {
    /// The address it binds; port 0 is any free one. Default 127.0.0.1:9090.
    pub listen: SocketAddr,
}

/// What is logged, to standard error.
#[derive(Debug, Clone)]
pub struct Log {
    /// Default `human`.
    pub format: LogFormat,
    /// Directives of tracing's `Targets`: a level, or `part=level`, separated by commas. `RUST_LOG` goes before the
    /// file, `CAUSEWAY__LOG__LEVEL` before both. Default `info`.
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// What bounds memory and the load on brokers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that are opened in a second, all sessions together, 1 to 100,000. Those for which
    /// somebody waits come first. Default 100.
    pub connects_per_second: u32,
    /// Connections that are being opened at one time, all sessions together, 1 to 100,000. Default 64.
    pub concurrent_connects: usize,
    /// Uplinks that wait or are in flight on one session, 1 to 1,000,000. Default 1000.
    pub queued_uplinks: usize,
    /// Their payloads, all sessions together, in bytes; at least `http.max_body`. Default 64 MiB.
    pub queued_bytes: usize,
}

/// What is kept for replay to listeners.
#[derive(Debug, Clone)]
pub struct Downlinks {
    /// Downlinks per device, 0 to 1,000,000; the latest one is always kept. Default 1000.
    pub history: usize,
    /// Their bytes per device. Default 1 MiB.
    pub history_bytes: usize,
    /// How long a downlink is kept, 1 min to 1 year. Default 7 days.
    pub history_age: Duration,
    /// Downlinks of all devices. Default 1,000,000.
    pub total: u64,
    /// Their bytes. Default 256 MiB.
    pub total_bytes: u64,
}

/// What survives a restart.
#[derive(Debug, Clone)]
pub struct Store {
    /// The store's file; nothing is stored, and nothing answered with 202, without one, unless there are `servers`.
    /// Default: `causeway.redb` beside the configuration.
    pub path: Option<PathBuf>,
    /// `url` and what belongs to it: NATS JetStream in place of the file. Needs a build with the feature `nats`. Default:
    /// none.
    pub servers: Option<crate::store::NatsServers>,
    /// `encryption_key_file`: what private keys and secrets of devices are sealed with in the store (AES-256-GCM): a file
    /// with 32 random bytes in Base64 or as 64 hexadecimal digits. What was stored without it is sealed at the next start;
    /// what is sealed cannot be read without it. Messages are not sealed. Default: none, and they are stored in plain.
    pub encryption_key: Option<Arc<SealingKey>>,
    /// How much is kept.
    pub limits: crate::store::Limits,
    /// Receipts of uplinks that were confirmed without being stored; in memory. Default 10,000.
    pub recent_receipts: usize,
}

impl Store {
    /// Whether other processes may use it at the same time.
    pub fn is_shared(&self) -> bool {
        self.servers.is_some()
    }

    /// Whether anything is stored.
    pub fn is_enabled(&self) -> bool {
        self.path.is_some() || self.servers.is_some()
    }
}

/// How a replica is seen by the others that share its store. Only with `store.url`.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name for people; two may have the same one. Default: the name of the machine or container.
    pub name: Arc<str>,
    /// How long the others wait for its next sign of life before they take what it has, 3 s to 1 min. It uses what it has
    /// for five sixths of that after the last renewal. Default 6 s.
    pub lease: Duration,
}

/// Where traces go.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// `otlp_url`: a collector that takes OTLP over HTTP.
    pub url: CollectorUrl,
    /// `ca_file`: the roots that are trusted instead of the system's. Only with https.
    pub ca: Option<FileBytes>,
    /// The part of traces that begin here which is recorded, 0 to 1. Default 1.
    pub sampling: f64,
    /// `headers_file`: sent with every request. Names are in lower case. Default: none.
    pub headers: Vec<(String, Secret)>,
    /// What describes this bridge to the collector, besides its name and version. Default: none.
    pub resource: BTreeMap<String, String>,
}

/// One broker with one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Connector {
    /// Its name.
    pub name: ConnectorName,
    /// The profile, with the connector's `override` laid over it.
    pub profile: Profile,
    /// The profile as it was named: a built-in one's name or a path.
    pub profile_name: String,
    /// Where the broker is.
    pub url: BrokerUrl,
    /// `ca_file`: the roots that are trusted instead of the system's, PEM as it was read. Only with TLS.
    pub ca: Option<FileBytes>,
    /// `server_name`: the name that the broker's certificate must carry, and that the broker is told (SNI, and the
    /// `Host` of a WebSocket), where that is not the host that is dialled: behind a forwarded port, or by address. Only
    /// with TLS. Default: the host in `url`.
    pub server_name: Option<Host>,
    /// `proxy`: `http://HOST:PORT` of an HTTP proxy that is asked for a tunnel (CONNECT) instead of dialling the broker,
    /// with `proxy_username` and `proxy_password` or `proxy_password_file`, which are sent as Basic. Default: none; the
    /// environment's `HTTPS_PROXY` is not looked at.
    pub proxy: Option<Arc<Proxy>>,
    /// The client certificate of the connection, and of devices that have none of their own. Only with TLS.
    pub identity: Option<IdentityFiles>,
    /// The version that was written down. Default: 5, and 3.1.1 where the broker refuses 5.
    pub mqtt_version: Option<MqttVersion>,
    /// When its sessions are opened. Default `lazy`.
    pub connect: ConnectWhen,
    /// `secret` or `secret_file`: for the connection, and for devices that have none of their own.
    pub secret: Option<Secret>,
    /// Stored uplinks that are sent in a second, all its devices together, 1 to 1,000,000. Default: as fast as the
    /// broker takes them.
    pub drain_rate: Option<u32>,
    /// Values of the profile's variables. Default: none.
    pub variables: BTreeMap<String, String>,
}

impl Connector {
    /// What this connector, and a device of it, give to the profile's templates.
    pub fn scope<'a>(&'a self, device: Option<&'a Device>) -> ScopeValues<'a> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        ScopeValues {
            connector: &self.name,
            host: self.url.host(),
            device: device.map(|device| &device.id),
            secret: device
                .and_then(|device| device.secret.as_ref())
                .or(self.secret.as_ref()),
            connector_variables: &self.variables,
            device_variables: device.map_or(&NONE, |device| &device.variables),
        }
    }
}

/// When a session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectWhen {
    /// On first use.
    Lazy,
    /// At start.
    Eager,
}

/// One device. There may be very many, and of most of them little is written: what is rare is elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// The connector that it is registered on.
    pub connector: ConnectorName,
    /// `via`: the router device on the same connector whose connection carries this one, which then has none of its own,
    /// and no credentials. Only with a profile that has router devices. Default: a connection of its own.
    pub via: Option<DeviceId>,
    /// `private_key_file`: PEM as it was read. Only with a profile that signs tokens; without it, the bridge makes and keeps
    /// the device's keys itself.
    pub private_key: Option<Box<FileBytes>>,
    /// `certificate_file`: PEM as it was read. There with a profile whose `kid` is the certificate's hash, and only there.
    pub certificate: Option<Box<FileBytes>>,
    /// `passphrase` or `passphrase_file`: decrypts the private key and that of the identity, whichever is encrypted.
    pub passphrase: Option<Secret>,
    /// The client certificate of the device's own connection, which goes before the connector's. Only with TLS.
    pub identity: Option<Box<IdentityFiles>>,
    /// `secret` or `secret_file`: goes before the connector's.
    pub secret: Option<Secret>,
    /// Values of the profile's variables, which go before the connector's. Default: none.
    pub variables: BTreeMap<String, String>,
}

/// What a client names itself by in the TLS handshake. It is not what tokens are signed with: that is `private_key_file`.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityFiles {
    /// `identity_file`: the certificate, its issuers if there are any, and the private key, as platforms hand them out:
    /// PEM in any order, or a PKCS#12 store (`.p12`, `.pfx`).
    pub file: FileBytes,
    /// `identity_key_file`: the private key, where it is in a file of its own.
    pub key: Option<FileBytes>,
    /// `passphrase` or `passphrase_file`: decrypts the private key.
    pub passphrase: Option<Secret>,
}

/// A file's content, read once when the configuration is. Cleared from memory when dropped; `Debug` shows its path alone.
#[derive(Clone, PartialEq)]
pub struct FileBytes {
    /// Where it was read from, for messages.
    pub path: PathBuf,
    /// What was read.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBytes({:?}, {} bytes)", self.path, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_small() {
        // Every replica keeps all of them, a million perhaps.
        assert!(size_of::<Device>() <= 152, "{}", size_of::<Device>());
    }
}
