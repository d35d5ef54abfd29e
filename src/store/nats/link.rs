//! The way to the server over all connections, whether it can be used, and what became of what was published.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};

use super::conn::{Conn, PATIENCE};
use super::core::lock;
use super::failure::Failure;
use super::names::Names;
use super::open::NatsError;
use crate::store::engine::StoreError;
use crate::store::health::{Health, Timings};
use crate::store::limits::Limits;
use crate::store::server::NatsServers;

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

/// What was published.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) published: u64,
    pub(super) failed: u64,
    pub(super) time: Timings,
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

    /// Notes that a message was stored.
    pub(super) fn published(&self, time: Duration) {
        let mut work = lock(&self.work);
        work.published += 1;
        work.time.record(time);
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
