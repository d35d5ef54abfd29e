//! The engine as others see it: what each of their requests asks of `core`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use redb::DatabaseError;
use tokio::sync::oneshot;

use super::access::{Connect, OnDisk};
use super::change::{Change, DISCARD_STEP, FORGET_STEP, Reply};
use super::core::Core;
use super::file::{Check, StoreFile};
use super::inbox::Message;
use super::open_error::OpenError;
use super::shared::Shared;
use super::writer::{Times, Writer};
use super::{history, queue, receipts, tables};
use crate::device::DeviceId;
use crate::message::{Downlink, UplinkId};
use crate::store::engine::{
    Answer, DownlinkHistory, Engine, IdempotencyKeys, ReceiptLog, Records, UplinkQueue,
};
use crate::store::health::{Counters, Health};
use crate::store::limits::Limits;
use crate::store::records::{
    Backlog, Begun, BodyHash, HistoryPage, KeyedAnswer, QueuedUplink, ReadLimit, ReceiptRecord,
    ReceiptStatus, Record, RecordKind, Window,
};
use crate::store::waiting::Urgency;

/// A store in one file. Reads need a tokio runtime. When the last handle is dropped without
/// [`close`](Engine::close), what was handed over is still written, and the file closed soon after.
pub struct Embedded {
    core: Core,
}

impl Embedded {
    /// Opens the store in this file, or creates it. The folder must exist. Blocks: for milliseconds, or longer when a
    /// damaged file has to be checked.
    pub fn open(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, OpenError> {
        let file = StoreFile::on_disk(path.into(), limits.memory.cache_bytes);
        Self::with_file(file, limits, Times::default())
    }

    /// Whether a program has this file open at the moment. Nothing is written, and a file that is not there is not made.
    pub fn is_in_use(path: &Path) -> bool {
        let cache_bytes = 0;
        let opened = path.exists().then(|| OnDisk { cache_bytes }.to_read(path));
        matches!(opened, Some(Err(DatabaseError::DatabaseAlreadyOpen)))
    }

    pub(super) fn with_file(
        file: StoreFile,
        limits: Limits,
        times: Times,
    ) -> Result<Self, OpenError> {
        let opened = file.open(Check::Start)?;
        let commit = opened.totals.commit;
        let path = file.path.clone();
        let shared = Arc::new(Shared::new(limits, opened));
        let (outbox, inbox) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), inbox, file, times, commit);
        let thread = std::thread::Builder::new().name("store".into());
        thread
            .spawn(move || writer.run())
            .map_err(|error| OpenError::Io {
                path,
                cause: format!("no thread can be started: {error}"),
            })?;
        let core = Core::new(shared, outbox, limits.memory.waiting_bytes);
        Ok(Self { core })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = self.core.shared.health();
        f.debug_struct("Embedded").field("health", &health).finish()
    }
}

impl UplinkQueue for Embedded {
    fn next_seq(&self) -> u64 {
        self.core.shared.next_seq()
    }

    fn enqueue(&self, uplink: QueuedUplink, answer: Option<KeyedAnswer>) -> Answer<()> {
        let uplink = Box::new(uplink);
        let change = Change::Enqueue { uplink, answer };
        let done = self.core.clone().change(change);
        Box::pin(async move { done.await.map(drop) })
    }

    fn read(
        &self,
        device: &DeviceId,
        after: Option<u64>,
        limit: ReadLimit,
    ) -> Answer<Vec<QueuedUplink>> {
        let (device, shared) = (device.clone(), Arc::clone(&self.core.shared));
        // Before the file is looked at: what is settled later may be read, what was settled before may not.
        let settling = shared.ledger.settling_of(&device);
        self.core.read(move |tx| {
            let skipped = |seq| settling.contains(&seq);
            queue::read(tx, &device, after, limit, skipped)
        })
    }

    fn settle(&self, device: &DeviceId, seq: u64, receipt: ReceiptRecord) -> Answer<()> {
        self.core.shared.ledger.settling(device, seq);
        self.core.change_now(Change::Settle {
            device: device.clone(),
            seq,
            receipt: Box::new(receipt),
        })
    }

    fn discard(&self, device: &DeviceId, status: ReceiptStatus, reason: Box<str>) -> Answer<u64> {
        let (core, device) = (self.core.clone(), device.clone());
        Box::pin(async move {
            let mut discarded = 0;
            loop {
                let (device, reason) = (device.clone(), reason.clone());
                let step = Change::Discard {
                    device,
                    status,
                    reason,
                };
                if let Reply::Count(count) = core.clone().change(step).await? {
                    discarded += count;
                    if count == DISCARD_STEP {
                        continue;
                    }
                }
                return Ok(discarded);
            }
        })
    }

