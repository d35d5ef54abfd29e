//! Why something that is valid in itself cannot be run.

use crate::config::DeviceError;
use crate::device::{ConnectorName, DeviceId};
use crate::identity::{IdentityError, KeyError, KidError};
use crate::keyring::KeyringError;
use crate::mqtt::tls::TlsError;
use crate::profile::BindError;
use crate::session::NoPassword;
use crate::store::StoreError;
use crate::vault::VaultError;

/// Why a configuration that is valid in itself cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A device's key cannot be used.
    #[error("devices.{device:?}: {error}")]
    Key {
        /// The device.
        device: DeviceId,
        /// What is wrong with its key.
        error: KeyError,
    },
    /// A device's key id cannot be made.
    #[error("devices.{device:?}: {error}")]
    Kid {
        /// The device.
        device: DeviceId,
        /// What is missing.
        error: KidError,
    },
    /// A connector's TLS cannot be set up.
    #[error("connectors.{connector}: {error}")]
    Tls {
        /// The connector.
        connector: ConnectorName,
        /// What is wrong.
        error: TlsError,
    },
    /// A certificate or its key cannot be used.
    #[error("{owner}: {error}")]
    Identity {
        /// The connector, the device, or the listener.
        owner: String,
        /// What is wrong.
        error: IdentityError,
    },
    /// The main listener's TLS cannot be set up.
    #[error("http.{key}: {error}")]
    Https {
        /// The setting.
        key: &'static str,
        /// What is wrong.
        error: crate::http::TlsError,
    },
    /// TLS with the collector of traces cannot be set up.
    #[error("telemetry: {0}")]
    Telemetry(TlsError),
    /// A profile and its values do not fit together.
    #[error("{owner}: {error}")]
    Bind {
        /// The connector or device.
        owner: String,
        /// What is wrong.
        error: BindError,
    },
    /// The main listener would be open to everybody who reaches it.
    #[error(
        "http.listen: the listener stays at {0} until the next start, where it is reached from other machines, and this \
         configuration lets anybody in: keep tokens or client certificates, or write http.allow_anonymous = true"
    )]
    Exposed(std::net::SocketAddr),
    /// Planning was broken off.
    #[error(
        "planning was broken off: the bridge is shutting down, or has a defect, which the log names"
    )]
    Interrupted,
    /// A key that was read cannot sign.
    #[error("devices.{device:?}: {error}")]
    Token {
        /// The device.
        device: DeviceId,
        /// What is wrong.
        error: NoPassword,
    },
    /// A profile whose password is a token, and that says nothing of tokens.
    #[error("devices.{0:?}: the profile has no [token]")]
    NoToken(DeviceId),
}

/// Why a device cannot be registered, changed or deleted now. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such device.
    #[error("there is no device {0:?}")]
    Unknown(DeviceId),
    /// It was to be new, and is there.
    #[error("the device {0:?} exists")]
    Exists(DeviceId),
    /// It is written in the configuration file.
    #[error("the device {0:?} is written in the configuration file, which goes before")]
    Configured(DeviceId),
    /// What was given is no device, or does not fit.
    #[error(transparent)]
    Invalid(#[from] DeviceError),
    /// It is valid in itself, and cannot be run.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Plan(Vec<PlanError>),
    /// Other devices use its connection.
    #[error("the connection of {device:?} carries other devices: {}", list(behind))]
    Router {
        /// The device.
        device: DeviceId,
        /// Those behind it.
        behind: Vec<DeviceId>,
    },
    /// It is to be deleted, and nobody has said what becomes of what waits.
    #[error("{count} uplinks of {device:?} wait for the broker")]
    Backlog {
        /// The device.
        device: DeviceId,
        /// How many wait.
        count: u64,
    },
    /// It is being deleted.
    #[error("the device {0:?} is being deleted: its backlog is sent first")]
    Leaving(DeviceId),
    /// Its session runs in another process of the cluster.
    #[error("the device {0:?} has just moved to another replica; try again")]
    Elsewhere(DeviceId),
    /// There is no store to keep it in.
    #[error("devices are registered in the store, and the configuration has none")]
    NoStore,
    /// It cannot be written down.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its keys cannot be removed.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The program ends.
    #[error("the bridge is shutting down")]
    Ending,
}

impl From<Vec<PlanError>> for ChangeError {
    fn from(errors: Vec<PlanError>) -> Self {
        Self::Plan(errors)
    }
}

fn list(devices: &[DeviceId]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = devices.iter().take(SHOWN).map(DeviceId::as_str).collect();
    match devices.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
