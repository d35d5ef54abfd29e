//! A configuration becomes listeners, sessions and roads.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::sinks::{IntoHub, IntoUplinks};
use super::{Bridge, Reloader, StartError, listener_settings, member, store, traces};
use crate::access::Access;
use crate::config::Config;
use crate::downlink;
use crate::fleet::{Fleet, Parts, Share, Whereabouts};
use crate::http::{self, Api, BodyPace, HttpLimits, Listener, Members};
use crate::identity::Sealing;
use crate::keyring::Keyring;
use crate::registry::Registry;
use crate::session::{AckSink, Budget, ConnectGate, DownlinkSink, Shared};
use crate::telemetry;
use crate::uplink::Uplinks;
use crate::vault::Vault;

impl Bridge {
    /// Builds everything and binds the listeners. Whatever is wrong is found here, before anything runs.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let (settings, warnings) =
            listener_settings(config).map_err(|error| StartError::Plan(vec![error]))?;
        let collector = config.telemetry.as_ref().map(traces::settings).transpose();
        let collector = collector.map_err(|error| StartError::Plan(vec![error]))?;
        let share = Arc::new(match config.store.is_shared() {
            true => Share::of_member(),
            false => Share::alone(),
        });
        let store = store::open(config, &share).await?;
        let hub = Arc::new(store::hub(config, store.clone()));
        let (intake, writer) = downlink::intake(&hub);
        let acks = Arc::new(IntoUplinks::default());
        let shared = shared(config, Arc::new(IntoHub(intake)), acks.clone());
        for warning in warnings {
            warn!("{warning}");
        }
        let (tally, budget) = (Arc::clone(&shared.tally), Arc::clone(&shared.budget));
        let registry = Arc::new(Registry::default());
        let uplinks = Uplinks::new(
            Arc::clone(&registry),
            store.clone(),
            config.store.recent_receipts,
        );
        let traces = collector.map(telemetry::tracing);
        if let Some((tracer, _)) = &traces {
            uplinks.trace(Arc::clone(tracer));
        }
        // Before any session runs.
        acks.lead(uplinks.clone());
        let vault = store.clone().map(|store| {
            let sealing = Sealing::new(config.store.encryption_key.clone());
            Arc::new(Vault::new(store, sealing))
        });
        let keyring = match &vault {
            Some(vault) => Some(Arc::new(Keyring::open(Arc::clone(vault)).await?)),
            None => None,
        };
        let parts = Parts {
            registry: Arc::clone(&registry),
            share,
            uplinks: uplinks.clone(),
            hub: Arc::clone(&hub),
            store: store.clone(),
            vault,
            keyring: keyring.clone(),
        };
        let fleet = Fleet::plan(config, parts, shared).await?;
        let configuration = member::configuration(config);
        let cluster = member::connect(config, &tally, &configuration).await?;
        let peers = cluster.as_ref().map(member::Cluster::peers);
        let members = peers.map(|peers| Members {
            places: Arc::new(Whereabouts::new(fleet.fleet(), Arc::clone(&peers))),
            fallback: Arc::new(uplinks.clone()),
            lease: config.cluster.lease,
            peers,
        });
        let api = Api {
            access: Arc::new(Access::new(config.access.clone())),
            uplinks,
            registry,
            fleet: fleet.fleet(),
            hub,
            limits: HttpLimits {
                max_body: config.http.max_body,
                body_pace: BodyPace {
                    time: config.http.connections.body_timeout,
                    rate: config.http.connections.min_body_rate,
                },
                wait: config.http.wait,
                max_wait: config.http.max_wait,
                ..HttpLimits::default()
            },
            receipts: config.store.limits.receipts,
            members,
            shutdown: CancellationToken::new(),
        };
        let main = listen("http.listen", config.http.listen)?;
        let (main, listener) = Listener::new(main, settings);
        let reloader = Reloader::new(
            config,
            fleet.fleet(),
            Arc::clone(&api.access),
            listener.clone(),
            Arc::clone(&tally),
            configuration,
        );
        Ok(Self {
            main,
            listener,
            reloader,
            management: listen("management.listen", config.management.listen)?,
            api,
            fleet,
            keyring,
            tally,
            budget,
            writer,
            store,
            traces,
            cluster,
        })
    }
}

/// What all sessions share.
fn shared(config: &Config, downlinks: Arc<dyn DownlinkSink>, acks: Arc<dyn AckSink>) -> Shared {
    Shared {
        gate: Arc::new(ConnectGate::new(
            config.limits.connects_per_second,
            config.limits.concurrent_connects,
        )),
        budget: Budget::new(config.limits.queued_bytes),
        tally: Arc::default(),
        downlinks,
        acks,
        shutdown: CancellationToken::new(),
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    http::bind(address).map_err(|error| StartError::Bind {
        key,
        address,
        error,
    })
}
