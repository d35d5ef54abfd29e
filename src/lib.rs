//! Causeway: a local bridge between plain HTTP and an IoT platform's MQTT broker.
//!
//! ```text
//! out:  http ─► uplink ─► session ─► mqtt ─► broker
//! in:   broker ─► mqtt ─► session ─► downlink ─► http (server-sent events)
//! ```

pub mod broker;
pub mod device;
pub mod downlink;
pub mod http;
pub mod identity;
pub mod message;
pub mod mqtt;
pub mod observe;
pub mod profile;
pub mod registry;
pub mod secret;
pub mod session;
pub mod topic;
pub mod uplink;
