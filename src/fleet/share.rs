//! Which devices' sessions this process runs, where several share a store.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::setup::Setup;
use crate::cluster::{Partition, Partitions};
use crate::device::DeviceId;
use crate::store::Holding;

/// The partitions that this process has, and in which one each device is. Asked on the way of every message where there are
/// several processes; one that is alone has all, and never asks.
#[derive(Debug)]
pub struct Share(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: Partitions,
    /// Devices that are not in the partition of their own id, because their session is another's.
    apart: HashMap<DeviceId, Partition>,
}

impl Share {
    /// Of a process that is alone: everything.
    pub fn alone() -> Self {
        Self::with(Partitions::ALL)
    }

    /// Of a member of a cluster, which has nothing yet.
    pub fn of_member() -> Self {
        Self::with(Partitions::NONE)
    }

    fn with(held: Partitions) -> Self {
        Self(RwLock::new(Inner {
            held,
            ..Inner::default()
        }))
    }

    /// The partition of a device; of one that is not known, that of its id.
    pub fn partition(&self, device: &DeviceId) -> Partition {
        self.read().partition(device)
    }

    pub(super) fn held(&self) -> Partitions {
        self.read().held
    }

    pub(super) fn hold(&self, partitions: Partitions) {
        let mut inner = self.write();
        inner.held = inner.held.and(partitions);
    }

    pub(super) fn release(&self, partitions: Partitions) {
        let mut inner = self.write();
        inner.held = inner.held.without(partitions);
    }

    /// Learns where devices are.
    pub(super) fn learn(&self, setup: &Setup) {
        let devices = setup.devices.values();
        let apart = devices.filter_map(|member| {
            let id = &member.device.id;
            let partition = setup.partition(&member.device);
            (partition != Partition::of(id.as_str())).then(|| (id.clone(), partition))
        });
        let apart = apart.collect();
        self.write().apart = apart;
    }

    /// Learns where one device is; where it is no more, its id counts.
    pub(super) fn learn_one(&self, device: &DeviceId, partition: Option<Partition>) {
        let mut inner = self.write();
        match partition.filter(|partition| *partition != Partition::of(device.as_str())) {
            Some(partition) => inner.apart.insert(device.clone(), partition),
            None => inner.apart.remove(device),
        };
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn partition(&self, device: &DeviceId) -> Partition {
        let apart = self.apart.get(device).copied();
        apart.unwrap_or_else(|| Partition::of(device.as_str()))
    }
}

impl Holding for Share {
    fn has(&self, device: &DeviceId) -> bool {
        let inner = self.read();
        inner.held.has(inner.partition(device))
    }
}
