//! What the tests of all engines have in common.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::records::{QueuedUplink, ReadLimit, ReceiptRecord, ReceiptStatus};
use super::{Engine, UplinkQueue};
use crate::device::DeviceId;
use crate::message::{ContentType, Downlink, Qos, UplinkId};
use crate::topic::SubTopic;

pub(super) const ALL: ReadLimit = ReadLimit {
    count: usize::MAX,
    bytes: usize::MAX,
};

pub(super) fn device(number: usize) -> DeviceId {
    DeviceId::parse(&format!("device-{number}")).unwrap()
}

/// A time as the store keeps it.
pub(super) fn now() -> SystemTime {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros.as_micros()).unwrap())
}

pub(super) fn uplink(device: &DeviceId, seq: u64, payload: &[u8]) -> QueuedUplink {
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

pub(super) fn delivered(uplink: &QueuedUplink) -> ReceiptRecord {
    ReceiptRecord {
        status: ReceiptStatus::Delivered,
        reason_code: Some(0),
        attempts: 1,
        completed_at: Some(now()),
        ..ReceiptRecord::queued(uplink)
    }
}

pub(super) fn downlink(device: &DeviceId, payload: &[u8]) -> Downlink {
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

pub(super) async fn queued(store: &dyn Engine, device: &DeviceId) -> Vec<u64> {
    let uplinks = UplinkQueue::read(store, device, None, ALL).await.unwrap();
    uplinks.into_iter().map(|uplink| uplink.seq).collect()
}

/// Waits until something is true.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The same for what has to be asked for.
pub(super) async fn until_async(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
