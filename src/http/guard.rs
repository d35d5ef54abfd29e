//! Who may call which route: every handler below `/v1` is wrapped here with the scope that it asks for.
//!
//! ```text
//! const SCOPE: Scope = Scope::DevicesRead;
//!
//! #[utoipa::path(get, path = "/v1/devices/{device}", security(("token" = [SCOPE])), …)]
//! async fn show(caller: Caller, DevicePath(id): DevicePath, …) -> Result<…, Problem> {
//!     caller.check_device(&id)?;
//!     …
//! }
//!
//! Router::new().route("/v1/devices/{device}", get(guard.asks(SCOPE, show)))
//! ```
//!
//! The description gets the answers 401, 403 and 429 of every operation with `security`, and what it asks for in words.
//! A handler takes its [`Caller`]; one that was not wrapped has none, and every request to it fails.
//!
//! It is no layer of the router: each of those allocates for every request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::body::HttpBody;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, EXPECT};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::credential::{self, InQuery};
use super::forward::{OwnerRoute, Way};
use super::problem::Problem;
use super::{body, rate_limit};
use crate::access::{Access, Caller, Quota, Scope};

/// Wraps handlers.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    access: Arc<Access>,
    /// Absent in one process.
    forward: Option<Way>,
}

impl Guard {
    pub(super) fn new(access: Arc<Access>, forward: Option<Way>) -> Self {
        Self { access, forward }
    }

    /// A handler for those who have a scope.
    pub(super) fn asks<H>(&self, scope: Scope, handler: H) -> Guarded<H> {
        Guarded {
            access: Arc::clone(&self.access),
            scope,
            takes_query: false,
            owner: None,
            handler,
        }
    }

    /// The same for requests about the device in the path, which the member answers that has its session.
    pub(super) fn asks_owner<H>(&self, scope: Scope, handler: H) -> Guarded<H> {
        Guarded {
            owner: self.forward.as_ref().map(OwnerRoute::new),
            ..self.asks(scope, handler)
        }
    }

    /// The same for a stream: the token may also be the query's `access_token`, as a browser's `EventSource` cannot set
    /// headers (RFC 6750 §2.3).
    pub(super) fn asks_listeners<H>(&self, scope: Scope, handler: H) -> Guarded<H> {
        Guarded {
            takes_query: true,
            ..self.asks(scope, handler)
        }
    }
}

/// A handler with what it asks for.
#[derive(Clone)]
pub(super) struct Guarded<H> {
    access: Arc<Access>,
    scope: Scope,
    takes_query: bool,
    owner: Option<OwnerRoute>,
    handler: H,
}

impl<H> Guarded<H> {
    /// What an owner may take, where this is not what anything else takes.
    pub(super) fn patiently(mut self, time: Duration) -> Self {
        self.owner = self.owner.map(|owner| owner.patiently(time));
        self
    }
}

impl<H, T, S> Handler<T, S> for Guarded<H>
where
    H: Handler<T, S>,
    H::Future: Unpin,
    S: Send + 'static,
{
    type Future = Answering<H::Future>;

    fn call(mut self, mut request: Request, state: S) -> Self::Future {
        let owner = self.owner.take();
        if let Some(owner) = &owner
            && let Some(caller) = owner.admitted(&mut request)
        {
            request.extensions_mut().insert(caller);
            return Answering {
                answer: Answer::OfOwner(OwnerRoute::answer(self.handler.call(request, state))),
                quota: None,
                no_store: false,
            };
        }
        let query = match self.takes_query {
            true => InQuery::take(&mut request),
            false => InQuery::Nothing,
        };
        let mut quota = None;
        let answer = match self.admit(&request, &query, &mut quota) {
            Ok(caller) => match owner {
                None => {
                    request.extensions_mut().insert(caller);
                    Answer::ToCome(self.handler.call(request, state))
                }
                Some(owner) => {
                    request.extensions_mut().insert(caller.clone());
                    let handler = self.handler;
                    let here = move |request| handler.call(request, state);
                    Answer::OfOwner(owner.find(caller, request, here))
                }
            },
            Err(problem) => {
                read_on(request);
                Answer::There(Some(problem.into_response()))
            }
        };
        Answering {
            answer,
            quota,
            no_store: query.is_there(),
        }
    }
}

impl<H> Guarded<H> {
    fn admit(
        &self,
        request: &Request,
        query: &InQuery,
        quota: &mut Option<Quota>,
    ) -> Result<Caller, Problem> {
        let presented = credential::presented(request, query);
        let grant = self
            .access
            .identify(presented, SystemTime::now())
            .map_err(Problem::stranger)?;
        if !grant.allows(self.scope) {
            return Err(Problem::without_scope(&grant, self.scope));
        }
        let caller = Caller::begin(grant).map_err(Problem::too_many_requests)?;
        match caller.grant().take(Instant::now()) {
            Ok(left) => *quota = left,
            Err(exceeded) => {
                *quota = Some(exceeded);
                return Err(Problem::rate_exceeded(&exceeded));
            }
        }
        Ok(caller)
    }
}

/// Reads a refused body within limits, beside the answer: a connection that is closed with something unread is reset, and
/// the client may see that instead of the answer. (One that asked first, with `Expect: 100-continue`, waits.)
fn read_on(request: Request) {
    if !request.body().is_end_stream() && !request.headers().contains_key(EXPECT) {
        tokio::spawn(body::drain(request.into_body().into_data_stream()));
    }
}

/// The answer of a handler, or why it was not called.
pub(super) struct Answering<F> {
    answer: Answer<F>,
    quota: Option<Quota>,
    /// The address of the request had a token in it (RFC 6750 §2.3).
    no_store: bool,
}

enum Answer<F> {
    There(Option<Response>),
    ToCome(F),
    OfOwner(BoxFuture<'static, Response>),
}

impl<F: Future<Output = Response> + Unpin> Future for Answering<F> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let mut response = match &mut self.answer {
            Answer::ToCome(future) => std::task::ready!(Pin::new(future).poll(cx)),
            Answer::OfOwner(future) => std::task::ready!(future.as_mut().poll(cx)),
            Answer::There(response) => response.take().unwrap_or_default(),
        };
        if let Some(quota) = &self.quota {
            rate_limit::tell(quota, response.headers_mut());
        }
        if self.no_store {
            let value = HeaderValue::from_static("no-store");
            response.headers_mut().insert(CACHE_CONTROL, value);
        }
        Poll::Ready(response)
    }
}
