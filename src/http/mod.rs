//! HTTP: the only importer of `axum`. Requests become domain types at the edge, answers and errors become JSON.
//!
//! - [`router`]: the main listener's routes, put together from `uplinks`, `batch`, `receipts`, `downlinks` (`sse`,
//!   `long_poll`), `devices`, `keys`, `events`, `cluster`, `openapi`, `docs` and `page`, each
//!   given only what it needs
//! - [`management`]: `/livez`, `/readyz` and `/metrics`
//! - [`serve`]: a listener (HTTPS, HTTP/2, limits), a router, and an end that lets requests finish
//! - `guard`, `credential`, `caller`, `rate_limit`: who may call which route
//! - `forward`: requests about devices whose session another replica has, and those of other replicas
//! - `path`, `query`, `prefer`, `accept`, `body`: the parts of a request, parsed strictly
//! - `kind`, `problem`, `error`: what went wrong, and the one place that gives it a status code

mod accept;
mod batch;
mod body;
mod caller;
mod cluster;
mod cors;
mod credential;
mod device_form;
mod devices;
mod diagnosis;
mod docs;
mod downlink_form;
mod downlinks;
mod error;
mod events;
mod forward;
mod guard;
mod health;
mod key_form;
mod keys;
mod kind;
mod long_poll;
mod metrics;
mod observer;
mod openapi;
mod page;
mod path;
mod peer;
mod platform;
mod prefer;
mod problem;
mod query;
mod rate_limit;
mod receipt_form;
mod receipts;
mod registration;
mod secured;
mod server;
mod sse;
#[cfg(test)]
mod tests;
mod timestamp;
mod traceparent;
mod uplinks;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use batch::fuzzing;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

pub use body::BodyPace;
pub use cors::Origins;
pub use forward::{Members, answerer};
pub use health::management;
pub use observer::{Observer, http_tally};
pub use openapi::{openapi, openapi_json};
pub use peer::PeerCertificate;
pub use server::{
    ClientAuthorities, ConnectionLimits, Listener, ListenerHandle, ListenerSettings, Served, Tls,
    TlsError, bind, serve,
};

use crate::access::Access;
use crate::downlink::Hub;
use crate::fleet::Fleet;
use crate::registry::Registry;
use crate::store::ReceiptLimits;
use crate::uplink::Uplinks;
use guard::Guard;
use problem::{Kind, Problem};

/// What the main listener's routes work with.
#[derive(Debug, Clone)]
pub struct Api {
    /// Who may do what.
    pub access: Arc<Access>,
    /// The road out.
    pub uplinks: Uplinks,
    /// The devices.
    pub registry: Arc<Registry>,
    /// How devices come and go.
    pub fleet: Arc<Fleet>,
    /// The road in.
    pub hub: Arc<Hub>,
    /// What a request may ask for.
    pub limits: HttpLimits,
    /// How long receipts are kept, as far as the store keeps them: for those who ask too late.
    pub receipts: ReceiptLimits,
    /// The other replicas; absent where there is one process.
    pub members: Option<Members>,
    /// Ends every stream when the program ends.
    pub shutdown: CancellationToken,
}

/// What a request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// The largest request body, in bytes. Default 256 KiB.
    pub max_body: usize,
    /// How slowly a body may come.
    pub body_pace: BodyPace,
    /// How long an uplink waits for the broker when the request does not say. Default 5 s.
    pub wait: Duration,
    /// How long a request may wait at the most. Default 60 s.
    pub max_wait: Duration,
    /// How long the first listener of a session may wait for its connection and subscriptions. Default 2 s.
    pub begin_wait: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_body: 256 * 1024,
            body_pace: BodyPace::default(),
            wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(60),
            begin_wait: Duration::from_secs(2),
        }
    }
}

/// The routes of the main listener.
pub fn router(api: Api) -> Router {
    let peers = (api.members.as_ref()).map(|members| Arc::clone(&members.peers));
    let forward = forward::way(api.members, api.limits, &api.shutdown);
    let guard = &Guard::new(api.access, forward.clone());
    Router::new()
        .merge(uplinks::router(
            guard,
            api.uplinks.clone(),
            api.limits,
            forward.clone(),
        ))
        .merge(batch::router(
            guard,
            api.uplinks.clone(),
            api.limits,
            forward.clone(),
            api.shutdown.clone(),
        ))
        .merge(receipts::router(
            guard,
            api.uplinks.clone(),
            api.receipts,
            forward.clone(),
        ))
        .merge(downlinks::router(
            guard,
            Arc::clone(&api.registry),
            api.hub,
            api.limits,
            forward.clone(),
            api.shutdown.clone(),
        ))
        .merge(events::router(
            guard,
            Arc::clone(&api.registry),
            api.uplinks.clone(),
            forward.clone(),
            api.shutdown.clone(),
        ))
        .merge(diagnosis::router(
            guard,
            Arc::clone(&api.registry),
            api.uplinks.clone(),
            api.limits,
            api.shutdown,
        ))
        .merge(keys::router(guard, Arc::clone(&api.registry), api.limits))
        .merge(registration::router(
            guard,
            Arc::clone(&api.registry),
            Arc::clone(&api.fleet),
            api.limits,
            forward.clone(),
        ))
        .merge(devices::router(
            guard,
            api.registry,
            api.uplinks,
            api.fleet,
            forward,
        ))
        .merge(cluster::router(guard, peers))
        .merge(openapi::router())
        .merge(page::router())
        .merge(docs::router())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
}

async fn no_route(uri: Uri) -> Problem {
    let path = uri.path();
    if path.starts_with("/v1/devices/") && (path.contains("//") || path.ends_with('/')) {
        return Problem::new(Kind::Malformed, "the path has an empty level")
            .hint("a device id and each level of a sub-topic have at least one character");
    }
    Problem::new(Kind::NoRoute, "there is nothing at this path").hint("see /docs")
}

/// The `Allow` header is added by the router.
async fn no_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::new(
        Kind::Method,
        format!("{method} is not possible here; the Allow header says what is"),
    )
    .into_response()
}
