//! The composition root: a configuration becomes listeners, sessions and roads; they run, and are drained in order.

mod listener;
mod member;
mod open_files;
mod others;
mod reload;
mod sinks;
mod store;
mod traces;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use crate::fleet::{PlanError, PlanWarning, patient, patients, token_source};
pub use listener::listener_settings;
pub use open_files::raise as raise_open_files;
pub use reload::Reloader;

use crate::access::Access;
use crate::config::Config;
use crate::device::ConnectorName;
use crate::downlink;
use crate::fleet::{self, Draft, DraftError, Fleet, Holder, Parts, Share, Whereabouts};
use crate::http::{
    self, Api, BodyPace, HttpLimits, Listener, ListenerHandle, Members, Observer, Served,
};
use crate::identity::Sealing;
use crate::keyring::{Keyring, KeyringError};
use crate::observe::{self, Health, Metrics, Sources, StoreHealth};
use crate::registry::Registry;
use crate::session::{AckSink, Budget, ConnectGate, DownlinkSink, Shared};
use crate::store::{Engine, OpenError};
use crate::tally::Tally;
use crate::telemetry::{self, Exporter, Tracer};
use crate::uplink::Uplinks;
use crate::vault::{Vault, VaultError};
use sinks::{IntoHub, IntoUplinks};

/// How long requests may still wait for the broker after the shutdown began.
const GRACE: Duration = Duration::from_secs(3);
/// How long requests may then take to be stored and answered.
const HTTP_DRAIN: Duration = Duration::from_secs(8);
/// How long sessions may then take to settle what is in flight and to disconnect.
const SESSION_DRAIN: Duration = Duration::from_secs(8);

/// How long what sessions have handed over may then take to be stored.
const WRITER_DRAIN: Duration = Duration::from_secs(2);

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

    /// Runs until `shutdown`, then drains: no new requests, streams end, requests under way are answered, sessions
    /// settle what is in flight and disconnect.
    pub async fn run(self, shutdown: CancellationToken) -> io::Result<()> {
        let Self {
            main,
            listener,
            reloader,
            management,
            api,
            fleet,
            keyring,
            tally,
            budget,
            writer,
            store,
            traces,
            cluster,
        } = self;
        let (tracer, exporter) = traces.unzip();
        // Later than everything that makes spans.
        let traces_end = CancellationToken::new();
        let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(traces_end.clone())));
        let http_end = api.shutdown.clone();
        let writing = tokio::spawn(writer.run());
        let fleet = fleet.run().await;
        if let Some(store) = &store {
            others::follow(store, &fleet, &api.uplinks);
        }
        reloader.start();
        // Health is answered until the very end, so that the drain can be watched.
        let management_end = CancellationToken::new();
        let store_health = store
            .clone()
            .map(|store| -> StoreHealth { Box::new(move || store.health()) });
        let health = Health::new(Arc::clone(&api.registry), store_health);
        let health = Arc::new(health.watching_reloads(Arc::clone(&tally)));
        let sessions_end = CancellationToken::new();
        let own = listener.clone();
        let certificates = tokio::spawn(observe::watch_certificates(
            Arc::clone(&api.registry),
            move || own.certificate(),
            sessions_end.clone(),
        ));
        let requests = Arc::new(http::http_tally());
        let metrics = Arc::new(Metrics::new(Sources {
            registry: Arc::clone(&api.registry),
            tally,
            budget,
            store: store.clone(),
            health: Arc::clone(&health),
            http: Arc::clone(&requests),
            listener: Arc::clone(listener.figures()),
            traces: tracer.as_ref().map(|tracer| tracer.figures()),
            peers: (api.members.as_ref()).map(|members| Arc::clone(&members.peers)),
        }));
        // Whoever looks after the bridge every few seconds leaves no traces.
        let of_management = Arc::new(Observer::new(Arc::clone(&requests), None));
        let observer = Arc::new(Observer::new(requests, tracer.clone()));
        let routes = http::management(Arc::clone(&health), metrics);
        let routes = Served::observed(routes, of_management);
        let management = http::serve(management, routes, management_end.clone());
        let management = tokio::spawn(management);
        let uplinks = api.uplinks.clone();
        uplinks.resume();
        let router = http::router(api.clone());
        let membership = cluster.zip(http::answerer(&api, router.clone()));
        let membership = membership.map(|(cluster, answerer)| {
            let holder = Arc::new(Holder(Arc::clone(&fleet)));
            cluster.join(holder, answerer)
        });
        drop(api);
        let routes = Served::observed(router, observer);
        let mut serving = tokio::spawn(http::serve(main, routes, http_end.clone()));

        health.set_accepting(true);
        shutdown.cancelled().await;
        health.set_accepting(false);
        info!("shutting down: answering what is under way");
        http_end.cancel();
        if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
            // From here on, what the broker has not confirmed is stored.
            uplinks.hurry();
            if tokio::time::timeout(HTTP_DRAIN, &mut serving)
                .await
                .is_err()
            {
                warn!("some requests were still under way after {HTTP_DRAIN:?}");
                serving.abort();
            }
        }
        // What others take over is given to them before the sessions end: nobody waits for the end of a lease then.
        if let Some(membership) = membership
            && tokio::time::timeout(SESSION_DRAIN, membership.end())
                .await
                .is_err()
        {
            warn!("the others have not taken everything over after {SESSION_DRAIN:?}");
        }
        sessions_end.cancel();
        let _ = certificates.await;
        // With the sessions go the last intakes, which the writer waits for.
        fleet.end(SESSION_DRAIN).await;
        if let Some(keyring) = keyring {
            keyring.close().await;
        }
        if tokio::time::timeout(WRITER_DRAIN, writing).await.is_err() {
            warn!("some downlinks were not stored after {WRITER_DRAIN:?}; the broker keeps them");
        }
        uplinks.stop().await;
        if let Some(store) = store
            && let Err(error) = store.close().await
        {
            warn!("the store did not close: {error}");
        }
        traces_end.cancel();
        if let Some(exporting) = exporting {
            let _ = exporting.await;
        }
        management_end.cancel();
        let _ = management.await;
        Ok(())
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

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    http::bind(address).map_err(|error| StartError::Bind {
        key,
        address,
        error,
    })
}
