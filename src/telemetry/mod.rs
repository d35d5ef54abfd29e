//! Traces, for those who configure a collector: spans of requests and of what they publish, sent by OTLP.
//!
//! ```text
//! request ─► server span ─► producer span ─► the broker, as a `traceparent` property
//!                 └──────────────┴──► queue ─► exporter ─► POST {otlp_url}/v1/traces
//! ```
//!
//! - [`TraceContext`]: what `traceparent` says (W3C Trace Context)
//! - [`Tracer`]: decides what is sampled, and takes what has ended; never waits, drops what there is no room for
//! - [`Span`]: one that has not ended yet
//! - [`Exporter`]: the one task that talks to the collector
//! - `otlp`, `protobuf`: what it is told, in the protocol's binary form
//!
//! A span holds route templates, names of connectors and devices, and outcomes: no payload, no topic, no header. Without a
//! collector there is no tracer, and nothing of this is done. The messages are written here rather than by the protocol's
//! SDK: they are few, and that costs 23 crates.

mod context;
mod export;
mod otlp;
mod protobuf;
mod span;
mod tracer;
mod url;

pub use context::TraceContext;
pub use export::Exporter;
pub use span::{Kind, Span, Value};
pub use tracer::{Tracer, TracerFigures};
pub use url::{CollectorUrl, InvalidCollectorUrl};

use std::sync::Arc;

use crate::mqtt::transport::Endpoint;
use crate::secret::Secret;

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the collector is reached.
    pub endpoint: Endpoint,
    /// The request's `Host`.
    pub host: Arc<str>,
    /// The path that spans are posted to.
    pub path: Arc<str>,
    /// Sent with every request; names are in lower case.
    pub headers: Vec<(String, Secret)>,
    /// What describes this bridge, besides its name and version.
    pub resource: Vec<(String, String)>,
    /// The part of traces that begin here which is recorded, 0 to 1. Those that a request brings along are recorded when
    /// the request says so.
    pub sampling: f64,
}

/// A tracer, and the task that has to run for it.
pub fn tracing(settings: Settings) -> (Arc<Tracer>, Exporter) {
    let (sender, spans) = tokio::sync::mpsc::channel(tracer::QUEUE);
    let tracer = Arc::new(Tracer::new(settings.sampling, sender));
    let exporter = Exporter::new(settings, spans, tracer.figures());
    (tracer, exporter)
}
