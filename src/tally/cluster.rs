//! What happens between several replicas.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a request to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It was answered, whatever the answer says.
    Answered,
    /// Nobody was there, or it had no room: not processed.
    Nobody,
    /// No answer came in time.
    TimedOut,
    /// The connection was lost before the answer.
    Lost,
    /// The request or its answer was too large to be sent.
    TooLarge,
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Nobody,
        Self::TimedOut,
        Self::Lost,
        Self::TooLarge,
    ];

    /// In a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Nobody => "nobody",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
            Self::TooLarge => "too_large",
        }
    }
}

/// What a member has counted since its start.
#[derive(Debug, Default)]
pub struct ClusterTally {
    /// Partitions that it got.
    pub gained: AtomicU64,
    /// Partitions that it gave back in order.
    pub left: AtomicU64,
    /// Partitions that it lost with its lease.
    pub lost: AtomicU64,
    /// Renewals of the lease that nats-server confirmed.
    pub renewed: AtomicU64,
    /// Those that it did not confirm, or not in time.
    pub not_renewed: AtomicU64,
    asked: [AtomicU64; Asked::ALL.len()],
    /// Requests of other members that were answered here.
    pub served: AtomicU64,
    /// Those that were not taken, because too many were under way.
    pub turned_away: AtomicU64,
}

impl ClusterTally {
    /// Counts a request to another member.
    pub fn asked(&self, how: Asked) {
        self.asked[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many of them ended so.
    pub fn requests(&self, how: Asked) -> u64 {
        self.asked[how as usize].load(Ordering::Relaxed)
    }
}
