//! The engine as others see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::changes::Change;
use super::core::{Append, Core, closed, lock};
use super::entry::mark;
use super::lookup::READS;
use super::names::StreamName;
use super::writer::Order;
use crate::device::DeviceId;
use crate::fields::from_micros;
use crate::message::{Downlink, UplinkId};
use crate::store::engine::{
    Answer, DownlinkHistory, Engine, IdempotencyKeys, ReceiptLog, Records, StoreError, UplinkQueue,
};
use crate::store::format::decode_receipt;
use crate::store::health::{Counters, Health};
use crate::store::records::{
    Backlog, Begun, BodyHash, HistoryPage, KeyedAnswer, QueuedUplink, ReadLimit, ReceiptRecord,
    ReceiptStatus, Record, RecordKind, Window,
};
use crate::store::shared::{Arrivals, Changes, Follow};
use crate::store::waiting::Urgency;

/// A store on NATS JetStream. It needs a tokio runtime. Several processes may have it open.
pub struct Nats {
    pub(super) core: Arc<Core>,
    pub(super) tasks: TaskTracker,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = self.core.link.health();
        f.debug_struct("Nats").field("health", &health).finish()
    }
}

impl Core {
    async fn forget(&self, device: &DeviceId) -> Result<(), StoreError> {
        self.check()?;
        let names = &self.link.names;
        let window = self.histories().window(device);
        if window.newest.is_some() {
            let subject = names.downlinks(device);
            self.link.purge(StreamName::Downlinks, subject).await?;
            // Behind the purge: a crash in between leaves a device without a history and without a mark, as if its
            // history had ended by age.
            let place = self.link.publish(mark(names, device)).await?;
            self.followed(place).await;
        }
        self.link
            .purge(StreamName::Keys, names.keys_of(device))
            .await?;
        Ok(())
    }
}

