//! The OpenAPI description, made from the handlers and their types.

use std::sync::OnceLock;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::server::ServerBuilder;
use utoipa::{Modify, OpenApi, ToResponse};

use super::docs::Sampled;
use super::problem::ProblemBody;
use super::secured::Secured;
use super::{
    batch, cluster, devices, diagnosis, downlinks, events, health, keys, metrics, receipts,
    registration, uplinks,
};

/// The contract of both listeners.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Contract::openapi()
}

/// The contract as it is kept in `openapi/openapi.json`: indented, in a stable order, with a line break at the end.
pub fn openapi_json() -> String {
    let mut json = openapi().to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

pub(super) fn router() -> Router {
    Router::new()
        .route("/openapi.json", get(contract))
        .layer(as_declared())
}

/// What is served to browsers is what its Content-Type says, and nothing that they may guess. A layer costs an allocation
/// for each request, so it is on documents alone.
pub(super) fn as_declared() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
async fn contract() -> impl axum::response::IntoResponse {
    static JSON: OnceLock<String> = OnceLock::new();
    let json: &'static str = JSON.get_or_init(openapi_json);
    ([(CONTENT_TYPE, "application/json")], json)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Causeway",
        description = "A local bridge between plain HTTP and an IoT platform's MQTT broker: post an uplink and be answered when the broker has confirmed it, or when it is on disk; listen to downlinks as server-sent events.\n\nErrors are `application/problem+json` (RFC 9457)."
    ),
    servers((url = "http://127.0.0.1:8080", description = "The main listener's default")),
    tags(
        (name = "uplinks", description = "Messages to the platform"),
        (name = "downlinks", description = "Messages from the platform"),
        (name = "devices", description = "What is registered, and how it is"),
        (name = "keys", description = "Key pairs that sign devices' tokens: made here, where the private halves stay; the public halves are for the platform"),
        (name = "events", description = "What goes on, for dashboards"),
        (name = "management", description = "For whoever runs the bridge"),
        (name = "description", description = "This description"),
    ),
    paths(
        uplinks::post_uplink,
        uplinks::post_uplink_to_subtopic,
        batch::post_batch,
        receipts::show,
        downlinks::of_device,
        downlinks::of_devices,
        devices::list,
        devices::show,
        devices::session,
        registration::register,
        registration::delete,
        diagnosis::diagnose,
        keys::list,
        keys::make,
        keys::show,
        keys::delete,
        keys::activate,
        events::events,
        cluster::show,
        contract,
        health::live,
        health::ready,
        metrics::scrape,
    ),
    modifiers(&Secured, &OnManagement, &Sampled),
    components(responses(
        Unauthorized, Forbidden, TooMany,
        BadRequest, UnknownDevice, UnknownUplink, UnknownKey, KeyConflict, KeyRefused, KeysNotChanged, NotAcceptable,
        InvalidDevice, DeviceConflict, DeviceExists, WrongType, NotRegistered, RequestTimeout, KeyInFlight, TooLarge,
        DiagnosisUnderWay, TooManyDiagnoses, ContentTypeNotCarried, NoBatch, Unprocessable, InternalError, BrokerRefused, NoOwner, NotTaken, StoreUnreadable, Unconfirmed,
    ), schemas(
        batch::BatchUplink, events::SessionEvent<'static>, events::GoneEvent<'static>, events::MissedEvent,
        events::FiguresEvent,
    ))
)]
struct Contract;

/// Says of the management listener's routes that they are there and not on the main one.
struct OnManagement;

impl Modify for OnManagement {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let server = ServerBuilder::new()
            .url("http://127.0.0.1:9090")
            .description(Some("The management listener's default"))
            .build();
        for path in ["/livez", "/readyz", "/metrics"] {
            if let Some(item) = description.paths.paths.get_mut(path) {
                item.servers = Some(vec![server.clone()]);
            }
        }
    }
}

