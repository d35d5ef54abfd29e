//! Whether the bridge can do its work.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::device::ConnectorName;
use crate::registry::Registry;
use crate::session::{Snapshot, State, Trouble};
use crate::store;
use crate::tally::{Refusal, Tally};

/// Asks the store how it is doing.
pub type StoreHealth = Box<dyn Fn() -> store::Health + Send + Sync>;

/// Watches over the whole bridge.
pub struct Health {
    registry: Arc<Registry>,
    store: Option<StoreHealth>,
    accepting: AtomicBool,
    reloads: Option<Arc<Tally>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Health({:?})", self.report())
    }
}

impl Health {
    /// Not accepting yet. Without a store there is nothing to watch of it.
    pub fn new(registry: Arc<Registry>, store: Option<StoreHealth>) -> Self {
        Self {
            registry,
            store,
            accepting: AtomicBool::new(false),
            reloads: None,
        }
    }

    /// The same, and it tells of configurations that were refused while the bridge runs.
    pub fn watching_reloads(self, tally: Arc<Tally>) -> Self {
        Self {
            reloads: Some(tally),
            ..self
        }
    }

    /// Notes that the main listener is up, or that the bridge begins to shut down.
    pub fn set_accepting(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::Relaxed);
    }

    /// How things stand now. Takes time in proportion to the number of devices.
    pub fn report(&self) -> Report {
        let devices = self.registry.all();
        let mut connectors: BTreeMap<&ConnectorName, ConnectorHealth> = BTreeMap::new();
        let mut seen = HashSet::new();
        for device in &devices {
            let name = &device.connector.name;
            let connector = connectors
                .entry(name)
                .or_insert_with(|| ConnectorHealth::new(name));
            connector.devices += 1;
            // Devices of one connector may share a session.
            let status = device.session.status();
            if seen.insert(Arc::as_ptr(status)) {
                connector.count(status.snapshot());
            }
        }
        Report {
            accepting: self.accepting.load(Ordering::Relaxed),
            store: self.store.as_ref().map(|health| health()),
            connectors: connectors.into_values().collect(),
            refused: (self.reloads.as_ref()).and_then(|tally| tally.reloads.refusal()),
        }
    }
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The main listener is up, and the bridge is not shutting down.
    pub accepting: bool,
    /// Whether what must be durable can be written; `None` without a store.
    pub store: Option<store::Health>,
    /// Connectors that have devices, by name.
    pub connectors: Vec<ConnectorHealth>,
    /// Why the last configuration that was read while the bridge runs was not taken over, if it was not.
    pub refused: Option<Refusal>,
}

/// What somebody does not want to make readiness depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Excluded {
    /// Whether any broker is reached. For those who send traffic by readiness and rely on the store: while no broker is
    /// reached, uplinks are still taken.
    pub brokers: bool,
    /// Whether the store can be written.
    pub store: bool,
}

impl Report {
    /// Whether requests are accepted, brokers are reached, and what they do not confirm can be kept.
    pub fn is_ready(&self, without: Excluded) -> bool {
        self.accepting
            && (without.brokers || self.reaches_a_broker())
            && (without.store || self.can_store())
    }

    /// Whether there is hope for some requests: one session at least is connected, or has not been needed yet. So the
    /// trouble of some devices, or of one connector among several, does not make the bridge unready; but a bridge that
    /// reaches no broker at all does not call itself ready.
    pub fn reaches_a_broker(&self) -> bool {
        self.connectors.is_empty() || !self.connectors.iter().all(ConnectorHealth::is_stuck)
    }

    /// Whether uplinks that the broker does not confirm in time can be stored, where that is configured. Without that, an
    /// outage of the broker is passed on to the clients.
    pub fn can_store(&self) -> bool {
        !matches!(self.store, Some(store::Health::ReadOnly { .. }))
    }
}

/// How one connector stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorHealth {
    /// Its name.
    pub name: ConnectorName,
    /// Devices registered on it.
    pub devices: usize,
    /// Sessions that carry them.
    pub sessions: usize,
    /// Sessions that are connected.
    pub connected: usize,
    /// Sessions that nobody has needed yet, or that wait for a key.
    pub idle: usize,
    /// The latest thing that went wrong with one of those that are neither.
    pub last_trouble: Option<Trouble>,
}

impl ConnectorHealth {
    fn new(name: &ConnectorName) -> Self {
        Self {
            name: name.clone(),
            devices: 0,
            sessions: 0,
            connected: 0,
            idle: 0,
            last_trouble: None,
        }
    }

    /// Whether it has sessions that are needed, and none of them is connected.
    pub fn is_stuck(&self) -> bool {
        self.sessions > 0 && self.connected + self.idle == 0
    }

    fn count(&mut self, session: Snapshot) {
        self.sessions += 1;
        match session.state {
            State::Connected => self.connected += 1,
            // A device without a key must not keep requests away that would give it one.
            State::Idle | State::NoKey => self.idle += 1,
            _ => {
                let troubles = self.last_trouble.take().into_iter();
                self.last_trouble = troubles
                    .chain(session.last_trouble)
                    .max_by_key(|trouble| trouble.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(sessions: usize, connected: usize, idle: usize) -> ConnectorHealth {
        ConnectorHealth {
            name: ConnectorName::parse("a").unwrap(),
            devices: sessions,
            sessions,
            connected,
            idle,
            last_trouble: None,
        }
    }

    #[test]
    fn some_trouble_is_no_matter_but_nothing_but_trouble_is() {
        // And whether it is ready where brokers do not matter.
        let cases: [(bool, &[ConnectorHealth], bool, bool); 6] = [
            (false, &[], false, false),
            (true, &[], true, true),
            (false, &[connector(1, 1, 0)], false, false),
            (true, &[connector(3, 1, 0)], true, true),
            (true, &[connector(3, 0, 0), connector(1, 0, 1)], true, true),
            (true, &[connector(3, 0, 0), connector(1, 0, 0)], false, true),
        ];
        let without_brokers = Excluded {
            brokers: true,
            store: false,
        };
        for (accepting, connectors, ready, alone) in cases {
            let report = Report {
                accepting,
                store: None,
                connectors: connectors.to_vec(),
                refused: None,
            };
            assert_eq!(report.is_ready(Excluded::default()), ready, "{report:?}");
            assert_eq!(report.is_ready(without_brokers), alone, "{report:?}");
        }
    }

    #[test]
    fn a_store_that_cannot_write_is_no_readiness() {
        let read_only = store::Health::ReadOnly {
            since: std::time::SystemTime::now(),
            cause: "no space".into(),
        };
        for (store, ready) in [(store::Health::Writable, true), (read_only, false)] {
            let report = Report {
                accepting: true,
                store: Some(store),
                connectors: Vec::new(),
                refused: None,
            };
            assert_eq!(report.is_ready(Excluded::default()), ready, "{report:?}");
            let without_store = Excluded {
                brokers: false,
                store: true,
            };
            assert!(report.is_ready(without_store), "{report:?}");
        }
    }
}
