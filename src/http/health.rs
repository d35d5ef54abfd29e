//! The management listener: is the process alive, and can it do its work.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::BadRequest;
use super::problem::Problem;
use super::timestamp::Timestamp;
use super::{metrics, no_method, no_route, query};
use crate::observe::{ConnectorHealth, Excluded, Health, Metrics, Report};
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
        .layer(super::openapi::as_declared())
}

/// Whether the process is alive (management listener)
#[utoipa::path(
    get,
    path = "/livez",
    tag = "management",
    responses((status = 200, description = "It is", content((Object = "application/json", example = json!({"live": true})))))
)]
async fn live() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], "{\"live\": true}\n")
}

/// Whether the bridge can do its work (management listener)
///
/// It can when the main listener accepts requests, the store can be written, and one session at least is connected, or has
/// not been needed yet. The trouble of some devices does not make the bridge unready, nor does a connector on which nothing
/// connects as long as there is another one; it is named under `warnings`. Only when no connector reaches its broker, the
/// bridge is not ready, although it still takes uplinks and stores them: whoever directs traffic by readiness, and wants
/// that, asks for `/readyz?exclude=brokers`.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "management",
    params(
        ("exclude" = Option<String>, Query, description = "What the answer does not depend on: `brokers`, `store`, or both, with a comma between them", example = "brokers"),
    ),
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 400, response = BadRequest),
        (status = 503, description = "It cannot", body = Readiness),
    )
)]
async fn ready(State(health): State<Arc<Health>>, uri: Uri) -> Result<Response, Problem> {
    let without = excluded(&uri)?;
    let report = health.report();
    let status = match report.is_ready(without) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    // For people with curl as well.
    let mut json = serde_json::to_vec_pretty(&Readiness::of(&report, without)).unwrap_or_default();
    json.push(b'\n');
    Ok((status, [(CONTENT_TYPE, "application/json")], json).into_response())
}

fn excluded(uri: &Uri) -> Result<Excluded, Problem> {
    let mut excluded = Excluded::default();
    for (name, value) in query::parameters(uri)? {
        if name != "exclude" {
            return Err(query::unknown(&name, "exclude"));
        }
        for part in value.split(',') {
            match part {
                "brokers" => excluded.brokers = true,
                "store" => excluded.store = true,
                _ => return Err(query::bad(&name, "brokers, store, or both")),
            }
        }
    }
    Ok(excluded)
}

/// Whether the bridge can do its work.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Requests are accepted, the store can be written, and at least one session is connected, or idle because nobody has
    /// needed it yet; as far as that is not excluded.
    #[schema(example = true)]
    ready: bool,
    /// Why it is not ready; empty when it is.
    #[schema(example = json!([]))]
    causes: Vec<String>,
    /// What should be seen to, although it does not make the bridge unready: connectors on which nothing connects, and what
    /// was excluded.
    #[schema(example = json!(["connector akenza: none of its 12 sessions is connected: connection refused; check that the broker is up"]))]
    warnings: Vec<String>,
    /// The main listener is up, and the bridge is not shutting down.
    #[schema(example = true)]
    accepting: bool,
    /// Absent when the configuration has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreReadiness>,
    connectors: Vec<ConnectorReadiness>,
}

impl Readiness {
    fn of(report: &Report, without: Excluded) -> Self {
        let store = report.store.as_ref().map(StoreReadiness::of);
        let (mut causes, mut warnings) = (Vec::new(), Vec::new());
        let mut note = |what, is_excluded| match is_excluded {
            true => warnings.push(what),
            false => causes.push(what),
        };
        if !report.accepting {
            note(
                "the main listener does not accept requests".to_owned(),
                false,
            );
        }
        if !report.reaches_a_broker() {
            note("no session is connected".to_owned(), without.brokers);
        }
        if let Some(cause) = store.as_ref().and_then(|store| store.cause.as_deref()) {
            note(
                format!("the store cannot be written: {cause}"),
                without.store,
            );
        }
        if let Some(refusal) = &report.refused {
            let at = humantime::format_rfc3339_seconds(refusal.at);
            warnings.push(format!(
                "the configuration that was read at {at} was refused, and the one before goes on: {}",
                refusal.why
            ));
        }
        warnings.extend(report.connectors.iter().filter_map(stuck));
        Self {
            ready: report.is_ready(without),
            causes,
            warnings,
            accepting: report.accepting,
            store,
            connectors: report.connectors.iter().map(Into::into).collect(),
        }
    }
}

/// Names a connector on which nothing connects.
fn stuck(connector: &ConnectorHealth) -> Option<String> {
    if !connector.is_stuck() {
        return None;
    }
    let ConnectorHealth { name, sessions, .. } = connector;
    let mut text = match sessions {
        1 => format!("connector {name}: its session is not connected"),
        many => format!("connector {name}: none of its {many} sessions is connected"),
    };
    if let Some(trouble) = &connector.last_trouble {
        text += &format!(": {}", trouble.what);
        if !trouble.hint.is_empty() {
            text += &format!("; {}", trouble.hint);
        }
    }
    Some(text)
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
