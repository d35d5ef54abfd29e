//! Cross-origin requests (CORS, Fetch standard): web pages of configured origins may use the interface from a browser.

use super::rate_limit::{RATE_LIMIT, RATE_LIMIT_POLICY};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// The layer for these origins, `*` for any; none without origins.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::from(Any),
        false => AllowOrigin::list(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok())),
    };
    let asked = ["idempotency-key", "last-event-id", "prefer", "traceparent"];
    let answered = ["idempotency-replayed", "preference-applied"];
    let told = [
        LOCATION,
        RETRY_AFTER,
        ALLOW,
        WWW_AUTHENTICATE,
        RATE_LIMIT,
        RATE_LIMIT_POLICY,
    ];
    let names = |names: &[&'static str]| {
        names
            .iter()
            .copied()
            .map(HeaderName::from_static)
            .collect::<Vec<_>>()
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([&[AUTHORIZATION, CONTENT_TYPE][..], &names(&asked)].concat())
            .expose_headers([&told[..], &names(&answered)].concat()),
    )
}
