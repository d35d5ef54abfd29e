//! Sessions that come to this process from another one of its cluster, and go on in another one.
//!
//! | | queue of the store | sessions | lease |
//! |---|---|---|---|
//! | take | read anew, what comes now is read here | open, behind what is stored | held |
//! | leave | everything on its way is sent, or back in it | closed, when that is done | given back then |
//! | lose | what was on its way goes back into it, as another process' | cut, at once | lost |

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tracing::{debug, error, warn};

use super::making::Crew;
use super::plan::Plan;
use super::state::Running;
use super::transition::{Transition, is_so_by};
use super::{Fleet, PlanError, lock};
use crate::cluster::{Partition, Partitions, Peers, Place, Places, Sessions};
use crate::device::DeviceId;
use crate::seldom::{Pass, Seldom};
use crate::uplink::{Away, AwayDevice};

/// How long to leave what cannot be done yet.
const PAUSE: Duration = Duration::from_secs(1);
/// How long closed sessions may take to disconnect before they are cut: they have nothing left to send.
const CLOSING: Duration = Duration::from_secs(3);

/// A fleet as its cluster sees it.
#[derive(Debug, Clone)]
pub struct Holder(pub Arc<Fleet>);

impl Sessions for Holder {
    fn take(&self, partitions: Partitions) -> BoxFuture<'static, ()> {
        let fleet = Arc::clone(&self.0);
        fleet.share.hold(partitions);
        Box::pin(async move { fleet.take(partitions).await })
    }

    fn leave(&self, partitions: Partitions) -> BoxFuture<'static, ()> {
        let fleet = Arc::clone(&self.0);
        Box::pin(async move { fleet.leave(partitions).await })
    }

    fn lose(&self, partitions: Partitions) {
        let transition = self.0.cut(partitions);
        // Counted before this returns: whatever is taken next waits for it.
        self.0.losing.send_modify(|count| *count += 1);
        let fleet = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            transition.finish(&fleet.uplinks).await;
            fleet.losing.send_modify(|count| *count -= 1);
            fleet.look_again().await;
        });
    }
}

/// Where devices are: the fleet knows their partitions, and the cluster where these are.
#[derive(Debug)]
pub struct Whereabouts {
    fleet: Arc<Fleet>,
    peers: Arc<dyn Peers>,
}

impl Whereabouts {
    /// Those of a fleet's devices.
    pub fn new(fleet: Arc<Fleet>, peers: Arc<dyn Peers>) -> Self {
        Self { fleet, peers }
    }
}

impl Places for Whereabouts {
    fn place(&self, device: &DeviceId) -> Place {
        self.peers.table().place(self.fleet.share.partition(device))
    }

    fn partition(&self, device: &DeviceId) -> Partition {
        self.fleet.share.partition(device)
    }

    fn knows(&self, device: &DeviceId) -> bool {
        lock(&self.fleet.state).setup.devices.contains_key(device)
    }
}

/// What a fleet knows of devices whose sessions are elsewhere. The fleet has the road out, not the other way round.
#[derive(Debug)]
pub(super) struct Elsewhere(pub(super) Weak<Fleet>);

impl Away for Elsewhere {
    fn away(&self, id: &DeviceId) -> Option<AwayDevice> {
        let fleet = self.0.upgrade()?;
        let state = lock(&fleet.state);
        let member = state.setup.devices.get(id)?;
        let workshop = state.workshops.get(&member.device.connector)?;
        // Where that cannot be made, no session can be made either.
        let topics = workshop.topics(&member.device).ok()?;
        Some(AwayDevice {
            connector: Arc::clone(&workshop.registered),
            topic: topics.uplink,
            leaving: member.leaving,
        })
    }
}

