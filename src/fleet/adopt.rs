//! Registered devices and their keys that another process of the cluster has changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::{error, warn};

use super::change::Change;
use super::state::State;
use super::stored::{Farewell, Stored};
use super::transition::Transition;
use super::turns::OfDevice;
use super::{ChangeError, Fleet, lock};
use crate::device::DeviceId;
use crate::keyring::KeyringError;
use crate::registry::Origin;
use crate::seldom::{Pass, Seldom};
use crate::store::records::RecordKind;
use crate::store::{Changes, RecordChange};
use crate::vault::VaultError;

/// How long to leave a record alone that cannot be read.
const PAUSE: Duration = Duration::from_secs(1);

/// So many devices that another process has changed take their course at a time.
const AT_A_TIME: usize = 32;

/// A device that is what its record says, and the turn to change it, until that has taken its course.
struct Adopted<'a> {
    id: DeviceId,
    transition: Transition,
    _turn: OfDevice<'a>,
}

impl Fleet {
    /// Follows what other processes change, until nobody tells of it any more or the program ends. One change is made after
    /// the other: a device may need another one that was registered before it.
    pub(crate) async fn follow_changes(self: Arc<Self>, mut changes: Changes) {
        let fleet = &*self;
        stream::poll_fn(|context| changes.poll_recv(context))
            .take_until(fleet.ending.cancelled())
            .filter_map(|change| fleet.adopt(change))
            .for_each_concurrent(AT_A_TIME, |adopted| async move {
                let Adopted {
                    id,
                    transition,
                    _turn,
                } = adopted;
                fleet.settle(&id, transition).await;
            })
            .await;
    }

    /// Makes what a change is about what its record says, as soon as the store lets it be read.
    async fn adopt(&self, change: RecordChange) -> Option<Adopted<'_>> {
        let device = DeviceId::parse(&change.key).ok()?;
        loop {
            let error = match self.try_adopt(change.kind, &device).await {
                Ok(adopted) => return adopted,
                Err(error) => error,
            };
            if !may_pass(&error) {
                error!(%device, "what another replica has changed cannot be taken over: {error}");
                return None;
            }
            static SAID: Seldom = Seldom::every(Duration::from_secs(60));
            if let Some(Pass { left_out }) = SAID.pass() {
                warn!(%device, left_out, "what another replica has changed cannot be taken over yet: {error}");
            }
            tokio::select! {
                () = self.ending.cancelled() => return None,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn try_adopt(
        &self,
        kind: RecordKind,
        device: &DeviceId,
    ) -> Result<Option<Adopted<'_>>, ChangeError> {
        match (kind, &self.keyring) {
            (RecordKind::Device, _) => self.adopt_device(device).await,
            (RecordKind::Key, Some(keyring)) => {
                keyring.reload(device).await?;
                Ok(None)
            }
            (RecordKind::Key, None) | (RecordKind::AccessToken, _) => Ok(None),
        }
    }

    async fn adopt_device(&self, id: &DeviceId) -> Result<Option<Adopted<'_>>, ChangeError> {
        let vault = self.vault.as_ref().ok_or(ChangeError::NoStore)?;
        let turn = self.turns.of(id).await;
        let content = vault.get(RecordKind::Device, id.as_str()).await?;
        let stored = content.and_then(|content| Stored::read(&content));
        let transition = self.with_crew(|state, crew| {
            let change = self.adoptable(state, id, stored.as_ref())?;
            let transition = change.map(|change| state.make(change, crew));
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
        Ok(transition.map(|transition| Adopted {
            id: id.clone(),
            transition,
            _turn: turn,
        }))
    }

    /// What a record changes; nothing where the configuration has the device, or no place for it.
    fn adoptable(
        &self,
        state: &mut State,
        id: &DeviceId,
        stored: Option<&Stored>,
    ) -> Result<Option<Change>, ChangeError> {
        let Some(stored) = stored.filter(|stored| stored.leaving != Some(Farewell::Discard)) else {
            let known = state.setup.devices.get(id);
            return match known.is_some_and(|known| known.origin == Origin::Api) {
                true => state.change(id, None, &self.tools()).map(Some),
                false => Ok(None),
            };
        };
        match self.possible(state, id, stored) {
            Ok(change) => {
                state.unfit.remove(id);
                Ok(change)
            }
            Err(ChangeError::Configured(_)) => Ok(None),
            // Other replicas may have another configuration for a while.
            Err(ChangeError::Invalid(error)) => {
                warn!(
                    device = %id,
                    "another replica has registered a device that does not fit this one's configuration: {error}"
                );
                state.unfit.insert(id.clone(), error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
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
