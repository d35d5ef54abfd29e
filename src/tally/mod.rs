//! What is counted on the way: plain atomics, held by those who count, read by those who are asked.
//!
//! Counting is one relaxed addition, without a lock, a look-up or an allocation. A connector's tally outlives its
//! sessions and a reload of the configuration, so that nothing that only grows ever falls.
//!
//! - [`Tally`]: all of it
//! - [`ConnectorTally`]: one connector's part
//! - [`HttpTally`]: requests; [`ListenerFigures`]: connections
//! - [`Reloads`]: what became of configurations that were read again
//! - [`ClusterTally`]: what happens between several replicas
//! - [`Histogram`]: how long things took

mod cluster;
mod connector;
mod histogram;
mod http;
mod listener;
mod reloads;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use cluster::{Asked, ClusterTally};
pub use connector::{Answered, Cause, ConnectorTally, Counters, Source};
pub use histogram::{BOUNDS, Histogram, Timings};
pub use http::{HttpTally, Operation, OperationTally};
pub use listener::ListenerFigures;
pub use reloads::{Refusal, Reloads};

use crate::device::ConnectorName;

/// What all parts of one bridge have counted since it was started.
#[derive(Debug, Default)]
pub struct Tally {
    connectors: Mutex<BTreeMap<ConnectorName, Arc<ConnectorTally>>>,
    /// Configurations that were read while the bridge runs.
    pub reloads: Reloads,
    /// What happens between several replicas.
    pub cluster: Arc<ClusterTally>,
}

impl Tally {
    /// A connector's part; the same one for the same name, whatever becomes of the connector.
    pub fn connector(&self, name: &ConnectorName) -> Arc<ConnectorTally> {
        let mut connectors = self.lock();
        if let Some(tally) = connectors.get(name) {
            return Arc::clone(tally);
        }
        let tally = Arc::default();
        connectors.insert(name.clone(), Arc::clone(&tally));
        tally
    }

    /// All connectors that there have been, by name.
    pub fn connectors(&self) -> Vec<(ConnectorName, Arc<ConnectorTally>)> {
        let connectors = self.lock();
        let all = connectors.iter();
        all.map(|(name, tally)| (name.clone(), Arc::clone(tally)))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectorName, Arc<ConnectorTally>>> {
        (self.connectors)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_connector_that_comes_again_counts_on() {
        let (tally, name) = (Tally::default(), ConnectorName::parse("a").unwrap());
        tally.connector(&name).gaps.fetch_add(2, Ordering::Relaxed);
        tally.connector(&name).gaps.fetch_add(1, Ordering::Relaxed);
        let all = tally.connectors();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].1.gaps.load(Ordering::Relaxed), 3);
    }
}
