//! Reading a stream in its order: to its end, or for as long as there is a connection.
//!
//! Where the end is, is not asked of the server, whose counts need not be right after a crash: a *milestone* is published, and
//! what is read until it comes is all there was before it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt;

use super::conn::Conn;
use super::failure::Failure;
use super::link::Link;
use super::names::{Names, StreamName};
use super::requests::{Message, header};
use crate::fields::micros;

/// Messages that are asked for at a time.
const BATCH: usize = 1000;
/// How long the server waits for messages before it says that there are none.
const IDLE: Duration = Duration::from_secs(4);

/// The header of a milestone, and behind it the time, in microseconds since the epoch.
const MILESTONE: &str = "end ";

/// A message as it is found in a stream.
pub(super) struct Seen<'a> {
    pub(super) place: u64,
    pub(super) subject: &'a str,
    pub(super) header: Option<&'a str>,
    /// Empty where only headers are read.
    pub(super) payload: &'a Bytes,
}

impl Seen<'_> {
    /// When it was published, if it is a milestone, in microseconds since the epoch.
    pub(super) fn milestone(&self) -> Option<u64> {
        self.header?.strip_prefix(MILESTONE)?.parse().ok()
    }
}

/// Reads the messages of one stream.
pub(super) struct Reader {
    conn: Arc<Conn>,
    stream: StreamName,
    consumer: Consumer<pull::Config>,
    batch: Option<pull::Batch>,
    /// Messages that the batch may still bring.
    left: usize,
    /// How many came: the server counts them too.
    count: u64,
}

impl Reader {
    /// Everything from this place on.
    pub(super) async fn open(
        conn: Arc<Conn>,
        stream: StreamName,
        from: u64,
        headers_only: bool,
    ) -> Result<Self, Failure> {
        let deliver_policy = match from {
            0 | 1 => DeliverPolicy::All,
            start_sequence => DeliverPolicy::ByStartSequence { start_sequence },
        };
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            headers_only,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        };
        let consumer = conn.within(conn.stream(stream).create_consumer(config));
        let consumer = consumer.await?.map_err(Failure::not)?;
        Ok(Self {
            conn,
            stream,
            consumer,
            batch: None,
            left: 0,
            count: 0,
        })
    }

    /// Gives the next message to `look`; `None` when none has come for a while.
    pub(super) async fn next<T>(
        &mut self,
        look: impl FnOnce(Seen<'_>) -> T,
    ) -> Result<Option<T>, Failure> {
        loop {
            let Some(batch) = &mut self.batch else {
                let batch = self.consumer.batch().max_messages(BATCH).expires(IDLE);
                let batch = self.conn.within(batch.messages()).await?;
                self.batch = Some(batch.map_err(Failure::not)?);
                self.left = BATCH;
                continue;
            };
            let next = tokio::select! {
                biased;
                next = batch.next() => next,
                () = self.conn.lost.cancelled() => {
                    return Err(Failure::not("the connection was lost"));
                }
            };
            let Some(message) = next else {
                // It was complete, or nothing more came in time.
                self.batch = None;
                if self.left == 0 {
                    continue;
                }
                return Ok(None);
            };
            let message = message.map_err(Failure::not)?;
            let info = message.info().map_err(Failure::not)?;
            self.count += 1;
            self.left -= 1;
            if info.consumer_sequence != self.count {
                // Nothing is delivered twice here, so one would be missing for ever.
                return Err(Failure::not("a message was lost on its way"));
            }
            let headers = message.headers.as_ref();
            return Ok(Some(look(Seen {
                place: info.stream_sequence,
                subject: &message.subject,
                header: headers.and_then(header),
                payload: &message.payload,
            })));
        }
    }

    /// The server would forget it by itself.
    pub(super) async fn close(self) {
        let name = &self.consumer.cached_info().name;
        let stream = self.conn.stream(self.stream);
        let _ = self.conn.within(stream.delete_consumer(name)).await;
    }
}

impl Link {
    /// Looks at every message of a stream from a place on that was confirmed before the call, in their order, without the
    /// payloads, and at some that come meanwhile. Gives the place of the milestone at which it ended.
    pub(super) async fn scan(
        &self,
        stream: StreamName,
        from: u64,
        mut look: impl FnMut(Seen<'_>),
    ) -> Result<u64, Failure> {
        let conn = self.conn();
        let noted = |failure| self.failed(&conn, failure);
        let end = milestone(&self.names, stream);
        let end = self.publish_on(Arc::clone(&conn), end).await?;
        let reader = Reader::open(Arc::clone(&conn), stream, from, true).await;
        let mut reader = reader.map_err(noted)?;
        loop {
            // In a stream that keeps one message of a subject, somebody else's milestone may have taken the place of this
            // one: it comes later.
            let is_end = reader.next(|seen| {
                let is_end = seen.place >= end;
                if !is_end {
                    look(seen);
                }
                is_end
            });
            match is_end.await {
                Ok(Some(false)) => {}
                Ok(Some(true)) => break,
                Ok(None) => {
                    let failure = Failure::not("the server stopped in the middle of a list");
                    return Err(noted(failure));
                }
                Err(failure) => return Err(noted(failure)),
            }
        }
        reader.close().await;
        Ok(end)
    }
}

/// A message that marks the end of what a stream holds now.
pub(super) fn milestone(names: &Names, stream: StreamName) -> Message {
    Message {
        subject: names.milestone(stream),
        header: Some(format!("{MILESTONE}{}", micros(SystemTime::now()))),
        payload: Bytes::new(),
        expected: None,
    }
}
