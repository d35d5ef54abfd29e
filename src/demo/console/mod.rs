//! The pretended platform's console: what it received, what it refused, and downlinks to its devices.

mod answer;
mod downlinks;
mod help;
mod keys;
mod uplinks;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{delete, get, post};
use axum::{Json, response::IntoResponse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::akenza::Registry;
use super::broker::Broker;
use super::platform::Records;
use crate::device::DeviceId;

/// Largest downlink, in bytes.
const MAX_DOWNLINK: usize = 1024 * 1024;

/// What the console shows and uses.
#[derive(Clone)]
pub struct Console {
    /// What the platforms received and refused.
    pub records: Records,
    /// What the pretended akenza knows.
    pub akenza: Arc<Registry>,
    /// The platforms' brokers; the first that knows a device sends its downlinks.
    pub brokers: Vec<Broker>,
    /// The sample devices, for the help page.
    pub devices: Vec<String>,
}

impl Console {
    /// Serves a bound listener until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let served = axum::serve(listener, self.router())
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the demo's console has ended");
        }
    }

    /// Whether a device is known to one of the platforms.
    fn knows(&self, id: &str) -> bool {
        let has_key = |id| self.akenza.has_device(&id);
        self.devices.iter().any(|known| known == id) || DeviceId::parse(id).is_ok_and(has_key)
    }

    fn unknown_device(&self, id: &str) -> answer::Problem {
        let mut known = self.devices.clone();
        let with_keys = self.akenza.devices();
        known.extend(with_keys.iter().map(|id| id.as_str().to_owned()));
        known.sort();
        known.dedup();
        answer::Problem::unknown_device(id, &known)
    }

    fn router(self) -> Router {
        Router::new()
            .route("/", get(help::page))
            .route("/uplinks", get(uplinks::list))
            .route("/refused", get(refused))
            .route("/devices/{id}/keys", get(keys::list).post(keys::add))
            .route("/devices/{id}/keys/{kid}", delete(keys::remove))
            .route("/devices/{id}/downlinks", post(downlinks::without_topic))
            .route("/devices/{id}/downlinks/{*topic}", post(downlinks::send))
            .fallback(help::unknown)
            .method_not_allowed_fallback(help::wrong_method)
            .layer(DefaultBodyLimit::max(MAX_DOWNLINK))
            .with_state(Arc::new(self))
    }
}

async fn refused(State(console): State<Arc<Console>>) -> impl IntoResponse {
    Json(console.records.refused())
}
