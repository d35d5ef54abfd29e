//! The live page at `/`, and what the pages are made of: a few files that are part of the program, and nothing from
//! another host.
//!
//! The pages are open to everybody, as there is nothing in them: what they show, they ask for like any other client,
//! with a token where one is needed. A browser is told to let them do nothing else ([`POLICY`]); what is told by devices
//! or platforms can only ever become text, because the browser refuses whatever else a script might make of it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Only what this very bridge serves, no script or style in the page itself, no frames, and no text that becomes
/// elements (Content Security Policy 3, Trusted Types).
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $kind:ident $file:literal)*) => {
        [$(($path, $kind, include_str!($file))),*]
    };
}

const FILES: [(&str, &str, &str); 20] = files! {
    "/" HTML "live/index.html"
    "/page/icon.svg" SVG "shared/icon.svg"
    "/page/base.css" CSS "shared/base.css"
    "/page/theme.js" SCRIPT "shared/theme.js"
    "/page/copy.js" SCRIPT "shared/copy.js"
    "/page/live.css" CSS "live/live.css"
    "/page/live.js" SCRIPT "live/live.js"
    "/page/api.js" SCRIPT "live/api.js"
    "/page/cluster.js" SCRIPT "live/cluster.js"
    "/page/chart.js" SCRIPT "live/chart.js"
    "/page/device.js" SCRIPT "live/device.js"
    "/page/devices.js" SCRIPT "live/devices.js"
    "/page/dom.js" SCRIPT "live/dom.js"
    "/page/downlinks.js" SCRIPT "live/downlinks.js"
    "/page/format.js" SCRIPT "live/format.js"
    "/page/model.js" SCRIPT "live/model.js"
    "/page/overview.js" SCRIPT "live/overview.js"
    "/page/stream.js" SCRIPT "live/stream.js"
    "/page/troubles.js" SCRIPT "live/troubles.js"
    "/page/uplink.js" SCRIPT "live/uplink.js"
};

pub(super) fn router() -> Router {
    FILES.into_iter().fold(Router::new(), |router, file| {
        let (path, content_type, text) = file;
        router.merge(serve(
            path,
            content_type,
            Bytes::from_static(text.as_bytes()),
        ))
    })
}

/// Serves one file of a page, whoever asks.
pub(super) fn serve(path: &'static str, content_type: &'static str, content: Bytes) -> Router {
    let file = Arc::new(File::new(content_type, content));
    Router::new().route(
        path,
        get(async move |headers: HeaderMap| file.answer(&headers)),
    )
}

/// A file as it is served.
pub(super) struct File {
    content_type: HeaderValue,
    content: Bytes,
    tag: HeaderValue,
}

impl File {
    pub(super) fn new(content_type: &'static str, content: Bytes) -> Self {
        let hash = Sha256::digest(&content);
        let digits: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            content_type: HeaderValue::from_static(content_type),
            content,
            tag: HeaderValue::try_from(format!("\"{digits}\""))
                .unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// The file, or that the client has it already.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = Response::new(match self.is_known(headers) {
            true => Body::empty(),
            false => Body::from(self.content.clone()),
        });
        if self.is_known(headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        let same_origin = HeaderValue::from_static("same-origin");
        for (name, value) in [
            (CONTENT_TYPE, self.content_type.clone()),
            (ETAG, self.tag.clone()),
            // Asked for each time, and not sent again: another version of the program has other pages.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (OPENER_POLICY, same_origin.clone()),
            (RESOURCE_POLICY, same_origin),
        ] {
            headers.insert(name, value);
        }
        response
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = known
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == "*" || tag.as_bytes() == self.tag.as_bytes())
    }
}

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
