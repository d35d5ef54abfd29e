//! The one task that talks to the collector. Whatever that one does, nobody else waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Settings;
use super::otlp::{self, Resource};
use super::span::Record;
use super::tracer::TracerFigures;
use crate::mqtt::transport;

/// Spans in one request at the most.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// How long one request may take, from the name's resolution on.
const REQUEST: Duration = Duration::from_secs(10);
/// How long what is left may take at the end of the program.
const FAREWELL: Duration = Duration::from_secs(2);
/// Shortest and longest pause after a failure that may pass. Meanwhile spans wait, as far as there is room.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often the log says at most that spans are not taken.
const SAY: Duration = Duration::from_secs(10 * 60);
/// What is read of an answer.
const ANSWER: usize = 64 * 1024;

/// Sends what a [`Tracer`](super::Tracer) has taken.
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    resource: Resource,
    spans: mpsc::Receiver<Box<Record>>,
    /// Taken from `spans` and not settled.
    batch: Vec<Record>,
    figures: Arc<TracerFigures>,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// Failures since the last success.
    failures: u32,
    said: Option<Instant>,
}

/// Why a batch was not taken.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    what: String,
    /// It may pass, after so long if the collector says so; otherwise trying again changes nothing.
    passes: Option<Option<Duration>>,
}

impl Exporter {
    pub(super) fn new(
        settings: Settings,
        spans: mpsc::Receiver<Box<Record>>,
        figures: Arc<TracerFigures>,
    ) -> Self {
        let mut resource = settings.resource.clone();
        for (key, value) in [
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ] {
            if !resource.iter().any(|(known, _)| known == key) {
                resource.push((key.to_owned(), value.to_owned()));
            }
        }
        Self {
            settings,
            resource,
            spans,
            batch: Vec::new(),
            figures,
            connection: None,
            failures: 0,
            said: None,
        }
    }

    /// Runs until `shutdown`, and a little longer for what is left.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.forward() => {}
            () = shutdown.cancelled() => {}
        }
        self.spans.close();
        // A collector that was not there is not waited for.
        if self.failures == 0 {
            let _ = timeout(FAREWELL, self.flush()).await;
        }
        while self.fill() {
            self.settled(false);
        }
    }

    async fn forward(&mut self) {
        while self.gather().await {
            self.deliver().await;
        }
    }

    /// Waits for a batch; `false` when nobody is left who makes spans. Cancel-safe.
    async fn gather(&mut self) -> bool {
        let first = self.spans.recv().await;
        self.batch.extend(first.map(|span| *span));
        let until = Instant::now() + GATHER;
        while !self.batch.is_empty() && self.batch.len() < BATCH {
            match timeout_at(until, self.spans.recv()).await {
                Ok(Some(span)) => self.batch.push(*span),
                Ok(None) | Err(_) => break,
            }
        }
        !self.batch.is_empty()
    }

    /// Sends the batch, again and again as long as that may help. What comes meanwhile waits, or is dropped.
    async fn deliver(&mut self) {
        let body = self.body();
        loop {
            let failure = match self.send(body.clone()).await {
                Ok(()) => {
                    if self.said.take_if(|_| self.failures > 0).is_some() {
                        info!(collector = %self.settings.host, "the collector takes spans again");
                    }
                    self.failures = 0;
                    return self.settled(true);
                }
                Err(failure) => failure,
            };
            self.say(&failure);
            let Some(asked) = failure.passes else {
                return self.settled(false);
            };
            let pause = PAUSE.0.saturating_mul(1 << self.failures.min(10));
            self.failures = self.failures.saturating_add(1);
            sleep(asked.unwrap_or(pause).clamp(PAUSE.0, PAUSE.1)).await;
        }
    }

    /// Sends what is left, each batch once.
    async fn flush(&mut self) {
        while self.fill() {
            let body = self.body();
            let sent = self.send(body).await;
            self.settled(sent.is_ok());
        }
    }

    /// Completes the batch with what waits; `false` when there is nothing.
    fn fill(&mut self) -> bool {
        while self.batch.len() < BATCH
            && let Ok(span) = self.spans.try_recv()
        {
            self.batch.push(*span);
        }
        !self.batch.is_empty()
    }

    fn body(&self) -> Bytes {
        otlp::request(&self.resource, &self.batch).into()
    }

    /// The batch was taken, or will not be.
    fn settled(&mut self, taken: bool) {
        let figure = match taken {
            true => &self.figures.exported,
            false => &self.figures.dropped,
        };
        figure.fetch_add(self.batch.len() as u64, Ordering::Relaxed);
        self.batch.clear();
    }

    fn say(&mut self, failure: &Failure) {
        if self.said.is_some_and(|said| said.elapsed() < SAY) {
            return;
        }
        self.said = Some(Instant::now());
        warn!(
            collector = %self.settings.host, dropped = self.figures.dropped.load(Ordering::Relaxed),
            "spans are not taken: {}", failure.what
        );
    }

    async fn send(&mut self, body: Bytes) -> Result<(), Failure> {
        match timeout(REQUEST, self.exchange(body)).await {
            Ok(done) => done,
            Err(_) => {
                self.connection = None;
                Err(Failure::passing(format!("no answer within {REQUEST:?}")))
            }
        }
    }

    async fn exchange(&mut self, body: Bytes) -> Result<(), Failure> {
        let kept = match self.connection.take() {
            Some(mut connection) => (connection.ready().await.is_ok()).then_some(connection),
            None => None,
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut request = Request::post(&*self.settings.path)
            .header(HOST, &*self.settings.host)
            .header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.expose());
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Failure::lasting(error.to_string()))?;
        let broken = |error: hyper::Error| Failure::passing(error.to_string());
        let response = connection.send_request(request).await.map_err(broken)?;
        let outcome = judge(&response);
        // Read to its end, so that the connection can be used again.
        if Limited::new(response.into_body(), ANSWER)
            .collect()
            .await
            .is_ok()
        {
            self.connection = Some(connection);
        }
        outcome
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = transport::open(&self.settings.endpoint).await;
        let stream = stream.map_err(|error| Failure::passing(error.to_string()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::passing(error.to_string()))?;
        // It ends with its sender.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}

impl Failure {
    fn passing(what: String) -> Self {
        let passes = Some(None);
        Self { what, passes }
    }

    fn lasting(what: String) -> Self {
        let passes = None;
        Self { what, passes }
    }
}

/// What an answer means (OTLP 1.x §"OTLP/HTTP Response"). What it says is not repeated: it may tell back what it was told.
fn judge<B>(response: &Response<B>) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let what = format!("the collector answered {status}");
    if !matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    ) {
        return Err(Failure::lasting(what));
    }
    let asked = response.headers().get(RETRY_AFTER);
    let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Failure {
        what,
        passes: Some(asked.map(Duration::from_secs)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_the_protocol_has_it() {
        let answer = |status: u16, retry: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(retry) = retry {
                response = response.header(RETRY_AFTER, retry);
            }
            judge(&response.body(()).unwrap())
        };
        assert_eq!(answer(200, None), Ok(()));
        let passes = |status, retry| answer(status, retry).unwrap_err().passes;
        assert_eq!(passes(400, None), None);
        assert_eq!(passes(401, None), None);
        assert_eq!(passes(500, None), None);
        assert_eq!(passes(503, None), Some(None));
        assert_eq!(passes(503, Some("soon")), Some(None));
        assert_eq!(passes(429, Some("7")), Some(Some(Duration::from_secs(7))));
    }
}
