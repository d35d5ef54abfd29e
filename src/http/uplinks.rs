//! `POST /v1/devices/{device}/uplinks[/{subtopic}…]`: one uplink, answered when the broker has confirmed it, or when it
//! is on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpLimits;
use super::forward::{Delivered, Forward};
use super::guard::Guard;
use super::openapi::{
    BadRequest, BrokerRefused, ContentTypeNotCarried, InternalError, KeyInFlight, NotTaken,
    RequestTimeout, TooLarge, Unconfirmed, UnknownDevice, Unprocessable,
};
use super::platform::PlatformBody;
use super::prefer::{PREFERENCE_APPLIED, Preferences};
use super::problem::{Kind, Problem};
use super::timestamp::Timestamp;
use super::traceparent::traceparent;
use super::{body, path, query};
use crate::access::{Caller, Scope};
use crate::message::{ContentType, Qos, Uplink, UplinkId};
use crate::mqtt::reason::Reason;
use crate::store::records::ReceiptStatus;
use crate::uplink::{Accepted, IdempotencyKey, PlatformOutcome, Receipt, Uplinks, Verdict, Wishes};

const SCOPE: Scope = Scope::Uplink;

pub(super) fn router(
    guard: &Guard,
    uplinks: Uplinks,
    limits: HttpLimits,
    forward: Option<Arc<Forward>>,
) -> Router {
    Router::new()
        .route(
            "/v1/devices/{device}/uplinks",
            post(guard.asks(SCOPE, post_uplink)),
        )
        .route(
            "/v1/devices/{device}/uplinks/{*subtopic}",
            post(guard.asks(SCOPE, post_uplink_to_subtopic)),
        )
        .with_state(Post {
            uplinks,
            limits,
            forward,
        })
}

#[derive(Clone)]
struct Post {
    uplinks: Uplinks,
    limits: HttpLimits,
    forward: Option<Arc<Forward>>,
}

