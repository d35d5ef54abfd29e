//! What a request presents to be let in: a bearer token (RFC 6750) or the connection's client certificate.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use super::peer::PeerCertificate;
use super::query;
use crate::access::{Certificate, Presented};
use crate::secret::Secret;

/// The query parameter that carries a token where a client cannot set headers (RFC 6750 §2.3).
const QUERY: &str = "access_token";

/// What a request presents, and what was found in its query. A token goes before a certificate: it was sent on purpose.
pub(super) fn presented<'a>(request: &'a Request, query: &'a InQuery) -> Presented<'a> {
    let header = in_header(request.headers());
    let token = match (&header, query) {
        (InHeader::Token(token), InQuery::Nothing) => *token,
        (InHeader::Nothing, InQuery::Token(token)) => token.expose(),
        (InHeader::Nothing, InQuery::Nothing) => {
            return match request.extensions().get::<Arc<PeerCertificate>>() {
                Some(certificate) => Presented::Certificate(Certificate {
                    subject: &certificate.subject,
                    names: &certificate.names,
                    fingerprint: &certificate.fingerprint,
                }),
                None => Presented::Nothing,
            };
        }
        // RFC 6750 §2: never more than one.
        (InHeader::Token(_), InQuery::Token(_))
        | (InHeader::Several, _)
        | (_, InQuery::Several) => {
            return Presented::Several;
        }
    };
    Presented::Token(token)
}

enum InHeader<'a> {
    Nothing,
    Token(&'a str),
    Several,
}

fn in_header(headers: &HeaderMap) -> InHeader<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return InHeader::Nothing;
    };
    if values.next().is_some() {
        return InHeader::Several;
    }
    // What is not text is a token that nobody has.
    let (scheme, token) = match value.to_str() {
        Ok(text) => text.split_once(' ').unwrap_or((text, "")),
        Err(_) => ("Bearer", ""),
    };
    match scheme.eq_ignore_ascii_case("Bearer") {
        true => InHeader::Token(token.trim_matches(' ')),
        // Of another scheme, RFC 6750 §3.1 says that it is as if nothing had been sent.
        false => InHeader::Nothing,
    }
}

/// The token in a request's query.
pub(super) enum InQuery {
    Nothing,
    Token(Secret),
    Several,
}

impl InQuery {
    /// Takes it out of the query, so that nothing behind this sees it: not the strict reading of parameters, and no log.
    pub(super) fn take(request: &mut Request) -> Self {
        let Some(query) = request.uri().query() else {
            return Self::Nothing;
        };
        if !query.split('&').any(is_token) {
            return Self::Nothing;
        }
        let rest: Vec<_> = query.split('&').filter(|part| !is_token(part)).collect();
        let path = request.uri().path();
        let bare = match rest.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", rest.join("&")),
        };
        let found = match query::parameters(request.uri()) {
            Ok(all) => {
                let mut tokens = all.into_iter().filter(|(name, _)| name == QUERY);
                match (tokens.next(), tokens.next()) {
                    (Some((_, token)), None) => Self::Token(Secret::new(token)),
                    _ => Self::Several,
                }
            }
            // Not UTF-8: a token that nobody has.
            Err(_) => Self::Token(Secret::new("")),
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = bare.parse().ok();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        found
    }

    /// Whether there was one, good or bad.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// Whether one part of a query is the token, however its name is encoded.
fn is_token(part: &str) -> bool {
    let name = part.split('=').next().unwrap_or_default();
    name == QUERY || percent_decode_str(name).eq(QUERY.bytes())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;

    use super::*;

    fn request(uri: &str, authorization: &[&str]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        for value in authorization {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(AUTHORIZATION, value);
        }
        request
    }

    fn seen(uri: &str, authorization: &[&str]) -> (String, String) {
        let mut request = request(uri, authorization);
        let query = InQuery::take(&mut request);
        let presented = match presented(&request, &query) {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Several => "several".to_owned(),
            Presented::Token(token) => format!("token {token}"),
            Presented::Certificate(certificate) => format!("certificate {}", certificate.subject),
        };
        (presented, request.uri().to_string())
    }

    #[test]
    fn the_authorization_header() {
        let cases: [(&[&str], &str); 10] = [
            (&[], "nothing"),
            (&["Bearer abc"], "token abc"),
            (&["bearer  abc "], "token abc"),
            (&["BEARER abc"], "token abc"),
            (&["Bearer"], "token "),
            (&["Bearer a b"], "token a b"),
            (&["Bearer \u{e9}"], "token "),
            (&["Basic YTpi"], "nothing"),
            (&["Bearerabc"], "nothing"),
            (&["Bearer a", "Bearer a"], "several"),
        ];
        for (headers, expected) in cases {
            assert_eq!(seen("/x", headers).0, expected, "{headers:?}");
        }
    }

    #[test]
    fn a_token_is_taken_out_of_the_query_however_it_is_written() {
        let cases = [
            ("/x?a=1&b=2", "nothing", "/x?a=1&b=2"),
            ("/x?access_token=abc", "token abc", "/x"),
            ("/x?a=1&access_token=abc&b=%20", "token abc", "/x?a=1&b=%20"),
            ("/x?access%5ftoken=a%2Fb", "token a/b", "/x"),
            ("/x?access_token", "token ", "/x"),
            ("/x?access_token=", "token ", "/x"),
            ("/x?access_token=a&access_token=a", "several", "/x"),
            (
                "/x?access_token=a&%61ccess_token=a&c=d",
                "several",
                "/x?c=d",
            ),
            ("/x?access_token=%ff", "token \u{fffd}", "/x"),
            ("/x?my_access_token=a", "nothing", "/x?my_access_token=a"),
        ];
        for (uri, presented, left) in cases {
            let expected = (presented.to_owned(), left.to_owned());
            assert_eq!(seen(uri, &[]), expected, "{uri}");
        }
        let (both, left) = seen("/x?access_token=abc", &["Bearer abc"]);
        assert_eq!((&*both, &*left), ("several", "/x"));
    }

    #[test]
    fn a_certificate_counts_where_there_is_no_token() {
        let mut request = request("/x", &[]);
        let certificate = PeerCertificate {
            subject: "CN=press-7".into(),
            names: Box::new([]),
            fingerprint: [0; 32],
        };
        request.extensions_mut().insert(Arc::new(certificate));
        let found = presented(&request, &InQuery::Nothing);
        assert!(matches!(found, Presented::Certificate(c) if c.subject == "CN=press-7"));
        let token = HeaderValue::from_static("Bearer abc");
        request.headers_mut().insert(AUTHORIZATION, token);
        let found = presented(&request, &InQuery::Nothing);
        assert!(matches!(found, Presented::Token("abc")));
    }
}
