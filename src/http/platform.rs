//! What a platform itself says of an uplink, in answers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::uplink::PlatformOutcome;

/// What the platform itself says of an uplink, beyond its broker.
#[derive(Serialize, ToSchema)]
#[schema(as = Platform)]
pub(super) struct PlatformBody<'a> {
    /// `accepted`, `refused`, or `unknown`: no answer has come, which is no failure.
    #[schema(example = "accepted")]
    status: &'static str,
    /// The platform's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 202)]
    code: Option<i64>,
    /// The platform's reasons.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<String>)]
    messages: &'a [Box<str>],
}

impl<'a> From<&'a PlatformOutcome> for PlatformBody<'a> {
    fn from(outcome: &'a PlatformOutcome) -> Self {
        Self {
            status: outcome.verdict.name(),
            code: outcome.code,
            messages: &outcome.messages,
        }
    }
}
