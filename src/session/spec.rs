//! What a session is made from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::gate::ConnectGate;
use super::pace::Pace;
use super::password::Password;
use super::routes::Routes;
use crate::broker::MqttVersion;
use crate::device::{ConnectorName, DeviceId};
use crate::identity::Validity;
use crate::message::Downlink;
use crate::mqtt::packet::Connect;
use crate::mqtt::transport::Endpoint;
use crate::profile::ContentTypeRule;
use crate::secret::Secret;
use crate::tally::{ConnectorTally, Tally};

/// Where a session hands the downlinks it receives. It acknowledges them to the broker when they are taken.
pub trait DownlinkSink: Send + Sync {
    /// Takes downlinks, in their order. When it resolves with `Ok`, they survive whatever this promises to survive; on an
    /// error they are not taken, and the session asks again. When the answer is dropped before, they may be taken or not.
    fn accept(&self, downlinks: Arc<[Downlink]>) -> BoxFuture<'static, Result<(), NotTaken>>;
}

/// Where a session hands what a platform answers to its devices' uplinks. MQTT has no part in this: the session
/// acknowledges such a message as soon as it has handed it over.
pub trait AckSink: Send + Sync {
    /// Takes one message from a device's ack topic. Never waits.
    fn answered(&self, device: &DeviceId, payload: Bytes);
}

/// Downlinks were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("downlinks cannot be kept: {0}")]
pub struct NotTaken(
    /// Why, in words.
    pub Box<str>,
);

/// How a session connects: shared with those who look into what is wrong with it.
#[derive(Debug, Clone)]
pub struct ConnectSpec {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// As whom. Shown without what is hidden.
    pub client_id: Arc<str>,
    /// MQTT user name. Some platforms have their access token there.
    pub username: Option<Secret>,
    /// MQTT password.
    pub password: Password,
    /// Secrets that may stand in topics, names, and the broker's words, besides the password.
    pub hidden: Vec<Secret>,
    /// Keep-alive, in seconds.
    pub keep_alive: u16,
    /// How long the broker keeps the session while it is away, in seconds; 0 is a clean start.
    pub session_expiry: u32,
    /// Which protocol version to speak.
    pub version: Arc<VersionChoice>,
    /// Largest packet that is read, in bytes.
    pub max_incoming: usize,
}

/// One session.
#[derive(Debug)]
pub struct SessionSpec {
    /// The connector it belongs to, for logs.
    pub connector: ConnectorName,
    /// How it connects.
    pub connect: Arc<ConnectSpec>,
    /// How fast patient messages are sent; as fast as the broker takes them without one.
    pub pace: Option<Arc<Pace>>,
    /// Subscriptions, and whose they are.
    pub routes: Routes,
    /// What may be sent where the connection is MQTT 3.1.1.
    pub content_types_v3: Vec<ContentTypeRule>,
    /// Uplinks that may wait to be sent.
    pub queue: usize,
    /// Uplinks that may be sent and unconfirmed.
    pub window: usize,
    /// Whether it connects at once, or when it is first needed.
    pub eager: bool,
    /// Where its connector counts.
    pub tally: Arc<ConnectorTally>,
}

impl ConnectSpec {
    /// When the client certificate is valid, where there is one.
    pub fn certificate(&self) -> Option<Validity> {
        let identity = self.endpoint.tls.as_ref()?.identity.as_ref()?;
        Some(identity.validity())
    }

    /// The client id as it may be shown.
    pub fn shown_client_id(&self) -> Arc<str> {
        self.show(&self.client_id).into()
    }

    /// A text without what is hidden.
    pub fn show(&self, text: &str) -> String {
        let hidden = self.hidden.iter();
        hidden.fold(text.to_owned(), |text, secret| secret.hide_in(&text))
    }

