//! Problem details (RFC 9457), the form of every error answer.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::platform::PlatformBody;
use crate::mqtt::reason::Reason;
use crate::uplink::PlatformOutcome;

/// What kind of problem it is. Its slug is stable: clients may compare the `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    NotCarried,
    UnknownDevice,
    NoRoute,
    Method,
    NotAcceptable,
    Timeout,
    TooLarge,
    ContentType,
    Internal,
    Refused,
    PlatformRefused,
    ConnectionRefused,
    Unusable,
    NoKey,
    Full,
    NotSent,
    Changing,
    Leaving,
    Closing,
    Unconfirmed,
    StoreUnavailable,
    Expired,
    KeyInFlight,
    KeyOtherBody,
    UnknownUplink,
    InvalidDevice,
    Configured,
    CarriesOthers,
    Backlog,
    NoStore,
    Exists,
    HeadTooLarge,
    CrossSite,
    TooManyConnections,
    Unauthenticated,
    InvalidToken,
    WithoutScope,
    OtherDevice,
    RateExceeded,
    TooManyRequests,
    TooManyStreams,
    UnknownKey,
    KeyInUse,
    TooManyKeys,
    KeysNotKept,
    KeyRefused,
    DiagnosisUnderWay,
    TooManyDiagnoses,
}

impl Kind {
    /// Status, slug and title.
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Malformed => (S::BAD_REQUEST, "malformed", "Malformed request"),
            Self::NotCarried => (
                S::BAD_REQUEST,
                "not-carried",
                "The connector does not carry this",
            ),
            Self::UnknownDevice => (S::NOT_FOUND, "unknown-device", "Unknown device"),
            Self::NoRoute => (S::NOT_FOUND, "no-route", "Nothing here"),
            Self::Method => (S::METHOD_NOT_ALLOWED, "method", "Method not allowed"),
            Self::NotAcceptable => (S::NOT_ACCEPTABLE, "not-acceptable", "Not acceptable"),
            Self::Timeout => (S::REQUEST_TIMEOUT, "timeout", "The request took too long"),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::ContentType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "content-type",
                "Content type not carried",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::Refused => (S::BAD_GATEWAY, "refused", "The broker refused the uplink"),
            Self::PlatformRefused => (
                S::UNPROCESSABLE_ENTITY,
                "platform-refused",
                "The platform refused the uplink",
            ),
            Self::ConnectionRefused => (
                S::BAD_GATEWAY,
                "connection-refused",
                "The broker refuses the connection",
            ),
            Self::Unusable => (
                S::SERVICE_UNAVAILABLE,
                "unusable",
                "The device cannot connect",
            ),
            Self::NoKey => (
                S::SERVICE_UNAVAILABLE,
                "no-key",
                "The device has no active key",
            ),
            Self::Full => (S::SERVICE_UNAVAILABLE, "full", "Too many uplinks wait"),
            Self::NotSent => (
                S::SERVICE_UNAVAILABLE,
                "not-sent",
                "No connection to the broker",
            ),
            Self::Changing => (
                S::SERVICE_UNAVAILABLE,
                "changing",
                "The device is being changed",
            ),
            Self::Leaving => (S::CONFLICT, "leaving", "The device is being deleted"),
            Self::Closing => (S::SERVICE_UNAVAILABLE, "closing", "Shutting down"),
            Self::Unconfirmed => (S::GATEWAY_TIMEOUT, "unconfirmed", "Not confirmed in time"),
            Self::StoreUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The store is unavailable",
            ),
            Self::Expired => (
                S::SERVICE_UNAVAILABLE,
                "expired",
                "Expired before it was sent",
            ),
            Self::KeyInFlight => (S::CONFLICT, "key-in-flight", "Same key in flight"),
            Self::KeyOtherBody => (
                S::UNPROCESSABLE_ENTITY,
                "key-other-body",
                "Same key, other uplink",
            ),
            Self::InvalidDevice => (S::BAD_REQUEST, "invalid-device", "Not a valid device"),
            Self::Configured => (S::CONFLICT, "configured", "In the configuration file"),
            Self::CarriesOthers => (
                S::CONFLICT,
                "carries-others",
                "Other devices use its connection",
            ),
            Self::Backlog => (S::CONFLICT, "backlog", "Uplinks wait"),
            Self::NoStore => (S::CONFLICT, "no-store", "There is no store"),
            Self::Exists => (S::PRECONDITION_FAILED, "exists", "The device exists"),
            Self::UnknownUplink => (S::NOT_FOUND, "unknown-uplink", "Unknown uplink"),
            Self::UnknownKey => (S::NOT_FOUND, "unknown-key", "Unknown key"),
            Self::KeyInUse => (S::CONFLICT, "key-in-use", "The key is needed"),
            Self::TooManyKeys => (S::CONFLICT, "too-many-keys", "Too many keys"),
            Self::KeysNotKept => (
                S::CONFLICT,
                "keys-not-kept",
                "The device's keys are not kept here",
            ),
            Self::KeyRefused => (S::BAD_GATEWAY, "key-refused", "The broker refused the key"),
            Self::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "Head too large",
            ),
            Self::CrossSite => (S::FORBIDDEN, "cross-site", "Sent by a web page"),
            Self::TooManyConnections => (
                S::SERVICE_UNAVAILABLE,
                "too-many-connections",
                "Too many connections",
            ),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated", "No token"),
            Self::InvalidToken => (S::UNAUTHORIZED, "invalid-token", "Invalid token"),
            Self::WithoutScope => (
                S::FORBIDDEN,
                "insufficient-scope",
                "The token is not for this kind of request",
            ),
            Self::OtherDevice => (
                S::FORBIDDEN,
                "other-device",
                "The token is not for this device",
            ),
            Self::RateExceeded => (
                S::TOO_MANY_REQUESTS,
                "rate-exceeded",
                "Too many requests in a short time",
            ),
            Self::TooManyRequests => (
                S::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests at a time",
            ),
            Self::TooManyStreams => (
                S::TOO_MANY_REQUESTS,
                "too-many-streams",
                "Too many streams at a time",
            ),
            Self::DiagnosisUnderWay => (
                S::TOO_MANY_REQUESTS,
                "diagnosis-under-way",
                "The device is being examined",
            ),
            Self::TooManyDiagnoses => (
                S::SERVICE_UNAVAILABLE,
                "too-many-diagnoses",
                "Too many examinations",
            ),
        }
    }
}

