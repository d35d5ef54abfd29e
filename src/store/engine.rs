//! What an engine offers. Each part of the bridge gets only the trait it needs; `Arc<dyn Engine>` coerces to each.
//!
//! Changes that return an [`Answer`] are durable when it resolves with `Ok`. Those marked *at once* are handed over by
//! the call itself: the answer may be dropped, and they take effect all the same. The others are handed over when the
//! answer is first polled; when it is dropped after that, whether they took effect is not known.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::health::{Counters, Health};
use super::records::{
    Backlog, Begun, BodyHash, HistoryPage, KeyedAnswer, QueuedUplink, ReadLimit, ReceiptRecord,
    ReceiptStatus, Record, RecordKind, Window,
};
use super::shared::{Arrivals, Changes, Follow};
use crate::device::DeviceId;
use crate::message::{Downlink, UplinkId};

/// Something that is being done.
pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A limit is reached. Nothing was taken.
    #[error("the store is full: {limit}")]
    Full {
        /// Which limit, in words.
        limit: &'static str,
    },
    /// It is larger than what the store can hold in one piece. Nothing was taken.
    #[error("the store holds nothing larger than {limit} bytes")]
    TooLarge {
        /// The largest, in bytes, with all that is stored beside the payload.
        limit: usize,
    },
    /// The store cannot read or write now. Nothing was taken, and nothing will be done later, where the method does not
    /// say otherwise.
    #[error("the store is unavailable: {cause}")]
    Unavailable {
        /// What is wrong, in words.
        cause: Box<str>,
    },
}

/// Uplinks that wait for a broker.
pub trait UplinkQueue: fmt::Debug + Send + Sync {
    /// A number for an uplink: larger than those of all uplinks ever stored, and of all calls before.
    fn next_seq(&self) -> u64;

    /// Takes an uplink and writes its receipt as `queued`. With the answer to a request with an `Idempotency-Key`, that
    /// request is finished in the same transaction.
    fn enqueue(&self, uplink: QueuedUplink, answer: Option<KeyedAnswer>) -> Answer<()>;

    /// A device's uplinks behind `after`, in the order of their numbers, without those whose settlement has been handed
    /// over.
    fn read(
        &self,
        device: &DeviceId,
        after: Option<u64>,
        limit: ReadLimit,
    ) -> Answer<Vec<QueuedUplink>>;

    /// Removes an uplink and writes its receipt, in one transaction. *At once*, and once for each uplink. When it
    /// resolves as unavailable, it is kept in memory and written as soon as that is possible.
    fn settle(&self, device: &DeviceId, seq: u64, receipt: ReceiptRecord) -> Answer<()>;

    /// Removes all of a device's uplinks in steps, giving each a receipt with this status and reason, and says how many
    /// there were.
    fn discard(&self, device: &DeviceId, status: ReceiptStatus, reason: Box<str>) -> Answer<u64>;

    /// What waits for a device's broker; from memory.
    fn backlog(&self, device: &DeviceId) -> Option<Backlog>;

    /// What waits, of all devices for which something does; from memory.
    fn backlogs(&self) -> Vec<(DeviceId, Backlog)>;
}

/// Receipts of uplinks.
pub trait ReceiptLog: fmt::Debug + Send + Sync {
    /// Takes receipts of settled uplinks that were never queued. They can be read at once and are written in the
    /// background. Never waits: when too many wait to be written, the oldest of them are dropped and counted.
    fn put_receipts(&self, receipts: Vec<ReceiptRecord>);

    /// An uplink's receipt.
    fn receipt(&self, id: UplinkId) -> Answer<Option<ReceiptRecord>>;
}

/// Requests with an `Idempotency-Key`. What is in flight is known in memory only: after a restart such a key is free,
/// unless its uplink was queued.
pub trait IdempotencyKeys: fmt::Debug + Send + Sync {
    /// Asks for a key and, if it is free, marks it as in flight. Whoever gets [`Begun::New`] must finish or abandon it.
    fn begin(&self, device: &DeviceId, key: &str, body: BodyHash) -> Answer<Begun>;

