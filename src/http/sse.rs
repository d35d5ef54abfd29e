//! Downlinks as server-sent events (WHATWG HTML, "Server-sent events"), and what all such streams have in common.
//!
//! An event's frame is rendered once for all listeners, so a listener's stream only hands out references. Positions are
//! told beside events, too, in frames with an `id` and nothing else: browsers remember it without an event taking
//! place. So a listener that has received nothing yet misses nothing when it connects again, and one whose topics are
//! silent does not fall off the window. Events about sessions have no `id`, so that they leave the position alone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use rand::RngExt;
use serde::Serialize;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::events::SessionEvent;
use super::forward::Ear;
use crate::access::Listener;
use crate::device::DeviceId;
use crate::downlink::{Cursor, Delivery, Gap, Subscription};
use crate::observe::{Seen, Watch};

/// How often a stream shows that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it connects again, in milliseconds: spread, so that all the listeners of a bridge
/// that was restarted do not come back at once.
const RETRY: std::ops::RangeInclusive<u32> = 1000..=5000;

pub(super) fn answer(
    subscription: Subscription,
    sessions: Watch,
    (listener, ear): (Listener, Option<Ear>),
    shutdown: &CancellationToken,
) -> Response {
    let ended = end(&listener, shutdown);
    let until = async move {
        ended.await;
        // Kept until then: they count as long as they are there.
        drop((listener, ear));
    };
    response(EventStream::new(subscription, sessions, until, HEARTBEAT))
}

/// When a stream ends: with the program, or with the token of whoever listens.
pub(super) fn end(
    listener: &Listener,
    shutdown: &CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    // Polled together with its stream, a token of its own shares no lock with other streams.
    let (shutdown, over) = (shutdown.child_token(), listener.over());
    async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = over => {}
        }
    }
}

/// The answer that is this stream.
pub(super) fn response(
    stream: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // nginx would otherwise keep events back until a buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

/// The beginning of a stream without positions: when to connect again.
pub(super) fn opening() -> Bytes {
    frame(retry(), None)
}

/// When the first heartbeat is due: early, so that the heartbeats of many streams spread.
pub(super) fn first_heartbeat(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random())
}

/// Adds an event without an `id`.
pub(super) fn write_event(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Writing these to memory cannot fail, and what is written has no line breaks.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}

fn retry() -> String {
    format!("retry: {}\n", rand::rng().random_range(RETRY))
}

struct EventStream {
    subscription: Subscription,
    sessions: Watch,
    opening: Option<Bytes>,
    /// The position that the client was told last.
    told: Option<Cursor>,
    heartbeat: Pin<Box<Sleep>>,
    interval: Duration,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Nothing more can come.
    over: bool,
}

impl EventStream {
    fn new(
        subscription: Subscription,
        sessions: Watch,
        until: impl Future<Output = ()> + Send + 'static,
        interval: Duration,
    ) -> Self {
        let told = subscription.position();
        Self {
            subscription,
            sessions,
            opening: Some(frame(retry(), told)),
            told,
            heartbeat: Box::pin(tokio::time::sleep(first_heartbeat(interval))),
            interval,
            until: Box::pin(until),
            over: false,
        }
    }

    fn beat(&mut self) -> Bytes {
        self.sessions.follow();
        let position = self.subscription.position();
        let news = position.filter(|_| position != self.told);
        self.told = position;
        frame(": heartbeat\n".to_owned(), news)
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over || self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(Ok(opening)));
        }
        if let Poll::Ready(seen) = self.sessions.poll_next(cx) {
            return Poll::Ready(Some(Ok(session_frame(&seen))));
        }
        match self.subscription.poll_next(cx) {
            Poll::Ready(Delivery::Event(event)) => {
                self.told = Some(event.cursor());
                return Poll::Ready(Some(Ok(event.frame().clone())));
            }
            Poll::Ready(Delivery::Gap(gap)) => return Poll::Ready(Some(Ok(gap_frame(&gap)))),
            Poll::Ready(Delivery::Deleted { device, last }) => {
                self.over = last;
                return Poll::Ready(Some(Ok(deleted_frame(&device))));
            }
            // The client connects again, and goes on there or is told by a gap what it has missed.
            Poll::Ready(Delivery::Behind | Delivery::Unavailable) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        if self.heartbeat.as_mut().poll(cx).is_ready() {
            let next = Instant::now() + self.interval;
            self.heartbeat.as_mut().reset(next);
            return Poll::Ready(Some(Ok(self.beat())));
        }
        Poll::Pending
    }
}

/// A line, and a position where there is one.
fn frame(mut line: String, position: Option<Cursor>) -> Bytes {
    if let Some(position) = position {
        line.push_str(&format!("id: {position}\n"));
    }
    line.push('\n');
    Bytes::from(line)
}

fn session_frame(seen: &Seen) -> Bytes {
    let mut frame = Vec::new();
    write_event(&mut frame, "session", &SessionEvent::of(seen, None));
    frame.into()
}

/// It has no `id`: the events behind it have, and until one has arrived the gap must be told again.
fn gap_frame(gap: &Gap) -> Bytes {
    let mut frame = Vec::new();
    write_event(&mut frame, "gap", gap);
    frame.into()
}

fn deleted_frame(device: &DeviceId) -> Bytes {
    let data = serde_json::json!({ "device": device });
    Bytes::from(format!("event: deleted\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::SystemTime;

    use futures_util::StreamExt;

    use super::*;
    use crate::downlink::{After, Hub, Limits};
    use crate::message::{Downlink, Qos};
    use crate::topic::TopicFilter;

    #[tokio::test]
    async fn a_heartbeat_tells_a_new_position_once() {
        let hub = Arc::new(Hub::new(Limits::default()));
        let device = DeviceId::parse("a").unwrap();
        let topics = TopicFilter::parse("wanted").ok();
        let subscription = hub.subscribe([device.clone()], topics, After::Now);
        let interval = Duration::from_millis(5);
        let sessions = Watch::new(Arc::default(), &BTreeMap::new());
        let mut stream = EventStream::new(subscription, sessions, std::future::pending(), interval);
        let mut next = async || {
            let Ok(frame) = stream.next().await.unwrap();
            String::from_utf8(frame.to_vec()).unwrap()
        };
        assert!(next().await.starts_with("retry: "));
        assert_eq!(next().await, ": heartbeat\n\n");
        let cursor = hub.accept(&Downlink {
            device,
            topic: "other".into(),
            payload: Bytes::new(),
            content_type: None,
            qos: Qos::AtMostOnce,
            retained: false,
            received_at: SystemTime::now(),
        });
        assert_eq!(next().await, format!(": heartbeat\nid: {cursor}\n\n"));
        assert_eq!(next().await, ": heartbeat\n\n");
    }
}
