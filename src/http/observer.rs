//! Every request and its answer: counted, and told to the log.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;

use super::openapi::openapi;
use super::problem::ProblemKind;
use crate::tally::{HttpTally, Operation};

/// Watches the requests of a listener.
#[derive(Debug)]
pub struct Observer {
    tally: Arc<HttpTally>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Watched {
    operation: Operation,
    began: Instant,
}

impl Observer {
    /// Counts there.
    pub fn new(tally: Arc<HttpTally>) -> Self {
        Self { tally }
    }

    /// A request has come.
    pub(super) fn begin<B>(&self, request: &mut Request<B>) -> Watched {
        let operation = (self.tally).operation(request.method().as_str(), request.uri().path());
        Watched {
            operation,
            began: Instant::now(),
        }
    }

    /// The head of its answer is ready.
    pub(super) fn end(&self, watched: Watched, response: &Response) {
        let Watched { operation, began } = watched;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        self.tally.answered(operation, status, took);
        let problem = response.extensions().get::<ProblemKind>();
        if let Some(ProblemKind(slug)) = problem {
            self.tally.refused(slug);
        }
        // Neither path, query nor headers, which may contain secrets.
        tracing::debug!(
            method = self.tally.method(operation),
            route = self.tally.route(operation),
            status,
            problem = problem.map(|ProblemKind(slug)| slug),
            elapsed = ?took,
            "request"
        );
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
