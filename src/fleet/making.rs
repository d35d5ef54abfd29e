//! A plan becomes what runs. Nothing here waits, and nothing can fail: what has to be waited for is left in a
//! [`Transition`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::difference::{DeviceStep, SessionStep};
use super::plan::Plan;
use super::setup::{Member, SessionKey, Setup};
use super::share::Share;
use super::state::{Running, State};
use super::transition::{Transition, Turn};
use crate::device::DeviceId;
use crate::registry::{self, Registration, Registry};
use crate::session::{Session, Shared};

/// Who carries a plan out.
pub(super) struct Crew<'a> {
    pub(super) registry: &'a Registry,
    pub(super) share: &'a Share,
    pub(super) shared: &'a Shared,
    pub(super) tasks: &'a TaskTracker,
}

/// A plan that is being carried out.
struct Making<'a> {
    state: &'a mut State,
    plan: Plan,
    sessions: BTreeMap<SessionKey, SessionStep>,
    /// The setup, or the part of it, that the plan leads to.
    after: &'a Setup,
    crew: &'a Crew<'a>,
    transition: Transition,
}

impl Crew<'_> {
    /// Makes what runs what the plan says. The setup in `state` is still the one from before, and the caller's business.
    pub(super) fn carry_out(&self, state: &mut State, mut plan: Plan, after: &Setup) -> Transition {
        let sessions = std::mem::take(&mut plan.difference.sessions);
        let devices = std::mem::take(&mut plan.difference.devices);
        let mut making = Making {
            state,
            plan,
            sessions,
            after,
            crew: self,
            transition: Transition::default(),
        };
        making.open();
        for (id, step) in devices {
            match step {
                DeviceStep::Remove => making.remove(&id),
                DeviceStep::Add | DeviceStep::Change => making.put(&id),
            }
        }
        making.turn();
        making.state.workshops.extend(making.plan.workshops);
        making.transition
    }
}

impl Making<'_> {
    /// Opens new sessions.
    fn open(&mut self) {
        for (key, step) in &self.sessions {
            if *step != SessionStep::Open {
                continue;
            }
            let Some(spec) = self.plan.specs.remove(key) else {
                continue;
            };
            // Lost since the plan was made.
            if !self.crew.share.held().has(key.partition()) {
                continue;
            }
            let (session, handle, control) = Session::new(spec, self.crew.shared);
            let task = session.run(self.crew.shared.clone());
            let task = self.crew.tasks.spawn(task).abort_handle();
            let running = Running {
                handle,
                control,
                task,
                carries: BTreeSet::new(),
            };
            self.state.sessions.insert(key.clone(), running);
        }
    }

    fn remove(&mut self, id: &DeviceId) {
        if let Some(old) = self.crew.registry.remove(id) {
            if self.plan.goes_on {
                // What is not sent is stored, for whoever goes on with it.
                self.transition.send_on(&old);
            } else {
                // What is on its way finds its end, and is not stored for nobody.
                old.lane.close();
                self.transition.retire(&old);
            }
        }
        if let Some(key) = self.session_before(id) {
            self.state.leave(&key, id);
        }
    }

    /// Puts a device in that comes or changes.
    fn put(&mut self, id: &DeviceId) {
        let before = self.session_before(id);
        let member = self.after.devices.get(id);
        let (Some(member), Some(topics)) = (member, self.plan.topics.remove(id)) else {
            return;
        };
        let workshop = self.plan.workshops.get(&member.device.connector);
        let key = self.after.session_of(&member.device);
        let (Some(key), Some(workshop)) = (key, workshop) else {
            return;
        };
        let Some(running) = self.state.sessions.get_mut(&key) else {
            return;
        };
        running.carries.insert(id.clone());
        if !self.sessions.contains_key(&key) {
            // A session that opens or becomes another one is given all its devices at once.
            let hidden = member.device.secret.clone();
            let routes = topics.routes;
            running.control.carry(id.clone(), routes, hidden);
        }
        let old = self.crew.registry.get(id);
        let stays = before.as_ref() == Some(&key);
        // What is on its way to the same session, under the same topics, may go on.
        let same_way = old
            .as_ref()
            .filter(|old| stays && old.topic == topics.uplink);
        let device = Arc::new(registry::Device {
            id: id.clone(),
            connector: Arc::clone(&workshop.registered),
            session: running.handle.clone(),
            topic: topics.uplink,
            signing: workshop.signing(&member.device),
            lane: (old.as_ref()).map_or_else(Arc::default, |old| Arc::clone(&old.lane)),
            registration: registration(member),
            tenure: same_way.map_or_else(Arc::default, |old| Arc::clone(&old.tenure)),
        });
        let goes_on = same_way.is_none();
        if goes_on {
            device.lane.hold();
            self.transition.admit(&device);
        }
        if member.leaving {
            device.lane.close();
        }
        // In this order: who finds that the old one's time is over finds the new one.
        self.crew.registry.insert(device);
        if let Some(old) = old.filter(|_| goes_on) {
            self.transition.retire(&old);
        }
        if let Some(before) = before.filter(|_| !stays) {
            self.state.leave(&before, id);
        }
    }

    /// Closes sessions that nobody needs, and makes others what they are to become.
    fn turn(&mut self) {
        for (key, step) in &self.sessions {
            if *step == SessionStep::Close {
                if let Some(running) = self.state.sessions.remove(key) {
                    running.control.close();
                }
                continue;
            }
            let running = self.state.sessions.get(key);
            let (Some(running), Some(spec)) = (running, self.plan.specs.remove(key)) else {
                continue;
            };
            let turn = Turn {
                control: running.control.clone(),
                spec,
                reconnect: *step == SessionStep::Replace,
            };
            // Where devices go on to other topics, what is on its way leaves first.
            if (running.carries.iter()).any(|id| self.transition.concerns(id)) {
                self.transition.turns.push(turn);
            } else {
                turn.take();
            }
        }
    }

    fn session_before(&self, id: &DeviceId) -> Option<SessionKey> {
        let setup = &self.state.setup;
        setup.session_of(&setup.devices.get(id)?.device)
    }
}

fn registration(member: &Member) -> Registration {
    let device = &member.device;
    Registration {
        origin: member.origin,
        via: device.via.clone(),
        has_secret: device.secret.is_some(),
        variables: device.variables.clone(),
        leaving: member.leaving,
    }
}