impl Fleet {
    async fn take(self: &Arc<Self>, partitions: Partitions) {
        // What was lost a moment ago has its end, and what is left of it is in the store.
        let mut losing = self.losing.subscribe();
        let _ = losing.wait_for(|count| *count == 0).await;
        // What is stored comes first, so it must be known before anything can be accepted.
        if !self.look_again().await {
            return;
        }
        while !self
            .become_holder(|made, held| made.and(partitions.common(held)))
            .await
        {
            if self.share.held().common(partitions).is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.resume_departures();
    }

    async fn leave(self: &Arc<Self>, partitions: Partitions) {
        // They stay this process's until nothing of them is on its way, so that it is put back where it is read.
        if !self.become_holder(|made, _| made.without(partitions)).await {
            // Somebody else gets them, whatever was wrong here.
            self.cut(partitions).finish(&self.uplinks).await;
        }
        self.share.release(partitions);
        self.look_again().await;
    }

    /// Nothing is written to any connection of these any more when this returns.
    fn cut(&self, partitions: Partitions) -> Transition {
        let mut transition = Transition::default();
        // In this order, and under the lock: a change that is being made opens no session of these behind it.
        let mut state = lock(&self.state);
        self.share.release(partitions);
        state.made = state.made.without(partitions);
        let lost = state
            .sessions
            .extract_if(|key, _| partitions.has(key.partition()));
        for (_, running) in lost {
            for id in &running.carries {
                if let Some(device) = self.registry.remove(id) {
                    transition.send_on(&device);
                }
            }
            running.task.abort();
        }
        transition
    }

    /// Has the queue read again; `false` when the program ends before that is possible.
    pub(super) async fn look_again(&self) -> bool {
        let Some(store) = &self.store else {
            return true;
        };
        loop {
            let error = match store.rescan().await {
                Ok(()) => return true,
                Err(error) => error,
            };
            static SAID: Seldom = Seldom::every(Duration::from_secs(60));
            if let Some(Pass { left_out }) = SAID.pass() {
                warn!(
                    left_out,
                    "what waits in the store cannot be read yet: {error}"
                );
            }
            tokio::select! {
                () = self.ending.cancelled() => return false,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Opens and closes sessions, so that those of other partitions run: given those whose sessions run, and those that
    /// this process has. `false` when that was not possible.
    async fn become_holder(
        self: &Arc<Self>,
        target: impl FnOnce(Partitions, Partitions) -> Partitions,
    ) -> bool {
        let _turn = self.turns.of_everything().await;
        let (setup, workshops, made) = {
            let state = lock(&self.state);
            (state.setup.clone(), state.workshops.clone(), state.made)
        };
        let target = target(made, self.share.held());
        if target == made {
            return true;
        }
        let fleet = Arc::clone(self);
        let planning = tokio::task::spawn_blocking(move || {
            let (before, after) = (setup.held(made), setup.held(target));
            let plan = (fleet.tools()).plan(&before, &after, &workshops, &|_| false);
            plan.map(|plan| (plan, after.into_owned()))
        });
        let planned = planning.await.unwrap_or(Err(vec![PlanError::Interrupted]));
        let (plan, after) = match planned {
            Ok(planned) => planned,
            Err(errors) => {
                for problem in errors {
                    error!("sessions of this replica cannot be opened: {problem}");
                }
                return false;
            }
        };
        let plan = Plan {
            goes_on: true,
            ..plan
        };
        for warning in &plan.warnings {
            debug!("{warning}");
        }
        let left = made.without(target);
        let made = self.with_crew(|state, crew: &Crew<'_>| {
            let closing = state.running_in(left);
            let transition = crew.carry_out(state, plan, &after);
            // Without what was lost since the plan was made.
            state.made = target.common(crew.share.held());
            Ok((transition, closing))
        });
        let Ok((transition, closing)) = made else {
            return false;
        };
        transition.finish(&self.uplinks).await;
        have_ended(closing).await;
        true
    }
}

/// Waits until sessions have disconnected, and cuts those that take too long.
async fn have_ended(closing: Vec<Running>) {
    let until = Instant::now() + CLOSING;
    for running in closing {
        if !is_so_by(until, || running.task.is_finished()).await {
            running.task.abort();
        }
    }
}
