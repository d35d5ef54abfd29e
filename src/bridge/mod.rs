//! The composition root: a configuration becomes listeners, sessions and roads (`bind`); they run, and are drained in order
//! (`run`).

mod bind;
mod listener;
mod member;
mod open_files;
mod others;
mod reload;
mod run;
mod sinks;
mod store;
mod traces;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

pub use crate::fleet::{PlanError, PlanWarning, patient, patients, token_source};
pub use listener::listener_settings;
pub use open_files::raise as raise_open_files;
pub use reload::Reloader;

use crate::access::Access;
use crate::config::Config;
use crate::device::ConnectorName;
use crate::downlink;
use crate::fleet::{self, Draft, DraftError};
use crate::http::{Api, Listener, ListenerHandle};
use crate::keyring::{Keyring, KeyringError};
use crate::session::Budget;
use crate::store::{Engine, OpenError};
use crate::tally::Tally;
use crate::telemetry::{Exporter, Tracer};
use crate::vault::VaultError;

/// A bridge that is bound to its addresses but does not run yet.
pub struct Bridge {
    main: Listener,
    listener: ListenerHandle,
    reloader: Reloader,
    management: TcpListener,
    api: Api,
    fleet: Draft,
    keyring: Option<Arc<Keyring>>,
    tally: Arc<Tally>,
    budget: Arc<Budget>,
    writer: downlink::Writer,
    store: Option<Arc<dyn Engine>>,
    traces: Option<(Arc<Tracer>, Exporter)>,
    cluster: Option<member::Cluster>,
}

/// Why a bridge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be run.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Plan(Vec<PlanError>),
    /// The store cannot be opened.
    #[error("store.path: {0}")]
    Store(OpenError),
    /// Nor can the one on NATS JetStream.
    #[cfg(feature = "nats")]
    #[error("store.url: {0}")]
    Nats(crate::store::NatsError),
    /// What is kept of registered devices cannot be read.
    #[error("store: {0}")]
    Vault(VaultError),
    /// Nor what is kept of their keys.
    #[error("store: {0}")]
    Keyring(#[from] KeyringError),
    /// A listener's address cannot be bound.
    #[error("{key} = \"{address}\" cannot be bound: {error}")]
    Bind {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl From<DraftError> for StartError {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Plan(errors) => Self::Plan(errors),
            DraftError::Vault(error) => Self::Vault(error),
        }
    }
}

impl Bridge {
    /// The main listener's address, with its real port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.main.address()
    }

    /// Changes the main listener while it runs.
    pub fn listener(&self) -> ListenerHandle {
        self.listener.clone()
    }

    /// How many devices each connector has, those that are registered in the store included.
    pub fn devices(&self) -> BTreeMap<ConnectorName, usize> {
        self.fleet.devices()
    }

    /// Takes other configurations over while the bridge runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The management listener's address, with its real port.
    pub fn management_address(&self) -> io::Result<SocketAddr> {
        self.management.local_addr()
    }

    /// Who may do what; it can be replaced while the bridge runs.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.api.access)
    }
}

/// Builds everything that a configuration describes and lets it go again: finds what only shows when it is used.
/// Gives what works, but should be seen to.
pub fn verify(config: &Config) -> Result<Vec<PlanWarning>, Vec<PlanError>> {
    let collector = config.telemetry.as_ref().map(traces::settings).transpose();
    match (fleet::verify(config), listener_settings(config), collector) {
        (Ok(of_fleet), Ok((_, mut warnings)), Ok(_)) => {
            warnings.extend(of_fleet);
            Ok(warnings)
        }
        (planned, listener, collector) => {
            let errors = listener.err().into_iter().chain(collector.err());
            Err(errors.chain(planned.err().unwrap_or_default()).collect())
        }
    }
}
