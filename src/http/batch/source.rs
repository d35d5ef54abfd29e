//! Where the lines of a batch come from.

use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::framer::{Framed, Framer};
use crate::http::body;
use crate::http::problem::{Kind, Problem};

/// How long a producer may send nothing.
const IDLE: Duration = Duration::from_secs(60);

/// A body that is being sent, or an array that was.
pub(super) enum Source {
    Lines(Lines),
    Elements(Elements),
}

/// What comes next, with its number from 1.
#[derive(Debug)]
pub(super) enum Next {
    /// A line that is not empty, or an element.
    Text(u64, Bytes),
    /// A line that cannot be taken.
    Refused(u64, Problem),
    /// The body broke off in or before this line. Nothing follows.
    Broken(u64, Problem),
    /// Nothing follows.
    End,
}

impl Source {
    /// Waits for what comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Next {
        match self {
            Self::Lines(lines) => lines.next().await,
            Self::Elements(elements) => elements.next(),
        }
    }

    /// The number of the line or element that would come next.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.number + 1,
            Self::Elements(elements) => elements.number + 1,
        }
    }

    /// Reads what a client sends although nothing more is taken, within limits, so that it sees the answer.
    pub(super) async fn drain(self) {
        if let Self::Lines(lines) = self {
            body::drain(lines.stream).await;
        }
    }
}

/// A body of lines.
pub(super) struct Lines {
    stream: BodyDataStream,
    framer: Framer,
    limit: usize,
    /// Lines so far, empty ones included.
    number: u64,
    /// When the producer has been silent for too long; set while it is waited for.
    deadline: Option<Instant>,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Complete,
    Broken,
    Idle,
    Told,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub(super) fn new(stream: BodyDataStream, limit: usize) -> Self {
        Self {
            stream,
            framer: Framer::new(limit),
            limit,
            number: 0,
            deadline: None,
            end: None,
        }
    }

    /// Waits for the first bytes.
    pub(super) async fn begin(&mut self) {
        self.end = self.fill().await;
    }

    async fn next(&mut self) -> Next {
        loop {
            while let Some(framed) = self.framer.next() {
                if let Some(next) = self.line(framed) {
                    return next;
                }
            }
            match self.end {
                None => self.end = self.fill().await,
                Some(end) => {
                    self.end = Some(End::Told);
                    return self.finish(end);
                }
            }
        }
    }

    /// Reads on; says how it ended when it did.
    async fn fill(&mut self) -> Option<End> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + IDLE);
        // What is there counts, even when it was looked at too late.
        let read = tokio::time::timeout_at(deadline, self.stream.next()).await;
        self.deadline = None;
        match read {
            Ok(Some(Ok(chunk))) => {
                self.framer.push(&chunk);
                None
            }
            // A connection that was lost may look like this, too. Half a line is no object then, and not taken.
            Ok(None) => Some(End::Complete),
            Ok(Some(Err(_))) => Some(End::Broken),
            Err(_) => Some(End::Idle),
        }
    }

    fn finish(&mut self, end: End) -> Next {
        match end {
            End::Complete => {
                let last = self.framer.last();
                last.and_then(|last| self.line(last)).unwrap_or(Next::End)
            }
            End::Told => Next::End,
            End::Broken => self.broken(Problem::new(
                Kind::Malformed,
                "the body ended before it was complete; this line and what may follow were not taken",
            )),
            End::Idle => self.broken(
                Problem::new(
                    Kind::Timeout,
                    format!(
                        "nothing was sent for {} s; this line and what may follow were not taken",
                        IDLE.as_secs()
                    ),
                )
                .retryable(true)
                .hint("send an empty line now and then"),
            ),
        }
    }

    fn broken(&self, problem: Problem) -> Next {
        Next::Broken(self.number + 1, problem)
    }

    /// `None` for an empty line.
    fn line(&mut self, framed: Framed) -> Option<Next> {
        self.number += 1;
        match framed {
            Framed::Line(text) if text.trim_ascii().is_empty() => None,
            Framed::Line(text) => Some(Next::Text(self.number, text)),
            Framed::TooLong => {
                let detail = format!(
                    "the line has more than {} bytes, which is the limit here",
                    self.limit
                );
                let problem = Problem::new(Kind::TooLarge, detail)
                    .hint("raise the limit in the configuration: http.max_body");
                Some(Next::Refused(self.number, problem))
            }
        }
    }
}

