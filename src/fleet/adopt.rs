//! Registered devices and their keys that another process of the cluster has changed.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::setup::Member;
use super::stored::{Farewell, Stored};
use super::{ChangeError, Fleet, lock};
use crate::config::Registered;
use crate::device::DeviceId;
use crate::keyring::KeyringError;
use crate::registry::Origin;
use crate::seldom::{Pass, Seldom};
use crate::store::records::RecordKind;
use crate::store::{Changes, RecordChange};
use crate::vault::VaultError;

/// How long to leave a record alone that cannot be read.
const PAUSE: Duration = Duration::from_secs(1);

impl Fleet {
    /// Follows what other processes change, until nobody tells of it any more or the program ends.
    pub(crate) async fn follow_changes(self: Arc<Self>, mut changes: Changes) {
        loop {
            let change = tokio::select! {
                () = self.ending.cancelled() => return,
                change = changes.recv() => change,
            };
            let Some(RecordChange { kind, key }) = change else {
                return;
            };
            let Ok(device) = DeviceId::parse(&key) else {
                continue;
            };
            while let Err(error) = self.adopt(kind, &device).await {
                if !may_pass(&error) {
                    error!(%device, "what another replica has changed cannot be taken over: {error}");
                    break;
                }
                static SAID: Seldom = Seldom::every(Duration::from_secs(60));
                if let Some(Pass { left_out }) = SAID.pass() {
                    warn!(%device, left_out, "what another replica has changed cannot be taken over yet: {error}");
                }
                tokio::select! {
                    () = self.ending.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    async fn adopt(&self, kind: RecordKind, device: &DeviceId) -> Result<(), ChangeError> {
        match (kind, &self.keyring) {
            (RecordKind::Device, _) => self.adopt_device(device).await,
            (RecordKind::Key, Some(keyring)) => Ok(keyring.reload(device).await?),
            (RecordKind::Key, None) | (RecordKind::AccessToken, _) => Ok(()),
        }
    }

    /// Makes a device what its record says.
    async fn adopt_device(&self, id: &DeviceId) -> Result<(), ChangeError> {
        let vault = self.vault.as_ref().ok_or(ChangeError::NoStore)?;
        let _turn = self.turns.of(id).await;
        let content = vault.get(RecordKind::Device, id.as_str()).await?;
        let stored = content.and_then(|content| Stored::read(&content));
        let is_there = |stored: &Stored| stored.leaving != Some(Farewell::Discard);
        let transition = self.with_crew(|state, crew| {
            let of_configuration = |member: &Arc<Member>| member.origin == Origin::Configuration;
            let known = state.setup.devices.get(id);
            let transition = if known.is_some_and(of_configuration) {
                None
            } else if let Some(stored) = stored.as_ref().filter(|stored| is_there(stored)) {
                match Registered::read(id, &stored.json, &state.setup) {
                    Ok(registered) => {
                        state.unfit.remove(id);
                        let member = Member {
                            device: Arc::new(registered.device),
                            origin: Origin::Api,
                            leaving: stored.leaving.is_some(),
                        };
                        let member = Some((member, registered.client_id));
                        let change = state.change(id, member, &self.tools())?;
                        Some(state.make(change, crew))
                    }
                    // Other replicas may have another configuration for a while.
                    Err(error) => {
                        warn!(
                            device = %id,
                            "another replica has registered a device that does not fit this one's configuration: {error}"
                        );
                        state.unfit.insert(id.clone(), error.to_string());
                        None
                    }
                }
            } else if known.is_some() {
                let change = state.change(id, None, &self.tools())?;
                Some(state.make(change, crew))
            } else {
                None
            };
            match stored {
                Some(stored) => {
                    state.stored.insert(id.clone(), Arc::new(stored));
                }
                None => {
                    state.stored.remove(id);
                    state.unfit.remove(id);
                }
            }
            Ok(transition)
        })?;
        let is_gone = !lock(&self.state).setup.devices.contains_key(id);
        if is_gone {
            self.hub.forget(id);
        }
        if let Some(transition) = transition {
            transition.finish(&self.uplinks).await;
        }
        Ok(())
    }
}

/// Whether the store is the reason.
fn may_pass(error: &ChangeError) -> bool {
    matches!(
        error,
        ChangeError::Store(_)
            | ChangeError::Vault(VaultError::Store(_))
            | ChangeError::Keyring(KeyringError::Vault(VaultError::Store(_)))
    )
}
