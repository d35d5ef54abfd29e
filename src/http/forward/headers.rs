//! Which header fields go from one member to another.

use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::Reader;
use crate::fields::{DecodeError, Encoder};
use crate::http::prefer::PREFER;
use crate::http::traceparent::TRACEPARENT;
use crate::http::uplinks::IDEMPOTENCY_KEY;

/// More than any request or answer has that goes along.
const MOST: usize = 64;

/// Of a request: what handlers look at, and nothing by which a client is let in.
pub(super) fn goes_with_request(name: &HeaderName) -> bool {
    [
        ACCEPT,
        ACCEPT_LANGUAGE,
        CONTENT_ENCODING,
        CONTENT_TYPE,
        IDEMPOTENCY_KEY,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_UNMODIFIED_SINCE,
        PREFER,
        TRACEPARENT,
    ]
    .contains(name)
}

/// Of an answer: all but what is about the connection, or about the body's form on it.
pub(super) fn goes_with_answer(name: &HeaderName) -> bool {
    let stays = [
        CONNECTION,
        CONTENT_LENGTH,
        DATE,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    !stays.contains(name)
}

/// Those of a request's that go along.
pub(super) fn of_request(all: &HeaderMap) -> HeaderMap {
    chosen(all, goes_with_request)
}

/// Those of an answer's that go along.
pub(super) fn of_answer(all: &HeaderMap) -> HeaderMap {
    chosen(all, goes_with_answer)
}

fn chosen(all: &HeaderMap, goes: fn(&HeaderName) -> bool) -> HeaderMap {
    let chosen = all.iter().filter(|(name, _)| goes(name)).take(MOST);
    let mut headers = HeaderMap::new();
    for (name, value) in chosen {
        headers.append(name, value.clone());
    }
    headers
}

pub(super) fn write(to: &mut Encoder, headers: &HeaderMap) {
    let fields: Vec<_> = headers.iter().collect();
    to.list(fields.into_iter(), |to, (name, value)| {
        to.text(name.as_str());
        to.bytes(value.as_bytes());
    });
}

/// Reads fields, which must be such as go along.
pub(super) fn read(
    from: &mut Reader,
    goes: fn(&HeaderName) -> bool,
) -> Result<HeaderMap, DecodeError> {
    const HEADER: DecodeError = DecodeError::Field("header");
    let mut headers = HeaderMap::new();
    let count = from.number()?;
    if count > MOST as u64 {
        return Err(HEADER);
    }
    for _ in 0..count {
        let name: HeaderName = from.parsed("header", |text| text.parse().ok())?;
        let value = HeaderValue::from_maybe_shared(from.bytes()?).map_err(|_| HEADER)?;
        if !goes(&name) {
            return Err(HEADER);
        }
        headers.append(name, value);
    }
    Ok(headers)
}
