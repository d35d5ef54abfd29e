//! `POST /v1/uplinks`: many uplinks in one request, as lines that are answered while they come, or as a JSON array.
//!
//! ```text
//! body ─► framer ─► source ─► line ─► pipeline ─► Uplinks::deliver ─► result ─► output ─► answer
//! ```
//!
//! - `framer`: bytes to lines of a bounded length
//! - `source`: where lines come from, a body that is being sent or an array that was
//! - `line`: one line to an uplink
//! - `pipeline`: a bounded number of uplinks under way, in the order of the lines
//! - `road`: a line's way to its device, here or elsewhere, behind the device's lines before it
//! - `result`: one line's answer
//! - `output`: results to the body of the answer
//!
//! What is in memory for one request does not depend on its length.

mod framer;
#[cfg(fuzzing)]
#[allow(missing_docs)]
pub mod fuzzing;
mod line;
mod output;
mod pipeline;
mod result;
mod road;
mod source;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::post;
use tokio_util::sync::CancellationToken;

pub(super) use line::{BatchUplink, payload};

use super::forward::Way;
use super::guard::Guard;
use super::openapi::{BadRequest, InternalError, NoBatch, RequestTimeout, TooLarge};
use super::prefer::{PREFERENCE_APPLIED, Preferences};
use super::problem::{Kind, Problem};
use super::traceparent::traceparent;
use super::uplinks::{IDEMPOTENCY_KEY, content_type};
use super::{HttpLimits, body, query};
use crate::access::{Caller, Scope};
use crate::uplink::{Uplinks, Wishes};
use pipeline::Pipeline;
use result::{Form, ResultBody};
use road::Road;
use source::{Elements, Lines, Source};

const SCOPE: Scope = Scope::Uplink;

pub(super) fn router(
    guard: &Guard,
    uplinks: Uplinks,
    limits: HttpLimits,
    forward: Option<Way>,
    shutdown: CancellationToken,
) -> Router {
    Router::new()
        .route("/v1/uplinks", post(guard.asks(SCOPE, post_batch)))
        .with_state(Batch {
            uplinks,
            limits,
            forward,
            shutdown,
        })
}

#[derive(Clone)]
struct Batch {
    uplinks: Uplinks,
    limits: HttpLimits,
    forward: Option<Way>,
    shutdown: CancellationToken,
}

