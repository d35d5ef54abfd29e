//! One device comes, changes or goes, while everything else runs on.

use std::sync::Arc;

use super::Fleet;
use super::error::ChangeError;
use super::making::Crew;
use super::plan::{Plan, Tools};
use super::setup::{Member, Setup};
use super::state::State;
use super::transition::Transition;
use crate::config::{ClientId, Owner};
use crate::device::DeviceId;
use crate::store::Holding;

/// A change of one device that is possible at this moment.
#[derive(Debug)]
pub(super) struct Change {
    id: DeviceId,
    plan: Plan,
    /// The part of the setup that it is about, as it will be.
    after: Setup,
    client_id: Option<ClientId>,
}

impl State {
    /// Plans a change of one device: what it is to be, with the client id of its connection, or that it goes.
    pub(super) fn change(
        &self,
        id: &DeviceId,
        member: Option<(Member, Option<ClientId>)>,
        tools: &Tools<'_>,
    ) -> Result<Change, ChangeError> {
        let (member, client_id) = member.unzip();
        self.check_behind(id, member.as_ref())?;
        let mut before = Setup::default();
        let known = self.setup.devices.get(id);
        let behind = self.setup.behind(id);
        for member in known.into_iter().chain(behind) {
            let id = member.device.id.clone();
            before.devices.insert(id, Arc::clone(member));
        }
        let connectors = known.map(|known| &known.device.connector);
        let connectors = connectors
            .into_iter()
            .chain(member.as_ref().map(|member| &member.device.connector));
        for name in connectors {
            if let Some(connector) = self.setup.connectors.get(name) {
                before
                    .connectors
                    .insert(name.clone(), Arc::clone(connector));
            }
        }
        let mut after = before.clone();
        after.devices.remove(id);
        if let Some(member) = member {
            after.insert(member, &before);
        }
        let used = |key: &_| self.is_used(key, &before);
        let (held_before, held_after) = (before.held(self.made), after.held(self.made));
        let plan = tools.plan(&held_before, &held_after, &self.workshops, &used)?;
        Ok(Change {
            id: id.clone(),
            plan,
            after,
            client_id: client_id.flatten(),
        })
    }

    /// Makes a change that was possible a moment ago: nothing may come between the two.
    pub(super) fn make(&mut self, change: Change, crew: &Crew<'_>) -> Transition {
        let Change {
            id,
            plan,
            after,
            client_id,
        } = change;
        let mut transition = crew.carry_out(self, plan, &after.held(self.made));
        let member = after.devices.get(&id);
        let partition = member.map(|member| after.partition(&member.device));
        let had = crew.share.has(&id);
        crew.share.learn_one(&id, partition);
        let has = crew.share.has(&id);
        (transition.comes, transition.goes) = (has && !had, had && !has);
        match member {
            Some(member) => {
                let member = Arc::clone(member);
                self.setup.devices.insert(id.clone(), member);
            }
            None => {
                self.setup.devices.remove(&id);
            }
        }
        let client_ids = Arc::make_mut(&mut self.setup.client_ids);
        let owner = Owner::Device(id);
        match client_id {
            Some(client_id) => client_ids.claim(&owner, client_id),
            None => client_ids.release(&owner),
        }
        transition
    }

    /// Devices behind a router device need it to stay one, where it is.
    fn check_behind(&self, id: &DeviceId, member: Option<&Member>) -> Result<(), ChangeError> {
        let behind: Vec<_> = (self.setup.behind(id))
            .map(|member| member.device.id.clone())
            .collect();
        let known = self.setup.devices.get(id);
        let stays = match (known, member) {
            (Some(known), Some(member)) => {
                member.device.via.is_none() && member.device.connector == known.device.connector
            }
            _ => false,
        };
        if behind.is_empty() || stays {
            return Ok(());
        }
        Err(ChangeError::Router {
            device: id.clone(),
            behind,
        })
    }
}

impl Fleet {
    /// Waits until a change of one device that was made has taken its course.
    pub(super) async fn settle(&self, id: &DeviceId, transition: Transition) {
        let goes = transition.goes;
        if transition.comes {
            // What is stored comes first, so it must be known before anything can be accepted.
            self.look_again().await;
        }
        transition.finish(&self.uplinks).await;
        if goes && self.uplinks.backlog(id).is_some() {
            // It is another process' business now, and nothing is to be said of it here.
            self.look_again().await;
        }
    }
}