/// Posts an uplink
///
/// Answered with 200 when the broker has confirmed it, and with 202 when it is on disk instead, because the broker did not
/// confirm it within the wait or the request asked for that: then it will be delivered, behind what was accepted of the
/// device before, and `Location` tells what became of it. With any other answer it was not taken, and will not be
/// delivered later; with 504 it is not known whether it has been.
#[utoipa::path(
    post,
    path = "/v1/devices/{device}/uplinks",
    tag = "uplinks",
    security(("token" = [SCOPE])),
    params(
        ("device" = String, Path, description = "The device's id: one level of an MQTT topic, percent-encoded", example = "pump-1"),
        ("qos" = Option<u8>, Query, description = "MQTT quality of service. Default: the profile's, mostly 1. With 0 nothing is confirmed", minimum = 0, maximum = 2),
        ("retain" = Option<bool>, Query, description = "MQTT's retain flag. Default false"),
        ("expiry" = Option<u32>, Query, description = "Seconds after which the broker drops the message; carried with MQTT 5 only", minimum = 1),
        ("confirm" = Option<String>, Query, description = "`platform`: wait for the platform's own answer too, where it gives one. Default `broker`. Further parameters are the profile's: with sap-iot `capability`, `sensor` or `sensor_type`, and `timestamp`, which make SAP's message of the posted measure", example = "platform"),
        ("Prefer" = Option<String>, Header, description = "RFC 7240. `wait=N`: how many seconds, at least 1, to wait for the broker before the uplink is stored and answered with 202; 60 at the most, as configured. Default 5. `respond-async`: store it at once and answer with 202; together with `wait=N`, after that wait", example = "wait=10"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique for the device: the same request with the same key is answered as the first time and publishes nothing, also after a restart, for as long as keys are kept (24 hours by default). Such an uplink is stored before it is sent. An answer that says the uplink was not taken frees the key", example = "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context; carried as an MQTT 5 user property"),
    ),
    request_body(
        description = "The payload, any bytes as they are. The Content-Type becomes MQTT 5's content type; which ones are carried is the profile's business",
        content(
            ("application/json", example = json!({"temperature": 21.5})),
            ("text/plain"),
            ("application/octet-stream"),
        )
    ),
    responses(
        (status = 200, description = "The broker has confirmed the uplink (QoS 0: it was sent)", body = ReceiptBody,
            headers(
                ("Preference-Applied" = String, description = "The wait that was applied, if the request named one"),
                ("Idempotency-Replayed" = String, description = "`true`: this is the answer that the same request got before; nothing was published"),
            )),
        (status = 202, description = "The uplink is on disk and will be delivered, or its receipt tells why not. Or, with `confirm=platform`: the broker has confirmed it, and the platform has not answered in time; it is not sent again", body = ReceiptBody,
            headers(
                ("Location" = String, description = "Its receipt: /v1/uplinks/{id}"),
                ("Preference-Applied" = String, description = "`respond-async`, the wait, or both, if the request named them"),
                ("Idempotency-Replayed" = String, description = "`true`: this is the answer that the same request got before; nothing was published"),
            )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 408, response = RequestTimeout),
        (status = 409, response = KeyInFlight),
        (status = 413, response = TooLarge),
        (status = 415, response = ContentTypeNotCarried),
        (status = 422, response = Unprocessable),
        (status = 500, response = InternalError),
        (status = 502, response = BrokerRefused),
        (status = 503, response = NotTaken),
        (status = 504, response = Unconfirmed),
    )
)]
async fn post_uplink(
    State(post): State<Post>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let preferences = Preferences::read(&parts.headers, post.limits.max_wait);
    let key = idempotency_key(&parts.headers)?;
    let (uplink, options) = read(&parts.uri, &parts.headers, body, &post.limits).await?;
    caller.check_device(&uplink.device)?;
    // The head lies in the connection's read buffer, which is free for the next request without it.
    drop(parts);
    let wishes = Wishes {
        wait: preferences.wait.unwrap_or(post.limits.wait),
        respond_async: preferences.at_once(),
        key,
        confirm_platform: options.confirm_platform.unwrap_or(false),
        parameters: options.of_profile,
        placed: None,
    };
    let confirm_platform = wishes.confirm_platform;
    let mut response = match &post.forward {
        None => match post.uplinks.deliver(uplink, wishes).await {
            Ok(accepted) => answer(&accepted, confirm_platform),
            Err(error) => Problem::from(error).into_response(),
        },
        // In a box: the future of every request would otherwise be as large as this road is long.
        Some(forward) => match Box::pin(forward.deliver(&post.uplinks, uplink, wishes)).await {
            Delivered::Here(Ok(accepted)) => answer(&accepted, confirm_platform),
            Delivered::Here(Err(problem)) => problem.into_response(),
            Delivered::Elsewhere(answer) => answer.into_response(),
        },
    };
    if let Some(applied) = preferences.applied(response.status() == StatusCode::ACCEPTED) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Posts an uplink to a sub-topic
///
/// The same, on a topic below the device's.
#[utoipa::path(
    post,
    path = "/v1/devices/{device}/uplinks/{subtopic}",
    tag = "uplinks",
    security(("token" = [SCOPE])),
    params(
        ("device" = String, Path, description = "The device's id: one level of an MQTT topic, percent-encoded", example = "pump-1"),
        ("subtopic" = String, Path, description = "One or more levels below the device's topic; here a slash stands between levels and is not encoded", example = "alerts/critical"),
        ("qos" = Option<u8>, Query, description = "MQTT quality of service. Default: the profile's, mostly 1. With 0 nothing is confirmed", minimum = 0, maximum = 2),
        ("retain" = Option<bool>, Query, description = "MQTT's retain flag. Default false"),
        ("expiry" = Option<u32>, Query, description = "Seconds after which the broker drops the message; carried with MQTT 5 only", minimum = 1),
        ("confirm" = Option<String>, Query, description = "`platform`: wait for the platform's own answer too, where it gives one. Default `broker`. Further parameters are the profile's: with sap-iot `capability`, `sensor` or `sensor_type`, and `timestamp`, which make SAP's message of the posted measure", example = "platform"),
        ("Prefer" = Option<String>, Header, description = "RFC 7240. `wait=N`: how many seconds, at least 1, to wait for the broker before the uplink is stored and answered with 202; 60 at the most, as configured. Default 5. `respond-async`: store it at once and answer with 202; together with `wait=N`, after that wait", example = "wait=10"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique for the device: the same request with the same key is answered as the first time and publishes nothing, also after a restart, for as long as keys are kept (24 hours by default). Such an uplink is stored before it is sent. An answer that says the uplink was not taken frees the key", example = "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context; carried as an MQTT 5 user property"),
    ),
    request_body(
        description = "The payload, any bytes as they are. The Content-Type becomes MQTT 5's content type; which ones are carried is the profile's business",
        content(
            ("application/json", example = json!({"temperature": 21.5})),
            ("text/plain"),
            ("application/octet-stream"),
        )
    ),
    responses(
        (status = 200, description = "The broker has confirmed the uplink (QoS 0: it was sent)", body = ReceiptBody,
            headers(
                ("Preference-Applied" = String, description = "The wait that was applied, if the request named one"),
                ("Idempotency-Replayed" = String, description = "`true`: this is the answer that the same request got before; nothing was published"),
            )),
        (status = 202, description = "The uplink is on disk and will be delivered, or its receipt tells why not. Or, with `confirm=platform`: the broker has confirmed it, and the platform has not answered in time; it is not sent again", body = ReceiptBody,
            headers(
                ("Location" = String, description = "Its receipt: /v1/uplinks/{id}"),
                ("Preference-Applied" = String, description = "`respond-async`, the wait, or both, if the request named them"),
                ("Idempotency-Replayed" = String, description = "`true`: this is the answer that the same request got before; nothing was published"),
            )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 408, response = RequestTimeout),
        (status = 409, response = KeyInFlight),
        (status = 413, response = TooLarge),
        (status = 415, response = ContentTypeNotCarried),
        (status = 422, response = Unprocessable),
        (status = 500, response = InternalError),
        (status = 502, response = BrokerRefused),
        (status = 503, response = NotTaken),
        (status = 504, response = Unconfirmed),
    )
)]
async fn post_uplink_to_subtopic(
    post: State<Post>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    post_uplink(post, caller, request).await
}

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    IdempotencyKey::parse(value.to_str().unwrap_or_default())
        .map(Some)
        .map_err(|error| Problem::new(Kind::Malformed, error.to_string()))
}