/// The elements of an array, cut out of its text one by one.
pub(super) struct Elements {
    text: Bytes,
    /// Everything before is dealt with.
    at: usize,
    number: u64,
}

impl Elements {
    /// Takes a JSON array.
    pub(super) fn new(text: Bytes) -> Result<Self, Problem> {
        // Checked without being built.
        serde_json::from_slice::<Vec<IgnoredAny>>(&text).map_err(|error| {
            Problem::new(
                Kind::Malformed,
                format!("the body is not a JSON array: {error}"),
            )
            .hint("one uplink a line is application/x-ndjson")
        })?;
        let mut elements = Self {
            text,
            at: 0,
            number: 0,
        };
        elements.skip(b'[');
        Ok(elements)
    }

    fn next(&mut self) -> Next {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        // The bracket at the end is no value.
        let Some(Ok(value)) = values.next() else {
            return Next::End;
        };
        let element = self.text.slice_ref(value.get().as_bytes());
        self.at += values.byte_offset();
        self.skip(b',');
        self.number += 1;
        Next::Text(self.number, element)
    }

    /// Skips white space, and this character if it comes next.
    fn skip(&mut self, character: u8) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blank = rest.len() - rest.trim_ascii_start().len();
        let there = rest.get(blank) == Some(&character);
        self.at += blank + usize::from(there);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    fn elements(text: &'static str) -> Vec<String> {
        let mut elements = Elements::new(Bytes::from_static(text.as_bytes())).unwrap();
        let mut texts = Vec::new();
        while let Next::Text(number, text) = elements.next() {
            texts.push(String::from_utf8(text.to_vec()).unwrap());
            assert_eq!(number, texts.len() as u64);
        }
        texts
    }

    #[test]
    fn an_array_is_cut_into_its_elements() {
        assert!(elements(" [ ] ").is_empty());
        assert_eq!(
            elements(" [1 , \"a,]\" ,{\"b\":[2,{}]},\n-0.5e3,null,[]]\r\n"),
            ["1", "\"a,]\"", "{\"b\":[2,{}]}", "-0.5e3", "null", "[]"]
        );
        for bad in ["", "{}", "[1", "[1,]", "[1] 2", "[1 2]"] {
            assert!(
                Elements::new(Bytes::from_static(bad.as_bytes())).is_err(),
                "{bad} was taken"
            );
        }
    }

    fn body(
        text: &'static str,
    ) -> impl futures_util::Stream<Item = Result<&'static str, Infallible>> {
        stream::iter([Ok(text)])
    }

    #[tokio::test]
    async fn empty_lines_count_and_are_ignored() {
        let stream = Body::from_stream(body("\n1\r\n  \n22222\n3")).into_data_stream();
        let mut lines = Lines::new(stream, 4);
        assert!(matches!(lines.next().await, Next::Text(2, text) if &text[..] == b"1\r"));
        assert!(matches!(lines.next().await, Next::Refused(4, _)));
        assert!(matches!(lines.next().await, Next::Text(5, text) if &text[..] == b"3"));
        assert!(matches!(lines.next().await, Next::End));
        assert!(matches!(lines.next().await, Next::End));
    }

    #[tokio::test(start_paused = true)]
    async fn a_producer_that_is_silent_is_told_so_and_half_a_line_is_not_taken() {
        let silent = body("1\nhalf").chain(stream::pending());
        let mut lines = Lines::new(Body::from_stream(silent).into_data_stream(), 10);
        assert!(matches!(lines.next().await, Next::Text(1, _)));
        assert!(matches!(lines.next().await, Next::Broken(2, _)));
        assert!(matches!(lines.next().await, Next::End));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_so() {
        let broken = stream::iter([Ok("1\nhalf"), Err(std::io::Error::other("gone"))]);
        let mut lines = Lines::new(Body::from_stream(broken).into_data_stream(), 10);
        assert!(matches!(lines.next().await, Next::Text(1, _)));
        assert!(matches!(lines.next().await, Next::Broken(2, _)));
        assert!(matches!(lines.next().await, Next::End));
    }
}
