//! A value that must not be seen: it neither prints itself nor outlives its use in memory.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A password, passphrase or token. Cleared from memory when dropped; `Debug` prints nothing of it.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself: for the wire, a key derivation or a comparison, never for output.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