async fn read(
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    limits: &HttpLimits,
) -> Result<(Uplink, Options), Problem> {
    let device = path::device(uri.path())?;
    let subtopic = path::subtopic(uri.path())?;
    let options = Options::read(uri)?;
    let content_type = content_type(headers)?;
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        let detail = "a Content-Encoding is not undone here, and MQTT has no word for it";
        return Err(Problem::new(Kind::ContentType, detail).hint("send the body as it is"));
    }
    let traceparent = traceparent(headers);
    let payload = body::read(headers, body, limits).await?;
    let uplink = Uplink {
        device,
        subtopic,
        payload,
        content_type,
        qos: options.qos,
        retain: options.retain.unwrap_or(false),
        expiry: options.expiry,
        traceparent,
    };
    Ok((uplink, options))
}

#[derive(Default)]
struct Options {
    qos: Option<Qos>,
    retain: Option<bool>,
    expiry: Option<Duration>,
    confirm_platform: Option<bool>,
    /// Whatever else is there: the profile knows it, or it is refused.
    of_profile: BTreeMap<String, String>,
}

impl Options {
    fn read(uri: &Uri) -> Result<Self, Problem> {
        let mut options = Self::default();
        for (name, value) in query::parameters(uri)? {
            match name.as_str() {
                "qos" => {
                    let level = query::number(&name, &value, 0, 2)?;
                    if let Some(qos) = Qos::from_level(level) {
                        query::set(&mut options.qos, &name, qos)?;
                    }
                }
                "retain" => {
                    let retain = value.parse();
                    let retain = retain.map_err(|_| query::bad(&name, "true or false"))?;
                    query::set(&mut options.retain, &name, retain)?;
                }
                "expiry" => {
                    let seconds: u32 = query::number(&name, &value, 1, u32::MAX)?;
                    let expiry = Duration::from_secs(seconds.into());
                    query::set(&mut options.expiry, &name, expiry)?;
                }
                "confirm" => {
                    let confirm_platform = match value.as_str() {
                        "platform" => true,
                        "broker" => false,
                        _ => return Err(query::bad(&name, "broker or platform")),
                    };
                    query::set(&mut options.confirm_platform, &name, confirm_platform)?;
                }
                _ => match options.of_profile.entry(name) {
                    Entry::Vacant(place) => {
                        place.insert(value);
                    }
                    Entry::Occupied(there) => {
                        return Err(query::bad(there.key(), "given more than once"));
                    }
                },
            }
        }
        Ok(options)
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>, Problem> {
    let malformed = |what: String| Problem::new(Kind::Malformed, what);
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(
            "there is more than one Content-Type header".to_owned(),
        ));
    }
    ContentType::parse(value.to_str().unwrap_or_default())
        .map(Some)
        .map_err(|error| malformed(format!("the Content-Type header is malformed: {error}")))
}

