//! A connection to nats-server that is made again whenever it is lost.
//!
//! Each is used once, so what was handed to a lost one never arrives later, when nobody expects it any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::store::{NatsError, NatsServers, dial_nats};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) context: Context,
    /// Cancelled when it is lost, or given up.
    pub(super) lost: CancellationToken,
}

impl Wire {
    fn is_connected(&self) -> bool {
        !self.lost.is_cancelled() && self.client.connection_state() == State::Connected
    }

    /// What comes of a request, unless the connection is lost before.
    pub(super) async fn unless_lost<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = request => Some(done),
            () = self.lost.cancelled() => None,
        }
    }
}

/// One connection after the other.
#[derive(Clone)]
pub(super) struct Line {
    wire: watch::Receiver<Wire>,
    _end: Arc<DropGuard>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    /// Connects for the first time. `patience`: for a request to JetStream.
    pub(super) async fn open(servers: &NatsServers, patience: Duration) -> Result<Self, NatsError> {
        let first = dial(servers, patience).await?;
        let (shown, wire) = watch::channel(first);
        let (servers, end) = (servers.clone(), CancellationToken::new());
        let ended = end.clone();
        tokio::spawn(async move {
            let keep = keep(&servers, patience, &shown);
            let _ = ended.run_until_cancelled(keep).await;
        });
        Ok(Self {
            wire,
            _end: Arc::new(end.drop_guard()),
        })
    }

    /// The connection, while there is one.
    pub(super) fn wire(&self) -> Option<Wire> {
        let wire = self.wire.borrow();
        wire.is_connected().then(|| wire.clone())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.wire.borrow().is_connected()
    }

    /// Waits for a connection: first the one that there is, then each new one.
    pub(super) fn connections(&self) -> Connections {
        Connections {
            wire: self.wire.clone(),
            is_first: true,
        }
    }

    /// Gives the connection up, and makes a new one.
    pub(super) fn redial(&self) {
        self.wire.borrow().lost.cancel();
    }
}

pub(super) struct Connections {
    wire: watch::Receiver<Wire>,
    is_first: bool,
}

impl Connections {
    /// `None`: there will be none any more.
    pub(super) async fn next(&mut self) -> Option<Wire> {
        if !std::mem::take(&mut self.is_first) {
            self.wire.changed().await.ok()?;
        }
        Some(self.wire.borrow_and_update().clone())
    }
}

async fn keep(servers: &NatsServers, patience: Duration, shown: &watch::Sender<Wire>) {
    loop {
        let lost = shown.borrow().lost.clone();
        lost.cancelled().await;
        let mut pause = Duration::from_millis(50);
        let wire = loop {
            match dial(servers, patience).await {
                Ok(wire) => break wire,
                Err(error) => tracing::debug!("nats-server cannot be reached: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        };
        shown.send_replace(wire);
    }
}

async fn dial(servers: &NatsServers, patience: Duration) -> Result<Wire, NatsError> {
    let (client, lost) = dial_nats(servers).await?;
    let context = ContextBuilder::new()
        .timeout(patience)
        .ack_timeout(patience)
        .build(client.clone());
    Ok(Wire {
        client,
        context,
        lost,
    })
}
