//! `GET /uplinks`: what the platforms took.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Console;
use super::answer::Problem;
use crate::demo::platform::Uplink;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    device: Option<String>,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// Oldest first. `after` is the `number` of the last one seen.
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Vec<Arc<Uplink>>>, Problem> {
    let Query(wanted) = wanted.map_err(|error| {
        let hint = "use /uplinks?device=ID&after=NUMBER&limit=COUNT; all three may be left out";
        Problem::new(StatusCode::BAD_REQUEST, error.body_text(), hint)
    })?;
    let device = wanted.device.as_deref();
    if let Some(id) = device
        && !console.knows(id)
    {
        return Err(console.unknown_device(id));
    }
    let limit = wanted.limit.unwrap_or(usize::MAX);
    Ok(Json(console.records.uplinks(device, wanted.after, limit)))
}
