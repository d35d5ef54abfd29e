//! `/devices/{id}/keys`: the public keys that the pretended akenza knows, as its users paste them in.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::Console;
use super::answer::Problem;
use crate::device::DeviceId;
use crate::identity::VerifyingKey;

/// Public keys that a device may have, and devices that may have some: a demo may run for weeks.
const MAX_KEYS: usize = 16;
const MAX_DEVICES: usize = 10_000;

#[derive(Debug, Serialize)]
pub(super) struct PublicKey {
    kid: String,
    algorithm: &'static str,
}

impl From<&VerifyingKey> for PublicKey {
    fn from(key: &VerifyingKey) -> Self {
        Self {
            kid: key.spki_sha256().to_owned(),
            algorithm: key.algorithm().name(),
        }
    }
}

pub(super) async fn list(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<PublicKey>>, Problem> {
    let device = parse(&id)?;
    if !console.akenza.has_device(&device) {
        return Err(console.unknown_device(&id));
    }
    let keys = console.akenza.keys_of(&device);
    Ok(Json(
        keys.iter().map(|key| PublicKey::from(&**key)).collect(),
    ))
}

/// The body is the public key, or a certificate with it, as PEM. A device that is not known is registered with it.
pub(super) async fn add(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PublicKey>), Problem> {
    let device = parse(&id)?;
    let hint = "post the public key as PEM: curl --data-binary @public.pem …";
    let pem = body.map_err(|error| Problem::new(error.status(), error.body_text(), hint))?;
    let key = VerifyingKey::from_pem("the public key".as_ref(), &pem)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string(), hint))?;
    let refuse = |error: &str, hint: &str| Err(Problem::new(StatusCode::CONFLICT, error, hint));
    if console.akenza.is_of_connector(&device) {
        let hint = "take another device id";
        return refuse("the device belongs to the device connector", hint);
    }
    let full = console.akenza.keys_of(&device).len() >= MAX_KEYS
        || !console.akenza.has_device(&device) && console.akenza.devices().len() >= MAX_DEVICES;
    if full {
        return refuse("there are too many keys", "delete some");
    }
    let added = PublicKey::from(&key);
    console.akenza.add_key(device, key);
    Ok((StatusCode::CREATED, Json(added)))
}

pub(super) async fn remove(
    State(console): State<Arc<Console>>,
    Path((id, kid)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let device = parse(&id)?;
    match console.akenza.remove_key(&device, &kid) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("{id} has no such key"),
            format!("GET /devices/{id}/keys lists those that it has"),
        )),
    }
}

fn parse(id: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(id).map_err(|error| {
        let hint = "an id is one level of an MQTT topic";
        Problem::new(StatusCode::BAD_REQUEST, error.to_string(), hint)
    })
}
