//! Another configuration takes the place of the one that runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::difference::{DeviceStep, SessionStep};
use super::error::PlanError;
use super::plan::Plan;
use super::stored::{Composed, compose};
use super::{Fleet, lock};
use crate::config::Config;
use crate::device::DeviceId;

/// What a reload has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Devices that came.
    pub added: usize,
    /// Devices that are other ones now, themselves or by their connector.
    pub changed: usize,
    /// Devices that went.
    pub removed: usize,
    /// Sessions that connect anew. All others keep their connection.
    pub reconnected: usize,
}

impl Fleet {
    /// Makes the fleet what another configuration describes, together with the devices that are registered in the store.
    /// On an error, nothing has changed.
    pub async fn reload(self: &Arc<Self>, config: &Config) -> Result<Changes, Vec<PlanError>> {
        let _turn = self.turns.of_everything().await;
        let (before, workshops, stored) = {
            let state = lock(&self.state);
            let stored = state.stored.clone();
            (state.setup.clone(), state.workshops.clone(), stored)
        };
        let composed = compose(config, &stored, &before);
        // Reading keys and certificates takes a while, and other tasks are not to wait for it.
        let fleet = Arc::clone(self);
        let planning = tokio::task::spawn_blocking(move || {
            let plan = (fleet.tools()).plan(&before, &composed.setup, &workshops, &|_| false);
            plan.map(|plan| (plan, composed))
        });
        let (plan, composed) = match planning.await {
            Ok(planned) => planned?,
            // The program ends, or a defect has been reported.
            Err(_) => return Ok(Changes::default()),
        };
        for warning in &plan.warnings {
            warn!("{warning}");
        }
        report_unfit(&composed.unfit);
        let changes = Changes::of(&plan);
        let made = self.with_crew(|state, crew| {
            let Composed { setup, unfit } = composed;
            let transition = crew.carry_out(state, plan, &setup);
            (state.workshops).retain(|name, _| setup.connectors.contains_key(name));
            state.setup = setup;
            state.unfit = unfit;
            Ok(transition)
        });
        if let Ok(transition) = made {
            transition.finish(&self.uplinks).await;
        }
        Ok(changes)
    }
}

impl Changes {
    fn of(plan: &Plan) -> Self {
        let devices = |step| {
            plan.difference
                .devices
                .values()
                .filter(|s| **s == step)
                .count()
        };
        let sessions = plan.difference.sessions.values();
        Self {
            added: devices(DeviceStep::Add),
            changed: devices(DeviceStep::Change),
            removed: devices(DeviceStep::Remove),
            reconnected: sessions.filter(|s| **s == SessionStep::Replace).count(),
        }
    }
}

/// Tells of registered devices that the configuration has no place for.
pub(super) fn report_unfit(unfit: &BTreeMap<DeviceId, String>) {
    for (id, why) in unfit {
        warn!(
            device = %id,
            "the device is registered and does not fit the configuration: {why}; it is not there until it does, or is \
             registered anew"
        );
    }
}
