//! The one integration binary: Causeway as its users run it, against real brokers and real clients.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod access;
mod batch;
mod breaking;
mod chaos;
mod cli;
mod client_certificates;
#[cfg(feature = "nats")]
mod cluster;
mod compose;
mod contract;
mod crowd;
mod demo;
mod doctor;
mod documentation;
mod downlinks;
mod events;
pub mod harness;
mod hostile;
mod idempotency;
mod keys;
mod listener;
mod logs;
mod metrics;
#[cfg(feature = "nats")]
mod nats;
mod page;
mod paho;
mod receipts;
mod registry;
mod reload;
mod renewal;
mod sap;
mod sap_demo;
mod secrets;
mod telemetry;
mod transports;
mod uplinks;