/// Goes with an answer that is a problem, for those who count: its kind's slug.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProblemKind(pub(super) &'static str);

/// One error answer. Boxed, so that what does not fail does not carry its size.
#[derive(Debug)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    reason: Option<Reason>,
    platform: Option<PlatformOutcome>,
    retryable: bool,
    /// Seconds.
    retry_after: Option<u32>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            hint: None,
            reason: None,
            platform: None,
            retryable: false,
            retry_after: None,
            header: None,
        }))
    }

    /// What to do about it.
    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The broker's reason.
    pub(super) fn reason(mut self, reason: Reason) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// What the platform itself says.
    pub(super) fn platform(mut self, outcome: PlatformOutcome) -> Self {
        self.0.platform = Some(outcome);
        self
    }

    /// Whether the same request may succeed later.
    pub(super) fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// The same request may succeed after so many seconds.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self.retryable(true)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.kind.describe().0
    }

    /// After how many seconds the same request may succeed.
    pub(super) fn seconds_to_retry(&self) -> Option<u32> {
        self.0.retry_after
    }

    pub(super) fn body(&self) -> ProblemBody<'_> {
        let parts = &*self.0;
        let (status, slug, title) = parts.kind.describe();
        ProblemBody {
            r#type: format!("/docs#problem-{slug}"),
            title,
            status: status.as_u16(),
            detail: &parts.detail,
            reason_code: parts.reason.map(|reason| reason.0),
            reason: parts.reason.map(Reason::name),
            platform: parts.platform.as_ref().map(PlatformBody::from),
            retryable: parts.retryable,
            queued: false,
            hint: parts.hint.as_deref(),
        }
    }

    /// A whole HTTP/1.1 answer behind which the connection is closed, for where no request has been understood.
    pub(super) fn into_last_answer(self) -> Vec<u8> {
        let (status, ..) = self.0.kind.describe();
        let json = serde_json::to_string(&self.body()).unwrap_or_default();
        let retry_after = match self.0.retry_after {
            Some(seconds) => format!("retry-after: {seconds}\r\n"),
            None => String::new(),
        };
        let length = json.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n{retry_after}\
             content-length: {length}\r\nconnection: close\r\n\r\n{json}\n"
        )
        .into_bytes()
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }
}

/// What went wrong (RFC 9457). Whatever the error, the request has no later effect.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/docs#problem-not-sent",
    "title": "No connection to the broker",
    "status": 503,
    "detail": "there was no connection to the broker within the wait; the uplink was not sent and will not be",
    "retryable": true,
    "queued": false,
    "hint": "check that the broker's address is right and reachable"
}))]
pub(super) struct ProblemBody<'a> {
    /// Names the kind of problem; it does not change.
    #[serde(rename = "type")]
    r#type: String,
    /// The kind of problem in words.
    title: &'static str,
    /// The status code of the answer.
    status: u16,
    /// What happened this time.
    detail: &'a str,
    /// The broker's MQTT 5 reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u8>,
    /// The reason code's name in the MQTT 5 specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What the platform itself says of the uplink.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformBody<'a>>,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// Whether the uplink will be delivered later. Always `false` in an error.
    queued: bool,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

#[cfg(test)]
impl ProblemBody<'_> {
    pub(super) fn detail(&self) -> &str {
        self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut json = serde_json::to_vec(&self.body()).unwrap_or_default();
        json.push(b'\n');
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.status();
        let parts = *self.0;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = parts.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = parts.header {
            headers.insert(name, value);
        }
        let (_, slug, _) = parts.kind.describe();
        response.extensions_mut().insert(ProblemKind(slug));
        response
    }
}
