//! What can be asked of the writer, as plain data.

use crate::device::DeviceId;
use crate::message::{Downlink, UplinkId};
use crate::store::engine::StoreError;
use crate::store::records::{KeyedAnswer, QueuedUplink, ReceiptRecord, ReceiptStatus, RecordKind};

/// One change. It takes effect as a whole or not at all, together with all others of its transaction.
/// It does not print itself: a record may hold a secret.
pub(super) enum Change {
    Enqueue {
        uplink: Box<QueuedUplink>,
        answer: Option<KeyedAnswer>,
    },
    Settle {
        device: DeviceId,
        seq: u64,
        receipt: Box<ReceiptRecord>,
    },
    /// Removes at the most [`DISCARD_STEP`] uplinks.
    Discard {
        device: DeviceId,
        status: ReceiptStatus,
        reason: Box<str>,
    },
    /// Removes at the most [`FORGET_STEP`] entries of a device's history, and as many of its keys.
    Forget {
        device: DeviceId,
    },
    Finish {
        device: DeviceId,
        answer: KeyedAnswer,
    },
    Append(Vec<Downlink>),
    PutRecord {
        kind: RecordKind,
        key: Box<str>,
        value: Vec<u8>,
    },
    DeleteRecord {
        kind: RecordKind,
        key: Box<str>,
    },
}

/// How many uplinks one change discards: a transaction stays short.
pub(super) const DISCARD_STEP: u64 = 1000;

/// How many entries one change forgets.
pub(super) const FORGET_STEP: u64 = 1000;

/// What a change has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    Count(u64),
    Cursors(Vec<u64>),
    Existed(bool),
}

/// A change that was refused has changed nothing; the others of its transaction are not concerned.
pub(super) type Applied = Result<Reply, StoreError>;

/// How to take back what a failed commit may have left behind after all, when its caller was told that nothing was
/// taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undo {
    Uplink {
        device: DeviceId,
        seq: u64,
        id: UplinkId,
        key: Option<Box<str>>,
    },
    Downlink {
        device: DeviceId,
        cursor: u64,
    },
}

impl Change {
    /// Bytes in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        const FIXED: usize = 256;
        let answer = |answer: &KeyedAnswer| answer.key.len() + answer.answer.len();
        FIXED
            + match self {
                Self::Enqueue { uplink, answer: a } => {
                    uplink.payload.len() + a.as_ref().map_or(0, answer)
                }
                Self::Settle { .. }
                | Self::Discard { .. }
                | Self::Forget { .. }
                | Self::DeleteRecord { .. } => 0,
                Self::Finish { answer: a, .. } => answer(a),
                Self::Append(downlinks) => {
                    let one = |d: &Downlink| FIXED + d.payload.len() + d.topic.len();
                    downlinks.iter().map(one).sum()
                }
                Self::PutRecord { value, .. } => value.len(),
            }
    }

    /// Whether it is kept and written later when it cannot be written now: it reports what has happened elsewhere.
    pub(super) fn must_be_kept(&self) -> bool {
        matches!(self, Self::Settle { .. } | Self::Finish { .. })
    }
}
