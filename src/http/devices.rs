//! `GET /v1/devices`, `GET /v1/devices/{device}` and its session. No answer contains a secret, or a topic, which may.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::device_form::DeviceBody;
use super::forward::{PageWanted, Way, WholePage};
use super::guard::Guard;
use super::openapi::{BadRequest, InternalError, NoOwner, UnknownDevice};
use super::path::DevicePath;
use super::problem::Problem;
use super::query;
use super::timestamp::Timestamp;
use crate::access::{Caller, Scope};
use crate::device::{ConnectorName, DeviceId};
use crate::fleet::Fleet;
use crate::registry::{Device, Registry};
use crate::session::{SessionHandle, State, Trouble};
use crate::store::records::Backlog;
use crate::tally::Counters;
use crate::uplink::Uplinks;

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

const READ: Scope = Scope::DevicesRead;

pub(super) fn router(
    guard: &Guard,
    registry: Arc<Registry>,
    uplinks: Uplinks,
    fleet: Arc<Fleet>,
    forward: Option<Way>,
) -> Router {
    let sessions = Router::new()
        .route(
            "/v1/devices/{device}/session",
            get(guard.asks_owner(READ, session)),
        )
        .with_state((Arc::clone(&registry), uplinks));
    let single = Router::new()
        .route("/v1/devices/{device}", get(guard.asks_owner(READ, show)))
        .with_state((Arc::clone(&registry), fleet));
    Router::new()
        .route("/v1/devices", get(guard.asks(READ, list)))
        .with_state((registry, forward))
        .merge(single)
        .merge(sessions)
}

/// The registered devices that the token is for, in the order of their ids
#[utoipa::path(
    get,
    path = "/v1/devices",
    tag = "devices",
    security(("token" = [READ])),
    params(
        ("connector" = Option<String>, Query, description = "Only devices of this connector", example = "akenza"),
        ("state" = Option<String>, Query, description = "Only devices whose session is in this state", example = "connected"),
        ("after" = Option<String>, Query, description = "The id behind which to begin: the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "How many devices to list at the most. Default 100", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "The registered devices, in the order of their ids", body = DevicePage),
        (status = 400, response = BadRequest),
        (status = 500, response = InternalError),
        (status = 503, response = NoOwner),
    )
)]
async fn list(
    extract::State((registry, forward)): extract::State<(Arc<Registry>, Option<Way>)>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let (mut after, mut limit) = (None, None);
    let (mut connector, mut state) = (None, None);
    for (name, value) in query::parameters(&uri)? {
        match name.as_str() {
            "after" => {
                let device = DeviceId::parse(&value)
                    .map_err(|error| query::bad(&name, format!("not a device id: {error}")))?;
                query::set(&mut after, &name, device)?;
            }
            "limit" => {
                query::set(
                    &mut limit,
                    &name,
                    query::number(&name, &value, 1, MAX_PAGE)?,
                )?;
            }
            "connector" => {
                let connector_name = ConnectorName::parse(&value).map_err(|error| {
                    query::bad(&name, format!("not a connector's name: {error}"))
                })?;
                query::set(&mut connector, &name, connector_name)?;
            }
            "state" => query::set(&mut state, &name, state_of(&name, &value)?)?,
            _ => return Err(query::unknown(&name, "connector, state, after, limit")),
        }
    }
    let wanted = PageWanted {
        after,
        limit: limit.unwrap_or(DEFAULT_PAGE),
        connector,
        state,
        devices: caller.grant().rule().devices.clone(),
    };
    if let Some(forward) = forward {
        return Ok(whole(forward.page(&registry, &wanted).await?));
    }
    let limit = wanted.limit;
    let includes = |device: &Device| wanted.includes(device);
    let page = registry.page(wanted.after.as_ref(), limit + 1, includes);
    let more = page.len() > limit;
    let devices: Vec<_> = page.iter().take(limit).map(DeviceBody::of).collect();
    let next = devices.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(DevicePage { devices, next }).into_response())
}

