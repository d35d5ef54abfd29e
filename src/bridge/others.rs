//! What other processes do with the store that this one shares with them.

use std::sync::Arc;

use crate::fleet::Fleet;
use crate::store::Engine;
use crate::uplink::Uplinks;

/// Follows it, where there are others, until the store is closed.
pub(super) fn follow(store: &Arc<dyn Engine>, fleet: &Arc<Fleet>, uplinks: &Uplinks) {
    if let Some(changes) = store.changes() {
        tokio::spawn(Arc::clone(fleet).follow_changes(changes));
    }
    if let Some(mut arrivals) = store.arrivals() {
        let uplinks = uplinks.clone();
        tokio::spawn(async move {
            while let Some(device) = arrivals.recv().await {
                uplinks.arrived(&device);
            }
        });
    }
}
