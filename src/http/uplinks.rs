//! `POST /v1/devices/{device}/uplinks[/{subtopic}…]`: one uplink, answered when the broker has confirmed it, or when it
//! is on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::HttpLimits;
use super::forward::{Delivered, Way};
use super::guard::Guard;
use super::openapi::{
    BadRequest, BrokerRefused, ContentTypeNotCarried, InternalError, KeyInFlight, NotTaken,
    RequestTimeout, TooLarge, Unconfirmed, UnknownDevice, Unprocessable,
};
use super::prefer::{PREFERENCE_APPLIED, Preferences};
use super::problem::{Kind, Problem};
use super::receipt_form::{ReceiptBody, answer};
use super::traceparent::traceparent;
use super::{body, path, query};
use crate::access::{Caller, Scope};
use crate::message::{ContentType, Qos, Uplink};
use crate::uplink::{IdempotencyKey, Uplinks, Wishes};

const SCOPE: Scope = Scope::Uplink;

pub(super) fn router(
    guard: &Guard,
    uplinks: Uplinks,
    limits: HttpLimits,
    forward: Option<Way>,
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
    forward: Option<Way>,
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
