//! `/v1/devices/{device}/keys…`: key pairs that sign a device's tokens. The private half is in no answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::time::Instant;

use super::guard::Guard;
use super::key_form::{KeyBody, KeyList, NewKey};
use super::openapi::{
    BadRequest, InternalError, KeyConflict, KeyRefused, KeysNotChanged, NoOwner, NotAcceptable,
    RequestTimeout, TooLarge, UnknownDevice, UnknownKey,
};
use super::path::DevicePath;
use super::prefer::Preferences;
use super::problem::{Kind, Problem};
use super::{HttpLimits, accept, body, path, query};
use crate::access::{Caller, Scope};
use crate::device::DeviceId;
use crate::keyring::{DeviceKeys, KeyringError, RingError, Verdict};
use crate::registry::{Registry, Signing};

/// Far more than a request here needs, in bytes.
const MAX_BODY: usize = 4096;

const PEM: &str = "application/x-pem-file";

const SCOPE: Scope = Scope::Keys;

pub(super) fn router(guard: &Guard, registry: Arc<Registry>, limits: HttpLimits) -> Router {
    let of_device = get(guard.asks_owner(SCOPE, list)).post(guard.asks_owner(SCOPE, make));
    let of_key = get(guard.asks_owner(SCOPE, show)).delete(guard.asks_owner(SCOPE, delete));
    let activation = post(guard.asks_owner(SCOPE, activate));
    Router::new()
        .route("/v1/devices/{device}/keys", of_device)
        .route("/v1/devices/{device}/keys/{kid}", of_key)
        .route("/v1/devices/{device}/keys/{kid}/activate", activation)
        .with_state(Keys { registry, limits })
}

#[derive(Clone)]
struct Keys {
    registry: Arc<Registry>,
    limits: HttpLimits,
}

/// A device's key pairs, the oldest first
#[utoipa::path(
    get,
    operation_id = "keys",
    path = "/v1/devices/{device}/keys",
    tag = "keys",
    security(("token" = [SCOPE])),
    params(("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1")),
    responses(
        (status = 200, description = "The device's key pairs, without their private halves", body = KeyList),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 500, response = InternalError),
        (status = 503, response = NoOwner),
    )
)]
async fn list(
    State(keys): State<Keys>,
    caller: Caller,
    DevicePath(device): DevicePath,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.check_device(&device)?;
    no_parameters(&uri)?;
    let list = match keys.signing(&device)? {
        Signing::Kept(kept) => KeyList::of(&kept.ring()),
        Signing::None | Signing::File => KeyList::NOT_KEPT_HERE,
    };
    Ok(no_store(Json(list)))
}

/// Makes a key pair
///
/// It signs nothing yet: register its public half with the platform, then activate it. The private half is made here,
/// stored (encrypted, where `[store] encryption_key_file` is configured), and never leaves. An RSA key takes up to a
/// second. A device may have 8 keys.
#[utoipa::path(
    post,
    operation_id = "make_key",
    path = "/v1/devices/{device}/keys",
    tag = "keys",
    security(("token" = [SCOPE])),
    params(("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1")),
    request_body(content = Option<NewKey>, description = "Without a body: RS256"),
    responses(
        (status = 201, description = "The key pair without its private half", body = KeyBody, headers(
            ("Location" = String, description = "Where the key is"),
        )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 408, response = RequestTimeout),
        (status = 409, response = KeyConflict),
        (status = 413, response = TooLarge),
        (status = 500, response = InternalError),
        (status = 503, response = KeysNotChanged),
    )
)]
async fn make(
    State(keys): State<Keys>,
    caller: Caller,
    DevicePath(device): DevicePath,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.check_device(&device)?;
    no_parameters(&uri)?;
    let limits = HttpLimits {
        max_body: MAX_BODY,
        ..keys.limits
    };
    let body = body::read(&headers, body, &limits).await?;
    let algorithm = NewKey::parse(&body)?;
    let kept = keys.kept(&device)?;
    let key = kept.make(algorithm).await?;
    let body = KeyBody::of(&key, &kept.ring());
    let location = HeaderValue::try_from(format!("{}/{}", uri.path(), key.kid));
    let mut response = no_store((StatusCode::CREATED, Json(body)));
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// A key pair
///
/// As `application/x-pem-file` it is the public half alone, to be registered with the platform.
#[utoipa::path(
    get,
    operation_id = "key",
    path = "/v1/devices/{device}/keys/{kid}",
    tag = "keys",
    security(("token" = [SCOPE])),
    params(
        ("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1"),
        ("kid" = String, Path, description = "The key's id", example = "3a0c7d1b6f0e4d2f8f0d9d3f7d6f1f5c2b1a09f8e7d6c5b4a39281706f5e4d3c"),
        ("Accept" = Option<String>, Header, description = "`application/json` (default) or `application/x-pem-file`"),
    ),
    responses(
        (status = 200, description = "The key pair without its private half", content(
            (KeyBody = "application/json"),
            (String = "application/x-pem-file", example = json!("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…\n-----END PUBLIC KEY-----\n")),
        )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownKey),
        (status = 406, response = NotAcceptable),
        (status = 409, response = KeyConflict),
        (status = 500, response = InternalError),
        (status = 503, response = NoOwner),
    )
)]
async fn show(
    State(keys): State<Keys>,
    caller: Caller,
    DevicePath(device): DevicePath,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.check_device(&device)?;
    no_parameters(&uri)?;
    let kid = path::kid(uri.path())?;
    let (kind, sub) = PEM.split_once('/').unwrap_or_default();
    let forms = [("application", "json", false), (kind, sub, true)];
    let as_pem = accept::choose(&headers, forms).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            format!("a key is sent as application/json or as {PEM}"),
        )
        .hint("send one of them as Accept header, or none")
    })?;
    let ring = keys.kept(&device)?.ring();
    let key = ring.get(kid).map_err(known)?;
    Ok(match as_pem {
        true => no_store(([(CONTENT_TYPE, PEM)], key.public_pem.to_string())),
        false => no_store(Json(KeyBody::of(key, &ring))),
    })
}

