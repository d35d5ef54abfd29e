//! The management listener: is the process alive, and can it do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::{no_method, no_route};
use crate::observe::{ConnectorHealth, Health};

/// The routes of the management listener.
pub fn management(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(health)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
}

/// Whether the process is alive (management listener)
#[utoipa::path(
    get,
    path = "/livez",
    tag = "management",
    responses((status = 200, description = "It is", body = String))
)]
async fn live() -> &'static str {
    "ok\n"
}

/// Whether the bridge can do its work (management listener)
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "management",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot", body = Readiness),
    )
)]
async fn ready(State(health): State<Arc<Health>>) -> Response {
    let report = health.report();
    let status = match report.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = Readiness {
        ready: report.is_ready(),
        accepting: report.accepting,
        connectors: report.connectors.iter().map(Into::into).collect(),
    };
    (status, Json(body)).into_response()
}

/// Whether the bridge can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Requests are accepted, and at least one session is connected, or idle because nobody has needed it yet. The
    /// trouble of some devices does not make the bridge unready.
    #[schema(example = true)]
    ready: bool,
    /// The main listener is up, and the bridge is not shutting down.
    #[schema(example = true)]
    accepting: bool,
    connectors: Vec<ConnectorReadiness>,
}

/// One connector's part of it.
#[derive(Serialize, ToSchema)]
pub(super) struct ConnectorReadiness {
    #[schema(example = "akenza")]
    name: String,
    /// Devices registered on it.
    #[schema(example = 12)]
    devices: usize,
    /// MQTT sessions that carry them.
    #[schema(example = 12)]
    sessions: usize,
    /// Sessions that are connected.
    #[schema(example = 11)]
    connected: usize,
    /// Sessions that nobody has needed yet.
    #[schema(example = 0)]
    idle: usize,
}

impl From<&ConnectorHealth> for ConnectorReadiness {
    fn from(health: &ConnectorHealth) -> Self {
        Self {
            name: health.name.as_str().to_owned(),
            devices: health.devices,
            sessions: health.sessions,
            connected: health.connected,
            idle: health.idle,
        }
    }
}
