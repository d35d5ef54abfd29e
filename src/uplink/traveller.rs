//! A device whose uplinks are on their way to its session.

use std::ops::Deref;
use std::sync::Arc;

use crate::registry::Device;

/// A device that something is on the way of: a request, a drain, or what is stored beside its place in a queue. While one
/// is there, the device does not go on to another session.
#[derive(Debug)]
pub(super) struct Traveller(Arc<Device>);

impl Traveller {
    /// `None` when the device is to leave its session.
    pub(super) fn new(device: Arc<Device>) -> Option<Self> {
        device.tenure.enter().then(|| Self(device))
    }
}

impl Clone for Traveller {
    fn clone(&self) -> Self {
        self.0.tenure.enter_again();
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Traveller {
    fn drop(&mut self) {
        self.0.tenure.leave();
    }
}

impl Deref for Traveller {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}
