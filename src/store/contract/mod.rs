//! What every engine does. Each test runs on all of them.

mod history;
mod keys;
mod queue;
mod receipts;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;

use super::records::{QueuedUplink, ReadLimit, ReceiptRecord, ReceiptStatus};
use super::testing::{ALL, delivered, device, downlink, now, queued, until, until_async, uplink};
use super::{Embedded, Engine, Limits};
use crate::device::DeviceId;
use crate::message::{Qos, UplinkId};

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    #[cfg(feature = "nats")]
    Nats,
}

/// Tests for each engine.
macro_rules! contract {
    ($($name:ident,)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Embedded).await;
            })*
        }
        #[cfg(feature = "nats")]
        mod nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Nats).await;
            })*
        }
    };
}
use contract;

/// A store of its own.
struct Fixture {
    place: Place,
    limits: Limits,
    store: Arc<dyn Engine>,
}

enum Place {
    Folder(TempDir),
    #[cfg(feature = "nats")]
    Server(super::nats::TestServer),
}

impl Fixture {
    async fn new(kind: Kind, limits: Limits) -> Self {
        let place = match kind {
            Kind::Embedded => Place::Folder(TempDir::new().unwrap()),
            #[cfg(feature = "nats")]
            Kind::Nats => Place::Server(super::nats::TestServer::start().await),
        };
        let store = place.open(limits).await;
        Self {
            place,
            limits,
            store,
        }
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = self.place.open(self.limits).await;
    }
}

impl Place {
    async fn open(&self, limits: Limits) -> Arc<dyn Engine> {
        match self {
            Self::Folder(folder) => {
                Arc::new(Embedded::open(folder.path().join("store.redb"), limits).unwrap())
            }
            #[cfg(feature = "nats")]
            Self::Server(server) => server.open(limits).await,
        }
    }
}
