//! The engine against a real file, a disk that fails, a power cut, and its own sudden death.

mod crash;
mod disk;
mod failing;
mod history;
mod keys;
mod opening;
mod queue;
mod receipts;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tempfile::TempDir;

use super::Embedded;
use crate::device::DeviceId;
use crate::message::{ContentType, Downlink, Qos, UplinkId};
use crate::store::records::{QueuedUplink, ReadLimit, ReceiptRecord, ReceiptStatus};
use crate::store::{Engine, Limits, UplinkQueue};
use crate::topic::SubTopic;

const ALL: ReadLimit = ReadLimit {
    count: usize::MAX,
    bytes: usize::MAX,
};

/// A store in a folder of its own.
struct Fixture {
    folder: TempDir,
    limits: Limits,
    store: Arc<Embedded>,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open(&folder.path().join("store.redb"), limits);
        Self {
            folder,
            limits,
            store,
        }
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = open(&self.folder.path().join("store.redb"), self.limits);
    }
}

fn open(path: &Path, limits: Limits) -> Arc<Embedded> {
    Arc::new(Embedded::open(path, limits).unwrap())
}

fn device(number: usize) -> DeviceId {
    DeviceId::parse(&format!("device-{number}")).unwrap()
}

/// A time as the store keeps it.
fn now() -> SystemTime {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros.as_micros()).unwrap())
}

fn uplink(device: &DeviceId, seq: u64, payload: &[u8]) -> QueuedUplink {
    QueuedUplink {
        seq,
        id: UplinkId::new(),
        device: device.clone(),
        subtopic: Some(SubTopic::parse("alerts/critical").unwrap()),
        payload: Bytes::copy_from_slice(payload),
        content_type: Some(ContentType::json()),
        qos: Qos::AtLeastOnce,
        retain: true,
        accepted_at: now(),
        expires_at: Some(now() + Duration::from_secs(60)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

fn delivered(uplink: &QueuedUplink) -> ReceiptRecord {
    ReceiptRecord {
        status: ReceiptStatus::Delivered,
        reason_code: Some(0),
        attempts: 1,
        completed_at: Some(now()),
        ..ReceiptRecord::queued(uplink)
    }
}

fn downlink(device: &DeviceId, payload: &[u8]) -> Downlink {
    Downlink {
        device: device.clone(),
        topic: "set/on".into(),
        payload: Bytes::copy_from_slice(payload),
        content_type: Some("application/json".into()),
        qos: Qos::AtLeastOnce,
        retained: false,
        received_at: now(),
    }
}

async fn queued(store: &Embedded, device: &DeviceId) -> Vec<u64> {
    let uplinks = UplinkQueue::read(store, device, None, ALL).await.unwrap();
    uplinks.into_iter().map(|uplink| uplink.seq).collect()
}

/// Waits until something is true.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
