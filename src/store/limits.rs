//! How much is kept, and for how long.

use std::time::Duration;

/// Limits of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Uplinks that wait for a broker. At the limit, further ones are refused.
    pub uplinks: QueueLimits,
    /// Receipts of settled uplinks. Over the limit, the oldest go.
    pub receipts: ReceiptLimits,
    /// Answers to requests with an `Idempotency-Key`. Over the limit, the oldest go.
    pub keys: KeyLimits,
    /// Downlinks. Over the limit, the oldest go, and a mark remains.
    pub downlinks: HistoryLimits,
    /// Memory of the engine.
    pub memory: MemoryLimits,
}

/// How many uplinks may wait. Bytes are counted as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Of one device. Default 10,000.
    pub device_count: u64,
    /// Bytes of one device. Default 64 MiB.
    pub device_bytes: u64,
    /// Of all devices. Default 1,000,000.
    pub total_count: u64,
    /// Bytes of all devices. Default 1 GiB.
    pub total_bytes: u64,
}

/// How long receipts of settled uplinks are kept. Those of queued ones stay as long as these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptLimits {
    /// From the settlement on. Default 24 hours.
    pub age: Duration,
    /// Of all devices. Default 100,000.
    pub count: u64,
}

/// How long an answer is given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimits {
    /// From the answer on. Default 24 hours.
    pub age: Duration,
    /// Of all devices. Default 100,000.
    pub count: u64,
}

/// How many downlinks can be replayed. Bytes are counted as stored. The latest one is kept, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// From the receipt on. Default 7 days.
    pub age: Duration,
    /// Of one device. Default 1,000.
    pub device_count: u64,
    /// Bytes of one device. Default 4 MiB.
    pub device_bytes: u64,
    /// Of all devices. Default 1,000,000.
    pub total_count: u64,
    /// Bytes of all devices. Default 256 MiB.
    pub total_bytes: u64,
}

/// Memory of an engine, beside the counters of each device with a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes that may wait to be written; further callers wait. Default 32 MiB.
    pub waiting_bytes: u64,
    /// Receipts that may wait to be written; the oldest go. Default 10,000.
    pub waiting_receipts: usize,
    /// Bytes of the page cache. Default 16 MiB.
    pub cache_bytes: usize,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MIB: u64 = 1024 * 1024;

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            device_count: 10_000,
            device_bytes: 64 * MIB,
            total_count: 1_000_000,
            total_bytes: 1024 * MIB,
        }
    }
}

impl Default for ReceiptLimits {
    fn default() -> Self {
        Self {
            age: DAY,
            count: 100_000,
        }
    }
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            age: DAY,
            count: 100_000,
        }
    }
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            age: 7 * DAY,
            device_count: 1_000,
            device_bytes: 4 * MIB,
            total_count: 1_000_000,
            total_bytes: 256 * MIB,
        }
    }
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            waiting_bytes: 32 * MIB,
            waiting_receipts: 10_000,
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}
