//! What a store has to offer beside the engine's parts where several processes have it open at a time: whose uplinks are
//! whose, and what the others have done. An engine of one process has nothing to tell, and its channels are `None`.

use std::fmt;

use tokio::sync::mpsc;

use super::records::{RecordKind, StoredDownlink};
use crate::device::DeviceId;

/// Which devices' uplinks this process reads and settles. It is asked often, under the engine's locks: it must answer from
/// memory, must not block, and must not call the engine.
///
/// What it says may change at any time. Uplinks of a device that came to this process are read after the next
/// [`rescan`](super::Engine::rescan).
pub trait Holding: fmt::Debug + Send + Sync {
    /// Whether this device's uplinks are read and settled here.
    fn has(&self, device: &DeviceId) -> bool;
}

/// One process holds every device.
#[derive(Debug, Clone, Copy, Default)]
pub struct HoldsAll;

impl Holding for HoldsAll {
    fn has(&self, _: &DeviceId) -> bool {
        true
    }
}

/// Devices that are held here and for which uplinks have come to the queue by another way than this process's `enqueue`:
/// whoever feeds sessions looks into the queue of the device. Numbers of such uplinks may lie before some that have been read
/// already. The same device can come several times.
pub type Arrivals = mpsc::UnboundedReceiver<DeviceId>;

/// Records that another process has written or removed; within a second of its change, and at least the last change of each.
/// Now and then, a change of this process is among them. Whoever keeps something made of the record reads it again.
pub type Changes = mpsc::UnboundedReceiver<RecordChange>;

/// A record that another process has written or removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordChange {
    /// Its kind.
    pub kind: RecordKind,
    /// Its key.
    pub key: Box<str>,
}

/// Stored downlinks of all processes, this one's included, in the order of their cursors and without a hole: also over lost
/// connections. Whoever does not read it holds up appends and the history.
pub type Follow = mpsc::Receiver<StoredDownlink>;
