//! The `Prefer` header (RFC 7240): `wait=N` and `respond-async` are honoured; what is not known is ignored, as §2 allows.

use std::time::Duration;

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};

pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the client prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preferences {
    pub(super) wait: Option<Duration>,
    respond_async: bool,
}

impl Preferences {
    pub(super) fn read(headers: &HeaderMap, max_wait: Duration) -> Self {
        Self {
            wait: wait(headers, max_wait),
            respond_async: respond_async(headers),
        }
    }

    /// Whether to answer as soon as the uplink is on disk. Together with `wait=N` it means: after that wait (RFC 7240
    /// §4.3), which is what is done with everything that the broker has not confirmed by then.
    pub(super) fn at_once(&self) -> bool {
        self.respond_async && self.wait.is_none()
    }

    /// `Preference-Applied` of an answer, which may be one of 202.
    pub(super) fn applied(&self, queued: bool) -> Option<HeaderValue> {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied = match (self.respond_async && queued, wait) {
            (true, Some(wait)) => format!("respond-async, {wait}"),
            (true, None) => "respond-async".to_owned(),
            (false, Some(wait)) => wait,
            (false, None) => return None,
        };
        HeaderValue::try_from(applied).ok()
    }
}

/// How long the client wants to wait, in whole seconds from 1 up to `most`. The first `wait` counts (§2).
fn wait(headers: &HeaderMap, most: Duration) -> Option<Duration> {
    let value = headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(wait_in)?;
    // No broker answers within no time: such a wait would refuse every uplink.
    let seconds = value.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()).min(most))
}

/// Whether the client wants to be answered as soon as the uplink is on disk.
fn respond_async(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|header| split(header, ','))
        .filter_map(|preference| split(preference, ';').next())
        .any(|name| name.trim().eq_ignore_ascii_case("respond-async"))
}

/// The value of the first `wait` in one header's value.
fn wait_in(header: &str) -> Option<String> {
    split(header, ',').find_map(|preference| {
        // Parameters of the preference follow behind a semicolon; `wait` has none.
        let (name, value) = split(preference, ';').next()?.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| unquote(value.trim()))
    })
}

/// Splits at a separator that does not stand in a quoted string (RFC 9110 §5.6.4).
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let ends = c == separator && !quoted;
        (quoted, escaped) = match c {
            _ if escaped => (quoted, false),
            '\\' if quoted => (quoted, true),
            '"' => (!quoted, false),
            _ => (quoted, false),
        };
        ends
    })
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' {
            characters.next()
        } else {
            Some(c)
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, value.parse().unwrap());
        }
        wait(&headers, Duration::from_secs(60)).map(|wait| wait.as_secs())
    }

    #[test]
    fn respond_async_comes_after_a_wait_where_there_is_one() {
        let read = |value: &'static str| {
            let headers = [(PREFER, HeaderValue::from_static(value))];
            Preferences::read(&headers.into_iter().collect(), Duration::from_secs(60))
        };
        let applied = |value, queued| {
            let applied = read(value).applied(queued)?;
            Some(applied.to_str().unwrap().to_owned())
        };
        assert!(read("Respond-Async").at_once() && read("respond-async; x=y, z").at_once());
        assert!(!read("respond-async, wait=9").at_once() && !read("x=\"respond-async\"").at_once());
        let (both, wait) = ("wait=9, respond-async", Some("wait=9".to_owned()));
        assert_eq!(
            applied(both, true).as_deref(),
            Some("respond-async, wait=9")
        );
        assert_eq!(
            (applied(both, false), applied("wait=9", true)),
            (wait.clone(), wait)
        );
        assert_eq!(applied("respond-async", false), None);
        assert_eq!(
            applied("respond-async", true).as_deref(),
            Some("respond-async")
        );
    }

    #[test]
    fn the_grammar_of_rfc_7240() {
        let cases: [(&[&str], Option<u64>); 16] = [
            (&[], None),
            (&["wait=10"], Some(10)),
            (&["Wait = 10"], Some(10)),
            (&["wait=\"10\""], Some(10)),
            (&["wait=\"1\\0\""], Some(10)),
            (&["respond-async, wait=10"], Some(10)),
            (&["respond-async", "wait=10"], Some(10)),
            (&["foo=\"a, wait=3\", wait=4"], Some(4)),
            (&["foo; wait=3, wait=4; x=y"], Some(4)),
            (&["wait=5, wait=6"], Some(5)),
            (&["wait=100000"], Some(60)),
            (&["wait=0"], None),
            (&["wait"], None),
            (&["wait=-1"], None),
            (&["wait=1.5"], None),
            (&["await=9"], None),
        ];
        for (values, expected) in cases {
            assert_eq!(waited(values), expected, "{values:?}");
        }
    }
}
