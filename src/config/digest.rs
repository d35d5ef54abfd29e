//! Whether two processes were given the same.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Config;

/// Bytes of the hash that are compared.
const KEPT: usize = 8;

impl Config {
    /// 16 hexadecimal digits that are the same where connectors, devices, and who may do what are. Secrets and what is in
    /// files of keys and certificates do not count: others may see this.
    pub fn digest(&self) -> Arc<str> {
        let mut hash = Hashing(Sha256::new());
        // It takes everything.
        let _ = write!(
            hash,
            "{:?}{:?}{:?}",
            self.connectors, self.devices, self.access
        );
        let hash = hash.0.finalize();
        hash.iter()
            .take(KEPT)
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
            .into()
    }
}

struct Hashing(Sha256);

impl fmt::Write for Hashing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