    /// Keeps the answer of a request in flight. *At once*. When it resolves as unavailable, the answer is kept in memory
    /// and written as soon as that is possible.
    fn finish(&self, device: &DeviceId, answer: KeyedAnswer) -> Answer<()>;

    /// Frees a key that is in flight.
    fn abandon(&self, device: &DeviceId, key: &str);
}

/// Downlinks that can be replayed.
pub trait DownlinkHistory: fmt::Debug + Send + Sync {
    /// Stores downlinks and says their cursors. Cursors are given in the order in which appends are handed over, and
    /// answers resolve in that order.
    fn append(&self, downlinks: Vec<Downlink>) -> Answer<Vec<u64>>;

    /// Downlinks of these devices behind a cursor (0: all), in the order of their cursors. Not always as many as the
    /// limit allows: read on from [`HistoryPage::until`] until it is the newest.
    fn history(
        &self,
        devices: Arc<[DeviceId]>,
        after: u64,
        limit: ReadLimit,
    ) -> Answer<HistoryPage>;

    /// What is kept of a device.
    fn window(&self, device: &DeviceId) -> Answer<Window>;

    /// The newest cursor that is durable; from memory. Before the first downlink, the place where cursors start.
    fn newest_cursor(&self) -> u64;

    /// Every downlink that is stored from now on, by whichever process, for one reader: a second call ends the first
    /// reader's. `None` (the default) where only this process stores some: then whoever appends knows all there is. Ask
    /// for it before [`newest_cursor`](Self::newest_cursor), and leave out what is not behind that.
    fn follow(&self) -> Option<Follow> {
        None
    }
}

/// Small records by key.
pub trait Records: fmt::Debug + Send + Sync {
    /// Writes a record, in place of the one with the same key.
    fn put_record(&self, kind: RecordKind, key: &str, value: Vec<u8>) -> Answer<()>;

    /// A record.
    fn record(&self, kind: RecordKind, key: &str) -> Answer<Option<Vec<u8>>>;

    /// At the most `limit` records with keys behind `after`, in the order of their keys.
    fn records(&self, kind: RecordKind, after: Option<&str>, limit: usize) -> Answer<Vec<Record>>;

    /// Removes a record and says whether there was one.
    fn delete_record(&self, kind: RecordKind, key: &str) -> Answer<bool>;
}

/// A store: all of the above, and how it is doing.
pub trait Engine: UplinkQueue + ReceiptLog + IdempotencyKeys + DownlinkHistory + Records {
    /// Whether it takes what must be durable; from memory.
    fn health(&self) -> Health;

    /// What it has done and what it holds; from memory.
    fn counters(&self) -> Counters;

    /// Removes the history and the answered keys of a device, in steps. A listener of a device that comes again is told by a
    /// gap what is missing. Nothing may be on its way for the device meanwhile.
    fn forget(&self, device: &DeviceId) -> Answer<()>;

    /// Writes what was handed over, and closes. Everything after it is answered as unavailable.
    fn close(&self) -> Answer<()>;

    /// Looks through the queue again: uplinks of devices that are held here by now can be read when it resolves, and are told
    /// as arrivals; those of devices that are not held any more are forgotten. To be called when devices have come or gone.
    /// Every number given afterwards is larger than those of all uplinks that it found. When the store is unavailable, the same
    /// is done by itself as soon as it is not, and told as arrivals. Default: nothing to do, because
    /// one process holds every device.
    fn rescan(&self) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Makes sure that an uplink which another process has stored is known, where its device is held here: when it resolves, it
    /// can be read, unless it is settled by then. What has to be looked for is told as an arrival; what was known has been.
    /// Default: nothing to do, because everything comes this way.
    fn look(&self, _stored: UplinkId) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Uplinks that came to held devices from elsewhere, for one reader: a second call ends the first reader's. `None` (the
    /// default) where that cannot happen.
    fn arrivals(&self) -> Option<Arrivals> {
        None
    }

    /// What other processes change of the records, for one reader, likewise. `None` (the default) where there is no other.
    fn changes(&self) -> Option<Changes> {
        None
    }
}
