//! The management listener: is the process alive, and can it do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::timestamp::Timestamp;
use super::{metrics, no_method, no_route};
use crate::observe::{ConnectorHealth, Health, Metrics, Report};
use crate::store;

/// The routes of the management listener.
pub fn management(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(health)
        .merge(metrics::router(metrics))
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
    (status, Json(Readiness::of(&report))).into_response()
}

/// Whether the bridge can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Requests are accepted, the store can be written, and at least one session is connected, or idle because nobody has
    /// needed it yet. The trouble of some devices does not make the bridge unready.
    #[schema(example = true)]
    ready: bool,
    /// Why it is not ready; empty when it is.
    #[schema(example = json!([]))]
    causes: Vec<String>,
    /// The main listener is up, and the bridge is not shutting down.
    #[schema(example = true)]
    accepting: bool,
    /// Absent when the configuration has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreReadiness>,
    connectors: Vec<ConnectorReadiness>,
}

impl Readiness {
    fn of(report: &Report) -> Self {
        let store = report.store.as_ref().map(StoreReadiness::of);
        let mut causes = Vec::new();
        if !report.accepting {
            causes.push("the main listener does not accept requests".to_owned());
        }
        if !report.reaches_a_broker() {
            causes.push("no session is connected".to_owned());
        }
        if let Some(cause) = store.as_ref().and_then(|store| store.cause.as_deref()) {
            causes.push(format!("the store cannot be written: {cause}"));
        }
        Self {
            ready: report.is_ready(),
            causes,
            accepting: report.accepting,
            store,
            connectors: report.connectors.iter().map(Into::into).collect(),
        }
    }
}

/// Whether what must be durable can be written.
#[derive(Serialize, ToSchema)]
pub(super) struct StoreReadiness {
    /// While it is not, the store tries again by itself.
    #[schema(example = false)]
    writable: bool,
    /// Since when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    since: Option<Timestamp>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "No space left on device")]
    cause: Option<String>,
    /// What works all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "uplinks that the broker confirms within their wait are still delivered; all others are answered with 503"
    )]
    note: Option<&'static str>,
}

impl StoreReadiness {
    fn of(health: &store::Health) -> Self {
        let (since, cause) = match health {
            store::Health::Writable => (None, None),
            store::Health::ReadOnly { since, cause } => (Some(*since), Some(cause.to_string())),
        };
        Self {
            writable: cause.is_none(),
            since: since.map(Timestamp),
            note: cause.is_some().then_some(
                "uplinks that the broker confirms within their wait are still delivered; all others are answered with 503",
            ),
            cause,
        }
    }
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
