//! This process as one of several replicas, in builds that know of clusters.

use std::sync::Arc;

use tokio::sync::watch;

#[cfg(feature = "nats")]
pub(super) use crate::cluster::Cluster;
use crate::config::Config;

#[cfg(not(feature = "nats"))]
use super::StartError;
#[cfg(feature = "nats")]
use super::{StartError, store::STORE_PATIENCE};

/// What this process was given, as the others see it ([`Config::digest`]).
pub(super) type Configuration = watch::Sender<Arc<str>>;

/// Of one that is alone, nobody asks.
pub(super) fn configuration(config: &Config) -> Configuration {
    watch::Sender::new(match config.store.is_shared() {
        true => config.digest(),
        false => Arc::default(),
    })
}

/// Connects to the cluster, where the store is one that replicas share.
#[cfg(feature = "nats")]
pub(super) async fn connect(
    config: &Config,
    tally: &Arc<crate::tally::Tally>,
    configuration: &Configuration,
) -> Result<Option<Cluster>, StartError> {
    let Some(servers) = &config.store.servers else {
        return Ok(None);
    };
    let settings = crate::cluster::ClusterSettings {
        servers: servers.clone(),
        name: Arc::clone(&config.cluster.name),
        lease: config.cluster.lease,
        configuration: configuration.subscribe(),
    };
    let connected = Cluster::connect(settings, Arc::clone(&tally.cluster), STORE_PATIENCE).await;
    connected.map(Some).map_err(StartError::Nats)
}

/// A build without NATS is always alone.
#[cfg(not(feature = "nats"))]
mod alone {
    use super::*;
    use crate::cluster::{Answerer, Peers, Sessions};

    pub(in crate::bridge) enum Cluster {}

    pub(in crate::bridge) enum Membership {}

    pub(in crate::bridge) async fn connect(
        _: &Config,
        _: &Arc<crate::tally::Tally>,
        _: &Configuration,
    ) -> Result<Option<Cluster>, StartError> {
        Ok(None)
    }

    impl Cluster {
        pub(in crate::bridge) fn peers(&self) -> Arc<dyn Peers> {
            match *self {}
        }

        pub(in crate::bridge) fn join(
            self,
            _: Arc<dyn Sessions>,
            _: Arc<dyn Answerer>,
        ) -> Membership {
            match self {}
        }
    }

    impl Membership {
        pub(in crate::bridge) async fn end(self) {
            match self {}
        }
    }
}

#[cfg(not(feature = "nats"))]
pub(super) use alone::{Cluster, connect};
