//! `POST /v1/devices/{device}/diagnosis`: why a device does not get through, step by step. The running session is asked;
//! nothing else connects as the device.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::guard::Guard;
use super::openapi::{
    BadRequest, DiagnosisUnderWay, InternalError, RequestTimeout, TooLarge, TooManyDiagnoses,
    UnknownDevice,
};
use super::problem::{Kind, Problem};
use super::{HttpLimits, batch, body, path, query};
use crate::access::{Caller, Scope};
use crate::device::DeviceId;
use crate::doctor::{Diagnosis, Doctor, Limits, Mqtt, Patient, Progress, TestMessage};
use crate::message::ContentType;
use crate::registry::Registry;
use crate::topic::SubTopic;
use crate::uplink::Uplinks;

const WRITE: Scope = Scope::DevicesWrite;

/// Examinations under way at a time: each may hold a connection or two, and a resolver's thread.
const AT_ONCE: usize = 4;
/// How long one may take. What is not reached by then is skipped.
const TOTAL: Duration = Duration::from_secs(55);
/// What its answer may take beyond that, from another replica.
const MARGIN: Duration = Duration::from_secs(5);
/// Seconds: how soon it may help to ask again.
const RETRY: u32 = 5;

pub(super) fn router(
    guard: &Guard,
    registry: Arc<Registry>,
    uplinks: Uplinks,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> Router {
    let ward = Ward {
        registry,
        uplinks,
        limits,
        under_way: Arc::default(),
        shutdown,
    };
    Router::new()
        .route(
            "/v1/devices/{device}/diagnosis",
            post(guard.asks_owner(WRITE, diagnose).patiently(TOTAL + MARGIN)),
        )
        .with_state(ward)
}

#[derive(Clone)]
struct Ward {
    registry: Arc<Registry>,
    uplinks: Uplinks,
    limits: HttpLimits,
    under_way: Arc<UnderWay>,
    shutdown: CancellationToken,
}

/// Examines a device
///
/// Name, connection, proxy, TLS, client certificate, token, clock, CONNECT, subscriptions, publishing, and whether
/// another client has the same client id: each with what was seen and what to do. The steps up to TLS are made on
/// connections of their own; for the rest the running session is asked, and one that is not connected is made to try.
/// Nothing is published unless the request says so. An answer of 200 means that the examination was made, whatever it
/// found: look at `verdict`.
#[utoipa::path(
    post,
    path = "/v1/devices/{device}/diagnosis",
    tag = "devices",
    security(("token" = [WRITE])),
    params(("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1")),
    request_body(
        content = Option<DiagnosisRequest>,
        description = "What to try; empty for the steps that nobody notices",
        content_type = "application/json",
        example = json!({}),
    ),
    responses(
        (status = 200, description = "What was found, good or bad", body = Diagnosis),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 408, response = RequestTimeout),
        (status = 413, response = TooLarge),
        (status = 429, response = DiagnosisUnderWay),
        (status = 500, response = InternalError),
        (status = 503, response = TooManyDiagnoses),
    )
)]
async fn diagnose(
    State(ward): State<Ward>,
    caller: Caller,
    request: Request,
) -> Result<Json<Diagnosis>, Problem> {
    let (parts, sent) = request.into_parts();
    let device = path::device(parts.uri.path())?;
    caller.check_device(&device)?;
    if let Some((name, _)) = query::parameters(&parts.uri)?.first() {
        return Err(query::unknown(name, "none"));
    }
    let sent = body::read(&parts.headers, sent, &ward.limits).await?;
    let publish = read(&sent)?;
    let found = ward.registry.get(&device);
    let registered = found.ok_or_else(|| Problem::unknown_device(&device))?;
    let _place = UnderWay::take(&ward.under_way, &device)?;
    let patient = Patient::of(&registered).ok_or_else(|| {
        Problem::new(
            Kind::Internal,
            "the device has a session that never connects",
        )
    })?;
    let doctor = Doctor {
        limits: Limits {
            total: TOTAL,
            ..Limits::default()
        },
        ..Doctor::default()
    };
    let mqtt = Mqtt::Beside {
        device: &registered,
        uplinks: &ward.uplinks,
        publish,
    };
    let mut unwatched = |_: Progress<'_>| {};
    tokio::select! {
        diagnosis = doctor.examine(&patient, mqtt, &mut unwatched) => Ok(Json(diagnosis)),
        () = ward.shutdown.cancelled() => {
            let detail = "the bridge is shutting down; the examination was broken off";
            Err(Problem::new(Kind::Closing, detail).retry_after(RETRY))
        }
    }
}

/// What to try, beside the steps that nobody notices.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiagnosisRequest {
    /// Publish one uplink of the device: it reaches the platform. Absent: none.
    #[serde(default)]
    #[schema(value_type = Option<DiagnosisUplink>)]
    publish: Option<Box<RawValue>>,
}

/// The uplink to publish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiagnosisUplink {
    /// The payload: any JSON value, published as it is written. Default: `{"causeway": "doctor"}`.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>, example = json!({"temperature": 21.5}))]
    payload: Option<Box<RawValue>>,
    /// The payload: any bytes, in base64 (RFC 4648 §4). Not together with `payload`.
    #[serde(default)]
    payload_base64: Option<String>,
    /// Default: `application/json` with `payload`, the profile's otherwise.
    #[serde(default)]
    content_type: Option<String>,
    /// One or more levels below the device's topic.
    #[serde(default)]
    subtopic: Option<String>,
}

