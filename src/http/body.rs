//! Request bodies: read whole, within a size and a time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::problem::{Kind, Problem};

/// How long a client may take to send a body.
const TIME: Duration = Duration::from_secs(60);
/// Bodies up to here are copied out of the connection's read buffer. An uplink may wait long for its broker, and a
/// slice would hold a whole buffer for a few bytes.
const COPIED: usize = 16 * 1024;
/// How much of a refused body is read all the same, and for how long.
const DRAINED: usize = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = announced(headers).unwrap_or(0);
    let mut stream = body.into_data_stream();
    let read = async {
        if announced > limit {
            return Err(Stop::TooLarge);
        }
        collect(&mut stream, announced, limit).await
    };
    match tokio::time::timeout(TIME, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Stop::TooLarge)) => {
            if !headers.contains_key(EXPECT) {
                drain(stream).await;
            }
            Err(Problem::too_large(limit))
        }
        Ok(Err(Stop::Broken)) => Err(Problem::new(
            Kind::Malformed,
            "the body ended before it was complete",
        )),
        Err(_) => Err(Problem::new(
            Kind::Timeout,
            format!("the body was not complete after {} s", TIME.as_secs()),
        )
        .retryable(true)),
    }
}

enum Stop {
    TooLarge,
    Broken,
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(
    stream: &mut BodyDataStream,
    announced: usize,
    limit: usize,
) -> Result<Bytes, Stop> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Stop::Broken)?;
        if whole.len() + chunk.len() > limit {
            return Err(Stop::TooLarge);
        }
        if whole.is_empty() && chunk.len() == announced && announced > COPIED {
            return Ok(chunk);
        }
        if whole.is_empty() {
            whole.reserve(announced.max(chunk.len()));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads what a client sends anyway. Closing the connection instead would reset it, and the client would see that
/// reset rather than the answer. (A client that asked first, with `Expect: 100-continue`, waits for the answer.)
pub(super) async fn drain(mut stream: BodyDataStream) {
    let drain = async {
        let mut read = 0;
        while read < DRAINED
            && let Some(Ok(chunk)) = stream.next().await
        {
            read += chunk.len();
        }
    };
    // Whether it comes to its end makes no difference to the answer.
    let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
}
