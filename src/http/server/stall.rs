//! A connection whose client has stopped reading is ended, so that it does not hold memory for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::pulse::{Active, Pulse};

/// A stream on which a write that makes no progress for a while is an error.
pub(super) struct Stalling<S> {
    stream: S,
    patience: Duration,
    pulse: Arc<Pulse>,
    /// There while a write waits. A connection is not idle while its client reads an answer slowly.
    waiting: Option<(Pin<Box<Sleep>>, Active)>,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, patience: Duration, pulse: Arc<Pulse>) -> Self {
        Self {
            stream,
            patience,
            pulse,
            waiting: None,
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let (timer, _) = self.waiting.get_or_insert_with(|| {
            let timer = Box::pin(tokio::time::sleep(self.patience));
            (timer, Active::begin(&self.pulse))
        });
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
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
    use std::time::SystemTime;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_write_that_makes_no_progress_is_an_error_and_one_that_does_is_none() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let pulse = Arc::new(Pulse::new());
        let mut ours = Stalling::new(ours, Duration::from_millis(20), Arc::clone(&pulse));
        let reading = tokio::spawn(async move {
            let mut read = vec![0; 64];
            theirs.read_exact(&mut read).await.map(|_| theirs)
        });
        ours.write_all(&[1; 64]).await.unwrap();
        let _unread = reading.await.unwrap().unwrap();
        let is_active = || pulse.beat(SystemTime::now()).active;
        assert!(!is_active());
        let error = ours.write_all(&[1; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(is_active());
    }
}
