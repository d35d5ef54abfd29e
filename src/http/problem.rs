//! Problem details (RFC 9457), the form of every error answer.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub(super) use super::kind::Kind;
use super::platform::PlatformBody;
use crate::mqtt::reason::Reason;
use crate::uplink::PlatformOutcome;

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
        self.0.kind.status()
    }

    /// After how many seconds the same request may succeed.
    pub(super) fn seconds_to_retry(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// The body of the answer.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(&self.body()).unwrap_or_default();
        json.push(b'\n');
        json
    }

    pub(super) fn body(&self) -> ProblemBody<'_> {
        let parts = &*self.0;
        ProblemBody {
            r#type: format!("/docs#problem-{}", parts.kind.slug()),
            title: parts.kind.title(),
            status: parts.kind.status().as_u16(),
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
        let status = self.0.kind.status();
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
        let mut response = Response::new(Body::from(self.to_json()));
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
        let kind = ProblemKind(parts.kind.slug());
        response.extensions_mut().insert(kind);
        response
    }
}
