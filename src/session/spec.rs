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

/// One session.
#[derive(Debug)]
pub struct SessionSpec {
    /// The connector it belongs to, for logs.
    pub connector: ConnectorName,
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
    /// How fast patient messages are sent; as fast as the broker takes them without one.
    pub pace: Option<Arc<Pace>>,
    /// Subscriptions, and whose they are.
    pub routes: Routes,
    /// What may be sent where the connection is MQTT 3.1.1.
    pub content_types_v3: Vec<ContentTypeRule>,
    /// Largest packet that is read, in bytes.
    pub max_incoming: usize,
    /// Uplinks that may wait to be sent.
    pub queue: usize,
    /// Uplinks that may be sent and unconfirmed.
    pub window: usize,
    /// Whether it connects at once, or when it is first needed.
    pub eager: bool,
    /// Where its connector counts.
    pub tally: Arc<ConnectorTally>,
}

impl SessionSpec {
    /// When the client certificate is valid, where there is one.
    pub(super) fn certificate(&self) -> Option<Arc<Validity>> {
        let identity = self.endpoint.tls.as_ref()?.identity.as_ref()?;
        Some(Arc::new(identity.validity()))
    }

    /// The client id as it may be shown.
    pub fn shown_client_id(&self) -> Arc<str> {
        let id = self.client_id.to_string();
        let hidden = self.hidden.iter();
        hidden.fold(id, |id, secret| secret.hide_in(&id)).into()
    }
}

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
