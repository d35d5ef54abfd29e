//! Every request and its answer: counted, traced, and told to the log.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;

use super::openapi::openapi;
use super::problem::ProblemKind;
use super::traceparent::{TRACEPARENT, traceparent};
use crate::tally::{HttpTally, Operation};
use crate::telemetry::{Span, Tracer};

/// Watches the requests of a listener.
#[derive(Debug)]
pub struct Observer {
    tally: Arc<HttpTally>,
    tracer: Option<Arc<Tracer>>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Watched {
    operation: Operation,
    began: Instant,
    span: Option<Span>,
}

impl Observer {
    /// Counts there, and traces what the tracer wants.
    pub fn new(tally: Arc<HttpTally>, tracer: Option<Arc<Tracer>>) -> Self {
        Self { tally, tracer }
    }

    /// A request has come.
    pub(super) fn begin<B>(&self, request: &mut Request<B>) -> Watched {
        let operation = (self.tally).operation(request.method().as_str(), request.uri().path());
        let span = self.tracer.as_ref().and_then(|tracer| {
            let span = tracer.server(traceparent(request.headers()).as_deref())?;
            // From here on the request belongs to this span: whatever it leads to continues from there.
            let own = HeaderValue::try_from(span.context().to_string()).ok()?;
            request.headers_mut().insert(TRACEPARENT, own);
            Some(span)
        });
        Watched {
            operation,
            began: Instant::now(),
            span,
        }
    }

    /// The head of its answer is ready.
    pub(super) fn end(&self, watched: Watched, response: &Response) {
        let Watched {
            operation,
            began,
            span,
        } = watched;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        self.tally.answered(operation, status, took);
        let problem = response.extensions().get::<ProblemKind>();
        if let Some(ProblemKind(slug)) = problem {
            self.tally.refused(slug);
        }
        let (method, route) = (self.tally.method(operation), self.tally.route(operation));
        let trace = span.as_ref().map(|span| span.context().to_string());
        // Neither path, query nor headers, which may contain secrets.
        tracing::debug!(
            method,
            route,
            status,
            problem = problem.map(|ProblemKind(slug)| slug),
            elapsed = ?took,
            trace,
            "request"
        );
        if let Some(mut span) = span {
            // As OpenTelemetry's semantic conventions for HTTP servers have it.
            span.rename(format!("{method} {route}"));
            span.set("http.request.method", method);
            span.set("http.route", route.to_owned());
            span.set("http.response.status_code", status);
            if let Some(ProblemKind(slug)) = problem {
                span.set("error.type", *slug);
            }
            if status >= 500 {
                span.fail();
            }
            span.end();
        }
    }
}

/// A tally for the routes of both listeners, as they are described.
pub fn http_tally() -> HttpTally {
    let paths = openapi().paths.paths;
    let routes = paths.into_iter().map(|(path, item)| {
        let methods = [
            ("GET", item.get.is_some()),
            ("POST", item.post.is_some()),
            ("PUT", item.put.is_some()),
            ("DELETE", item.delete.is_some()),
        ];
        let methods = methods.into_iter().filter(|(_, is_there)| *is_there);
        // The one parameter with slashes in it.
        let template = path.replace("{subtopic}", "{*subtopic}");
        (template, methods.map(|(method, _)| method).collect())
    });
    HttpTally::new(routes)
}
