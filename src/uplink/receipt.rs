//! What became of one uplink, and the receipts of those that never had to be stored.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::platform::PlatformOutcome;
use crate::device::DeviceId;
use crate::message::{Qos, UplinkId};
use crate::mqtt::reason::Reason;
use crate::store::records::{ReceiptRecord, ReceiptStatus};

/// What became of one uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: UplinkId,
    /// Its device.
    pub device: DeviceId,
    /// Where it stands. With MQTT 3.1.1 `delivered` means "received": such a broker also confirms what it then drops.
    pub status: ReceiptStatus,
    /// The broker's reason code, where it gave one.
    pub reason: Option<Reason>,
    /// Why it ended as it did, in words, where that is not the broker's success.
    pub detail: Option<Box<str>>,
    /// The quality of service it is published with.
    pub qos: Qos,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When it was settled; absent while it is queued.
    pub completed_at: Option<SystemTime>,
    /// What the platform itself says of it; absent where it says nothing of any uplink.
    pub platform: Option<PlatformOutcome>,
}

impl From<ReceiptRecord> for Receipt {
    fn from(record: ReceiptRecord) -> Self {
        Self {
            id: record.id,
            device: record.device,
            status: record.status,
            reason: record.reason_code.map(Reason),
            detail: record.reason,
            qos: record.qos,
            attempts: record.attempts,
            accepted_at: record.accepted_at,
            completed_at: record.completed_at,
            platform: record
                .platform
                .and_then(|text| PlatformOutcome::from_text(&text)),
        }
    }
}

impl From<Receipt> for ReceiptRecord {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id,
            device: receipt.device,
            status: receipt.status,
            reason_code: receipt.reason.map(|reason| reason.0),
            reason: receipt.detail,
            qos: receipt.qos,
            attempts: receipt.attempts,
            accepted_at: receipt.accepted_at,
            completed_at: receipt.completed_at,
            platform: receipt.platform.map(|outcome| outcome.to_text()),
        }
    }
}

/// The latest receipts of uplinks that were settled without being stored: in memory only, so that confirming an uplink
/// costs no disk. They are gone after a restart.
#[derive(Debug)]
pub(super) struct RecentReceipts {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<UplinkId, Receipt, BuildHasherDefault<ById>>,
    in_order: VecDeque<UplinkId>,
}

impl RecentReceipts {
    /// Keeps so many.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            kept: Mutex::default(),
            limit,
        }
    }

    pub(super) fn put(&self, receipt: Receipt) {
        if self.limit == 0 {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.in_order.len() >= self.limit
            && let Some(oldest) = kept.in_order.pop_front()
        {
            kept.by_id.remove(&oldest);
        }
        kept.in_order.push_back(receipt.id);
        kept.by_id.insert(receipt.id, receipt);
    }

    /// Writes what the platform says on a device's receipt; `false` where there is no such receipt.
    pub(super) fn answered(
        &self,
        id: UplinkId,
        device: &DeviceId,
        outcome: &PlatformOutcome,
    ) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let receipt = kept.by_id.get_mut(&id);
        let Some(receipt) = receipt.filter(|receipt| receipt.device == *device) else {
            return false;
        };
        receipt.platform = Some(outcome.clone());
        true
    }

    pub(super) fn get(&self, id: UplinkId) -> Option<Receipt> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_id.get(&id).cloned()
    }
}

/// Only ids that were made here are kept, and half of each is random: nobody can choose them, so that they need no hash.
#[derive(Debug, Default)]
struct ById(u64);

impl Hasher for ById {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 ^= u64::from_be_bytes(word);
        }
    }

    /// The length of what follows.
    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_receipts_are_kept() {
        let receipts = RecentReceipts::new(2);
        let receipt = || Receipt {
            id: UplinkId::new(),
            device: DeviceId::parse("a").unwrap(),
            status: ReceiptStatus::Delivered,
            reason: Some(Reason::SUCCESS),
            detail: None,
            qos: Qos::AtLeastOnce,
            attempts: 1,
            accepted_at: SystemTime::now(),
            completed_at: None,
            platform: None,
        };
        let all = [receipt(), receipt(), receipt()];
        for receipt in &all {
            receipts.put(receipt.clone());
        }
        assert_eq!(receipts.get(all[0].id), None);
        assert_eq!(receipts.get(all[2].id).as_ref(), Some(&all[2]));
    }
}
