//! What has happened to a listener's connections, in figures.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start; read by whoever shows them.
#[derive(Debug, Default)]
pub struct ListenerFigures {
    /// Connections at this moment.
    pub open: AtomicU64,
    /// Connections that were served.
    pub accepted: AtomicU64,
    /// Connections that were refused, because too many were busy.
    pub refused: AtomicU64,
    /// The same, because too many of one address were.
    pub refused_by_address: AtomicU64,
    /// Connections without a request under way that were closed to make room for others.
    pub evicted: AtomicU64,
    /// Connections that were closed, because a request's head, or the TLS handshake before it, took too long.
    pub slow: AtomicU64,
    /// Connections that were closed, because they had been idle for long.
    pub idle: AtomicU64,
}

impl ListenerFigures {
    /// Connections at this moment.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}
