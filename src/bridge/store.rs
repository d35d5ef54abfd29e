//! The store that a configuration names, and the history of downlinks over it.

use std::sync::Arc;
#[cfg(feature = "nats")]
use std::time::Duration;

use super::StartError;
use crate::config::Config;
use crate::downlink::{self, Hub};
use crate::fleet::Share;
use crate::store::{Embedded, Engine};

/// How long the bridge waits for a nats-server that starts with it.
#[cfg(feature = "nats")]
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// Opens it; `None` where nothing is to be stored.
pub(super) async fn open(
    config: &Config,
    share: &Arc<Share>,
) -> Result<Option<Arc<dyn Engine>>, StartError> {
    #[cfg(feature = "nats")]
    if let Some(servers) = &config.store.servers {
        let limits = config.store.limits;
        let holding = Arc::clone(share);
        let store = crate::store::Nats::open(servers, limits, STORE_PATIENCE, holding).await;
        return Ok(Some(Arc::new(store.map_err(StartError::Nats)?)));
    }
    #[cfg(not(feature = "nats"))]
    let _ = share;
    let Some(path) = &config.store.path else {
        return Ok(None);
    };
    let store = Embedded::open(path, config.store.limits).map_err(StartError::Store)?;
    Ok(Some(Arc::new(store)))
}

/// What is kept of downlinks: in the store, or else in memory.
pub(super) fn hub(config: &Config, store: Option<Arc<dyn Engine>>) -> Hub {
    match store {
        Some(store) => Hub::with_history(downlink::Limits::CACHE, store),
        None => Hub::new(downlink::Limits {
            events: config.downlinks.history,
            bytes: config.downlinks.history_bytes,
            ..downlink::Limits::default()
        }),
    }
}
