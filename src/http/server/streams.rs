//! The streams of an HTTP/2 connection: a task each, ended with their connection, or when nobody reads them.
//!
//! A client that reads nothing of an HTTP/1 connection stalls its writes. With HTTP/2 it may stall one stream by its
//! window and go on with the others, and nobody asks the stream's body for more then, not even for its end. So what is
//! watched is whether the body is asked.

use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

tokio::task_local! {
    /// The stream that a task is about: the answer's body is made deep inside of it.
    static PROGRESS: Arc<Progress>;
}

/// Of the stream that this task is about; none with HTTP/1.
pub(super) fn progress() -> Option<Arc<Progress>> {
    PROGRESS.try_with(Arc::clone).ok()
}

/// When a stream's body was last given away without being asked for more.
pub(super) struct Progress {
    start: Instant,
    /// Milliseconds since `start`, and one; 0 when the last thing was that the body was asked and had nothing.
    given: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            given: AtomicU64::new(0),
        }
    }

    /// The body was asked for more, and gave some or had none.
    pub(super) fn polled(&self, gave: bool) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let given = if gave { millis.saturating_add(1) } else { 0 };
        self.given.store(given, Ordering::Relaxed);
    }

    /// For how long nobody has asked for more.
    fn waits(&self) -> Option<Duration> {
        let given = self.given.load(Ordering::Relaxed).checked_sub(1)?;
        let given = self.start + Duration::from_millis(given);
        Some(given.elapsed())
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Arc<Mutex<JoinSet<()>>>,
    patience: Duration,
}

impl Streams {
    /// A stream that nobody has read for `patience` is reset.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            tasks: Arc::default(),
            patience,
        }
    }

    /// Ends all streams when it is dropped. A stream's task knows the `Streams`, so dropping those is not enough.
    pub(super) fn guard(&self) -> impl Drop + Send + use<> {
        struct Guard(Streams);
        impl Drop for Guard {
            fn drop(&mut self) {
                let tasks = self.0.tasks.lock();
                drop(mem::take(
                    &mut *tasks.unwrap_or_else(PoisonError::into_inner),
                ));
            }
        }
        Guard(self.clone())
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let progress = Arc::new(Progress::new());
        let watched = watch(stream, Arc::clone(&progress), self.patience);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(PROGRESS.scope(progress, watched));
    }
}

/// Runs a stream until it ends, or nobody reads it.
async fn watch(stream: impl Future<Output = ()>, progress: Arc<Progress>, patience: Duration) {
    let mut stream = pin!(stream);
    // Only there once a stream waits to be read, which most never do.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        unread(&progress, patience, &mut timer, cx)
    })
    .await;
}

fn unread(
    progress: &Progress,
    patience: Duration,
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(waits) = progress.waits() else {
        *timer = None;
        return Poll::Pending;
    };
    let Some(left) = patience.checked_sub(waits).filter(|left| !left.is_zero()) else {
        tracing::debug!("a stream was reset, because its client did not read it");
        return Poll::Ready(());
    };
    let mut fresh = Box::pin(tokio::time::sleep(left));
    if fresh.as_mut().poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
    *timer = Some(fresh);
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_is_ended_and_one_that_waits_for_news_is_not() {
        for (gave, ends) in [(true, true), (false, false)] {
            let progress = Arc::new(Progress::new());
            let its = Arc::clone(&progress);
            let stream = async move {
                its.polled(true);
                tokio::time::sleep(Duration::from_secs(1)).await;
                its.polled(gave);
                std::future::pending().await
            };
            let watched = watch(stream, progress, PATIENCE);
            let ended = tokio::time::timeout(PATIENCE * 2, watched).await.is_ok();
            assert_eq!(ended, ends);
        }
    }

    #[tokio::test]
    async fn streams_end_with_their_connection() {
        let streams = Streams::new(PATIENCE);
        let guard = streams.guard();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let its = streams.clone();
        streams.execute(async move {
            std::future::pending::<()>().await;
            drop((its, sender));
        });
        drop((guard, streams));
        assert!(receiver.await.is_err());
    }
}