/// Deletes a key pair
///
/// Neither the active one, nor the one to go back to while the broker has not accepted the active one. Delete it on the
/// platform as well.
#[utoipa::path(
    delete,
    operation_id = "delete_key",
    path = "/v1/devices/{device}/keys/{kid}",
    tag = "keys",
    security(("token" = [SCOPE])),
    params(
        ("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1"),
        ("kid" = String, Path, description = "The key's id", example = "3a0c7d1b6f0e4d2f8f0d9d3f7d6f1f5c2b1a09f8e7d6c5b4a39281706f5e4d3c"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownKey),
        (status = 409, response = KeyConflict),
        (status = 500, response = InternalError),
        (status = 503, response = KeysNotChanged),
    )
)]
async fn delete(
    State(keys): State<Keys>,
    caller: Caller,
    DevicePath(device): DevicePath,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    caller.check_device(&device)?;
    no_parameters(&uri)?;
    let kid = path::kid(uri.path())?;
    keys.kept(&device)?.delete(kid).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a key pair sign the device's tokens
///
/// The connection is renewed with it, without a lost or reordered message. The answer waits for the broker, for as long as
/// `Prefer: wait=N` says. When the broker refuses the key, the one before it signs again at once, and the answer is 502.
/// When the broker has not accepted it in time, the answer is 202, and a refusal has the same effect later: this key tells
/// of it as `refusal`, and the device's session as `last_error`.
#[utoipa::path(
    post,
    operation_id = "activate_key",
    path = "/v1/devices/{device}/keys/{kid}/activate",
    tag = "keys",
    security(("token" = [SCOPE])),
    params(
        ("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1"),
        ("kid" = String, Path, description = "The key's id", example = "3a0c7d1b6f0e4d2f8f0d9d3f7d6f1f5c2b1a09f8e7d6c5b4a39281706f5e4d3c"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: how many seconds to wait for the broker; `respond-async`: not at all (RFC 7240)", example = "wait=10"),
    ),
    responses(
        (status = 200, description = "The broker accepts the key", body = KeyBody),
        (status = 202, description = "The key is active, and the broker has not accepted it so far: it cannot be reached, or it refuses the only key that there is", body = KeyBody),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownKey),
        (status = 409, response = KeyConflict),
        (status = 500, response = InternalError),
        (status = 502, response = KeyRefused),
        (status = 503, response = KeysNotChanged),
    )
)]
async fn activate(
    State(keys): State<Keys>,
    caller: Caller,
    DevicePath(device): DevicePath,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.check_device(&device)?;
    no_parameters(&uri)?;
    let kid = path::kid(uri.path())?;
    let preferences = Preferences::read(&headers, keys.limits.max_wait);
    let kept = keys.kept(&device)?;
    kept.activate(kid).await?;
    let wait = match preferences.at_once() {
        true => std::time::Duration::ZERO,
        false => preferences.wait.unwrap_or(keys.limits.wait),
    };
    let status = match kept.verdict(kid, Instant::now() + wait).await {
        Verdict::Accepted => StatusCode::OK,
        Verdict::Open | Verdict::Refused { .. } => StatusCode::ACCEPTED,
        Verdict::WentBack { why, to } => return Err(went_back(&why, to.as_deref())),
    };
    let ring = kept.ring();
    let key = ring.get(kid).map_err(known)?;
    Ok(no_store((status, Json(KeyBody::of(key, &ring)))))
}

impl Keys {
    fn signing(&self, id: &DeviceId) -> Result<Signing, Problem> {
        let device = self.registry.get(id);
        let device = device.ok_or_else(|| Problem::unknown_device(id))?;
        Ok(device.signing.clone())
    }

    /// The keys of a device whose keys are kept here.
    fn kept(&self, id: &DeviceId) -> Result<Arc<DeviceKeys>, Problem> {
        let not_kept = |detail| Problem::new(Kind::KeysNotKept, detail);
        match self.signing(id)? {
            Signing::Kept(keys) => Ok(keys),
            Signing::File => Err(not_kept(
                "the device signs with the private_key_file of the configuration",
            )
            .hint(
                "to let the bridge keep its keys, remove private_key_file from the device's section; \
                 `causeway keys import` takes over the key that it has",
            )),
            Signing::None => Err(not_kept("the device signs no tokens").hint(
                "keys are for profiles whose password is a token, such as akenza-device",
            )),
        }
    }
}

fn no_parameters(uri: &Uri) -> Result<(), Problem> {
    match query::parameters(uri)?.first() {
        Some((name, _)) => Err(query::unknown(name, "none")),
        None => Ok(()),
    }
}

/// What is said of a key now is something else soon.
fn no_store(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn known(error: RingError) -> Problem {
    KeyringError::from(error).into()
}

fn went_back(why: &str, to: Option<&str>) -> Problem {
    let again = match to {
        Some(kid) => format!("; the key {kid} signs again"),
        None => String::new(),
    };
    Problem::new(
        Kind::KeyRefused,
        format!("the broker refused the key: {why}{again}"),
    )
    .hint("register the public half of the key with the platform first, and activate it then")
}
