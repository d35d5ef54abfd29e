//! What the tests stand on: real brokers and clients, a network that breaks on command, and ways to wait.
//!
//! Everything listens on loopback, owns its files in a temporary folder, and ends when it is dropped.
//! Nothing here sleeps for luck: a wait names its condition, and fails with what was seen instead.

pub mod access;
pub mod bridge;
pub mod browser;
pub mod causeway;
pub mod certificates;
pub mod collector;
pub mod connect_proxy;
pub mod demo;
pub mod eventually;
pub mod exposition;
pub mod http;
pub mod jwt;
pub mod keys;
pub mod lines;
pub mod markdown;
pub mod mosquitto;
#[cfg(feature = "nats")]
pub mod nats;
pub mod port;
pub mod pretended;
pub mod program;
pub mod proxy;
pub mod python;
pub mod shell;
pub mod sse;
pub mod subscriber;
pub mod talkative;
pub mod tutorial;

use std::time::Duration;

/// How long a wait lasts before it counts as failed: far beyond what a busy machine needs, so that it never decides a test.
pub const DEADLINE: Duration = Duration::from_secs(60);
