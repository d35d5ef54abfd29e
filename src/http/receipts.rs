//! `GET /v1/uplinks/{id}`: what became of one uplink.

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use super::forward::Way;
use super::guard::Guard;
use super::openapi::{BadRequest, InternalError, StoreUnreadable, UnknownUplink};
use super::problem::{Kind, Problem};
use super::receipt_form::{ReceiptBody, receipt_response};
use super::{path, query};
use crate::access::{Caller, Scope};
use crate::device::DeviceId;
use crate::message::UplinkId;
use crate::store::ReceiptLimits;
use crate::uplink::{UplinkError, Uplinks};

const SCOPE: Scope = Scope::Uplink;

pub(super) fn router(
    guard: &Guard,
    uplinks: Uplinks,
    kept: ReceiptLimits,
    forward: Option<Way>,
) -> Router {
    Router::new()
        .route("/v1/uplinks/{id}", get(guard.asks(SCOPE, show)))
        .with_state(Receipts {
            uplinks,
            kept,
            forward,
        })
}

#[derive(Clone)]
struct Receipts {
    uplinks: Uplinks,
    kept: ReceiptLimits,
    forward: Option<Way>,
}

/// The receipt of an uplink
///
/// Receipts of uplinks that were answered with 202 are kept on disk, for 24 hours after they were settled and 100,000 of
/// them by default. Those of uplinks that the broker confirmed while their request waited are kept in memory, the latest
/// 10,000 by default, and are gone after a restart.
#[utoipa::path(
    get,
    operation_id = "receipt",
    path = "/v1/uplinks/{id}",
    tag = "uplinks",
    security(("token" = [SCOPE])),
    params(("id" = String, Path, description = "The uplink's id: `id` of its answer, or the end of its `Location`", example = "0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d")),
    responses(
        (status = 200, description = "What became of the uplink, or that it still waits", body = ReceiptBody),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownUplink),
        (status = 500, response = InternalError),
        (status = 503, response = StoreUnreadable),
    )
)]
async fn show(
    State(receipts): State<Receipts>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    if let Some((name, _)) = query::parameters(&uri)?.first() {
        return Err(query::unknown(name, "none"));
    }
    let id = UplinkId::parse(path::last(uri.path())).ok_or_else(|| {
        Problem::new(Kind::Malformed, "this is not an uplink's id")
            .hint("an id is a UUID, such as 0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d; the answer to a POST has it")
    })?;
    match receipts.uplinks.receipt(id).await {
        // Somebody else's receipt is none, as if it were not known.
        Ok(Some(receipt)) if !caller.may_use(&receipt.device) => Err(receipts.unknown(id)),
        Ok(Some(receipt)) => Ok(no_store(receipt_response(&receipt))),
        Ok(None) => match receipts.elsewhere(id).await? {
            Some((device, json)) if caller.may_use(&device) => {
                let content_type = (CONTENT_TYPE, "application/json");
                Ok(no_store(([content_type], json).into_response()))
            }
            _ => Err(receipts.unknown(id)),
        },
        Err(error) => {
            let cause = match error {
                UplinkError::Store(error) => error.to_string(),
                other => other.to_string(),
            };
            let detail = format!("the receipt cannot be read: {cause}");
            Err(Problem::new(Kind::StoreUnavailable, detail)
                .retry_after(5)
                .hint("look at the disk that the store is on; GET /readyz of the management listener says more"))
        }
    }
}

/// What is queued now is something else soon.
fn no_store(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Receipts {
    /// What another replica has in memory.
    async fn elsewhere(&self, id: UplinkId) -> Result<Option<(DeviceId, Bytes)>, Problem> {
        match &self.forward {
            Some(forward) => Ok(forward.receipt(id).await?),
            None => Ok(None),
        }
    }

    fn unknown(&self, id: UplinkId) -> Problem {
        let problem = Problem::new(Kind::UnknownUplink, format!("there is no receipt of {id}"));
        if !self.uplinks.has_store() {
            return problem.hint(
                "without a store, receipts are kept in memory: only the latest, and until the bridge restarts",
            );
        }
        problem.hint(format!(
            "receipts of stored uplinks are kept for {} after they were settled, {} at the most; those of uplinks that \
             were confirmed at once are in memory: only the latest, and until the bridge restarts",
            humantime::format_duration(self.kept.age),
            self.kept.count
        ))
    }
}
