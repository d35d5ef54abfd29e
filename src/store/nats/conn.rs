//! One connection with the streams that were made on it: it is used until it is lost.

use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::Stream;
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::failure::Failure;
use super::names::{Names, StreamName};
use super::open::NatsError;
use super::streams;
use crate::store::limits::Limits;
use crate::store::server::NatsServers;

/// How long the server may take to confirm something.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take to answer what is asked again anyway: while servers choose who leads a stream, nobody answers.
pub(super) const SOON: Duration = Duration::from_secs(2);

/// One connection.
pub(super) struct Conn {
    /// Counts the connections. Places in streams are certain within one: a server that comes back from a crash may give
    /// some of them to other messages.
    pub(super) number: u64,
    pub(super) client: Client,
    pub(super) context: Context,
    streams: [Stream<()>; StreamName::ALL.len()],
    pub(super) lost: CancellationToken,
}

impl Conn {
    /// Connects, and makes the streams.
    pub(super) async fn new(
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