/// A page with the devices of all replicas, which are JSON already.
fn whole(page: WholePage) -> Response {
    let mut json = b"{\"devices\":[".to_vec();
    json.extend_from_slice(&page.devices.join(&b","[..]));
    json.push(b']');
    if let Some(next) = &page.next {
        json.extend_from_slice(b",\"next\":");
        // Writing it to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, next);
    }
    json.push(b'}');
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

fn state_of(name: &str, value: &str) -> Result<State, Problem> {
    let state = State::ALL.into_iter().find(|state| state.name() == value);
    state.ok_or_else(|| {
        let names = State::ALL.map(State::name).join(", ");
        query::bad(name, "not a state of sessions").hint(format!("there are: {names}"))
    })
}

/// A device
#[utoipa::path(
    get,
    operation_id = "device",
    path = "/v1/devices/{device}",
    tag = "devices",
    security(("token" = [READ])),
    params(("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1")),
    responses(
        (status = 200, description = "A device", body = DeviceBody),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 500, response = InternalError),
        (status = 503, response = NoOwner),
    )
)]
async fn show(
    extract::State((registry, fleet)): extract::State<(Arc<Registry>, Arc<Fleet>)>,
    caller: Caller,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Json<DeviceBody>, Problem> {
    caller.check_device(&id)?;
    match (find(&registry, &id, &uri), fleet.unfit(&id)) {
        (Ok(device), _) => Ok(Json(DeviceBody::of(&device))),
        (Err(_), Some(why)) => Err(Problem::unfit_device(&id, &why)),
        (Err(problem), None) => Err(problem),
    }
}

/// The session that carries a device
#[utoipa::path(
    get,
    path = "/v1/devices/{device}/session",
    tag = "devices",
    security(("token" = [READ])),
    params(("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1")),
    responses(
        (status = 200, description = "The session that carries a device", body = SessionBody),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 500, response = InternalError),
        (status = 503, response = NoOwner),
    )
)]
async fn session(
    extract::State((registry, uplinks)): extract::State<(Arc<Registry>, Uplinks)>,
    caller: Caller,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Json<SessionBody>, Problem> {
    caller.check_device(&id)?;
    let device = find(&registry, &id, &uri)?;
    let backlog = uplinks
        .has_store()
        .then(|| BacklogBody::of(uplinks.backlog(&id)));
    Ok(Json(SessionBody::of(&device.session, backlog)))
}

fn find(registry: &Registry, id: &DeviceId, uri: &Uri) -> Result<Arc<Device>, Problem> {
    if let Some((name, _)) = query::parameters(uri)?.first() {
        return Err(query::unknown(name, "none"));
    }
    registry.get(id).ok_or_else(|| Problem::unknown_device(id))
}

/// A page of devices, in the order of their ids.
#[derive(Serialize, ToSchema)]
pub(super) struct DevicePage {
    devices: Vec<DeviceBody>,
    /// Give this as `after` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "pump-1")]
    next: Option<DeviceId>,
}

/// The MQTT session that carries a device: its own, or its connector's.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionBody {
    /// `idle` (nobody has needed it yet), `connecting`, `connected`, `backing_off`, `refused`, `taken_over` (another
    /// client has the same client id), `no_key` (no key signs its tokens: make and activate one) or `closed`.
    #[schema(example = "connected")]
    state: &'static str,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    since: Timestamp,
    /// The protocol version in use, `5` or `3.1.1`; absent before the first connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "5")]
    mqtt_version: Option<String>,
    #[schema(example = "pump-1")]
    client_id: String,
    /// When the connection's token expires; the connection is renewed before. Absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:20:00.000Z")]
    token_expires_at: Option<Timestamp>,
    /// The last thing that went wrong; kept after it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<SessionError>,
    counters: SessionCounters,
    /// Uplinks that wait in memory to be sent.
    #[schema(example = 0)]
    queued: usize,
    /// Uplinks that are sent and that the broker has not settled.
    in_flight: u64,
    /// What waits on disk for the broker, of this device alone. Absent without a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<BacklogBody>,
}

/// What was answered with 202 and is not settled yet.
#[derive(Serialize, ToSchema)]
#[schema(as = Backlog)]
pub(super) struct BacklogBody {
    /// Uplinks.
    #[schema(example = 17)]
    count: u64,
    /// Their bytes as stored.
    #[schema(example = 2380)]
    bytes: u64,
    /// When the oldest of them was accepted; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T11:58:00.000Z")]
    oldest: Option<Timestamp>,
}

impl BacklogBody {
    fn of(backlog: Option<Backlog>) -> Self {
        Self {
            count: backlog.map_or(0, |backlog| backlog.count),
            bytes: backlog.map_or(0, |backlog| backlog.bytes),
            oldest: backlog.map(|backlog| Timestamp(backlog.oldest)),
        }
    }
}

/// What went wrong with a session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionError {
    #[schema(example = "connection refused by 127.0.0.1:1883")]
    what: String,
    /// What to do about it.
    #[schema(example = "check that the broker's address is right and reachable")]
    hint: &'static str,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T11:59:58.000Z")]
    at: Timestamp,
}

/// Counted since the start of the bridge.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionCounters {
    /// Connections that the broker accepted.
    connects: u64,
    /// Connections replaced before their token expired, or for another key.
    renewals: u64,
    /// Uplinks confirmed by the broker, and QoS 0 uplinks sent.
    delivered: u64,
    /// Uplinks refused by the broker.
    refused: u64,
    /// Uplinks sent again after a lost connection.
    repeated: u64,
    /// Downlinks received.
    downlinks: u64,
}

impl SessionBody {
    fn of(session: &SessionHandle, backlog: Option<BacklogBody>) -> Self {
        let now = session.status().snapshot();
        Self {
            state: now.state.name(),
            since: Timestamp(now.since),
            mqtt_version: now.version.map(|version| version.to_string()),
            client_id: session.client_id().as_ref().to_owned(),
            token_expires_at: now.token_expires_at.map(Timestamp),
            last_error: now.last_trouble.map(SessionError::from),
            counters: SessionCounters::of(&session.status().counters),
            queued: session.queued(),
            in_flight: session.status().in_flight.load(Ordering::Relaxed),
            backlog,
        }
    }
}

impl From<Trouble> for SessionError {
    fn from(trouble: Trouble) -> Self {
        Self {
            what: trouble.what,
            hint: trouble.hint,
            at: Timestamp(trouble.at),
        }
    }
}

impl SessionCounters {
    fn of(counters: &Counters) -> Self {
        Self {
            connects: counters.connects.load(Ordering::Relaxed),
            renewals: counters.renewals.load(Ordering::Relaxed),
            delivered: counters.delivered.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            repeated: counters.repeated.load(Ordering::Relaxed),
            downlinks: counters.downlinks.load(Ordering::Relaxed),
        }
    }
}