impl Nats {
    /// What goes on although nobody waits for it any more.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Answer<T> {
        let tasks = self.tasks.clone();
        Box::pin(async move {
            let done = tasks.spawn(work).await;
            done.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn change(&self, change: Change) -> Answer<()> {
        let answer = self.core.change(change);
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }
}

impl UplinkQueue for Nats {
    fn next_seq(&self) -> u64 {
        self.core.numbers.next()
    }

    fn enqueue(&self, uplink: QueuedUplink, answer: Option<KeyedAnswer>) -> Answer<()> {
        let core = Arc::clone(&self.core);
        self.spawn(async move { core.enqueue(uplink, answer).await })
    }

    fn read(
        &self,
        device: &DeviceId,
        after: Option<u64>,
        limit: ReadLimit,
    ) -> Answer<Vec<QueuedUplink>> {
        let (core, device) = (Arc::clone(&self.core), device.clone());
        Box::pin(async move {
            core.check()?;
            let page = core.queues().page(&device, after, limit);
            let uplinks = stream::iter(page).map(|(seq, slot)| {
                let (core, device) = (&core, device.clone());
                async move { core.queued(device, seq, slot).await }
            });
            let uplinks: Vec<_> = uplinks.buffered(READS).try_collect().await?;
            Ok(uplinks.into_iter().flatten().collect())
        })
    }

    fn settle(&self, device: &DeviceId, seq: u64, receipt: ReceiptRecord) -> Answer<()> {
        let slot = {
            let mut queues = self.core.queues();
            queues.settling(device, seq);
            queues.slot(device, seq)
        };
        self.change(Change::Settle {
            device: device.clone(),
            seq,
            slot,
            receipt: Box::new(receipt),
            keep: true,
        })
    }

    fn discard(&self, device: &DeviceId, status: ReceiptStatus, reason: Box<str>) -> Answer<u64> {
        const STEP: ReadLimit = ReadLimit {
            count: 512,
            bytes: usize::MAX,
        };
        let (core, device) = (Arc::clone(&self.core), device.clone());
        self.spawn(async move {
            let mut discarded = 0;
            loop {
                core.check()?;
                let page = core.queues().page(&device, None, STEP);
                if page.is_empty() {
                    return Ok(discarded);
                }
                let mut answers = Vec::with_capacity(page.len());
                for (seq, slot) in page {
                    let receipt = ReceiptRecord {
                        id: slot.id,
                        device: device.clone(),
                        status,
                        reason_code: None,
                        reason: Some(reason.clone()),
                        qos: slot.qos,
                        attempts: 0,
                        accepted_at: from_micros(slot.accepted_at),
                        completed_at: Some(SystemTime::now()),
                        platform: None,
                    };
                    core.queues().settling(&device, seq);
                    answers.push(core.change(Change::Settle {
                        device: device.clone(),
                        seq,
                        slot: Some(slot),
                        receipt: Box::new(receipt),
                        keep: false,
                    }));
                }
                for answer in answers {
                    answer.await.unwrap_or_else(|_| Err(closed()))?;
                    discarded += 1;
                }
            }
        })
    }

    fn backlog(&self, device: &DeviceId) -> Option<Backlog> {
        self.core.queues().backlog(device)
    }

    fn backlogs(&self) -> Vec<(DeviceId, Backlog)> {
        self.core.queues().backlogs()
    }
}

impl ReceiptLog for Nats {
    fn put_receipts(&self, receipts: Vec<ReceiptRecord>) {
        let order = match self.core.waiting.put(receipts) {
            Urgency::None => return,
            Urgency::First => Order::Receipts,
            Urgency::Many => Order::ManyReceipts,
        };
        // Without a writer, they stay where they are.
        let _ = self.core.to_writer.send(order);
    }

    fn receipt(&self, id: UplinkId) -> Answer<Option<ReceiptRecord>> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            if let Some(receipt) = core.waiting.get(id) {
                return Ok(Some(receipt));
            }
            core.check()?;
            // What waits has no receipt of its own: that it waits is the receipt. It comes first, because after a crash
            // an uplink can wait again that has one.
            let waits = core.queues().find(id);
            if let Some((device, seq, slot)) = waits
                && let Some(uplink) = core.queued(device, seq, slot).await?
            {
                return Ok(Some(ReceiptRecord::queued(&uplink)));
            }
            let subject = core.link.names.receipt(id);
            let last = core.link.last(StreamName::Receipts, &subject).await?;
            let decoded = last.map(|message| decode_receipt(id, &message.payload));
            decoded
                .transpose()
                .map_err(|error| StoreError::Unavailable {
                    cause: error.to_string().into(),
                })
        })
    }
}

impl IdempotencyKeys for Nats {
    fn begin(&self, device: &DeviceId, key: &str, body: BodyHash) -> Answer<Begun> {
        let (core, device, key) = (self.core.clone(), device.clone(), Box::<str>::from(key));
        Box::pin(async move { core.begin(&device, &key, body).await })
    }

    fn finish(&self, device: &DeviceId, answer: KeyedAnswer) -> Answer<()> {
        let device = device.clone();
        self.core.marks.answer(&device, &answer);
        self.change(Change::Finish { device, answer })
    }

    fn abandon(&self, device: &DeviceId, key: &str) {
        self.core.marks.remove(device, key);
    }
}

impl DownlinkHistory for Nats {
    fn append(&self, downlinks: Vec<Downlink>) -> Answer<Vec<u64>> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            // Without an appender, `done` is dropped.
            let _ = core.to_appender.send(Append { downlinks, done });
            answer.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn history(
        &self,
        devices: Arc<[DeviceId]>,
        after: u64,
        limit: ReadLimit,
    ) -> Answer<HistoryPage> {
        let core = Arc::clone(&self.core);
        Box::pin(async move { core.history(devices, after, limit).await })
    }

    fn window(&self, device: &DeviceId) -> Answer<Window> {
        let window = self.core.check();
        let window = window.map(|()| self.core.histories().window(device));
        Box::pin(std::future::ready(window))
    }

    fn newest_cursor(&self) -> u64 {
        self.core.histories().newest()
    }

