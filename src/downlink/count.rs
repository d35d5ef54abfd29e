//! What a listener is given, counted for the connectors of its devices.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::device::DeviceId;
use crate::tally::{ConnectorTally, Source};

/// Where one listener counts; nowhere by default. While it lives, it is counted itself.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Each connector once.
    connectors: Box<[Arc<ConnectorTally>]>,
    /// Where each device's connector is in `connectors`, where there are several.
    devices: Box<[(DeviceId, usize)]>,
}

impl Count {
    pub(super) fn of<'a>(
        devices: impl Iterator<Item = &'a DeviceId>,
        tally: impl Fn(&DeviceId) -> Option<Arc<ConnectorTally>>,
    ) -> Self {
        let mut connectors: Vec<Arc<ConnectorTally>> = Vec::new();
        let mut places = Vec::new();
        for device in devices {
            let Some(tally) = tally(device) else {
                continue;
            };
            let known = connectors
                .iter()
                .position(|known| Arc::ptr_eq(known, &tally));
            let place = known.unwrap_or_else(|| {
                tally.listeners.fetch_add(1, Ordering::Relaxed);
                connectors.push(tally);
                connectors.len() - 1
            });
            places.push((device.clone(), place));
        }
        Self {
            devices: if connectors.len() > 1 {
                places.into()
            } else {
                Box::default()
            },
            connectors: connectors.into(),
        }
    }

    /// The listener gets a downlink.
    pub(super) fn delivers(&self, device: &DeviceId, from: Source) {
        if let Some(tally) = self.connector(device) {
            tally.delivers(from);
        }
    }

    /// The listener is told of a gap; without a device it may concern all of them.
    pub(super) fn gap(&self, device: Option<&DeviceId>) {
        match device {
            Some(device) => {
                if let Some(tally) = self.connector(device) {
                    tally.gaps.fetch_add(1, Ordering::Relaxed);
                }
            }
            None => {
                for tally in &self.connectors {
                    tally.gaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// The listener was too slow.
    pub(super) fn behind(&self) {
        for tally in &self.connectors {
            tally.behind.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connector(&self, device: &DeviceId) -> Option<&ConnectorTally> {
        match &*self.connectors {
            [only] => Some(only),
            several => {
                let (_, place) = self.devices.iter().find(|(known, _)| known == device)?;
                several.get(*place).map(Arc::as_ref)
            }
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        for tally in &self.connectors {
            tally.listeners.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connector_has_its_own() {
        let [a, b, c] = ["a", "b", "c"].map(|id| DeviceId::parse(id).unwrap());
        let (one, two) = (Arc::<ConnectorTally>::default(), Arc::default());
        let count = Count::of([&a, &b, &c].into_iter(), |device| {
            Some(Arc::clone(if *device == c { &two } else { &one }))
        });
        count.delivers(&b, Source::Memory);
        count.delivers(&c, Source::Store);
        count.gap(Some(&a));
        count.gap(None);
        count.behind();
        let read = |tally: &ConnectorTally| {
            [&tally.listeners, &tally.gaps, &tally.behind].map(|n| n.load(Ordering::Relaxed))
        };
        let delivered = |tally: &ConnectorTally| Source::ALL.map(|from| tally.delivered(from));
        assert_eq!((read(&one), read(&two)), ([1, 2, 1], [1, 1, 1]));
        assert_eq!((delivered(&one), delivered(&two)), ([1, 0], [0, 1]));
        drop(count);
        assert_eq!((read(&one), read(&two)), ([0, 2, 1], [0, 1, 1]));
    }
}