fn read(body: &Bytes) -> Result<Option<TestMessage>, Problem> {
    if body.is_empty() || body.trim_ascii() == b"null" {
        return Ok(None);
    }
    let text = std::str::from_utf8(body).map_err(|error| not_as_described(&error))?;
    let request: DiagnosisRequest = object(text)?;
    let wished = request.publish.as_deref().map(RawValue::get);
    wished.map(|text| message(object(text)?)).transpose()
}

/// Reads an object, and not an array in its place, which would do as one for want of members that are required.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(not_as_described(&"it is not an object"));
    }
    serde_json::from_str(text).map_err(|error| not_as_described(&error))
}

fn not_as_described(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        Kind::Malformed,
        format!("the body is not as described: {error}"),
    )
    .hint("send none, or {\"publish\": {}} to have one uplink published")
}

fn message(wished: DiagnosisUplink) -> Result<TestMessage, Problem> {
    let bad = |name: &str, error: &dyn std::fmt::Display| {
        Problem::new(Kind::Malformed, format!("`{name}`: {error}"))
    };
    let given = wished.content_type.as_deref().map(ContentType::parse);
    let given = given
        .transpose()
        .map_err(|error| bad("content_type", &error))?;
    let subtopic = wished.subtopic.as_deref().map(SubTopic::parse);
    let subtopic = subtopic
        .transpose()
        .map_err(|error| bad("subtopic", &error))?;
    let (payload, content_type) = match (&wished.payload, &wished.payload_base64) {
        (None, None) => (None, given),
        (json, base64) => {
            let (payload, content_type) =
                batch::payload(json.as_deref(), base64.as_deref(), given)?;
            (Some(payload), content_type)
        }
    };
    Ok(TestMessage {
        payload,
        content_type,
        subtopic,
    })
}

/// The devices that are being examined.
#[derive(Default)]
struct UnderWay(Mutex<BTreeSet<DeviceId>>);

impl UnderWay {
    /// A place for a device; it is given back when it is dropped.
    fn take(this: &Arc<Self>, device: &DeviceId) -> Result<Place, Problem> {
        let mut devices = this.devices();
        if devices.contains(device) {
            let detail = format!("the device {device:?} is being examined already");
            return Err(Problem::new(Kind::DiagnosisUnderWay, detail).retry_after(RETRY));
        }
        if devices.len() >= AT_ONCE {
            let detail = format!("{AT_ONCE} devices are being examined, and no more are at a time");
            return Err(Problem::new(Kind::TooManyDiagnoses, detail).retry_after(RETRY));
        }
        devices.insert(device.clone());
        Ok(Place {
            under_way: Arc::clone(this),
            device: device.clone(),
        })
    }

    fn devices(&self) -> MutexGuard<'_, BTreeSet<DeviceId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Place {
    under_way: Arc<UnderWay>,
    device: DeviceId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.devices().remove(&self.device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(body: &'static str) -> Result<Option<TestMessage>, Problem> {
        read(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn only_what_is_asked_for_is_published() {
        for nothing in ["", "null", "{}", r#"{"publish":null}"#] {
            assert_eq!(wished(nothing).unwrap(), None, "{nothing}");
        }
        assert_eq!(
            wished(r#"{"publish":{}}"#).unwrap(),
            Some(TestMessage::default())
        );
        let message = wished(r#"{"publish":{"payload":{"t": 1},"subtopic":"a/b"}}"#);
        let message = message.unwrap().unwrap();
        assert_eq!(message.payload.unwrap(), r#"{"t": 1}"#);
        assert_eq!(message.content_type, Some(ContentType::json()));
        assert_eq!(message.subtopic.unwrap().as_str(), "a/b");
    }

    #[test]
    fn what_is_not_described_is_refused() {
        for body in [
            "1",
            "[]",
            "{",
            r#"{"publish":true}"#,
            r#"{"publish":[]}"#,
            r#"{"pubish":{}}"#,
            r#"{"publish":{"topic":"x"}}"#,
            r#"{"publish":{"payload":1,"payload_base64":""}}"#,
            r#"{"publish":{"payload_base64":"="}}"#,
            r#"{"publish":{"subtopic":"+"}}"#,
            r#"{"publish":{"content_type":"x"}}"#,
        ] {
            assert!(wished(body).is_err(), "{body} was taken");
        }
    }

    #[test]
    fn a_device_is_examined_once_at_a_time_and_few_are_in_all() {
        let under_way = Arc::<UnderWay>::default();
        let take = |id: &str| UnderWay::take(&under_way, &DeviceId::parse(id).unwrap());
        let first = take("a").unwrap();
        assert_eq!(take("a").err().unwrap().status(), 429);
        let others: Vec<_> = ["b", "c", "d"].map(|id| take(id).unwrap()).into();
        assert_eq!(take("e").err().unwrap().status(), 503);
        drop(first);
        assert!(take("e").is_ok());
        drop(others);
    }
}
