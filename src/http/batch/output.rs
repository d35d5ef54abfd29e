//! Results to the body of an answer, as fast as the client reads them.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::result::{Form, LineResult};

/// Results are sent when so many bytes are there, or when the next one has to be waited for.
const CHUNK: usize = 16 * 1024;

/// An answer's body, and the end that fills it.
pub(super) fn output(form: Form) -> (Output, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let output = Output {
        sender,
        form,
        buffer: Vec::new(),
        empty: true,
    };
    let body = stream::unfold(Some(receiver), async |receiver| {
        let mut receiver: mpsc::Receiver<Part> = receiver?;
        match receiver.recv().await {
            Some(Part::Some(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Part::End) => None,
            // Whoever reads must not take the part for the whole.
            None => Some((Err(io::Error::other("the batch was abandoned")), None)),
        }
    });
    (output, Body::from_stream(body))
}

enum Part {
    Some(Bytes),
    End,
}

/// Collects results and sends them.
pub(super) struct Output {
    sender: mpsc::Sender<Part>,
    form: Form,
    buffer: Vec<u8>,
    /// Nothing was written yet.
    empty: bool,
}

impl Output {
    /// Adds a result; `true` when there is enough to be sent.
    pub(super) fn write(&mut self, result: &LineResult) -> bool {
        match (self.form, self.empty) {
            (Form::Lines, _) => {}
            (Form::Array, true) => self.buffer.extend_from_slice(b"[\n"),
            (Form::Array, false) => self.buffer.extend_from_slice(b",\n"),
        }
        self.empty = false;
        result.write(&mut self.buffer);
        if self.form == Form::Lines {
            self.buffer.push(b'\n');
        }
        self.buffer.len() >= CHUNK
    }

    /// Sends what is there, and waits until the client takes it.
    pub(super) async fn flush(&mut self) {
        if !self.buffer.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut self.buffer));
            // A client that has gone needs no results.
            let _ = self.sender.send(Part::Some(bytes)).await;
        }
    }

    /// Ends the answer.
    pub(super) async fn finish(mut self) {
        if self.form == Form::Array {
            let end: &[u8] = if self.empty { b"[]\n" } else { b"\n]\n" };
            self.buffer.extend_from_slice(end);
        }
        self.flush().await;
        let _ = self.sender.send(Part::End).await;
    }
}
