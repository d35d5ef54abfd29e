//! The fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, as of version 10).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::access::Quota;

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Says how many requests there may be in how many seconds, how many are left, and in how many seconds that changes: when
/// all are there again, and where none is left, when one is.
pub(super) fn tell(quota: &Quota, headers: &mut HeaderMap) {
    let (most, window) = (quota.rate.burst(), quota.rate.window());
    let (left, after) = (quota.left, whole_seconds(quota.after));
    let fields = [
        (RATE_LIMIT_POLICY, format!("\"token\";q={most};w={window}")),
        (RATE_LIMIT, format!("\"token\";r={left};t={after}")),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Rounded up, so that whoever waits so long does not come too early.
pub(super) fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Rate;

    #[test]
    fn the_fields_are_structured_as_the_draft_says() {
        let quota = Quota {
            rate: Rate::new(10, 25).unwrap(),
            left: 7,
            after: Duration::from_millis(1001),
        };
        let mut headers = HeaderMap::new();
        tell(&quota, &mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"token\";q=25;w=3");
        assert_eq!(headers[RATE_LIMIT], "\"token\";r=7;t=2");
    }
}
