//! Requests of web pages. Pages of configured origins may use the interface from a browser (CORS, Fetch standard), and
//! no other page can make a browser send anything to it (cross-site request forgery): not reading the answer is no
//! obstacle to somebody who wants an uplink to be sent.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::problem::{Kind, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
/// `Authorization` is not among what a `*` would stand for.
const ASKED: HeaderValue = HeaderValue::from_static(
    "authorization, cache-control, content-type, idempotency-key, last-event-id, prefer, traceparent",
);
const ANSWERED: HeaderValue = HeaderValue::from_static(
    "accept-post, allow, idempotency-replayed, link, location, preference-applied, ratelimit, ratelimit-policy, \
     retry-after, www-authenticate",
);
/// For how many seconds a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may use the interface.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    listed: Arc<[Box<str>]>,
}

impl Origins {
    /// These origins, `*` for any.
    pub fn new(origins: &[String]) -> Self {
        Self {
            any: origins.iter().any(|origin| origin == "*"),
            listed: origins
                .iter()
                .map(|origin| origin.as_str().into())
                .collect(),
        }
    }

    /// What is said to the browser of a page; nothing to a page that may not see answers.
    fn grant(&self, origin: &HeaderValue) -> Option<Grant> {
        let is_listed = |listed: &str| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
        if self.any {
            Some(Grant::Any)
        } else if self.listed.iter().any(|listed| is_listed(listed)) {
            Some(Grant::Origin(origin.clone()))
        } else {
            None
        }
    }
}

/// That a page may see the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Any,
    Origin(HeaderValue),
}

impl Grant {
    /// Lets the browser show the answer to the page.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWERED);
        match self {
            Self::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Origin(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                // A client certificate counts as a credential.
                let credentials = HeaderValue::from_static("true");
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
                headers.append(VARY, HeaderValue::from_static("origin"));
            }
        }
    }
}

/// What is to be done about a request, as far as web pages are concerned.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Answer it.
    Answer,
    /// Answer it, and let the page see the answer.
    Share(Grant),
    /// Only this is the answer.
    Done(Response),
}

/// Judges a request. One that is not from a page costs a look for two headers.
pub(super) fn judge<B>(origins: &Origins, request: &Request<B>) -> Judgement {
    let headers = request.headers();
    let origin = headers.get(ORIGIN);
    if let Some(grant) = origin.and_then(|origin| origins.grant(origin)) {
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        return match is_preflight {
            true => Judgement::Done(preflight(grant)),
            false => Judgement::Share(grant),
        };
    }
    let is_safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if is_safe || is_own(request.uri(), headers, origin) {
        return Judgement::Answer;
    }
    let problem = Problem::new(
        Kind::CrossSite,
        "a web page of another origin may not send this",
    )
    .hint("name the page's origin in the configuration: http.cors_origins");
    Judgement::Done(problem.into_response())
}

/// Whether a request is from no page, or from one of the bridge's own. Browsers say so themselves where the connection
/// is trustworthy; elsewhere the page's host must be the one that is asked.
fn is_own(uri: &Uri, headers: &HeaderMap, origin: Option<&HeaderValue>) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = origin else {
        return true;
    };
    let asked = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes),
    };
    let scheme = origin.as_bytes().windows(3).position(|part| part == b"://");
    let host = scheme.and_then(|at| origin.as_bytes().get(at + 3..));
    host.is_some_and(|host| host.eq_ignore_ascii_case(asked))
}

fn preflight(grant: Grant) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ASKED);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    grant.apply(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANT: (&str, &str) = ("origin", "https://plant.example");

    fn judged(origins: &[&str], method: Method, headers: &[(&'static str, &str)]) -> Judgement {
        let origins: Vec<_> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let mut request = Request::builder().method(method).uri("/v1/uplinks");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(&Origins::new(&origins), &request.body(()).unwrap())
    }

    fn status(judgement: Judgement) -> Option<u16> {
        match judgement {
            Judgement::Answer => None,
            Judgement::Share(_) => Some(200),
            Judgement::Done(response) => Some(response.status().as_u16()),
        }
    }

    #[test]
    fn only_configured_origins_see_answers() {
        for (origins, shared) in [
            (&["https://plant.example"][..], true),
            (&["https://a.example", "https://Plant.example"], true),
            (&["*"], true),
            (&["http://plant.example"], false),
            (&["https://plant.example:8443"], false),
            (&[], false),
        ] {
            let judgement = judged(origins, Method::GET, &[PLANT]);
            let expected = shared.then_some(200);
            assert_eq!(status(judgement), expected, "{origins:?}");
        }
        let listed = Origins::new(&["https://plant.example".to_owned()]);
        let origin = HeaderValue::from_static("https://plant.example");
        let mut headers = HeaderMap::new();
        listed.grant(&origin).unwrap().apply(&mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[VARY], "origin");
        // With any origin, a browser must not send what it keeps for this one.
        let any = Origins::new(&["*".to_owned()]);
        let mut headers = HeaderMap::new();
        any.grant(&origin).unwrap().apply(&mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn a_preflight_is_answered_for_configured_origins() {
        let asks = ("access-control-request-method", "PUT");
        let judgement = judged(&["*"], Method::OPTIONS, &[PLANT, asks]);
        let Judgement::Done(response) = judgement else {
            panic!("{judgement:?}");
        };
        assert_eq!(response.status(), 204);
        let has = |name, value: &str| {
            let header = response.headers()[name].to_str().unwrap();
            assert!(header.split(", ").any(|each| each == value), "{header}");
        };
        has(ACCESS_CONTROL_ALLOW_METHODS, "PUT");
        has(ACCESS_CONTROL_ALLOW_HEADERS, "authorization");
        assert_eq!(status(judged(&["*"], Method::OPTIONS, &[PLANT])), Some(200));
        assert_eq!(status(judged(&[], Method::OPTIONS, &[PLANT, asks])), None);
    }

    #[test]
    fn pages_of_other_origins_cannot_send() {
        let host = ("host", "bridge:8080");
        for (headers, refused) in [
            (&[host][..], false),
            (&[host, ("origin", "http://bridge:8080")], false),
            (&[host, ("origin", "http://bridge:8081")], true),
            (&[host, ("origin", "http://evil.example")], true),
            (&[host, ("origin", "null")], true),
            (&[host, ("sec-fetch-site", "same-origin"), PLANT], false),
            (&[host, ("sec-fetch-site", "none")], false),
            (&[host, ("sec-fetch-site", "cross-site"), PLANT], true),
            (&[host, ("sec-fetch-site", "same-site"), PLANT], true),
        ] {
            let judgement = judged(&["https://other.example"], Method::POST, headers);
            assert_eq!(status(judgement), refused.then_some(403), "{headers:?}");
            let read = judged(&["https://other.example"], Method::GET, headers);
            assert_eq!(status(read), None, "{headers:?}");
        }
        let allowed = judged(&["https://plant.example"], Method::POST, &[host, PLANT]);
        assert_eq!(status(allowed), Some(200));
    }
}
