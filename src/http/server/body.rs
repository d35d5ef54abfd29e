//! The body of an answer, which a connection is busy with until it is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::pulse::Active;
use super::streams::{self, Progress};

/// A body whose end is the end of its request.
pub(super) struct Tracked {
    body: Body,
    /// With HTTP/2, what the stream's watch looks at.
    progress: Option<Arc<Progress>>,
    _active: Active,
}

impl Tracked {
    pub(super) fn new(body: Body, active: Active) -> Self {
        Self {
            body,
            progress: streams::progress(),
            _active: active,
        }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(progress) = &self.progress {
            progress.polled(matches!(frame, Poll::Ready(Some(_))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
