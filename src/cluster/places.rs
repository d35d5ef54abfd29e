//! Where devices are.

use std::fmt::Debug;

use super::partition::Partition;
use super::table::Place;
use crate::device::DeviceId;

/// Whoever knows all devices, also those whose sessions run elsewhere.
pub trait Places: Debug + Send + Sync {
    /// Where the session of a device is, or would be: for one that is not known, of its id.
    fn place(&self, device: &DeviceId) -> Place;

    /// The partition of a device's session.
    fn partition(&self, device: &DeviceId) -> Partition;

    /// Whether there is such a device, here or elsewhere. One that was registered elsewhere a moment ago may not be
    /// known yet.
    fn knows(&self, device: &DeviceId) -> bool;
}
