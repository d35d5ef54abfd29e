//! Devices that are deleted through the HTTP interface: at once, or as soon as their backlog is sent.
//!
//! | at this point a crash leaves | after the next start |
//! |---|---|
//! | nothing is written | the device is there |
//! | its record says `leaving: drain` | it takes no uplinks; its backlog is sent, and it goes |
//! | its record says `leaving: discard` | it is not there; what is left of it is removed |
//! | everything but its record is removed | the same |

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use zeroize::Zeroizing;

use super::error::ChangeError;
use super::setup::Member;
use super::stored::{Farewell, Stored};
use super::{Fleet, lock, stored};
use crate::device::DeviceId;
use crate::registry::Origin;
use crate::seldom::{Pass, Seldom};
use crate::store::records::ReceiptStatus;

/// How often it is looked whether a backlog is sent.
const LOOK: Duration = Duration::from_millis(200);
/// How long to leave a store alone that cannot write.
const PAUSE: Duration = Duration::from_secs(5);

/// What a deletion has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Nothing is left of the device.
    Now,
    /// It goes when so many uplinks are sent, and takes no more.
    Later(u64),
}

impl Fleet {
    /// Deletes a device, its downlinks and its idempotency keys. With uplinks that wait, it must be said what becomes of
    /// them. Once begun, it is finished, whether somebody waits for it or not, and after a restart too.
    pub async fn delete(
        self: &Arc<Self>,
        id: DeviceId,
        farewell: Option<Farewell>,
    ) -> Result<Gone, ChangeError> {
        let fleet = Arc::clone(self);
        let doing = self
            .tasks
            .spawn(async move { fleet.depart(id, farewell).await });
        doing.await.unwrap_or(Err(ChangeError::Ending))
    }

    async fn depart(
        self: &Arc<Self>,
        id: DeviceId,
        farewell: Option<Farewell>,
    ) -> Result<Gone, ChangeError> {
        let vault = self.vault.as_ref().ok_or(ChangeError::NoStore)?;
        let _turn = self.turns.of(&id).await;
        let (json, leaving) = self.deletable(&id)?;
        let waiting = self.uplinks.backlog(&id).map_or(0, |backlog| backlog.count);
        let farewell = match (waiting, farewell) {
            (0, _) => Farewell::Discard,
            (_, Some(farewell)) => farewell,
            (_, None) if leaving => Farewell::Drain,
            (count, None) => return Err(ChangeError::Backlog { device: id, count }),
        };
        if farewell == Farewell::Drain && leaving {
            return Ok(Gone::Later(waiting));
        }
        let stored = Stored {
            json,
            leaving: Some(farewell),
        };
        stored.write(vault, &id).await?;
        lock(&self.state)
            .stored
            .insert(id.clone(), Arc::new(stored));
        match farewell {
            Farewell::Discard => {
                self.remove(&id).await?;
                Ok(Gone::Now)
            }
            Farewell::Drain => {
                self.close_door(&id).await?;
                self.follow(id);
                Ok(Gone::Later(waiting))
            }
        }
    }

    /// Whether what waits for a device is known here, and its business is done here.
    fn has(&self, id: &DeviceId) -> bool {
        lock(&self.state).has(id, &self.share)
    }

    /// What is stored of a device that may be deleted, and whether it is being deleted already.
    fn deletable(&self, id: &DeviceId) -> Result<(Zeroizing<String>, bool), ChangeError> {
        let state = lock(&self.state);
        let member = state.setup.devices.get(id);
        if member.is_some_and(|member| member.origin == Origin::Configuration) {
            return Err(ChangeError::Configured(id.clone()));
        }
        let Some(stored) = state.stored.get(id) else {
            return Err(ChangeError::Unknown(id.clone()));
        };
        if !state.has(id, &self.share) {
            return Err(ChangeError::Elsewhere(id.clone()));
        }
        if member.is_some() {
            // Only to see whether it is possible.
            state.change(id, None, &self.tools())?;
        }
        Ok((stored.json.clone(), stored.leaving.is_some()))
    }