    fn backlog(&self, device: &DeviceId) -> Option<Backlog> {
        self.core.shared.ledger.backlog(device)
    }

    fn backlogs(&self) -> Vec<(DeviceId, Backlog)> {
        self.core.shared.ledger.backlogs()
    }
}

impl ReceiptLog for Embedded {
    fn put_receipts(&self, receipts: Vec<ReceiptRecord>) {
        let message = match self.core.shared.waiting.put(receipts) {
            Urgency::None => return,
            Urgency::First => Message::Receipts,
            Urgency::Many => Message::ManyReceipts,
        };
        // Without a writer, they stay where they are.
        self.core.tell(message);
    }

    fn receipt(&self, id: UplinkId) -> Answer<Option<ReceiptRecord>> {
        let core = self.core.clone();
        Box::pin(async move {
            if let Some(receipt) = core.shared.waiting.get(id) {
                return Ok(Some(receipt));
            }
            core.read(move |tx| receipts::read(tx, id)).await
        })
    }
}

impl IdempotencyKeys for Embedded {
    fn begin(&self, device: &DeviceId, key: &str, body: BodyHash) -> Answer<Begun> {
        let (core, device, key) = (self.core.clone(), device.clone(), Box::<str>::from(key));
        Box::pin(core.block(move |core| core.begin(&device, &key, body)))
    }

    fn finish(&self, device: &DeviceId, answer: KeyedAnswer) -> Answer<()> {
        let device = device.clone();
        self.core.shared.marks.answer(&device, &answer);
        self.core.change_now(Change::Finish { device, answer })
    }

    fn abandon(&self, device: &DeviceId, key: &str) {
        self.core.shared.marks.remove(device, key);
    }
}

impl DownlinkHistory for Embedded {
    fn append(&self, downlinks: Vec<Downlink>) -> Answer<Vec<u64>> {
        let done = self.core.clone().change(Change::Append(downlinks));
        Box::pin(async move {
            match done.await? {
                Reply::Cursors(cursors) => Ok(cursors),
                _ => Ok(Vec::new()),
            }
        })
    }

    fn history(
        &self,
        devices: Arc<[DeviceId]>,
        after: u64,
        limit: ReadLimit,
    ) -> Answer<HistoryPage> {
        self.core
            .read(move |tx| history::page(tx, &devices, after, limit))
    }

    fn window(&self, device: &DeviceId) -> Answer<Window> {
        let device = device.clone();
        self.core.read(move |tx| history::window(tx, &device))
    }

    fn newest_cursor(&self) -> u64 {
        self.core.shared.ledger.cursor()
    }
}

impl Records for Embedded {
    fn put_record(&self, kind: RecordKind, key: &str, value: Vec<u8>) -> Answer<()> {
        let key = key.into();
        let change = Change::PutRecord { kind, key, value };
        let done = self.core.clone().change(change);
        Box::pin(async move { done.await.map(drop) })
    }

    fn record(&self, kind: RecordKind, key: &str) -> Answer<Option<Vec<u8>>> {
        let key = Box::<str>::from(key);
        self.core.read(move |tx| tables::record(tx, kind, &key))
    }

    fn records(&self, kind: RecordKind, after: Option<&str>, limit: usize) -> Answer<Vec<Record>> {
        let after = after.map(Box::<str>::from);
        self.core
            .read(move |tx| tables::records(tx, kind, after.as_deref(), limit))
    }

    fn delete_record(&self, kind: RecordKind, key: &str) -> Answer<bool> {
        let key = key.into();
        let done = self.core.clone().change(Change::DeleteRecord { kind, key });
        Box::pin(async move { Ok(done.await? == Reply::Existed(true)) })
    }
}

impl Engine for Embedded {
    fn health(&self) -> Health {
        self.core.shared.health()
    }

    fn counters(&self) -> Counters {
        self.core.shared.counters()
    }

    fn forget(&self, device: &DeviceId) -> Answer<()> {
        let (core, device) = (self.core.clone(), device.clone());
        Box::pin(async move {
            let step = || Change::Forget {
                device: device.clone(),
            };
            while core.clone().change(step()).await? == Reply::Count(FORGET_STEP) {}
            Ok(())
        })
    }

    fn close(&self) -> Answer<()> {
        let (done, closed) = oneshot::channel();
        // Without a writer, it is closed already.
        self.core.tell(Message::Close(done));
        Box::pin(async move {
            let _ = closed.await;
            Ok(())
        })
    }
}
