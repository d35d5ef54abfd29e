//! Following the sessions of all devices: a sweep over the registry tells what has changed since the last one.
//!
//! What is told is the present state and not each change on the way to it. So whoever reads slowly misses nothing that
//! still matters, nothing is queued for him, and devices that come, go or get another session are noticed by the way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::watch::Seen;
use crate::device::DeviceId;
use crate::registry::Registry;

/// Devices that one step looks at: it holds the registry's lock, and what it finds is held in memory.
const STEP: usize = 200;

/// What a reader knows of all devices.
#[derive(Debug)]
pub struct Survey {
    registry: Arc<Registry>,
    known: HashMap<DeviceId, Known>,
    /// Counts the sweeps, so that a device that one did not meet is noticed.
    sweep: u64,
    /// Where the sweep has come to.
    after: Option<DeviceId>,
}

#[derive(Debug)]
struct Known {
    revision: u64,
    sweep: u64,
    figures: Figures,
}

/// What a device has done; as far as it differs, it is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// When its last uplink was delivered.
    pub last_uplink_at: Option<SystemTime>,
    /// Its uplinks that wait on disk for the broker.
    pub backlog: u64,
}

/// What one step has found.
#[derive(Debug, Default)]
pub struct Step {
    /// Devices that are new or whose sessions have changed.
    pub changed: Vec<Seen>,
    /// Devices that are gone.
    pub gone: Vec<DeviceId>,
    /// The sweep has come to its end.
    pub complete: bool,
}

impl Survey {
    /// Knows nothing yet: the first sweep finds every device.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            known: HashMap::new(),
            sweep: 0,
            after: None,
        }
    }

    /// Goes on with the sweep over those devices that `includes` holds for, or begins the next one.
    pub fn step(&mut self, includes: impl Fn(&DeviceId) -> bool) -> Step {
        let page = self
            .registry
            .page(self.after.as_ref(), STEP, |device| includes(&device.id));
        let mut step = Step {
            complete: page.len() < STEP,
            ..Step::default()
        };
        self.after = page.last().map(|device| device.id.clone());
        for device in &page {
            if let Some(known) = self.known.get_mut(&device.id) {
                known.sweep = self.sweep;
                if known.revision == device.session.status().revision() {
                    continue;
                }
            }
            let seen = Seen::now(device);
            let known = self.known.entry(device.id.clone()).or_insert(Known {
                revision: 0,
                sweep: self.sweep,
                figures: Figures::default(),
            });
            known.revision = seen.revision;
            step.changed.push(seen);
        }
        if step.complete {
            let sweep = self.sweep;
            let gone = (self.known).extract_if(|_, known| known.sweep != sweep);
            step.gone = gone.map(|(device, _)| device).collect();
            self.after = None;
            self.sweep += 1;
        }
        step
    }

    /// Whether a device's figures differ from those that were told last; they are now.
    pub fn has_news(&mut self, device: &DeviceId, figures: Figures) -> bool {
        match self.known.get_mut(device) {
            Some(known) => std::mem::replace(&mut known.figures, figures) != figures,
            None => false,
        }
    }
}
