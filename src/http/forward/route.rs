//! Any other request about a device: answered here where the device is here, and otherwise by the member that has it.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::{Ask, DeviceRequest};
use super::headers;
use super::reach::{Answering, Patience, READ, Reached, Unreached};
use super::{Forward, Way};
use crate::access::Caller;
use crate::device::DeviceId;
use crate::http::prefer::Preferences;
use crate::http::problem::{Kind, Problem, ProblemKind};
use crate::http::{HttpLimits, body, path};

/// What an owner may take to do something, beside what the request itself wants to wait.
const WRITE: Duration = Duration::from_secs(20);
/// How often an owner is asked whether it has heard of a device.
const HEAR: Duration = Duration::from_millis(50);
/// The smallest limit of bodies, in bytes: routes have limits of their own below it.
const MAX_BODY: usize = 64 * 1024;

/// Goes with a request from another member, which has checked what lets its client in. Nothing that comes from a
/// connection has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted;

/// Goes with the answer to such a request, where it came from its route.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfOwner;

/// A route whose requests are answered by the member that has their device.
#[derive(Debug, Clone)]
pub(in crate::http) struct OwnerRoute {
    forward: Way,
    write: Duration,
}

impl OwnerRoute {
    pub(in crate::http) fn new(forward: &Way) -> Self {
        Self {
            forward: forward.clone(),
            write: WRITE,
        }
    }

    /// Its requests take longer.
    pub(in crate::http) fn patiently(mut self, write: Duration) -> Self {
        self.write = write;
        self
    }

    /// In whose name a request comes that another member has let in; `None` for any other.
    pub(in crate::http) fn admitted(&self, request: &mut Request) -> Option<Caller> {
        request.extensions_mut().remove::<Admitted>()?;
        Some(self.forward.anybody.clone())
    }

    /// The answer to a request of another member, which is made here and nowhere else.
    pub(in crate::http) fn answer<F>(response: F) -> BoxFuture<'static, Response>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Box::pin(async move {
            let mut response = response.await;
            response.extensions_mut().insert(OfOwner);
            response
        })
    }

    /// The answer to a client's request: `here` makes it where the device is here.
    pub(in crate::http) fn find<F>(
        self,
        caller: Caller,
        request: Request,
        here: impl FnOnce(Request) -> F + Send + 'static,
    ) -> BoxFuture<'static, Response>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Box::pin(async move {
            match path::device(request.uri().path()) {
                Ok(device) if caller.may_use(&device) => {
                    let answer = self.answer_of_owner(&device, request, here).await;
                    answer.unwrap_or_else(IntoResponse::into_response)
                }
                // It is refused before anybody is asked.
                _ => here(request).await,
            }
        })
    }

    async fn answer_of_owner<F>(
        self,
        device: &DeviceId,
        request: Request,
        here: impl FnOnce(Request) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Response>,
    {
        let forward = &*self.forward;
        let limits = HttpLimits {
            max_body: forward.limits.max_body.max(MAX_BODY),
            ..forward.limits
        };
        let (parts, sent) = request.into_parts();
        let sent = body::read(&parts.headers, sent, &limits).await?;
        let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
        let patience = match is_read {
            true => Patience::read(forward.limits.wait),
            false => {
                let preferences = Preferences::read(&parts.headers, limits.max_wait);
                let wait = preferences.wait.unwrap_or(limits.wait);
                let owner = Instant::now() + limits.wait;
                Patience {
                    owner,
                    unreachable: owner,
                    answer: Answering::Within(wait + self.write),
                    again: false,
                }
            }
        };
        let request = DeviceRequest {
            method: match is_read {
                // Whoever has asked for the head alone gets that of the whole answer.
                true => Method::GET,
                false => parts.method.clone(),
            },
            uri: parts.uri.clone(),
            headers: headers::of_request(&parts.headers),
            body: sent,
        };
        let mut here = Some((parts, here));
        loop {
            let ask = || Ask::request(&request);
            match forward.reach(device, patience, ask).await? {
                Reached::Answered(answer) => return Ok(answer.into_response()),
                Reached::Here => {
                    // It went and came back: enough for one request.
                    let (parts, here) = here.take().ok_or(Unreached::Nobody)?;
                    let body = Body::from(request.body.clone());
                    let response = here(Request::from_parts(parts, body)).await;
                    if !forward.has_moved(device, &response) {
                        return Ok(response);
                    }
                }
            }
        }
    }
}

/// Whether there is a device that is not here: in one process there is none.
pub(in crate::http) async fn exists(
    forward: &Option<Way>,
    device: &DeviceId,
) -> Result<bool, Problem> {
    match forward {
        Some(forward) => forward.exists(device).await,
        None => Ok(false),
    }
}

impl Patience {
    /// For what may be asked again and again.
    pub(super) fn read(wait: Duration) -> Self {
        let owner = Instant::now() + wait;
        Self {
            owner,
            unreachable: owner,
            answer: Answering::Within(READ),
            again: true,
        }
    }
}

impl Forward {
    /// Whether an answer only says that the device has just gone elsewhere. Nothing was done then.
    pub(super) fn has_moved(&self, device: &DeviceId, response: &Response) -> bool {
        let is = |kind: Kind| {
            let problem = response.extensions().get::<ProblemKind>();
            problem.is_some_and(|ProblemKind(slug)| *slug == kind.slug())
        };
        let moved = is(Kind::UnknownDevice) && self.members.places.knows(device)
            || is(Kind::Changing)
            || is(Kind::Closing);
        moved && self.is_elsewhere(device)
    }

    /// Whether there is a device that is not here, also one that was registered elsewhere a moment ago.
    pub(super) async fn exists(&self, device: &DeviceId) -> Result<bool, Problem> {
        if self.members.places.knows(device) {
            return Ok(true);
        }
        match self.show(device).await? {
            Some((status, _)) => Ok(status == StatusCode::OK),
            None => Ok(false),
        }
    }

    /// A device that has just been stored, from whoever has it now, who may have to hear of it first. `None` where it is
    /// here.
    pub(in crate::http) async fn registered(
        &self,
        device: &DeviceId,
    ) -> Result<Option<Bytes>, Unreached> {
        let until = Instant::now() + self.limits.wait;
        loop {
            match self.show(device).await {
                Ok(None) => return Ok(None),
                Ok(Some((StatusCode::OK, json))) => return Ok(Some(json)),
                _ if Instant::now() >= until => return Err(Unreached::Unheard),
                _ => tokio::time::sleep(HEAR).await,
            }
        }
    }

    /// What its owner says of a device; `None` where it is here.
    async fn show(&self, device: &DeviceId) -> Result<Option<(StatusCode, Bytes)>, Problem> {
        let id = utf8_percent_encode(device.as_str(), NON_ALPHANUMERIC);
        let uri = format!("/v1/devices/{id}").parse();
        let request = DeviceRequest {
            method: Method::GET,
            uri: uri.map_err(|_| Problem::new(Kind::Internal, "a device has no path"))?,
            headers: Default::default(),
            body: Bytes::new(),
        };
        let patience = Patience::read(self.limits.wait);
        let ask = || Ask::request(&request);
        match self.reach(device, patience, ask).await? {
            Reached::Here => Ok(None),
            Reached::Answered(answer) => Ok(Some((answer.status, answer.body))),
        }
    }
}
