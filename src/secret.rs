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

    /// A text of somebody else's, such as a broker's reason, with this value left out.
    pub fn hide_in(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        text.replace(self.expose(), "…")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_left_out_wherever_it_stands() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.hide_in("/up/hunter2/id/a: hunter2"), "/up/…/id/a: …");
        assert_eq!(secret.hide_in("all is well"), "all is well");
        assert_eq!(Secret::new("").hide_in("all is well"), "all is well");
    }
}
