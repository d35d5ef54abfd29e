//! They run, and are drained in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Bridge, others};
use crate::fleet::Holder;
use crate::http::{self, Observer, Served};
use crate::observe::{self, Health, Metrics, Sources, StoreHealth};

/// How long requests may still wait for the broker after the shutdown began.
const GRACE: Duration = Duration::from_secs(3);
/// How long requests may then take to be stored and answered.
const HTTP_DRAIN: Duration = Duration::from_secs(8);
/// How long sessions may then take to settle what is in flight and to disconnect.
const SESSION_DRAIN: Duration = Duration::from_secs(8);

/// How long what sessions have handed over may then take to be stored.
const WRITER_DRAIN: Duration = Duration::from_secs(2);

impl Bridge {
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
