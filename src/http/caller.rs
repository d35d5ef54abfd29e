//! Who sends a request, for handlers, and what whoever may not is told (RFC 6750 §3).

use axum::extract::FromRequestParts;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::problem::{Kind, Problem};
use super::rate_limit::whole_seconds;
use crate::access::{Busy, Caller, Grant, Listener, Quota, Scope, Stranger};
use crate::device::DeviceId;

/// Only of what a `Guard` has let through.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.remove().ok_or_else(|| {
            tracing::error!("a route has no guard; this is a defect of the bridge");
            Problem::new(Kind::Internal, "the bridge failed to answer this request").into_response()
        })
    }
}

impl Caller {
    /// Refuses a device that this caller may know nothing of. To be asked before the device is looked up: whether it is
    /// registered must make no difference.
    pub(super) fn check_device(&self, device: &DeviceId) -> Result<(), Problem> {
        match self.may_use(device) {
            true => Ok(()),
            false => Err(Problem::other_device(self.grant(), device)),
        }
    }

    /// Begins a stream in the name of this caller.
    pub(super) fn begin_stream(self) -> Result<Listener, Problem> {
        self.listen().map_err(|Busy { limit }| {
            let detail = format!("this token may have {limit} streams open at a time, and has");
            Problem::new(Kind::TooManyStreams, detail)
                .retry_after(RETRY_STREAM)
                .hint("close one of them, or listen to several devices on one stream: GET /v1/downlinks?device=…&device=…")
        })
    }
}

/// Seconds: how soon it may help to try again when as much is under way as may be.
const RETRY_REQUEST: u32 = 1;
const RETRY_STREAM: u32 = 5;

impl Problem {
    pub(super) fn stranger(stranger: Stranger) -> Self {
        let (kind, challenge) = match stranger {
            // RFC 6750 §3.1: without a token, no error either.
            Stranger::Nothing | Stranger::Certificate => (Kind::Unauthenticated, CHALLENGE),
            Stranger::Several => (Kind::Malformed, INVALID_REQUEST),
            Stranger::Token | Stranger::Expired { .. } => (Kind::InvalidToken, INVALID_TOKEN),
        };
        let hint = match stranger {
            Stranger::Nothing | Stranger::Certificate => {
                "send a token: curl -H \"Authorization: Bearer $TOKEN\"; `causeway access new` makes one"
            }
            Stranger::Several => "send one token, once: in the Authorization header",
            Stranger::Token => "is it whole, and is its hash in the configuration that is running?",
            Stranger::Expired { .. } => "`causeway access new` makes another one",
        };
        Self::new(kind, stranger.to_string())
            .hint(hint)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    pub(super) fn without_scope(grant: &Grant, scope: Scope) -> Self {
        let rule = grant.rule();
        let detail = format!(
            "this needs the scope {scope}, which {} has not; it has: {}",
            rule.name, rule.scopes
        );
        let (name, value) = insufficient_scope(scope);
        Self::new(Kind::WithoutScope, detail)
            .hint("the configuration's [access] says what a token is for")
            .header(name, value)
    }

    fn other_device(grant: &Grant, device: &DeviceId) -> Self {
        let rule = grant.rule();
        let detail = format!(
            "{} is not for the device {device:?}; it is for: {}",
            rule.name, rule.devices
        );
        Self::new(Kind::OtherDevice, detail)
            .hint("the configuration's [access] says which devices a token is for")
            .header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(INSUFFICIENT_SCOPE),
            )
    }

    pub(super) fn too_many_requests(busy: Busy) -> Self {
        let limit = busy.limit;
        let detail = format!("this token may have {limit} requests under way at a time, and has");
        Self::new(Kind::TooManyRequests, detail)
            .retry_after(RETRY_REQUEST)
            .hint("wait for an answer before the next request")
    }

    pub(super) fn rate_exceeded(quota: &Quota) -> Self {
        let (rate, burst) = (quota.rate.per_second(), quota.rate.burst());
        let detail = format!(
            "this token may make {rate} requests a second, and {burst} at once at the most"
        );
        Self::new(Kind::RateExceeded, detail)
            .retry_after(whole_seconds(quota.after).max(1))
            .hint("make fewer requests, or post many uplinks in one: POST /v1/uplinks")
    }
}

/// Static parts of `WWW-Authenticate`.
const CHALLENGE: &str = "Bearer realm=\"causeway\"";
const INVALID_REQUEST: &str = "Bearer realm=\"causeway\", error=\"invalid_request\"";
const INVALID_TOKEN: &str = "Bearer realm=\"causeway\", error=\"invalid_token\"";
const INSUFFICIENT_SCOPE: &str = "Bearer realm=\"causeway\", error=\"insufficient_scope\"";

fn insufficient_scope(scope: Scope) -> (HeaderName, HeaderValue) {
    let value = format!("{INSUFFICIENT_SCOPE}, scope=\"{scope}\"");
    let value = HeaderValue::try_from(value);
    let value = value.unwrap_or(HeaderValue::from_static(INSUFFICIENT_SCOPE));
    (WWW_AUTHENTICATE, value)
}