    fn follow(&self) -> Option<Follow> {
        const WAITING: usize = 256;
        let (reader, follow) = mpsc::channel(WAITING);
        *lock(&self.core.readers.downlinks) = Some(reader);
        Some(follow)
    }
}

impl Records for Nats {
    fn put_record(&self, kind: RecordKind, key: &str, value: Vec<u8>) -> Answer<()> {
        let (core, key) = (self.core.clone(), Box::<str>::from(key));
        self.spawn(async move { core.put_record(kind, &key, Some(value)).await })
    }

    fn record(&self, kind: RecordKind, key: &str) -> Answer<Option<Vec<u8>>> {
        let (core, key) = (self.core.clone(), Box::<str>::from(key));
        Box::pin(async move { core.record(kind, &key).await })
    }

    fn records(&self, kind: RecordKind, after: Option<&str>, limit: usize) -> Answer<Vec<Record>> {
        let (core, after) = (Arc::clone(&self.core), after.map(Box::<str>::from));
        Box::pin(async move {
            core.check()?;
            let keys = core.records().keys(kind as u8, after.as_deref(), limit);
            let records = stream::iter(keys).map(|key| {
                let core = &core;
                async move {
                    let value = core.record(kind, &key).await?;
                    Ok::<_, StoreError>(value.map(|value| Record {
                        key: key.into(),
                        value,
                    }))
                }
            });
            let records: Vec<_> = records.buffered(READS).try_collect().await?;
            Ok(records.into_iter().flatten().collect())
        })
    }

    fn delete_record(&self, kind: RecordKind, key: &str) -> Answer<bool> {
        let (core, key) = (self.core.clone(), Box::<str>::from(key));
        self.spawn(async move {
            core.check()?;
            if !core.records().has(&(kind as u8, key.to_string())) {
                return Ok(false);
            }
            core.put_record(kind, &key, None).await.map(|()| true)
        })
    }
}

impl Engine for Nats {
    fn health(&self) -> Health {
        self.core.link.health()
    }

    fn counters(&self) -> Counters {
        let core = &self.core;
        let work = core.link.work();
        Counters {
            commits: work.published,
            failed_commits: work.failed,
            changes: work.published,
            commit_time: work.time,
            uplinks: core.queues().total(),
            downlinks: core.histories().total(),
            receipts: core.receipts.load(Ordering::Relaxed),
            keys: core.keys.load(Ordering::Relaxed),
            receipts_dropped: core.waiting.dropped(),
            settlements_dropped: core.settlements_dropped.load(Ordering::Relaxed),
        }
    }

    fn forget(&self, device: &DeviceId) -> Answer<()> {
        let (core, device) = (self.core.clone(), device.clone());
        self.spawn(async move { core.forget(&device).await })
    }

    fn close(&self) -> Answer<()> {
        let (done, closed) = oneshot::channel();
        // Without a writer, it is closed already.
        let _ = self.core.to_writer.send(Order::Close(done));
        let (tasks, core) = (self.tasks.clone(), self.core.clone());
        Box::pin(async move {
            let _ = closed.await;
            tasks.close();
            tasks.wait().await;
            core.end.cancel();
            core.link.flush().await;
            Ok(())
        })
    }

    fn rescan(&self) -> Answer<()> {
        let (done, answer) = oneshot::channel();
        // Without a writer, `done` is dropped.
        let _ = self.core.to_writer.send(Order::Rescan(Some(done)));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn look(&self, stored: UplinkId) -> Answer<()> {
        if self.core.queues().knows(stored) {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (done, answer) = oneshot::channel();
        // Without a writer, `done` is dropped.
        let _ = self.core.to_writer.send(Order::Look(done));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn arrivals(&self) -> Option<Arrivals> {
        let (reader, arrivals) = mpsc::unbounded_channel();
        *lock(&self.core.readers.arrivals) = Some(reader);
        Some(arrivals)
    }

    fn changes(&self) -> Option<Changes> {
        let (reader, changes) = mpsc::unbounded_channel();
        *lock(&self.core.readers.changes) = Some(reader);
        Some(changes)
    }
}