    /// Lets no more uplinks in.
    async fn close_door(&self, id: &DeviceId) -> Result<(), ChangeError> {
        let transition = self.with_crew(|state, crew| {
            let Some(member) = state.setup.devices.get(id) else {
                return Ok(None);
            };
            let member = Member {
                device: Arc::clone(&member.device),
                origin: member.origin,
                leaving: true,
            };
            let client_id = state.setup.client_ids.of(id);
            let change = state.change(id, Some((member, client_id)), &self.tools())?;
            Ok(Some(state.make(change, crew)))
        })?;
        if let Some(transition) = transition {
            transition.finish(&self.uplinks).await;
        }
        Ok(())
    }

    /// Deletes a device when its backlog is sent.
    fn follow(self: &Arc<Self>, id: DeviceId) {
        let fleet = Arc::clone(self);
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = fleet.see_off(&id) => info!(device = %id, "the backlog is sent, and the device is deleted"),
                () = ending.cancelled() => {}
            }
        });
    }

    async fn see_off(&self, id: &DeviceId) {
        loop {
            while self.uplinks.backlog(id).is_some() {
                tokio::time::sleep(LOOK).await;
            }
            let _turn = self.turns.of(id).await;
            // It may have been deleted otherwise meanwhile.
            let leaving = lock(&self.state)
                .stored
                .get(id)
                .and_then(|stored| stored.leaving);
            if leaving != Some(Farewell::Drain) || !self.has(id) {
                return;
            }
            if self.uplinks.backlog(id).is_some() {
                continue;
            }
            match self.remove(id).await {
                Ok(()) => return,
                Err(error) => {
                    static SAID: Seldom = Seldom::every(Duration::from_secs(60));
                    if let Some(Pass { left_out }) = SAID.pass() {
                        warn!(device = %id, left_out, "the device cannot be deleted yet: {error}");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Goes on with deletions that the end of the program has cut short.
    pub(super) fn resume_departures(self: &Arc<Self>) {
        let leaving: Vec<_> = {
            let state = lock(&self.state);
            let stored = state.stored.iter();
            let stored = stored.filter(|(id, _)| state.has(id, &self.share));
            let leaving = stored.filter_map(|(id, stored)| Some((id.clone(), stored.leaving?)));
            leaving.collect()
        };
        for (id, farewell) in leaving {
            match farewell {
                Farewell::Discard => self.clear_up(id),
                Farewell::Drain => self.follow(id),
            }
        }
    }

    /// Removes what is left of devices whose deletion was cut short by the end of the program.
    fn clear_up(self: &Arc<Self>, id: DeviceId) {
        let fleet = Arc::clone(self);
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            let removing = async {
                let _turn = fleet.turns.of(&id).await;
                if !fleet.has(&id) {
                    return;
                }
                while let Err(error) = fleet.remove(&id).await {
                    static SAID: Seldom = Seldom::every(Duration::from_secs(60));
                    if let Some(Pass { left_out }) = SAID.pass() {
                        warn!(
                            device = %id, left_out,
                            "what is left of the deleted device cannot be removed yet: {error}"
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = removing => {}
                () = ending.cancelled() => {}
            }
        });
    }

    /// Takes a device out of everything, its record last: with the record it can be done once more.
    async fn remove(&self, id: &DeviceId) -> Result<(), ChangeError> {
        let (vault, store) = (self.vault.as_ref(), self.store.as_ref());
        let (vault, store) = vault.zip(store).ok_or(ChangeError::NoStore)?;
        let transition = self.with_crew(|state, crew| {
            if !state.setup.devices.contains_key(id) {
                return Ok(None);
            }
            let change = state.change(id, None, &self.tools())?;
            Ok(Some(state.make(change, crew)))
        })?;
        // Its streams end at once, and not when the last of its uplinks has found its end.
        self.hub.forget(id);
        if let Some(transition) = transition {
            transition.finish(&self.uplinks).await;
        }
        let reason = "the device was deleted, and its backlog with it";
        let discarded = store
            .discard(id, ReceiptStatus::Refused, reason.into())
            .await?;
        if discarded > 0 {
            info!(device = %id, discarded, "uplinks were dropped with their device");
        }
        store.forget(id).await?;
        // What its session was just receiving.
        self.hub.forget(id);
        if let Some(keyring) = &self.keyring {
            keyring.forget(id).await?;
        }
        stored::remove(vault, id).await?;
        let mut state = lock(&self.state);
        state.stored.remove(id);
        state.unfit.remove(id);
        Ok(())
    }
}
