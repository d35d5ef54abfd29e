//! What is asked of the server, and how it is. Nothing counts as done that the server has not confirmed on the connection on
//! which it was asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{self, RawMessageErrorKind, Stream};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::failure::Failure;
use super::names::{Names, StreamName};
use super::open::NatsError;
use super::streams;
use crate::store::engine::StoreError;
use crate::store::health::{Health, Timings};
use crate::store::limits::Limits;
use crate::store::server::NatsServers;

/// How long the server may take to confirm something.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take to answer what is asked again anyway: while servers choose who leads a stream, nobody answers.
pub(super) const SOON: Duration = Duration::from_secs(2);

/// The way to the server, over all connections.
pub(super) struct Link {
    servers: NatsServers,
    limits: Limits,
    pub(super) names: Names,
    conn: Mutex<Arc<Conn>>,
    /// The number of the connection.
    renewed: watch::Sender<u64>,
    health: Mutex<Health>,
    /// Woken when the health has become bad.
    pub(super) trouble: Notify,
    work: Mutex<Work>,
}

/// One connection, used until it is lost.
pub(super) struct Conn {
    /// Counts the connections. Places in streams are certain within one: a server that comes back from a crash may give
    /// some of them to other messages.
    pub(super) number: u64,
    pub(super) client: Client,
    context: Context,
    streams: [Stream<()>; StreamName::ALL.len()],
    pub(super) lost: CancellationToken,
}

/// What was published.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) published: u64,
    pub(super) failed: u64,
    pub(super) time: Timings,
}

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

impl Conn {
    async fn new(
        servers: &NatsServers,
        limits: &Limits,
        names: &Names,
        number: u64,
    ) -> Result<Self, NatsError> {
        let (client, lost) = dial(servers).await?;
        let context = ContextBuilder::new()
            .timeout(PATIENCE)
            // What was given up makes room soon.
            .ack_timeout(Duration::from_secs(1))
            .build(client.clone());
        // Each time: the servers may have lost all they had.
        let made = ContextBuilder::new().timeout(SOON).build(client.clone());
        let made = streams::make(&made, names, limits, servers.replicas).await;
        made.map_err(|(stream, cause)| NatsError::Stream { stream, cause })?;
        let mut streams = Vec::new();
        for name in StreamName::ALL {
            let stream = context.get_stream_no_info(names.stream(name)).await;
            streams.push(stream.map_err(Failure::not)?);
        }
        let missing = |_| Failure::not("a stream is missing");
        Ok(Self {
            number,
            client,
            context,
            streams: streams.try_into().map_err(missing)?,
            lost,
        })
    }

    pub(super) fn stream(&self, name: StreamName) -> &Stream<()> {
        &self.streams[name as usize]
    }

    pub(super) fn is_connected(&self) -> bool {
        !self.lost.is_cancelled() && self.client.connection_state() == State::Connected
    }

    /// Asks, unless the connection is lost, and not beyond its loss.
    pub(super) async fn within<T>(&self, asked: impl Future<Output = T>) -> Result<T, Failure> {
        if !self.is_connected() {
            return Err(Failure::not("not connected"));
        }
        tokio::select! {
            biased;
            answer = asked => Ok(answer),
            () = self.lost.cancelled() => Err(Failure::unclear("the connection was lost")),
            () = tokio::time::sleep(2 * PATIENCE) => Err(Failure::unclear("no answer came in time")),
        }
    }
}

impl Link {
    pub(super) async fn open(servers: &NatsServers, limits: Limits) -> Result<Self, NatsError> {
        let names = Names::new(&servers.prefix);
        let conn = Conn::new(servers, &limits, &names, 1).await?;
        Ok(Self {
            servers: servers.clone(),
            limits,
            names,
            conn: Mutex::new(Arc::new(conn)),
            renewed: watch::Sender::new(1),
            health: Mutex::new(Health::Writable),
            trouble: Notify::new(),
            work: Mutex::default(),
        })
    }

    pub(super) fn conn(&self) -> Arc<Conn> {
        Arc::clone(&lock(&self.conn))
    }

    /// The number of the connection.
    pub(super) fn number(&self) -> u64 {
        lock(&self.conn).number
    }

    /// Connects anew where the connection is lost.
    pub(super) async fn renew(&self) -> Result<(), Failure> {
        let conn = self.conn();
        if conn.is_connected() {
            return Ok(());
        }
        conn.lost.cancel();
        let number = conn.number + 1;
        let next = Conn::new(&self.servers, &self.limits, &self.names, number).await;
        let next = next.map_err(Failure::not)?;
        *lock(&self.conn) = Arc::new(next);
        self.renewed.send_replace(number);
        Ok(())
    }

    /// A connection that is not lost; waits for one.
    pub(super) async fn usable(&self) -> Arc<Conn> {
        let mut renewed = self.renewed.subscribe();
        loop {
            renewed.mark_unchanged();
            let conn = self.conn();
            if conn.is_connected() {
                return conn;
            }
            // Its sender is here.
            let _ = renewed.changed().await;
        }
    }

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
                let mut work = lock(&self.work);
                work.published += 1;
                work.time.record(sent.at.elapsed());
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

    /// Notes a failure.
    pub(super) fn failed(&self, conn: &Conn, failure: Failure) -> Failure {
        if let Some(cause) = failure.outage() {
            lock(&self.work).failed += 1;
            // What was under way on an earlier connection says nothing of this one.
            if conn.number == self.number() {
                self.set_read_only(cause);
            }
        }
        failure
    }

    pub(super) fn set_read_only(&self, cause: &str) {
        let mut health = lock(&self.health);
        let since = match &*health {
            Health::ReadOnly { since, .. } => *since,
            Health::Writable => {
                tracing::error!(
                    cause,
                    "the store's server cannot be used; what must be durable is refused until it can be"
                );
                SystemTime::now()
            }
        };
        let cause = cause.into();
        *health = Health::ReadOnly { since, cause };
        self.trouble.notify_one();
    }

    pub(super) fn set_writable(&self) {
        let mut health = lock(&self.health);
        if *health != Health::Writable {
            tracing::info!("the store's server can be used again");
        }
        *health = Health::Writable;
    }

    pub(super) fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// The answer while the server cannot be used; `None` while it can.
    pub(super) fn unavailable(&self) -> Option<StoreError> {
        match &*lock(&self.health) {
            Health::ReadOnly { cause, .. } => Some(StoreError::Unavailable {
                cause: cause.clone(),
            }),
            Health::Writable => None,
        }
    }

    pub(super) fn work(&self) -> Work {
        *lock(&self.work)
    }

    /// Waits until everything that was handed to the connection has left.
    pub(super) async fn flush(&self) {
        let conn = self.conn();
        if conn.is_connected() {
            // Without a connection there is nothing to be done about it.
            let _ = tokio::time::timeout(PATIENCE, conn.client.flush()).await;
        }
    }
}

/// What a scan has to know of a message.
pub(super) fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(HEADER).map(|value| value.as_str())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
