//! The bytes of an HTTP/1 client, watched for when a request's head begins.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pulse::Pulse;
use crate::http::problem::{Kind, Problem};

/// A stream that tells a pulse what comes in, and answers a client whose head took too long.
pub(super) struct Heads<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Heads<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    /// hyper only knows how to close such a connection. Between two requests nothing else is being written, so that an
    /// answer can be given from here; if it does not leave at once, it never does.
    fn too_slow(&mut self, cx: &mut Context<'_>) -> io::Error {
        let answer = Problem::new(Kind::Timeout, "the request's head was not complete in time")
            .retryable(true)
            .into_last_answer();
        let stream = Pin::new(&mut self.stream);
        if let Poll::Ready(Ok(_)) = stream.poll_write(cx, &answer) {
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        io::Error::new(io::ErrorKind::TimedOut, "a request's head took too long")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pulse.is_too_slow() {
            return Poll::Ready(Err(self.too_slow(cx)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::http::server::pulse::Ask;

    #[tokio::test]
    async fn a_client_that_is_too_slow_is_told_so() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let pulse = Arc::new(Pulse::new());
        let mut heads = Heads::new(ours, Arc::clone(&pulse));
        theirs.write_all(b"GET / HT").await.unwrap();
        let mut read = [0; 16];
        assert_eq!(heads.read(&mut read).await.unwrap(), 8);
        pulse.ask(Ask::TooSlow);
        let error = heads.read(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(heads);
        let mut answer = String::new();
        theirs.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    }
}