/// What became of one uplink.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptBody<'a> {
    /// Identifies the uplink and this receipt.
    #[schema(value_type = String, example = "0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d")]
    id: UplinkId,
    /// The device that it comes from.
    #[schema(example = "pump-1")]
    device: &'a str,
    /// `queued`: on disk, waiting for the broker. `delivered`: the broker confirmed it. `sent`: QoS 0, handed to the
    /// connection, never to be confirmed. `refused`: by the broker or the connector, for good. `expired`: its time was over
    /// first. `unknown`: sent, and whether the broker took it will never be known.
    #[schema(example = "delivered")]
    status: &'static str,
    /// The quality of service that it was published with.
    #[schema(example = 1, minimum = 0, maximum = 2)]
    qos: u8,
    /// The name of the broker's reason code; absent with QoS 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "success")]
    reason: Option<&'static str>,
    /// The broker's MQTT 5 reason code: 0, or 16 where nobody subscribes. With MQTT 3.1.1 always 0, also for a message
    /// that the broker then drops.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    reason_code: Option<u8>,
    /// Why it ended as it did, in words, where that is not a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// How often it was sent: more than once after a lost connection.
    #[schema(example = 1)]
    attempts: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    accepted_at: Timestamp,
    /// When it was settled; absent while it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:00:00.012Z")]
    completed_at: Option<Timestamp>,
    /// What the platform itself says of it; absent where the platform says nothing of any uplink.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformBody<'a>>,
}

/// A receipt with a device id of usual length fits.
const RECEIPT_BYTES: usize = 320;

