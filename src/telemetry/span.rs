//! One span: begun, described, ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::context::TraceContext;
use super::tracer::Tracer;

/// What a span is, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers a request.
    Server,
    /// It sends a message.
    Producer,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Words.
    Text(Cow<'static, str>),
    /// A number.
    Int(i64),
}

/// A span that has not ended. Dropped, it ends as abandoned: whoever waited has gone.
#[derive(Debug)]
pub struct Span {
    tracer: Arc<Tracer>,
    began: Instant,
    /// Taken when it ends.
    record: Option<Box<Record>>,
    context: TraceContext,
}

/// A span as it is told to the collector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) context: TraceContext,
    /// The span that it is a part of.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) failed: bool,
}

impl Span {
    pub(super) fn new(tracer: Arc<Tracer>, record: Record) -> Self {
        Self {
            tracer,
            began: Instant::now(),
            context: record.context,
            record: Some(Box::new(record)),
        }
    }

    /// Where it stands: what it passes on to others.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Gives it a better name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.name = name.into();
        }
    }

    /// Describes it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut self.record {
            record.attributes.push((key, value.into()));
        }
    }

    /// It did not do what it was there for.
    pub fn fail(&mut self) {
        if let Some(record) = &mut self.record {
            record.failed = true;
        }
    }

    /// Says that it began then, and not only when it was made.
    pub fn began_at(&mut self, at: SystemTime) {
        if let Some(record) = &mut self.record {
            record.began = at;
        }
    }

    /// It ends now.
    pub fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        // By the clock that nobody sets, unless it began before it was made.
        record.ended = (record.began + self.began.elapsed()).max(record.ended);
        self.tracer.take(record);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.set("error.type", "abandoned");
        self.finish();
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
