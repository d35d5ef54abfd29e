//! Devices that are registered, and changed, through the HTTP interface.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::change::Change;
use super::error::ChangeError;
use super::setup::Member;
use super::state::State;
use super::stored::Stored;
use super::{Fleet, lock, stored};
use crate::config::Registered;
use crate::device::DeviceId;
use crate::registry::Origin;

/// What a registration has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The device is new.
    Created,
    /// It is another one now.
    Changed,
    /// It was there already, just so.
    Unchanged,
}

impl Fleet {
    /// Registers a device, or changes a registered one, from its JSON. It is durable, and can be used, when this returns.
    /// Once begun, it is finished, whether somebody waits for it or not. `only_new`: refuses to change one.
    pub async fn put(
        self: &Arc<Self>,
        id: DeviceId,
        json: String,
        only_new: bool,
    ) -> Result<Put, ChangeError> {
        let (fleet, json) = (Arc::clone(self), Zeroizing::new(json));
        let doing = self
            .tasks
            .spawn(async move { fleet.register(id, json, only_new).await });
        doing.await.unwrap_or(Err(ChangeError::Ending))
    }

    async fn register(
        &self,
        id: DeviceId,
        json: Zeroizing<String>,
        only_new: bool,
    ) -> Result<Put, ChangeError> {
        let vault = self.vault.as_ref().ok_or(ChangeError::NoStore)?;
        let _turn = self.turns.of(&id).await;
        let stored = Stored {
            json,
            leaving: None,
        };
        let known = {
            let state = lock(&self.state);
            let known = state.setup.devices.contains_key(&id) || state.stored.contains_key(&id);
            if only_new && known {
                return Err(ChangeError::Exists(id));
            }
            let member = state.setup.devices.get(&id);
            if member.is_some_and(|member| member.leaving) {
                return Err(ChangeError::Leaving(id));
            }
            if self.possible(&state, &id, &stored)?.is_none() {
                return Ok(Put::Unchanged);
            }
            state.stored.get(&id).cloned()
        };
        stored.write(vault, &id).await?;
        let made = self.with_crew(|state, crew| {
            // Other devices may have changed meanwhile, and what was possible may no longer be.
            let change = self.possible(state, &id, &stored)?;
            let transition = change.map(|change| state.make(change, crew));
            state.unfit.remove(&id);
            state.stored.insert(id.clone(), Arc::new(stored));
            Ok(transition)
        });
        match made {
            Ok(transition) => {
                if let Some(transition) = transition {
                    self.settle(&id, transition).await;
                }
            }
            Err(error) => {
                match &known {
                    Some(known) => known.write(vault, &id).await?,
                    None => stored::remove(vault, &id).await?,
                }
                return Err(error);
            }
        }
        Ok(match known {
            Some(_) => Put::Changed,
            None => Put::Created,
        })
    }

    /// What a stored device changes, here or in another process registered; nothing where it is there already, just so.
    pub(super) fn possible(
        &self,
        state: &State,
        id: &DeviceId,
        stored: &Stored,
    ) -> Result<Option<Change>, ChangeError> {
        let known = state.setup.devices.get(id);
        if known.is_some_and(|known| known.origin == Origin::Configuration) {
            return Err(ChangeError::Configured(id.clone()));
        }
        let registered = Registered::read(id, &stored.json, &state.setup)?;
        let member = Member {
            device: Arc::new(registered.device),
            origin: Origin::Api,
            leaving: stored.leaving.is_some(),
        };
        if known.is_some_and(|known| **known == member) {
            return Ok(None);
        }
        let member = Some((member, registered.client_id));
        state.change(id, member, &self.tools()).map(Some)
    }
}