/// There is no token, or it is not valid
#[derive(ToResponse)]
#[response(
    description = "There is no token, or it is not known or has expired. Only where tokens or certificates are configured",
    content_type = "application/problem+json",
    headers(("WWW-Authenticate" = String, description = "`Bearer` with the `error` of RFC 6750 §3.1")),
)]
#[expect(dead_code, reason = "a response of the OpenAPI description only")]
pub(super) struct Unauthorized(ProblemBody<'static>);

/// The token is not for this
#[derive(ToResponse)]
#[response(
    description = "The token has not the scope, or is not for the device, registered or not. The body names what is missing",
    content_type = "application/problem+json",
    headers(("WWW-Authenticate" = String, description = "`Bearer` with `error=\"insufficient_scope\"`, and the scope that is missing")),
)]
#[expect(dead_code, reason = "a response of the OpenAPI description only")]
pub(super) struct Forbidden(ProblemBody<'static>);

/// The token is used too much
#[derive(ToResponse)]
#[response(
    description = "Too many requests in a short time, or too many requests or streams at a time, for this token. Every answer to a token with a rate has the `RateLimit` fields",
    content_type = "application/problem+json",
    headers(
        ("Retry-After" = u32, description = "Seconds"),
        ("RateLimit-Policy" = String, description = "How many requests (`q`) in how many seconds (`w`); draft-ietf-httpapi-ratelimit-headers"),
        ("RateLimit" = String, description = "How many are left (`r`), and in how many seconds all are there again, or one where none is left (`t`)"),
    ),
)]
#[expect(dead_code, reason = "a response of the OpenAPI description only")]
pub(super) struct TooMany(ProblemBody<'static>);

macro_rules! problem_responses {
    ($($name:ident: $description:literal;)*) => {$(
        #[derive(ToResponse)]
        #[response(description = $description, content_type = "application/problem+json")]
        #[expect(dead_code, reason = "a response of the OpenAPI description only")]
        pub(super) struct $name(ProblemBody<'static>);
    )*};
}

problem_responses! {
    BadRequest: "Malformed, or not carried by the device's connector: the path, a query parameter, a header or the body";
    UnknownDevice: "There is no such device";
    NotAcceptable: "None of the forms that there are is accepted";
    RequestTimeout: "The body was not complete in time";
    UnknownUplink: "There is no receipt of such an uplink, or no longer";
    InvalidDevice: "Not a valid device: the body, its fields, a query parameter or a header. The detail names each field and what is wrong with it, in the words of the configuration";
    DeviceConflict: "The device is in the configuration file, or being deleted; other devices use its connection; uplinks wait and nobody has said what becomes of them; or the bridge has no store to keep it in";
    DeviceExists: "With `If-None-Match: *`: the device exists";
    WrongType: "The body is not `application/json`";
    NotRegistered: "The store cannot be written, or the bridge is shutting down; or no replica answers for the device (`no-owner`). With Retry-After";
    UnknownKey: "There is no such device, or it has no such key";
    KeyConflict: "Not possible with these keys: there are as many as a device may have, the key is needed, or the device's keys are not kept here";
    KeyRefused: "The broker refused the key, and the one before it signs again";
    KeysNotChanged: "The store cannot be written, or the bridge is shutting down; nothing was changed. Or no replica answers for the device (`no-owner`). With Retry-After";
    KeyInFlight: "The same request, by its Idempotency-Key, is being worked on. With Retry-After";
    Unprocessable: "The Idempotency-Key was used for another uplink of this device; or, with `confirm=platform`, the broker has confirmed the uplink and the platform has refused it: its code and messages are in `platform`";
    NoBatch: "The body is neither `application/x-ndjson` nor `application/json`; the Accept-Post header names both";
    StoreUnreadable: "The store cannot be read; or no replica answers for the device, or not all of them answer (`no-owner`). With Retry-After";
    TooLarge: "The body is larger than the bridge or the broker takes";
    ContentTypeNotCarried: "The connector does not carry this content type; the Accept-Post header lists those that it does";
    InternalError: "A defect of the bridge";
    BrokerRefused: "The broker refused the uplink or the connection; the reason code is named";
    NotTaken: "Neither confirmed nor stored, and it will not be sent later: the store is at a limit of `[store]` or cannot write, or there is none; or the uplink expired, the device cannot connect, or the bridge is shutting down. With Retry-After where trying again may help";
    NoOwner: "Only where several replicas work together: no replica has the device's session at the moment, or the one that has it does not answer; for a list, not all of them do. With Retry-After";
    DiagnosisUnderWay: "The device is being examined already; or the token has as much under way, or sends as fast, as it may. With Retry-After";
    TooManyDiagnoses: "As many devices are being examined as may be at a time, or the bridge is shutting down; or no replica answers for the device (`no-owner`). With Retry-After";
    Unconfirmed: "Sent, not confirmed in time, and not stored. It may have arrived; it will not be sent again";
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn everything_that_is_referred_to_is_there() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members
                        .values()
                        .for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let description = serde_json::to_value(openapi()).unwrap();
        let mut found = Vec::new();
        references(&description, &mut found);
        assert!(found.len() > 50, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_kept_description_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == openapi_json(),
            "openapi/openapi.json differs from the code; run: cargo run -- openapi --out openapi"
        );
    }
}
