//! What is recorded, and what becomes of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::context::TraceContext;
use super::span::{Kind, Record, Span};

/// Spans that may wait for the exporter; those above it are dropped and counted.
pub(super) const QUEUE: usize = 4096;

/// Makes spans and takes them when they have ended.
#[derive(Debug)]
pub struct Tracer {
    /// New traces whose number is below this are recorded.
    bound: u64,
    queue: mpsc::Sender<Box<Record>>,
    figures: Arc<TracerFigures>,
}

/// What has become of spans since the start.
#[derive(Debug, Default)]
pub struct TracerFigures {
    /// Those that the collector has taken.
    pub exported: AtomicU64,
    /// Those that were dropped: more came than could be sent, or the collector did not take them.
    pub dropped: AtomicU64,
}

impl Tracer {
    pub(super) fn new(sampling: f64, queue: mpsc::Sender<Box<Record>>) -> Self {
        // Saturates: 1 is everything but one in 2^64.
        let bound = (sampling * u64::MAX as f64) as u64;
        Self {
            bound,
            queue,
            figures: Arc::default(),
        }
    }

    /// What has become of spans.
    pub fn figures(&self) -> Arc<TracerFigures> {
        Arc::clone(&self.figures)
    }

    /// A span for a request with this `traceparent`: a part of the trace that it names, if that is recorded; of a new one
    /// where it names none, for as many as are sampled.
    pub fn server(self: &Arc<Self>, traceparent: Option<&str>) -> Option<Span> {
        let parent = traceparent.and_then(TraceContext::parse);
        let trace = match parent {
            Some(parent) => parent.sampled.then_some(parent.trace),
            None => self.new_trace(),
        };
        let parent = parent.map(|parent| parent.span);
        Some(self.span(trace?, parent, "request", Kind::Server))
    }

    /// A span for a message that is sent for whoever has given this `traceparent`, if that trace is recorded.
    pub fn producer(
        self: &Arc<Self>,
        traceparent: Option<&str>,
        name: &'static str,
    ) -> Option<Span> {
        let parent = TraceContext::parse(traceparent?).filter(|parent| parent.sampled)?;
        Some(self.span(parent.trace, Some(parent.span), name, Kind::Producer))
    }

    fn new_trace(&self) -> Option<[u8; 16]> {
        let trace: u128 = rand::random();
        // The lower half decides, so that other programs with the same ratio agree (W3C Trace Context level 2 §2.2.1).
        let is_sampled = (trace as u64) < self.bound && trace != 0;
        is_sampled.then(|| trace.to_be_bytes())
    }

    fn span(
        self: &Arc<Self>,
        trace: [u8; 16],
        parent: Option<[u8; 8]>,
        name: &'static str,
        kind: Kind,
    ) -> Span {
        let context = TraceContext {
            trace,
            span: rand::random::<u64>().max(1).to_be_bytes(),
            sampled: true,
        };
        let now = SystemTime::now();
        let record = Record {
            context,
            parent,
            name: Cow::Borrowed(name),
            kind,
            began: now,
            ended: now,
            attributes: Vec::new(),
            failed: false,
        };
        Span::new(Arc::clone(self), record)
    }

    /// Takes a span that has ended; never waits.
    pub(super) fn take(&self, record: Box<Record>) {
        if self.queue.try_send(record).is_err() {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn tracer(sampling: f64, queue: usize) -> (Arc<Tracer>, mpsc::Receiver<Box<Record>>) {
        let (sender, receiver) = mpsc::channel(queue);
        (Arc::new(Tracer::new(sampling, sender)), receiver)
    }

    #[test]
    fn a_trace_that_comes_along_decides_for_itself() {
        let (tracer, _spans) = tracer(0.0, 10);
        let parent = TraceContext::parse(PARENT).unwrap();
        let span = tracer.server(Some(PARENT)).unwrap();
        assert_eq!(span.context().trace, parent.trace);
        assert_ne!(span.context().span, parent.span);
        let quiet = PARENT.replace("-01", "-00");
        let (all, _spans) = self::tracer(1.0, 10);
        assert!(
            all.server(Some(&quiet)).is_none(),
            "it is not to be recorded"
        );
        assert!(all.producer(Some(&quiet), "publish").is_none());
        assert!(
            all.producer(None, "publish").is_none(),
            "nobody has begun a trace"
        );
        assert!(all.server(Some("nonsense")).is_some(), "that is none");
    }

    #[test]
    fn new_traces_are_recorded_by_their_ratio() {
        for (sampling, expected) in [(0.0, 0..=0), (0.25, 150..=350), (1.0, 1000..=1000)] {
            let (tracer, _spans) = tracer(sampling, 2000);
            let sampled = (0..1000).filter(|_| tracer.server(None).is_some()).count();
            assert!(expected.contains(&sampled), "{sampled} at {sampling}");
        }
    }

    #[test]
    fn a_span_is_told_once_and_one_too_many_is_counted() {
        let (tracer, mut spans) = tracer(1.0, 2);
        let mut server = tracer.server(None).unwrap();
        let traceparent = server.context().to_string();
        let producer = tracer.producer(Some(&traceparent), "publish").unwrap();
        server.set("n", 7_u32);
        producer.end();
        drop(server);
        tracer.server(None).unwrap().end();
        assert_eq!(tracer.figures().dropped.load(Ordering::Relaxed), 1);

        let producer = spans.try_recv().unwrap();
        let server = spans.try_recv().unwrap();
        assert_eq!(producer.parent, Some(server.context.span));
        assert_eq!((producer.kind, server.kind), (Kind::Producer, Kind::Server));
        assert_eq!(server.parent, None);
        assert!(server.ended >= server.began && producer.attributes.is_empty());
        let abandoned = server
            .attributes
            .iter()
            .any(|(key, _)| *key == "error.type");
        assert!(abandoned, "it was dropped: {server:?}");
        assert!(spans.try_recv().is_err());
    }
}