/// Posts many uplinks
///
/// `application/x-ndjson`: a body of any length, one uplink a line, answered with one result a line, in the order of the
/// lines and while the body is still being sent: `curl -T - -X POST -H 'Content-Type: application/x-ndjson'`. A producer
/// may be as slow as it likes, as long as it sends something every 60 s. Some 64 uplinks are under way at a time; when
/// results are not read, no more is taken.
///
/// `application/json`: an array of the same objects, as large as any other body may be, answered with 207 and an array of
/// the same results.
///
/// Every line is answered by itself: one that is wrong, or whose device the token is not for, is its own error, and the
/// others are not concerned. Uplinks of one
/// device keep the order of the lines. Empty lines are ignored, and a line break behind the last line may be missing. A
/// line may have as many bytes as a body. When the connection breaks, lines that were read whole are processed all the
/// same; give them a `key` to send them again without doing harm.
///
/// For a token with a rate, every line counts as a request; lines are then read as fast as the rate allows, and none is
/// refused for it.
///
/// The wait of `Prefer` is for each line. Once a line was answered with 202 because its wait was over, further lines of the
/// device do not wait for as long as it has a backlog.
#[utoipa::path(
    post,
    path = "/v1/uplinks",
    tag = "uplinks",
    security(("token" = [SCOPE])),
    params(
        ("Prefer" = Option<String>, Header, description = "RFC 7240, for each line. `wait=N`: how many seconds, at least 1, to wait for the broker before the uplink is stored and answered with 202; 60 at the most, as configured. Default 5. `respond-async`: store it at once and answer with 202", example = "respond-async"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context of all lines; carried as an MQTT 5 user property"),
    ),
    request_body(
        description = "Uplinks. An `Idempotency-Key` is given line by line, as `key`",
        content(
            (BatchUplink = "application/x-ndjson", example = json!("{\"device\":\"pump-1\",\"payload\":{\"temperature\":21.5},\"id\":\"a-1\"}\n{\"device\":\"pump-2\",\"subtopic\":\"alerts\",\"payload\":\"hot\",\"content_type\":\"text/plain\"}\n")),
            (Vec<BatchUplink> = "application/json"),
        )
    ),
    responses(
        (status = 200, description = "One result a line, whatever becomes of the lines", content(
            (ResultBody = "application/x-ndjson", example = json!("{\"line\":1,\"ref\":\"a-1\",\"status\":200,\"receipt\":{\"id\":\"0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d\",\"device\":\"pump-1\",\"status\":\"delivered\",\"qos\":1,\"reason\":\"success\",\"reason_code\":0,\"attempts\":1,\"accepted_at\":\"2026-01-31T12:00:00.000Z\",\"completed_at\":\"2026-01-31T12:00:00.012Z\"}}\n{\"line\":2,\"status\":404,\"problem\":{\"type\":\"/docs#problem-unknown-device\",\"title\":\"Unknown device\",\"status\":404,\"detail\":\"there is no device \\\"pump-2\\\"\",\"retryable\":false,\"queued\":false}}\n")),
        ), headers(("Preference-Applied" = String, description = "`respond-async`, the wait, or both, if the request named them"))),
        (status = 207, description = "One result for each element of the array, in its order", body = Vec<ResultBody>,
            headers(("Preference-Applied" = String, description = "`respond-async`, the wait, or both, if the request named them"))),
        (status = 400, response = BadRequest),
        (status = 408, response = RequestTimeout),
        (status = 413, response = TooLarge),
        (status = 415, response = NoBatch),
        (status = 500, response = InternalError),
    )
)]
async fn post_batch(
    State(batch): State<Batch>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if let Some((name, _)) = query::parameters(&parts.uri)?.first() {
        return Err(query::unknown(name, "none; each line says what it wants"));
    }
    if parts.headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(
            Problem::new(Kind::Malformed, "a batch has no Idempotency-Key of its own")
                .hint("give each line its own, as \"key\""),
        );
    }
    let form = form(&parts.headers)?;
    let preferences = Preferences::read(&parts.headers, batch.limits.max_wait);
    let max_body = batch.limits.max_body;
    let source = match form {
        Form::Lines => {
            let mut lines = Lines::new(body.into_data_stream(), max_body);
            // A client that asked first sends nothing, and would take an early answer for a refusal.
            if parts.headers.contains_key(EXPECT) {
                lines.begin().await;
            }
            Source::Lines(lines)
        }
        Form::Array => Source::Elements(Elements::new(
            body::read(&parts.headers, body, &batch.limits).await?,
        )?),
    };
    let wishes = Wishes {
        wait: preferences.wait.unwrap_or(batch.limits.wait),
        respond_async: preferences.at_once(),
        ..Wishes::wait(batch.limits.wait)
    };
    let (output, answer) = output::output(form);
    let pipeline = Pipeline::new(
        Road::new(batch.uplinks, batch.forward),
        caller,
        wishes,
        traceparent(&parts.headers),
        output,
    );
    // Not the request's own task: what was read whole is processed even when the client has gone.
    tokio::spawn(pipeline.run(source, batch.shutdown));
    let mut response = respond(form, answer);
    if let Some(applied) = preferences.applied(true) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

fn respond(form: Form, answer: Body) -> Response {
    let mut response = Response::new(answer);
    *response.status_mut() = match form {
        Form::Lines => StatusCode::OK,
        Form::Array => StatusCode::MULTI_STATUS,
    };
    let headers = response.headers_mut();
    let content_type = match form {
        Form::Lines => "application/x-ndjson",
        Form::Array => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would otherwise keep results back until a buffer is full.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let given = content_type(headers)?;
    let is = |essence| given.as_ref().is_some_and(|given| given.is(essence));
    if is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl") {
        return Ok(Form::Lines);
    }
    if is("application/json") {
        return Ok(Form::Array);
    }
    Err(Problem::new(
        Kind::ContentType,
        "a batch is application/x-ndjson, one uplink a line, or application/json, an array",
    )
    .hint("curl -H 'Content-Type: application/x-ndjson' --data-binary @FILE")
    .header(
        HeaderName::from_static("accept-post"),
        HeaderValue::from_static("application/x-ndjson, application/json"),
    ))
}
