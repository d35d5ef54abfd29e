//! One request of a connection: what every request must be, and what happens to all of them.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderMap, HeaderValue, Version};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::{HttpService, Service, service_fn};
use hyper_util::service::TowerToHyperService;

use super::body::Tracked;
use super::pulse::{Active, Pulse};
use super::{ListenerSettings, Served};
use crate::http::cors::{self, Grant, Judgement};
use crate::http::peer::PeerCertificate;
use crate::http::problem::{Kind, Problem};

/// What the requests of one connection have in common.
pub(super) struct Requests {
    pub(super) served: Served,
    pub(super) pulse: Arc<Pulse>,
    /// Whom the client's certificate names, where it has shown one.
    pub(super) peer: Option<Arc<PeerCertificate>>,
    pub(super) settings: Arc<ListenerSettings>,
}

impl Requests {
    pub(super) fn into_service(
        self,
    ) -> impl HttpService<Incoming, ResBody = Tracked, Error = Infallible, Future: Send + 'static>
    {
        let Served { router, observer } = self.served;
        let service = TowerToHyperService::new(router);
        let (pulse, peer, settings) = (self.pulse, self.peer, self.settings);
        service_fn(move |mut request: Request<Incoming>| {
            let active = Active::begin(&pulse);
            if let Some(peer) = &peer {
                request.extensions_mut().insert(Arc::clone(peer));
            }
            let (grant, refused) = judge(&settings, &request);
            let (service, observer) = (service.clone(), observer.clone());
            async move {
                let watched = observer
                    .as_ref()
                    .map(|observer| observer.begin(&mut request));
                let mut response = match refused {
                    Some(response) => response,
                    None => answer(service, request).await?,
                };
                if let Some(grant) = grant {
                    grant.apply(response.headers_mut());
                }
                if let (Some(observer), Some(watched)) = (observer, watched) {
                    observer.end(watched, &response);
                }
                Ok::<_, Infallible>(response.map(|body| Tracked::new(body, active)))
            }
        })
    }
}

/// What panics is answered. It is done here, as watching is, and not in layers of the router, because each of those
/// allocates for every request.
async fn answer(
    service: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    // A request shares nothing with others that a panic could leave half done: locks are held over plain data only.
    let answered = AssertUnwindSafe(service.call(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        tracing::error!("a request panicked; this is a defect of the bridge");
        let problem = Problem::new(Kind::Internal, "the bridge failed to answer this request");
        Ok(problem.into_response())
    })
}

/// Whether a page may see the answer, and the answer where the request goes no further.
fn judge<B>(
    settings: &ListenerSettings,
    request: &Request<B>,
) -> (Option<Grant>, Option<Response>) {
    let refused = check(request, settings.limits.max_headers).err();
    let refused = refused.map(IntoResponse::into_response);
    match cors::judge(&settings.origins, request) {
        Judgement::Answer => (None, refused),
        Judgement::Share(grant) => (Some(grant), refused),
        Judgement::Done(response) => (None, refused.or(Some(response))),
    }
}

/// What makes a request one that nobody should guess the meaning of.
fn check<B>(request: &Request<B>, max_headers: usize) -> Result<(), Problem> {
    let (version, headers) = (request.version(), request.headers());
    // hyper knows a larger limit with HTTP/1, and none with HTTP/2.
    if headers.len() > max_headers {
        return Err(Problem::new(
            Kind::HeadTooLarge,
            format!("there are more than {max_headers} header fields, which is the limit here"),
        ));
    }
    if version >= Version::HTTP_2 {
        return Ok(());
    }
    let problem = match host(version, headers) {
        Ok(()) => return Ok(()),
        Err(detail) => Problem::new(Kind::Malformed, detail),
    };
    // Whoever frames requests so may mean something else by what follows.
    Err(problem.header(CONNECTION, HeaderValue::from_static("close")))
}

/// RFC 9112 §3.2.
fn host(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err("an HTTP/1.1 request needs a Host header"),
        (_, Some(_)) => Err("there is more than one Host header"),
        (Some(host), None) if host.as_bytes().iter().all(may_be_in_host) => Ok(()),
        (Some(_), None) => Err("the Host header is no host"),
    }
}

/// What a host and a port are written with (RFC 3986 §3.2).
fn may_be_in_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, hosts: &[&str]) -> Request<()> {
        let request = Request::builder().version(version);
        let with_host = |request: axum::http::request::Builder, host| request.header(HOST, host);
        let request = hosts.iter().copied().fold(request, with_host);
        request.body(()).unwrap()
    }

    #[test]
    fn an_http_1_request_names_one_host() {
        let refused = |version, hosts: &[&str]| check(&request(version, hosts), 100).is_err();
        for host in ["a", "a_b.example:8080", "[::1]:80", "127.0.0.1", ""] {
            assert!(!refused(Version::HTTP_11, &[host]), "{host}");
        }
        for host in ["a b", "a/b", "u@a", "a#b", "a?b", "a\\b"] {
            assert!(refused(Version::HTTP_11, &[host]), "{host}");
        }
        assert!(refused(Version::HTTP_11, &[]));
        assert!(refused(Version::HTTP_11, &["a", "a"]));
        assert!(refused(Version::HTTP_10, &["a", "b"]));
        assert!(!refused(Version::HTTP_10, &[]));
        assert!(!refused(Version::HTTP_2, &[]));
    }

    #[test]
    fn header_fields_are_counted() {
        let two = request(Version::HTTP_2, &["a", "b"]);
        assert!(check(&two, 2).is_ok());
        assert!(check(&two, 1).is_err());
    }
}
