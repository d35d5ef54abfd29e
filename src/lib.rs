//! Causeway: a local bridge between plain HTTP and an IoT platform's MQTT broker.
//!
//! # The two roads
//!
//! ```text
//! out:  http ─► uplink ─► session ─► mqtt ─► broker
//! in:   broker ─► mqtt ─► session ─► downlink ─► http (server-sent events)
//!
//! uplink ─► store   when the broker cannot confirm in time
//! downlink ─► store before the broker is told
//! ```
//!
//! # The parts, in the order of the road out
//!
//! | part | owns |
//! |---|---|
//! | [`cli`] | arguments, and the one function that each command calls |
//! | [`config`] | one file and its overrides, validated whole; the only reader of files and environment |
//! | [`bridge`] | the composition root: build, run, drain |
//! | [`fleet`] | which sessions run, and how devices come, change and go |
//! | [`http`] | routes, pages, problems, server-sent events; the only importer of `axum` |
//! | [`access`] | who may do what: tokens, client certificates, their limits |
//! | [`uplink`] | what a connector carries, and what became of it |
//! | [`registry`] | which devices there are, and the session that each one uses |
//! | [`session`] | one task per connection: window, ledger, renewal, backoff |
//! | [`mqtt`] | packets and byte streams; the only importer of `rumqttc` |
//! | [`downlink`] | fan-out to listeners, and what they can replay |
//! | [`cluster`] | several replicas on one store: which of them holds which sessions, and how they ask each other |
//! | [`store`] | what survives a restart: queued uplinks, receipts, idempotency keys, downlink history; in a file, or on NATS JetStream |
//! | [`keyring`] | devices' key pairs that are made and kept here, and which of them signs |
//! | [`vault`] | those of the store's records that hold secrets, sealed |
//! | [`profile`] | platforms as data |
//! | [`identity`] | keys, key ids, tokens, sealing |
//! | [`seldom`] | log lines that must not flood |
//! | `fields` | the bytes of what is stored and of what replicas say to each other |
//! | [`device`], [`topic`], [`message`], [`broker`], [`secret`] | domain types, parsed once, plain data |
//! | [`tally`] | what is counted on the way: atomics of those who count |
//! | [`telemetry`] | traces for those who configure a collector (OTLP) |
//! | [`doctor`] | why a device does not get through: one step after another, each with what to do |
//! | [`observe`] | whether the bridge can do its work, its figures, and what changes of its sessions |
//! | [`demo`] | the embedded broker that checks what platforms check |
//!
//! # Invariants
//!
//! 1. 200 means that the broker confirmed this very message, 202 that it is on disk. Any other answer says what is known.
//! 2. Uplinks of one device reach the broker in the order in which they were accepted, across reconnects, renewals and
//!    restarts ([`uplink::Lane`]).
//! 3. While the broker answers, an uplink never touches the disk.
//! 4. A downlink is on disk before the broker is told that it arrived, and before a listener sees it.
//! 5. Every CONNECT carries a fresh token; a connection is replaced before its token expires.
//! 6. A secret, token or private key appears in no log, answer, event or error, and neither does a topic.
//! 7. One device's trouble never delays another device; every queue has a limit, and reaching it is an answer.
//!
//! # Deliberately absent
//!
//! `rumqttc`'s event loop (see [`mqtt`]), a task per message, and a reconnect that the library does by itself.

pub mod access;
pub mod bridge;
pub mod broker;
pub mod cli;
pub mod cluster;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod device;
pub mod doctor;
pub mod downlink;
mod fields;
pub mod fleet;
pub mod http;
pub mod identity;
pub mod keyring;
pub mod message;
pub mod mqtt;
pub mod observe;
pub mod profile;
pub mod registry;
pub mod secret;
pub mod seldom;
pub mod session;
pub mod store;
pub mod tally;
pub mod telemetry;
pub mod topic;
pub mod uplink;
pub mod vault;
