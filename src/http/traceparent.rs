//! The `traceparent` header (W3C Trace Context §3.2).

use axum::http::{HeaderMap, HeaderName};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace context of a request. A malformed one is ignored, as §4.3 demands.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && is_valid(value)).then(|| value.into())
}

fn is_valid(value: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    let mut parts = value.splitn(5, '-');
    let [Some(version), Some(trace), Some(parent), Some(flags)] =
        std::array::from_fn(|_| parts.next())
    else {
        return false;
    };
    let well_formed = hex(version, 2)
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && !is_zero(trace)
        && !is_zero(parent);
    // A later version may say more, but 00 has these four parts and no others.
    well_formed && version != "ff" && (version != "00" || parts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_trace_context() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_valid(good));
        assert!(is_valid(&good.replacen("00", "cc", 1)));
        assert!(is_valid(&format!("{}-later", good.replacen("00", "cc", 1))));
        for bad in [
            "",
            "00",
            &good.replacen("00", "ff", 1),
            &format!("{good}-later"),
            &good.to_uppercase(),
            &good[..54],
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(!is_valid(bad), "{bad:?} was taken");
        }
    }
}
