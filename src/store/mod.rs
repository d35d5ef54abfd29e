//! What must survive a restart: uplinks that wait for their broker, receipts, answers to requests with an idempotency
//! key, the history of downlinks, and small records of other parts.
//!
//! - [`Engine`] and its parts: what a store offers, free of files. Each user gets the one trait that it needs
//! - [`records`]: what is stored, as plain data
//! - [`Limits`]: how much is kept; [`Health`] and [`Counters`]: how it is doing
//! - [`Holding`], [`Arrivals`], [`Changes`], [`Follow`]: what matters where several processes have it open
//! - [`Embedded`]: the engine in one file of this machine
//! - `Nats`: the engine on NATS JetStream (cargo feature `nats`); [`NatsServers`] says where that is
//!
//! What is answered as durable survives a crash of the program and of the machine. What is answered as full or
//! unavailable was not taken.

#[cfg(test)]
mod contract;
mod embedded;
mod engine;
mod format;
mod health;
mod limits;
mod marks;
#[cfg(feature = "nats")]
mod nats;
pub mod records;
mod server;
mod shared;
#[cfg(test)]
mod testing;
mod waiting;

pub use embedded::{Embedded, OpenError};
pub use engine::{
    Answer, DownlinkHistory, Engine, IdempotencyKeys, ReceiptLog, Records, StoreError, UplinkQueue,
};
pub use health::{Amount, Counters, Health, TIMING_BOUNDS, Timings};
pub use limits::{HistoryLimits, KeyLimits, Limits, MemoryLimits, QueueLimits, ReceiptLimits};
#[cfg(all(test, feature = "nats"))]
pub(crate) use nats::TestServer;
#[cfg(feature = "nats")]
pub(crate) use nats::dial as dial_nats;
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsError};
pub use server::{NatsLogin, NatsServers};
pub use shared::{Arrivals, Changes, Follow, Holding, HoldsAll, RecordChange};
