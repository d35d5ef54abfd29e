//! What is asked of the server: to store, give and delete messages, and to say what its streams hold. Nothing counts as done
//! that it has not confirmed on the connection on which it was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{self, RawMessageErrorKind};
use bytes::Bytes;
use futures_util::future::try_join_all;

use super::conn::Conn;
use super::failure::Failure;
use super::link::Link;
use super::names::StreamName;

/// A message for a stream.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) subject: String,
    /// What a scan has to know of it.
    pub(super) header: Option<String>,
    pub(super) payload: Bytes,
    /// Only if the last message of its subject has this place; 0: if there is none.
    pub(super) expected: Option<u64>,
}

/// The name of the one header.
const HEADER: &str = "Causeway";

/// A message that is on its way.
pub(super) struct Sent {
    conn: Arc<Conn>,
    ack: PublishAckFuture,
    at: Instant,
}

impl Link {
    /// Hands a message to the connection. Those of one caller arrive in the order in which they were handed over.
    pub(super) async fn send(&self, message: Message) -> Result<Sent, Failure> {
        self.send_on(self.conn(), message).await
    }

    async fn send_on(&self, conn: Arc<Conn>, message: Message) -> Result<Sent, Failure> {
        if !conn.is_connected() {
            return Err(self.failed(&conn, Failure::not("not connected")));
        }
        let mut publish = PublishMessage::build().payload(message.payload);
        if let Some(header) = message.header {
            publish = publish.header(HEADER, header);
        }
        if let Some(expected) = message.expected {
            publish = publish.expected_last_subject_sequence(expected);
        }
        let at = Instant::now();
        let sent = conn.context.send_publish(message.subject, publish).await;
        match sent {
            Ok(ack) => Ok(Sent { conn, ack, at }),
            Err(error) => Err(self.failed(&conn, error.into())),
        }
    }

    /// Waits for the confirmation of a message, and gives its place in the stream.
    pub(super) async fn confirmed(&self, sent: Sent) -> Result<u64, Failure> {
        let conn = sent.conn;
        let confirmed = tokio::select! {
            biased;
            confirmed = sent.ack.into_future() => confirmed.map_err(Failure::from),
            () = conn.lost.cancelled() => Err(Failure::unclear("the connection was lost")),
        };
        match confirmed {
            Ok(ack) => {
                self.published(sent.at.elapsed());
                Ok(ack.sequence)
            }
            Err(failure) => Err(self.failed(&conn, failure)),
        }
    }

    pub(super) async fn publish(&self, message: Message) -> Result<u64, Failure> {
        self.publish_on(self.conn(), message).await
    }

    pub(super) async fn publish_on(
        &self,
        conn: Arc<Conn>,
        message: Message,
    ) -> Result<u64, Failure> {
        let sent = self.send_on(conn, message).await?;
        self.confirmed(sent).await
    }

    /// A message by its place.
    pub(super) async fn get(
        &self,
        stream: StreamName,
        place: u64,
    ) -> Result<Option<StreamMessage>, Failure> {
        let conn = self.conn();
        let got = conn.within(conn.stream(stream).get_raw_message(place));
        self.found(&conn, got.await)
    }

    /// The last message of a subject.
    pub(super) async fn last(
        &self,
        stream: StreamName,
        subject: &str,
    ) -> Result<Option<StreamMessage>, Failure> {
        let conn = self.conn();
        let stream = conn.stream(stream);
        let got = conn.within(stream.get_last_raw_message_by_subject(subject));
        self.found(&conn, got.await)
    }

    /// Removes a message; one that is not there is removed already. The place must have been learned on this connection.
    pub(super) async fn delete(&self, stream: StreamName, place: u64) -> Result<(), Failure> {
        use stream::DeleteMessageErrorKind::JetStream;
        let conn = self.conn();
        let deleted = conn.within(conn.stream(stream).delete_message(place)).await;
        let deleted = deleted.map_err(|failure| self.failed(&conn, failure))?;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                // The answer for a place without a message is one of several, by version and by kind of storage.
                JetStream(said) if said.code() == 400 || said.code() == 404 => Ok(()),
                JetStream(said)
                    if said.to_string().contains("not found")
                        || said.to_string().contains("no message") =>
                {
                    Ok(())
                }
                _ => Err(self.failed(&conn, Failure::unclear(error))),
            },
        }
    }

    /// Removes all messages of some subjects.
    pub(super) async fn purge(&self, stream: StreamName, filter: String) -> Result<u64, Failure> {
        let conn = self.conn();
        let purge = conn.stream(stream).purge().filter(filter);
        let purged = match conn.within(purge.into_future()).await {
            Ok(purged) => purged.map_err(Failure::unclear),
            Err(failure) => Err(failure),
        };
        let purged = purged.map_err(|failure| self.failed(&conn, failure))?;
        Ok(purged.purged)
    }

    /// What each stream holds, when all of them can be used and say so in time.
    pub(super) async fn infos(&self, within: Duration) -> Result<Vec<stream::Info>, Failure> {
        let conn = self.conn();
        let infos = try_join_all(StreamName::ALL.map(|stream| self.info(stream)));
        match tokio::time::timeout(within, infos).await {
            Ok(infos) => infos,
            Err(_) => Err(self.failed(&conn, Failure::unclear("no answer came in time"))),
        }
    }

    /// What a stream holds.
    pub(super) async fn info(&self, stream: StreamName) -> Result<stream::Info, Failure> {
        let conn = self.conn();
        let info = match conn.within(conn.stream(stream).get_info()).await {
            Ok(info) => info.map_err(Failure::not),
            Err(failure) => Err(failure),
        };
        info.map_err(|failure| self.failed(&conn, failure))
    }

    fn found(
        &self,
        conn: &Conn,
        got: Result<Result<StreamMessage, stream::RawMessageError>, Failure>,
    ) -> Result<Option<StreamMessage>, Failure> {
        match got {
            Ok(Ok(message)) => Ok(Some(message)),
            Ok(Err(error)) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(error)) => Err(self.failed(conn, Failure::not(error))),
            Err(failure) => Err(self.failed(conn, failure)),
        }
    }
}

/// What a scan has to know of a message.
pub(super) fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(HEADER).map(|value| value.as_str())
}
