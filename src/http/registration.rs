//! `PUT` and `DELETE /v1/devices/{device}`: devices that come and go while the bridge runs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Json, Router};

use super::device_form::{DeviceBody, NewDevice};
use super::forward::Way;
use super::guard::Guard;
use super::openapi::{
    DeviceConflict, DeviceExists, InternalError, InvalidDevice, NotRegistered, RequestTimeout,
    TooLarge, UnknownDevice, WrongType,
};
use super::path::DevicePath;
use super::problem::{Kind, Problem};
use super::{HttpLimits, body, query};
use crate::access::{Caller, Scope};
use crate::fleet::{Farewell, Fleet, Gone, Put};
use crate::message::ContentType;
use crate::registry::Registry;

/// Far more than a device needs, in bytes.
const MAX_BODY: usize = 64 * 1024;

const WRITE: Scope = Scope::DevicesWrite;

/// `curl -d` claims a form when it is told nothing else.
const CURL_DEFAULT: &str = "application/x-www-form-urlencoded";

pub(super) fn router(
    guard: &Guard,
    registry: Arc<Registry>,
    fleet: Arc<Fleet>,
    limits: HttpLimits,
    forward: Option<Way>,
) -> Router {
    let of_device = put(guard.asks_owner(WRITE, register)).delete(guard.asks_owner(WRITE, delete));
    let limits = HttpLimits {
        max_body: MAX_BODY,
        ..limits
    };
    Router::new()
        .route("/v1/devices/{device}", of_device)
        .with_state(Devices {
            registry,
            fleet,
            limits,
            forward,
        })
}

#[derive(Clone)]
struct Devices {
    registry: Arc<Registry>,
    fleet: Arc<Fleet>,
    limits: HttpLimits,
    forward: Option<Way>,
}

/// Registers a device, or changes a registered one
///
/// It is stored, and can be used, when this is answered, and is there again after a restart. What it was before is replaced
/// as a whole. The same request again changes nothing: its connection stays as it is.
///
/// A device whose profile signs tokens needs a key next: see `POST /v1/devices/{device}/keys`.
#[utoipa::path(
    put,
    operation_id = "put_device",
    path = "/v1/devices/{device}",
    tag = "devices",
    security(("token" = [WRITE])),
    params(
        ("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-7"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such device yet"),
    ),
    request_body = NewDevice,
    responses(
        (status = 200, description = "The device was there, and is now as it was sent", body = DeviceBody),
        (status = 201, description = "The device is new", body = DeviceBody),
        (status = 400, response = InvalidDevice),
        (status = 408, response = RequestTimeout),
        (status = 409, response = DeviceConflict),
        (status = 412, response = DeviceExists),
        (status = 413, response = TooLarge),
        (status = 415, response = WrongType),
        (status = 500, response = InternalError),
        (status = 503, response = NotRegistered),
    )
)]
async fn register(
    State(devices): State<Devices>,
    caller: Caller,
    DevicePath(id): DevicePath,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.check_device(&id)?;
    if let Some((name, _)) = query::parameters(&uri)?.first() {
        return Err(query::unknown(name, "none"));
    }
    check_content_type(&headers)?;
    let only_new = only_new(&headers)?;
    let body = body::read(&headers, body, &devices.limits).await?;
    let json = String::from_utf8(body.into()).map_err(|_| {
        Problem::new(Kind::InvalidDevice, "the body is not UTF-8 text")
            .hint("send the device as JSON: {\"connector\": \"NAME\"}")
    })?;
    let put = devices.fleet.put(id.clone(), json, only_new).await?;
    let status = match put {
        Put::Created => StatusCode::CREATED,
        Put::Changed | Put::Unchanged => StatusCode::OK,
    };
    if let Some(device) = devices.registry.get(&id) {
        return Ok((status, Json(DeviceBody::of(&device))).into_response());
    }
    // Whose connection it shares may be elsewhere, and so is the device then.
    if let Some(forward) = &devices.forward
        && let Some(json) = forward.registered(&id).await?
    {
        return Ok((status, [(CONTENT_TYPE, "application/json")], json).into_response());
    }
    // It may have been deleted again in the same moment.
    Err(Problem::unknown_device(&id))
}

/// Deletes a registered device
///
/// Its connection is closed, its listeners are told (`event: deleted`), and its stored downlinks, idempotency keys and key
/// pairs go with it. Receipts stay for as long as others.
///
/// A device with uplinks that wait for the broker is only deleted when it is said what becomes of these.
#[utoipa::path(
    delete,
    operation_id = "delete_device",
    path = "/v1/devices/{device}",
    tag = "devices",
    security(("token" = [WRITE])),
    params(
        ("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-7"),
        ("backlog" = Option<String>, Query, description = "What becomes of uplinks that wait for the broker: `discard` drops them, and their receipts say `refused`; `drain` sends them first, and the device takes no more meanwhile", example = "discard"),
    ),
    responses(
        (status = 202, description = "With `backlog=drain`: the device goes as soon as its backlog is sent, also after a restart", body = DeviceBody),
        (status = 204, description = "Nothing is left of the device"),
        (status = 400, response = InvalidDevice),
        (status = 404, response = UnknownDevice),
        (status = 409, response = DeviceConflict),
        (status = 500, response = InternalError),
        (status = 503, response = NotRegistered),
    )
)]
async fn delete(
    State(devices): State<Devices>,
    caller: Caller,
    DevicePath(id): DevicePath,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.check_device(&id)?;
    let mut farewell = None;
    for (name, value) in query::parameters(&uri)? {
        match (name.as_str(), value.as_str()) {
            ("backlog", "discard") => query::set(&mut farewell, &name, Farewell::Discard)?,
            ("backlog", "drain") => query::set(&mut farewell, &name, Farewell::Drain)?,
            ("backlog", _) => return Err(query::bad(&name, "neither discard nor drain")),
            _ => return Err(query::unknown(&name, "backlog")),
        }
    }
    let gone = devices.fleet.delete(id.clone(), farewell).await?;
    match (gone, devices.registry.get(&id)) {
        (Gone::Later(_), Some(device)) => {
            let body = Json(DeviceBody::of(&device));
            Ok((StatusCode::ACCEPTED, body).into_response())
        }
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let given = given.to_str().ok();
    let given = given.and_then(|given| ContentType::parse(given).ok());
    if given.is_some_and(|given| given.is_json() || given.is(CURL_DEFAULT)) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::ContentType,
        "a device is registered as application/json",
    )
    .hint("curl -X PUT -H 'Content-Type: application/json' -d '{\"connector\": \"NAME\"}' …"))
}

/// `If-None-Match: *` (RFC 9110 §13.1.2). There are no entity tags, so nothing else means anything here.
fn only_new(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(IF_NONE_MATCH).map(|value| value.as_bytes()) {
        None => Ok(false),
        Some(b"*") => Ok(true),
        Some(_) => Err(Problem::new(
            Kind::Malformed,
            "If-None-Match can only be * here: devices have no entity tags",
        )),
    }
}
