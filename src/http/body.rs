//! Request bodies: read whole, within a size and at a pace.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::HttpLimits;
use super::problem::{Kind, Problem};

/// How slowly a client may send.
#[derive(Debug, Clone, Copy)]
pub struct BodyPace {
    /// What anything may take, however little it is. Default 20 s.
    pub time: Duration,
    /// Bytes; each of them that has come is worth another part of a second. Default 500 a second.
    pub rate: usize,
}

impl Default for BodyPace {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(20),
            rate: 500,
        }
    }
}

impl BodyPace {
    /// When more must have come than `received` bytes, or all of it.
    pub(super) fn deadline(&self, start: Instant, received: usize) -> Instant {
        let earned = received as f64 / self.rate.max(1) as f64;
        start + self.time + Duration::from_secs_f64(earned)
    }
}

/// What is reserved for a body at once, whatever its client announces.
const RESERVED: usize = 64 * 1024;
/// Bodies up to here are copied out of the connection's read buffer. An uplink may wait long for its broker, and a
/// slice would hold a whole buffer for a few bytes.
const COPIED: usize = 16 * 1024;
/// How much of a refused body is read all the same, and for how long.
const DRAINED: usize = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Reads a body of at most `limits.max_body` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &HttpLimits,
) -> Result<Bytes, Problem> {
    let announced = announced(headers).unwrap_or(0);
    let mut stream = body.into_data_stream();
    let read = match announced > limits.max_body {
        true => Err(Stop::TooLarge),
        false => collect(&mut stream, announced, limits).await,
    };
    match read {
        Ok(bytes) => Ok(bytes),
        Err(Stop::TooLarge) => {
            if !headers.contains_key(EXPECT) {
                drain(stream).await;
            }
            Err(Problem::too_large(limits.max_body))
        }
        Err(Stop::Broken) => Err(Problem::new(
            Kind::Malformed,
            "the body ended before it was complete",
        )),
        Err(Stop::Slow(received)) => Err(Problem::new(
            Kind::Timeout,
            format!("the body came too slowly: {received} bytes, and it was not complete"),
        )
        .hint("http.body_timeout and http.min_body_rate say how slow a body may be")
        .retryable(true)
        // What is still to come is not read.
        .header(CONNECTION, HeaderValue::from_static("close"))),
    }
}

enum Stop {
    TooLarge,
    Broken,
    /// After so many bytes.
    Slow(usize),
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(
    stream: &mut BodyDataStream,
    announced: usize,
    limits: &HttpLimits,
) -> Result<Bytes, Stop> {
    let start = Instant::now();
    let mut whole = BytesMut::new();
    loop {
        let deadline = limits.body_pace.deadline(start, whole.len());
        let chunk = match timeout_at(deadline, stream.next()).await {
            Ok(Some(chunk)) => chunk.map_err(|_| Stop::Broken)?,
            Ok(None) => return Ok(whole.freeze()),
            Err(_) => return Err(Stop::Slow(whole.len())),
        };
        if whole.len() + chunk.len() > limits.max_body {
            return Err(Stop::TooLarge);
        }
        if whole.is_empty() && chunk.len() == announced && announced > COPIED {
            return Ok(chunk);
        }
        if whole.is_empty() {
            whole.reserve(announced.min(RESERVED).max(chunk.len()));
        }
        whole.extend_from_slice(&chunk);
    }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const LIMITS: HttpLimits = HttpLimits {
        max_body: 100,
        body_pace: BodyPace {
            time: Duration::from_secs(10),
            rate: 2,
        },
        wait: Duration::ZERO,
        max_wait: Duration::ZERO,
        begin_wait: Duration::ZERO,
    };

    /// Reads a body of so many bytes, one every so often; gives its length or the status.
    async fn read_slowly(bytes: usize, every: Duration) -> Result<usize, u16> {
        let one = stream::unfold(0, move |sent| async move {
            tokio::time::sleep(every).await;
            (sent < bytes).then_some((Ok::<_, Infallible>("x"), sent + 1))
        });
        let read = read(&HeaderMap::new(), Body::from_stream(one), &LIMITS).await;
        read.map(|bytes| bytes.len())
            .map_err(|problem| problem.status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_for_a_while_and_must_then_keep_its_pace() {
        let millis = Duration::from_millis;
        assert_eq!(read_slowly(9, millis(1000)).await, Ok(9));
        assert_eq!(read_slowly(30, millis(1000)).await, Err(408));
        assert_eq!(read_slowly(90, millis(500)).await, Ok(90));
        assert_eq!(read_slowly(1, millis(11_000)).await, Err(408));
        assert_eq!(read_slowly(200, millis(10)).await, Err(413));
    }
}
