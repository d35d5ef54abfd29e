//! Devices in the store: registered through the HTTP interface, and there again after a restart.
//!
//! A record's content is `{"device": …}`, the device as it was registered, with `"leaving"` beside it from the moment at
//! which its deletion was accepted: a crash on the way leaves a deletion that is finished after the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::error;
use zeroize::Zeroizing;

use super::setup::{Member, Setup};
use crate::config::{Config, Owner, Registered};
use crate::device::DeviceId;
use crate::registry::Origin;
use crate::store::records::RecordKind;
use crate::vault::{Vault, VaultError};

/// A device as it is stored. It may hold a secret, and does not print itself.
pub(super) struct Stored {
    pub(super) json: Zeroizing<String>,
    pub(super) leaving: Option<Farewell>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stored({:?})", self.leaving)
    }
}

/// What becomes of the uplinks that wait when their device is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Farewell {
    /// They are dropped, and their receipts say so.
    Discard,
    /// They are sent first. The device takes no more.
    Drain,
}

#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    device: &'a RawValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Farewell>,
}

/// All of them.
pub(super) type StoredDevices = BTreeMap<DeviceId, Arc<Stored>>;

/// Reads all stored devices. A record that is none is reported, and left alone.
pub(super) async fn load(vault: &Vault) -> Result<StoredDevices, VaultError> {
    let mut devices = StoredDevices::new();
    for entry in vault.load(RecordKind::Device).await? {
        let id = DeviceId::parse(&entry.key).ok();
        let stored = Stored::read(&entry.content);
        match id.zip(stored) {
            Some((id, stored)) => {
                devices.insert(id, Arc::new(stored));
            }
            None => {
                error!(key = %entry.key, "what is stored of a device cannot be read; it is left out")
            }
        }
    }
    Ok(devices)
}

impl Stored {
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let content: Content<'_> = serde_json::from_slice(content).ok()?;
        Some(Self {
            json: Zeroizing::new(content.device.get().to_owned()),
            leaving: content.leaving,
        })
    }

    /// Writes it, in place of what was there.
    pub(super) async fn write(&self, vault: &Vault, id: &DeviceId) -> Result<(), VaultError> {
        let content = {
            // It has been read as JSON before.
            let device = serde_json::from_str(&self.json).unwrap_or(RawValue::NULL);
            let content = Content {
                device,
                leaving: self.leaving,
            };
            Zeroizing::new(serde_json::to_vec(&content).unwrap_or_default())
        };
        vault.put(RecordKind::Device, id.as_str(), &content).await
    }
}

/// A setup, and the stored devices that do not fit into it, with what is wrong with each.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) setup: Setup,
    pub(super) unfit: BTreeMap<DeviceId, String>,
}

/// Puts a configuration and the stored devices together. Those of the configuration go before.
pub(super) fn compose(config: &Config, stored: &StoredDevices, before: &Setup) -> Composed {
    let mut setup = Setup::of(config, before);
    let mut unfit = BTreeMap::new();
    let present = |stored: &Stored| stored.leaving != Some(Farewell::Discard);
    let mut left: Vec<_> = stored
        .iter()
        .filter(|(id, stored)| present(stored) && !config.devices.contains_key(*id))
        .collect();
    // Twice, because a router device may come behind those that are behind it.
    for _ in 0..2 {
        unfit.clear();
        left.retain(
            |(id, stored)| match Registered::read(id, &stored.json, &setup) {
                Ok(registered) => {
                    if let Some(client_id) = registered.client_id {
                        let owner = Owner::Device((*id).clone());
                        Arc::make_mut(&mut setup.client_ids).claim(&owner, client_id);
                    }
                    let member = Member {
                        device: Arc::new(registered.device),
                        origin: Origin::Api,
                        leaving: stored.leaving.is_some(),
                    };
                    setup.insert(member, before);
                    false
                }
                Err(error) => {
                    unfit.insert((*id).clone(), error.to_string());
                    true
                }
            },
        );
    }
    Composed { setup, unfit }
}

/// Removes what is stored of a device.
pub(super) async fn remove(vault: &Vault, id: &DeviceId) -> Result<(), VaultError> {
    vault
        .delete(RecordKind::Device, id.as_str())
        .await
        .map(drop)
}
