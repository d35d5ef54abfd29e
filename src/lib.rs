//! Causeway: a local bridge between plain HTTP and an IoT platform's MQTT broker.
//!
//! ```text
//! out:  http ─► uplink ─► session ─► mqtt ─► broker
//! in:   broker ─► mqtt ─► session ─► downlink ─► http (server-sent events)
//! ```

pub mod broker;
#[cfg(feature = "demo")]
pub mod demo;
pub mod device;
pub mod identity;
pub mod message;
pub mod mqtt;
pub mod profile;
pub mod secret;
pub mod topic;