    /// The CONNECT, with a password for this moment.
    pub fn packet(&self, password: Option<Secret>) -> Connect {
        Connect {
            client_id: self.client_id.to_string(),
            username: (self.username.as_ref()).map(|name| name.expose().to_owned()),
            password,
            clean_start: self.session_expiry == 0,
            session_expiry: self.session_expiry,
            keep_alive: self.keep_alive,
            receive_maximum: RECEIVE_MAXIMUM,
            max_packet_size: u32::try_from(self.max_incoming).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
impl SessionSpec {
    /// A session that says who it is and nothing else, on plain TCP on this machine.
    pub(crate) fn for_tests(port: u16) -> Self {
        Self {
            connector: ConnectorName::parse("test").unwrap(),
            connect: Arc::new(ConnectSpec {
                endpoint: Endpoint::plain("127.0.0.1", port),
                client_id: "client".into(),
                username: None,
                password: Password::None,
                hidden: Vec::new(),
                keep_alive: 60,
                session_expiry: 0,
                version: VersionChoice::new(None),
                max_incoming: 1 << 20,
            }),
            pace: None,
            routes: Routes::default(),
            content_types_v3: Vec::new(),
            queue: 10,
            window: 100,
            eager: false,
            tally: Arc::default(),
        }
    }

    /// How it connects, while nobody else has it.
    pub(super) fn connect(&mut self) -> &mut ConnectSpec {
        Arc::get_mut(&mut self.connect).unwrap()
    }
}

/// Unacknowledged downlinks that a broker may have sent us (MQTT 5 §3.1.2.11.3).
const RECEIVE_MAXIMUM: u16 = 100;

/// What all sessions share.
#[derive(Clone)]
pub struct Shared {
    /// How fast they may connect.
    pub gate: Arc<ConnectGate>,
    /// How much they may hold.
    pub budget: Arc<Budget>,
    /// Where everything is counted.
    pub tally: Arc<Tally>,
    /// Where downlinks go.
    pub downlinks: Arc<dyn DownlinkSink>,
    /// Where platforms' answers to uplinks go.
    pub acks: Arc<dyn AckSink>,
    /// When they end.
    pub shutdown: CancellationToken,
}

#[cfg(test)]
impl Shared {
    /// Sessions that hand what they get to nobody.
    pub(crate) fn for_tests() -> Self {
        struct Nobody;
        impl DownlinkSink for Nobody {
            fn accept(&self, _: Arc<[Downlink]>) -> BoxFuture<'static, Result<(), NotTaken>> {
                Box::pin(async { Ok(()) })
            }
        }
        impl AckSink for Nobody {
            fn answered(&self, _: &DeviceId, _: Bytes) {}
        }
        Self {
            gate: Arc::new(ConnectGate::new(1000, 10)),
            budget: Budget::new(1 << 20),
            tally: Arc::default(),
            downlinks: Arc::new(Nobody),
            acks: Arc::new(Nobody),
            shutdown: CancellationToken::new(),
        }
    }
}

/// The protocol version of a connector: the one written down, or MQTT 5 until the broker refuses it.
#[derive(Debug)]
pub struct VersionChoice {
    pinned: Option<MqttVersion>,
    v5_refused: AtomicBool,
}

impl VersionChoice {
    /// A choice for all sessions of a connector.
    pub fn new(pinned: Option<MqttVersion>) -> Arc<Self> {
        Arc::new(Self {
            pinned,
            v5_refused: AtomicBool::new(false),
        })
    }

    /// The version that was written down.
    pub fn pinned(&self) -> Option<MqttVersion> {
        self.pinned
    }

    /// What to speak now.
    pub(super) fn current(&self) -> MqttVersion {
        match self.pinned {
            Some(pinned) => pinned,
            None if self.v5_refused.load(Ordering::Relaxed) => MqttVersion::V311,
            None => MqttVersion::V5,
        }
    }

    /// Notes that the broker does not speak `refused`; `true` when there is another version to try.
    pub(super) fn refused(&self, refused: MqttVersion) -> bool {
        let fallback = self.pinned.is_none() && refused == MqttVersion::V5;
        if fallback {
            self.v5_refused.store(true, Ordering::Relaxed);
        }
        fallback
    }
}