/// 200 for what is settled, 202 with its place for what is on disk, or what the platform has not answered in time.
pub(super) fn answer(accepted: &Accepted, confirm_platform: bool) -> Response {
    let receipt = &accepted.receipt;
    let unknown =
        |outcome: &PlatformOutcome| confirm_platform && outcome.verdict == Verdict::Unknown;
    let queued =
        receipt.status == ReceiptStatus::Queued || receipt.platform.as_ref().is_some_and(unknown);
    let mut response = receipt_response(receipt);
    let headers = response.headers_mut();
    if queued {
        if let Ok(location) = HeaderValue::try_from(location(receipt)) {
            headers.insert(LOCATION, location);
        }
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    let headers = response.headers_mut();
    if accepted.replayed {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

impl<'a> ReceiptBody<'a> {
    pub(super) fn of(receipt: &'a Receipt) -> Self {
        Self {
            id: receipt.id,
            device: receipt.device.as_str(),
            status: receipt.status.name(),
            qos: receipt.qos.level(),
            reason: receipt.reason.map(Reason::name),
            reason_code: receipt.reason.map(|reason| reason.0),
            detail: receipt.detail.as_deref(),
            attempts: receipt.attempts,
            accepted_at: Timestamp(receipt.accepted_at),
            completed_at: receipt.completed_at.map(Timestamp),
            platform: receipt.platform.as_ref().map(PlatformBody::from),
        }
    }
}

impl ReceiptBody<'_> {
    /// Writes the receipt of an uplink that was confirmed, which is the answer to nearly every request, as serde would: that
    /// looks at each character of names and values again. `false`: it is of another kind, and nothing is written.
    fn write_usual(&self, out: &mut Vec<u8>) -> bool {
        let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        let (Some(reason), Some(code), Some(completed_at)) =
            (self.reason, self.reason_code, &self.completed_at)
        else {
            return false;
        };
        let is_usual = self.detail.is_none()
            && self.platform.is_none()
            && self.device.bytes().all(plain)
            && reason.bytes().all(plain);
        if is_usual {
            let (id, device, status, qos) = (self.id, self.device, self.status, self.qos);
            let (attempts, accepted_at) = (self.attempts, &self.accepted_at);
            // Writing to memory cannot fail.
            let _ = write!(
                out,
                "{{\"id\":\"{id}\",\"device\":\"{device}\",\"status\":\"{status}\",\"qos\":{qos},\"reason\":\"{reason}\",\"reason_code\":{code},\"attempts\":{attempts},\
                 \"accepted_at\":\"{accepted_at}\",\"completed_at\":\"{completed_at}\"}}"
            );
        }
        is_usual
    }
}

/// Where a receipt is found.
pub(super) fn location(receipt: &Receipt) -> String {
    format!("/v1/uplinks/{}", receipt.id)
}

/// A receipt as it is answered.
pub(super) fn receipt_json(receipt: &Receipt) -> Vec<u8> {
    let mut json = Vec::with_capacity(RECEIPT_BYTES);
    let body = ReceiptBody::of(receipt);
    if !body.write_usual(&mut json) {
        // Writing these to memory cannot fail.
        let _ = serde_json::to_writer(&mut json, &body);
    }
    json.push(b'\n');
    json
}

pub(super) fn receipt_response(receipt: &Receipt) -> Response {
    let mut response = Response::new(Body::from(receipt_json(receipt)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::device::DeviceId;

    #[test]
    fn a_usual_receipt_is_written_as_serde_writes_it() {
        let receipt = |device: &str, completed: bool| Receipt {
            id: UplinkId::new(),
            device: DeviceId::parse(device).unwrap(),
            status: ReceiptStatus::Delivered,
            reason: Some(Reason(16)),
            detail: None,
            qos: Qos::AtLeastOnce,
            attempts: 12,
            accepted_at: SystemTime::now(),
            completed_at: completed.then(SystemTime::now),
            platform: None,
        };
        let failed = Receipt {
            detail: Some("a \"word\"".into()),
            ..receipt("a", true)
        };
        for (receipt, usual) in [
            (receipt("pump-1", true), true),
            (receipt("a b:c'", true), true),
            (receipt("Ger\u{e4}t", true), false),
            (receipt("a\"b", true), false),
            (receipt("a\\b", true), false),
            (receipt("a", false), false),
            (failed, false),
        ] {
            let (body, mut json) = (ReceiptBody::of(&receipt), Vec::new());
            assert_eq!(body.write_usual(&mut json), usual, "{receipt:?}");
            if usual {
                assert_eq!(json, serde_json::to_vec(&body).unwrap());
            }
        }
    }
}
