//! What must survive a restart: uplinks that wait for their broker, receipts, answers to requests with an idempotency
//! key, the history of downlinks, and small records of other parts.
//!
//! - [`Engine`] and its parts: what a store offers, free of files. Each user gets the one trait that it needs
//! - [`records`]: what is stored, as plain data
//! - [`Limits`]: how much is kept; [`Health`] and [`Counters`]: how it is doing
//! - [`Holding`], [`Arrivals`], [`Changes`], [`Follow`]: what matters where several processes have it open
//! - [`Embedded`]: the engine in one file of this machine
//!
//! What is answered as durable survives a crash of the program and of the machine. What is answered as full or
//! unavailable was not taken.

mod embedded;
mod engine;
mod health;
mod limits;
pub mod records;
mod shared;

pub use embedded::{Embedded, OpenError};
pub use engine::{
    Answer, DownlinkHistory, Engine, IdempotencyKeys, ReceiptLog, Records, StoreError, UplinkQueue,
};
pub use health::{Amount, Counters, Health, TIMING_BOUNDS, Timings};
pub use limits::{HistoryLimits, KeyLimits, Limits, MemoryLimits, QueueLimits, ReceiptLimits};
pub use shared::{Arrivals, Changes, Follow, Holding, HoldsAll, RecordChange};
