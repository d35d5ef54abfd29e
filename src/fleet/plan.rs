//! Everything that a difference needs, made before anything is changed: what cannot be made is found here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::difference::{DeviceStep, Difference, SessionStep, difference};
use super::error::PlanError;
use super::reach::PlanWarning;
use super::setup::{SessionKey, Setup};
use super::workshop::{Topics, Workshop};
use crate::config::Device;
use crate::device::{ConnectorName, DeviceId};
use crate::keyring::Keyring;
use crate::session::SessionSpec;
use crate::tally::Tally;

/// A difference, and all that is needed to make it so.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) difference: Difference,
    /// Of the connectors of the setup.
    pub(super) workshops: Workshops,
    /// Of sessions that open, or become another one.
    pub(super) specs: BTreeMap<SessionKey, SessionSpec>,
    /// Of devices that come or change.
    pub(super) topics: BTreeMap<DeviceId, Topics>,
    /// What works, but should be seen to.
    pub(super) warnings: Vec<PlanWarning>,
    /// Devices that go, go on in another process.
    pub(super) goes_on: bool,
}

pub(super) type Workshops = BTreeMap<ConnectorName, Arc<Workshop>>;

/// What plans are made with.
pub(super) struct Tools<'a> {
    pub(super) tally: &'a Tally,
    /// Keys that are made and kept here.
    pub(super) keyring: Option<&'a Arc<Keyring>>,
    /// Uplinks that one session queues.
    pub(super) queue: usize,
    /// Whether keys are taken apart now, to see whether they can sign: for a configuration that is only checked.
    pub(super) thorough: bool,
}

impl<'a> Tools<'a> {
    /// For a configuration that is only looked at: everything of it is made, and nothing runs.
    pub(super) fn to_examine(tally: &'a Tally, queue: usize) -> Self {
        Self {
            tally,
            keyring: None,
            queue,
            thorough: true,
        }
    }

    /// Plans the way from one setup to another, or from a part of one to the same part of another: `used` tells whether
    /// devices outside of it use a session. All that is wrong is found, not only the first.
    pub(super) fn plan(
        &self,
        before: &Setup,
        after: &Setup,
        workshops: &Workshops,
        used: &dyn Fn(&SessionKey) -> bool,
    ) -> Result<Plan, Vec<PlanError>> {
        let mut plan = Plan {
            difference: difference(before, after, used),
            ..Plan::default()
        };
        let mut errors = Vec::new();
        self.open_workshops(after, workshops, &mut plan, &mut errors);
        let carried = carried(after);
        let mut topics = BTreeMap::new();
        for (id, device) in carried.values().flatten() {
            let Some(workshop) = plan.workshops.get(&device.connector) else {
                continue;
            };
            // A session that becomes another one needs those of devices that stay as they are.
            let key = after.session_of(device);
            let session = key.and_then(|key| plan.difference.sessions.get(&key));
            if session.is_none() && !plan.difference.devices.contains_key(*id) {
                continue;
            }
            match workshop.topics(device) {
                Ok(of_device) => {
                    topics.insert((*id).clone(), of_device);
                }
                Err(error) => errors.push(error),
            }
        }
        for (key, step) in &plan.difference.sessions {
            if *step == SessionStep::Close {
                continue;
            }
            let Some(workshop) = plan.workshops.get(&key.connector) else {
                continue;
            };
            let owner = key.owner.as_ref().and_then(|id| after.devices.get(id));
            let devices = carried.get(key).into_iter().flatten();
            let devices =
                devices.filter_map(|(id, device)| Some((*device, topics.get(*id)?.routes.clone())));
            let owner = owner.map(|member| &*member.device);
            match workshop.session(owner, devices, &mut plan.warnings) {
                Ok(spec) => {
                    plan.specs.insert(key.clone(), spec);
                }
                Err(error) => errors.push(error),
            }
        }
        let steps = &plan.difference.devices;
        topics.retain(|id, _| matches!(steps.get(id), Some(DeviceStep::Add | DeviceStep::Change)));
        plan.topics = topics;
        if errors.is_empty() {
            Ok(plan)
        } else {
            Err(errors)
        }
    }

    /// The workshops of a setup: those that there are, where their connector is the same.
    fn open_workshops(
        &self,
        setup: &Setup,
        known: &Workshops,
        plan: &mut Plan,
        errors: &mut Vec<PlanError>,
    ) {
        for (name, connector) in &setup.connectors {
            let same = known.get(name);
            let same = same.filter(|known| Arc::ptr_eq(&known.connector, connector));
            let workshop = match same {
                Some(known) => Ok(Arc::clone(known)),
                None => Workshop::new(connector, self, &mut plan.warnings).map(Arc::new),
            };
            match workshop {
                Ok(workshop) => {
                    plan.workshops.insert(name.clone(), workshop);
                }
                Err(error) => errors.push(error),
            }
        }
    }
}

/// The devices of each session.
fn carried(setup: &Setup) -> BTreeMap<SessionKey, Vec<(&DeviceId, &Device)>> {
    let mut carried: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, member) in &setup.devices {
        if let Some(key) = setup.session_of(&member.device) {
            carried.entry(key).or_default().push((id, &*member.device));
        }
    }
    carried
}
