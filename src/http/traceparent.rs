//! The `traceparent` header (W3C Trace Context §3.2).

use axum::http::{HeaderMap, HeaderName};

use crate::telemetry::TraceContext;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace context of a request. A malformed one is ignored, as §4.3 demands.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && TraceContext::parse(value).is_some()).then(|| value.into())
}
