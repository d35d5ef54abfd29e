//! Another configuration takes the place of the one that runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::RwLockWriteGuard;
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

/// Another configuration, planned whole. Nothing else changes until it is made, or dropped.
pub struct Prepared<'a> {
    fleet: &'a Fleet,
    plan: Plan,
    composed: Composed,
    _turn: RwLockWriteGuard<'a, ()>,
}

impl Fleet {
    /// Plans what another configuration describes, together with the devices that are registered in the store. On an error,
    /// nothing has changed, and nothing will.
    pub async fn prepare(
        self: &Arc<Self>,
        config: &Config,
    ) -> Result<Prepared<'_>, Vec<PlanError>> {
        let turn = self.turns.of_everything().await;
        let (before, workshops, stored, made) = {
            let state = lock(&self.state);
            let stored = state.stored.clone();
            let made = state.made;
            (state.setup.clone(), state.workshops.clone(), stored, made)
        };
        let composed = compose(config, &stored, &before);
        // Reading keys and certificates takes a while, and other tasks are not to wait for it.
        let fleet = Arc::clone(self);
        let planning = tokio::task::spawn_blocking(move || {
            let (before, after) = (before.held(made), composed.setup.held(made));
            let plan = (fleet.tools()).plan(&before, &after, &workshops, &|_| false);
            plan.map(|plan| (plan, composed))
        });
        let interrupted = |_| vec![PlanError::Interrupted];
        let (plan, composed) = planning.await.map_err(interrupted)??;
        Ok(Prepared {
            fleet: self,
            plan,
            composed,
            _turn: turn,
        })
    }
}

impl Prepared<'_> {
    /// Makes the fleet so, unless the program ends. Resolves when what is on its way has left the sessions that go.
    pub async fn make(self) -> Result<Changes, PlanError> {
        let Self {
            fleet,
            plan,
            composed,
            _turn,
        } = self;
        for warning in &plan.warnings {
            warn!("{warning}");
        }
        report_unfit(&composed.unfit);
        let changes = Changes::of(&plan);
        // Those whose sessions run elsewhere are listened to here as well.
        let removed: Vec<_> = {
            let before = &lock(&fleet.state).setup.devices;
            let gone = before
                .keys()
                .filter(|id| !composed.setup.devices.contains_key(*id));
            gone.cloned().collect()
        };
        let made = fleet.with_crew(|state, crew| {
            let Composed { setup, unfit } = composed;
            let transition = crew.carry_out(state, plan, &setup.held(state.made));
            crew.share.learn(&setup);
            (state.workshops).retain(|name, _| setup.connectors.contains_key(name));
            state.setup = setup;
            state.unfit = unfit;
            Ok(transition)
        });
        let transition = made.map_err(|_| PlanError::Interrupted)?;
        // Nobody listens in vain; what was received is kept, as over a restart.
        for id in &removed {
            fleet.hub.dismiss(id);
        }
        transition.finish(&fleet.uplinks).await;
        // Devices that share another session now may have come or gone with it.
        fleet.look_again().await;
        for id in &removed {
            fleet.uplinks.warn_of_orphans(id);
        }
        Ok(changes)
    }
}

impl Changes {
    fn of(plan: &Plan) -> Self {
        let devices = |step| {
            let steps = plan.difference.devices.values();
            steps.filter(|s| **s == step).count()
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
