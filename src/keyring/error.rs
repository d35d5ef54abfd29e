//! Why a device's keys could not be read or changed.

use super::record::RecordError;
use super::ring::RingError;
use crate::identity::KeyError;
use crate::vault::VaultError;

/// Why a device's keys could not be read or changed. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// What was asked for is not possible with these keys.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store, or the seal.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What is stored is not what it should be.
    #[error("what is stored of the keys of the device {device:?} cannot be read: {error}")]
    Record {
        /// The device.
        device: Box<str>,
        /// What is wrong.
        error: RecordError,
    },
    /// The device was deleted in the meantime.
    #[error("the device was deleted")]
    Gone,
    /// The program ends.
    #[error("the bridge is shutting down; nothing was changed")]
    Closing,
}
